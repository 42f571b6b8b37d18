"""What happens on the fake server of :mod:`opscore_sdk.testing`: its events, its log and its overview, over HTTP."""

from __future__ import annotations

from collections import Counter
from typing import Callable, Dict, List

import orjson
from aiohttp import web

from opscore_sdk.checks import LOG_LEVELS
from opscore_sdk.fake_http import Problem, Route, number, reply
from opscore_sdk.fake_runs import Journal, Json, now
from opscore_sdk.fake_store import FakeStore

_COMMENT_EVERY = 15.0
_DEFAULT_LIMIT = 50
_HOUR = 3600
_OPEN = ("pending", "running", "paused")
_ENDED = ("completed", "failed", "cancelled")


class ObservationRoutes:
    """Events of all executions, log entries, and the overview."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def table(self) -> List[Route]:
        """All routes."""
        return [
            ("GET", "/events", self.events),
            ("GET", "/logs", self.logs),
            ("GET", "/overview", self.overview),
            ("GET", "/whoami", self.whoami),
            ("GET", "/flows/{flow_id}/graph", self.graph),
        ]

    async def events(self, request: web.Request) -> web.StreamResponse:
        """A page, oldest first, or a stream."""
        wanted = _filter(request, ("agent_id", "flow_id", "execution_id"))
        kinds = [kind for kind in request.query.get("type", "").split(",") if kind]

        def is_wanted(event: Json) -> bool:
            return wanted(event) and (not kinds or any(_is_kind(event["type"], kind) for kind in kinds))

        journal = self._store.feed
        if _wants_stream(request):
            return await _stream(request, journal, "position", is_wanted)
        after, limit = int(number(request, "after", 0)), int(number(request, "limit", _DEFAULT_LIMIT))
        found = [event for event in journal.entries[after:] if is_wanted(event)]
        page = found[:limit]
        last = page[-1]["position"] if len(found) > limit else max(after, len(journal.entries))
        return reply({"events": page, "next_after": last})

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """A page, newest first, or a stream."""
        wanted = _filter(request, ("agent_id", "execution_id", "flow_id", "node_id", "error_code", "trace_id"))
        least = LOG_LEVELS.index(request.query.get("level", "debug").lower())
        text = request.query.get("q", "").lower()

        def is_wanted(entry: Json) -> bool:
            is_grave = LOG_LEVELS.index(entry["level"].lower()) >= least
            return is_grave and text in entry["message"].lower() and wanted(entry)

        journal = self._store.logs
        if _wants_stream(request):
            return await _stream(request, journal, "log_id", is_wanted)
        limit = int(number(request, "limit", _DEFAULT_LIMIT))
        before = int(number(request, "cursor", len(journal.entries) + 1))
        found = [entry for entry in journal.entries[: before - 1][::-1] if is_wanted(entry)]
        page = found[:limit]
        more = str(page[-1]["log_id"]) if len(found) > limit else None
        return reply({"logs": page, "count": len(page), "limit": limit, "next_cursor": more})

    async def overview(self, request: web.Request) -> web.Response:
        """Counts; the fake server has no past, so its window is all there was."""
        executions = list(self._store.executions.values())
        counts = Counter(one.record["status"] for one in executions)
        ended = {status: counts[status] for status in _ENDED}
        failed = [one.record for one in executions[::-1] if one.record["status"] == "failed"]
        agents = list(self._store.agents.values())
        states = {
            name: dict(Counter(agent[field] for agent in agents))
            for name, field in (("by_state", "state"), ("by_status", "status"), ("by_condition", "condition"))
        }
        names = ("execution_id", "flow_id", "error_code", "error_message", "completed_at")
        body = {
            "generated_at": now(),
            "window_seconds": number(request, "window", _HOUR),
            "executions": {
                "open": {status: counts[status] for status in _OPEN},
                "window": {"started": len(executions), **ended},
                "totals": ended,
            },
            "throughput": [],
            "waiting": [],
            "queued": {"count": counts["pending"], "oldest_since": None},
            "agents": {"total": len(agents), **states},
            "calls": {"in_flight": counts["running"], "waiting": 0},
            "attention": [],
            "recent_failures": [{name: record[name] for name in names} for record in failed[:10]],
        }
        return reply(body)

    async def whoami(self, request: web.Request) -> web.Response:
        """Whoever comes in may do everything."""
        has_key = bool(request.headers.get("Authorization") or request.headers.get("X-API-Key"))
        scopes = ["admin", "read", "write"]
        body = {"key_required": has_key, "authenticated": has_key, "key_id": None, "name": None, "scopes": scopes}
        return reply(body)

    async def graph(self, request: web.Request) -> web.Response:
        """The nodes of a flow, and the edges of their ``depends_on``."""
        flow_id = request.match_info["flow_id"]
        versions = self._store.flows.get(flow_id)
        if versions is None:
            raise Problem(404, f'There is no flow "{flow_id}".', "FLOW_NOT_FOUND")
        version = int(number(request, "version", len(versions)))
        return reply(_graph(flow_id, version, versions[version - 1]))


def _graph(flow_id: str, version: int, flow: Json) -> Json:
    edges = [{"from": before, "to": node["id"]} for node in flow["nodes"] for before in node.get("depends_on") or ()]
    starts, ends = {edge["from"] for edge in edges}, {edge["to"] for edge in edges}
    ids = [node["id"] for node in flow["nodes"]]
    return {
        "flow_id": flow_id,
        "flow_version": version,
        "kind": "flow",
        "nodes": [_node(node) for node in flow["nodes"]],
        "edges": edges,
        "entries": [one for one in ids if one not in ends],
        "exits": [one for one in ids if one not in starts],
    }


def _node(node: Json) -> Json:
    shown = {name: node.get(name) for name in ("id", "name", "agent_id", "capability", "timeout")}
    return {**shown, "type": node.get("type") or "processor"}


def _filter(request: web.Request, names: tuple[str, ...]) -> Callable[[Json], bool]:
    wanted: Dict[str, str] = {name: request.query[name] for name in names if name in request.query}
    return lambda entry: all(entry.get(name) == value for name, value in wanted.items())


def _is_kind(found: str, kind: str) -> bool:
    return found == kind or (kind.endswith(".*") and found.startswith(kind[:-1]))


def _wants_stream(request: web.Request) -> bool:
    return "text/event-stream" in request.headers.get("Accept", "")


async def _stream(
    request: web.Request, journal: Journal, number_name: str, is_wanted: Callable[[Json], bool]
) -> web.StreamResponse:
    """Server-Sent Events above a number; without one, from now on."""
    begin = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    seen = int(begin) if begin.isdigit() else 0 if "since" in request.query else len(journal.entries)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await response.write(b"id: %d\n\n" % seen)
    while True:
        for entry in journal.entries[seen:]:
            seen = entry[number_name]
            if is_wanted(entry):
                kind = entry["type"] if number_name == "position" else "log"
                await response.write(f"id: {seen}\nevent: {kind}\ndata: {orjson.dumps(entry).decode()}\n\n".encode())
            else:
                await response.write(b"id: %d\n\n" % seen)
        if not await journal.news(seen, _COMMENT_EVERY):
            await response.write(b": still here\n\n")
