"""Reads flows from plain data, and checks them: once, when they are stored.

The format is AI Spine's (nodes, types, ``depends_on``, ``config``, ``entry_point``, ``exit_points``) with
time limits, retries and defaults. Every finding names its node and, where a name is nearly right, offers
the right one. What the flow language knows but this server cannot run yet is refused, never ignored.
"""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping, Optional

import attrs

from opscore.domain.agents import is_id
from opscore.domain.documents import encode_json
from opscore.domain.errors import InvalidFlow
from opscore.domain.flows import (
    KINDS,
    LONGEST,
    LONGEST_CAPABILITY,
    MAX_ATTEMPTS,
    MAX_NODES,
    NODE_TYPES,
    PRIORITIES,
    Finding,
    Flow,
    Node,
    OnError,
    Report,
)
from opscore.domain.instants import Seconds
from opscore.domain.retries import RetryPolicy
from opscore.domain.spelling import nearest

MAX_DEFINITION_BYTES = 256 * 1024

_FLOW_FIELDS = frozenset(
    [
        "flow_id",
        "kind",
        "name",
        "description",
        "version",
        "entry_point",
        "exit_points",
        "timeout",
        "priority",
        "defaults",
        "nodes",
        "metadata",
        "tags",
    ]
)
_FLOW_LATER = frozenset(("input_schema", "concurrency"))
_NODE_FIELDS = frozenset(
    [
        "id",
        "type",
        "agent_id",
        "capability",
        "depends_on",
        "config",
        "timeout",
        "retry",
        "on_error",
        "name",
        "description",
        "metadata",
        "position",
    ]
)
_NODE_LATER = frozenset(("input", "when", "conditions", "map", "flow_id", "repeat", "wait", "compensate"))
_RETRY_FIELDS = frozenset(field.name for field in attrs.fields(RetryPolicy))
_SERVER_FIELDS = frozenset(("flow_version", "created_at", "updated_at", "is_active"))
"""What a definition fetched from a server carries besides itself."""


def read_flow(definition: Any, version: int = 1) -> Flow:
    """Check a definition and make the flow.

    Raises:
        InvalidFlow: With all findings in ``details``, by place.
    """
    report = check_flow(definition, version)
    if report.flow is None:
        details: dict[str, list[str]] = {}
        for finding in report.errors:
            details.setdefault(finding.place, []).append(finding.text)
        first = report.errors[0].text
        more = len(report.errors) - 1
        raise InvalidFlow(f"{first} ({more} more)" if more else first, details=details)
    return report.flow


def check_flow(definition: Any, version: int = 1) -> Report:
    """Check a definition; never raises for what is wrong with it."""
    return _Reader(version).read(definition)


def check_size(definition: Any) -> None:
    """Refuse a definition over 256 KiB of JSON.

    Raises:
        InvalidFlow: It is larger.
    """
    if len(encode_json(definition).encode()) > MAX_DEFINITION_BYTES:
        raise InvalidFlow(f"The definition is larger than {MAX_DEFINITION_BYTES // 1024} KiB.")


def find_cycle(depends_on: Mapping[str, Iterable[str]]) -> list[str]:
    """The ids along one cycle, first repeated at the end; empty when there is none.

    Depth-first search with three colours (Cormen et al., Introduction to Algorithms, 22.3), without recursion.
    """
    done: set[str] = set()
    for start in depends_on:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif node in on_path:
                return [*path[path.index(node) :], node][::-1]
            elif node not in done:
                path.append(node)
                on_path.add(node)
                stack.append((node, True))
                stack.extend((before, False) for before in depends_on.get(node, ()))
    return []


class _Reader:
    """Reads one definition and gathers findings on the way."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._errors: list[Finding] = []
        self._warnings: list[Finding] = []

    def read(self, definition: Any) -> Report:
        flow = self._flow(definition) if isinstance(definition, dict) else None
        if not isinstance(definition, dict):
            self._error("", "A flow must be an object.")
        return Report(None if self._errors else flow, self._errors, self._warnings)

    def _error(self, place: str, text: str) -> None:
        self._errors.append(Finding(place, text))

    def _flow(self, given: dict[str, Any]) -> Optional[Flow]:
        self._known(given, "", "The flow", _FLOW_FIELDS | _SERVER_FIELDS, _FLOW_LATER)
        flow_id = given.get("flow_id")
        if not is_id(flow_id):
            self._error("flow_id", "flow_id must be 1 to 100 letters, digits, '_' or '-'.")
        kind = given.get("kind", "flow")
        if kind not in KINDS:
            self._error("kind", f"kind must be one of {', '.join(KINDS)}{nearest(kind, KINDS) or '.'}")
        name = self._text(given, "name", "") or (flow_id if isinstance(flow_id, str) else "")
        self._text(given, "description", "")
        self._object(given, "metadata", "")
        timeout = self._seconds(given, "timeout", "")
        priority = given.get("priority")
        if priority is not None and (not _is_int(priority) or priority not in PRIORITIES):
            self._error("priority", "priority must be a whole number from 0 to 10.")
        drafts = self._nodes(given)
        if self._errors:
            return None
        depends_on = {draft["id"]: tuple(draft["depends_on"]) for draft in drafts}
        roots = self._roots(given, depends_on)
        exits = self._exits(given, depends_on)
        self._acyclic(depends_on)
        if self._errors:
            return None
        nodes = {d["id"]: Node(is_exit=d["id"] in exits, **d) for d in drafts}
        followers: dict[str, list[str]] = {}
        for node_id, before in depends_on.items():
            for one in before:
                followers.setdefault(one, []).append(node_id)
        self._reachable(given, roots, depends_on)
        return Flow(
            flow_id=str(flow_id),
            version=self._version,
            kind=kind,
            name=str(name),
            nodes=nodes,
            followers={k: tuple(v) for k, v in followers.items()},
            roots=roots,
            exits=exits,
            timeout=timeout,
            priority=priority or 0,
            definition={k: v for k, v in given.items() if k not in _SERVER_FIELDS},
        )

    # -- nodes ---------------------------------------------------------------------------------

    def _nodes(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        defaults = self._object(given, "defaults", "")
        self._known(defaults, "defaults", "defaults", frozenset(("timeout", "retry")), frozenset())
        timeout = self._seconds(defaults, "timeout", "defaults.")
        retry = self._retry(defaults, "defaults.", RetryPolicy())
        listed = given.get("nodes")
        is_workflow = given.get("kind") == "workflow"
        if not isinstance(listed, list) or not (listed or is_workflow):
            self._error("nodes", "nodes must be a list with at least one node.")
            return []
        if len(listed) > MAX_NODES:
            self._error("nodes", f"A flow has at most {MAX_NODES} nodes; this one has {len(listed)}.")
            return []
        seen: dict[str, int] = {}
        drafts = []
        for index, item in enumerate(listed):
            place = f"nodes[{index}]"
            if not isinstance(item, dict):
                self._error(place, "A node must be an object.")
                continue
            draft = self._node(item, place, timeout, retry, needs_agent=not is_workflow)
            first = seen.setdefault(str(draft["id"]), index)
            if first != index:
                self._error(f"{place}.id", f'The id "{draft["id"]}" is taken by nodes[{first}] already.')
            drafts.append(draft)
        self._references(drafts, seen)
        return drafts

    def _node(
        self,
        given: dict[str, Any],
        place: str,
        timeout: Optional[Seconds],
        retry: RetryPolicy,
        *,
        needs_agent: bool,
    ) -> dict[str, Any]:
        node_id = given.get("id")
        named = f'Node "{node_id}"' if is_id(node_id) else place
        if not is_id(node_id):
            self._error(f"{place}.id", f"{place}: id must be 1 to 100 letters, digits, '_' or '-'.")
        self._known(given, place, named, _NODE_FIELDS, _NODE_LATER)
        kind = given.get("type", "processor")
        if kind not in NODE_TYPES:
            hint = nearest(kind, NODE_TYPES)
            self._error(f"{place}.type", f"{named}: type must be one of {', '.join(NODE_TYPES)}{hint}.")
        agent_id, capability = self._doer(given, place, named)
        nobody = given.get("agent_id") is None and given.get("capability") is None
        if needs_agent and nobody and kind == "processor" and not (_NODE_LATER & given.keys()):
            self._error(f"{place}.agent_id", f"{named}: a processor needs an agent_id or a capability.")
        own = self._seconds(given, "timeout", f"{place}.")
        return {
            "id": node_id,
            "type": kind,
            "name": self._text(given, "name", f"{place}.") or str(node_id),
            "agent_id": agent_id,
            "capability": capability,
            "depends_on": self._depends_on(given, place, named),
            "config": self._object(given, "config", f"{place}."),
            "timeout": timeout if own is None else own,
            "retry": self._retry(given, f"{place}.", retry),
            "on_error": self._on_error(given, place, named),
        }

    def _doer(self, given: dict[str, Any], place: str, named: str) -> tuple[Optional[str], Optional[str]]:
        """The agent, or the capability that any agent must have who does it."""
        agent_id, capability = given.get("agent_id"), given.get("capability")
        if agent_id is not None and not is_id(agent_id):
            self._error(f"{place}.agent_id", f"{named}: agent_id must be 1 to 100 letters, digits, '_' or '-'.")
        if capability is not None and not (isinstance(capability, str) and 0 < len(capability) <= LONGEST_CAPABILITY):
            text = f"{named}: capability must be text of 1 to {LONGEST_CAPABILITY} characters."
            self._error(f"{place}.capability", text)
        if agent_id is not None and capability is not None:
            self._error(f"{place}.capability", f"{named}: give an agent_id or a capability, not both.")
        return agent_id, capability

    def _on_error(self, given: dict[str, Any], place: str, named: str) -> OnError:
        value = given.get("on_error")
        where = f"{place}.on_error"
        if value is None or value == "fail":
            return OnError()
        if value == "continue":
            return OnError(goes_on=True)
        if isinstance(value, dict) and value.keys() == {"output"} and isinstance(value["output"], dict):
            return OnError(output=value["output"])
        if isinstance(value, dict) and value.keys() == {"agent_id"} and is_id(value["agent_id"]):
            return OnError(agent_id=value["agent_id"])
        text = 'on_error must be "fail", "continue", {output: {...}} or {agent_id: ...}.'
        self._error(where, f"{named}: {text}")
        return OnError()

    def _depends_on(self, given: dict[str, Any], place: str, named: str) -> list[str]:
        before = given.get("depends_on")
        if before is None:
            return []
        where = f"{place}.depends_on"
        if not isinstance(before, list) or not all(isinstance(one, str) for one in before):
            self._error(where, f"{named}: depends_on must be a list of node ids.")
            return []
        if len(set(before)) != len(before):
            twice = next(one for i, one in enumerate(before) if one in before[:i])
            self._error(where, f'{named}: depends_on names "{twice}" twice.')
        return before

    def _references(self, drafts: list[dict[str, Any]], known: Mapping[str, int]) -> None:
        for draft in drafts:
            for one in draft["depends_on"]:
                if one not in known:
                    where = f"nodes[{known.get(str(draft['id']), 0)}].depends_on"
                    hint = nearest(one, known) or "."
                    self._error(where, f'Node "{draft["id"]}" depends on the unknown node "{one}"{hint}')

    # -- the graph -----------------------------------------------------------------------------

    def _roots(self, given: dict[str, Any], graph: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        natural = tuple(node for node, before in graph.items() if not before)
        entry = given.get("entry_point")
        if entry is None:
            return natural
        named = [entry] if isinstance(entry, str) else entry
        if not isinstance(named, list) or not named or not all(isinstance(one, str) for one in named):
            self._error("entry_point", "entry_point must be a node id or a list of them.")
            return ()
        for one in named:
            if one not in graph:
                hint = nearest(one, graph) or "."
                self._error("entry_point", f'entry_point names the unknown node "{one}"{hint}')
            elif graph[one]:
                before = ", ".join(f'"{b}"' for b in graph[one][:5])
                self._error(
                    "entry_point",
                    f'entry_point "{one}" depends on {before}; an entry point depends on nothing'
                    + (f' (such as "{natural[0]}").' if natural else "."),
                )
        return tuple(dict.fromkeys(named))

    def _exits(self, given: dict[str, Any], graph: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        exits = given.get("exit_points")
        if exits is None:
            needed = {one for before in graph.values() for one in before}
            return tuple(node for node in graph if node not in needed)
        if not isinstance(exits, list) or not exits or not all(isinstance(one, str) for one in exits):
            self._error("exit_points", "exit_points must be a list of node ids, at least one.")
            return ()
        for one in exits:
            if one not in graph:
                hint = nearest(one, graph) or "."
                self._error("exit_points", f'exit_points names the unknown node "{one}"{hint}')
        if len(set(exits)) != len(exits):
            self._error("exit_points", "exit_points names a node twice.")
        return tuple(exits)

    def _acyclic(self, graph: Mapping[str, tuple[str, ...]]) -> None:
        cycle = find_cycle(graph)
        if cycle:
            shown = " -> ".join(cycle if len(cycle) <= 12 else [*cycle[:11], "...", cycle[-1]])
            self._error("nodes", f'Node "{cycle[0]}" waits for itself: {shown}.')

    def _reachable(
        self,
        given: dict[str, Any],
        roots: tuple[str, ...],
        graph: Mapping[str, tuple[str, ...]],
    ) -> None:
        if given.get("entry_point") is None:
            return
        for node, before in graph.items():
            if not before and node not in roots:
                self._error(
                    "entry_point",
                    f'Node "{node}" depends on nothing and is no entry point, so it would never run: '
                    "give it a depends_on, or leave entry_point out.",
                )

    # -- fields --------------------------------------------------------------------------------

    def _known(
        self,
        given: Mapping[str, Any],
        place: str,
        named: str,
        fields: frozenset[str],
        later: frozenset[str],
    ) -> None:
        dot = f"{place}." if place else ""
        for field in given:
            if field in later:
                self._error(f"{dot}{field}", f'{named}: "{field}" is not supported by this version.')
            elif field not in fields:
                hint = nearest(field, fields)
                finding = Finding(f"{dot}{field}", f'{named}: unknown field "{field[:100]}"{hint or "."}')
                (self._errors if hint else self._warnings).append(finding)

    def _text(self, given: Mapping[str, Any], field: str, dot: str) -> Optional[str]:
        value = given.get(field)
        if value is None or isinstance(value, str):
            return value
        self._error(f"{dot}{field}", f"{dot}{field} must be text.")
        return None

    def _object(self, given: Mapping[str, Any], field: str, dot: str) -> dict[str, Any]:
        value = given.get(field)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._error(f"{dot}{field}", f"{dot}{field} must be an object.")
            return {}
        return value

    def _seconds(self, given: Mapping[str, Any], field: str, dot: str) -> Optional[Seconds]:
        value = given.get(field)
        if value is None:
            return None
        if not _is_number(value) or not 0 < value <= LONGEST:
            self._error(f"{dot}{field}", f"{dot}{field} must be a number of seconds above 0, at most a year.")
            return None
        return float(value)

    def _retry(self, given: Mapping[str, Any], dot: str, default: RetryPolicy) -> RetryPolicy:
        value = given.get("retry")
        if value is None:
            return default
        place = f"{dot}retry"
        if not isinstance(value, dict):
            self._error(place, f"{place} must be an object such as {{max_attempts: 3}}.")
            return default
        self._known(value, place, place, _RETRY_FIELDS, frozenset())
        found: dict[str, Any] = {}
        for field in ("initial_interval", "max_interval", "max_elapsed"):
            if value.get(field) is not None:
                found[field] = self._seconds(value, field, f"{place}.")
        for field, rule, fits in _RETRY_RULES:
            if value.get(field) is not None:
                if not fits(value[field]):
                    self._error(f"{place}.{field}", f"{place}.{field} must be {rule}.")
                    continue
                given_value = value[field]
                found[field] = frozenset(given_value) if isinstance(given_value, list) else given_value
        return default if self._errors else attrs.evolve(default, **found)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_RETRY_RULES = (
    (
        "max_attempts",
        f"a whole number from 1 to {MAX_ATTEMPTS}",
        lambda value: _is_int(value) and 1 <= value <= MAX_ATTEMPTS,
    ),
    ("backoff", "a number from 1 to 100", lambda value: _is_number(value) and 1 <= value <= 100),
    ("jitter", "true or false", lambda value: isinstance(value, bool)),
    (
        "non_retryable",
        "a list of error codes",
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    ),
)
