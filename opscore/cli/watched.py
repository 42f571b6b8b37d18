"""What is known of an execution by its events: the state of each node. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Mapping, Optional, Sequence

import attrs

from opscore.cli.wording import moment

_STATES = {
    "node.started": "running", "node.completed": "completed", "node.failed": "failed", "node.skipped": "skipped",
    "node.waiting": "waiting", "node.retrying": "retrying",
}  # fmt: skip
ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})
_IN_VIEW = {"failed": 0, "running": 1, "retrying": 2, "waiting": 3}
"""What is shown first where there is not room for all."""


@attrs.define
class Node:
    """A node as its events tell."""

    node_id: str
    agent_id: Optional[str] = None
    state: str = "pending"
    attempt: Optional[int] = None
    changed: Optional[datetime] = None
    began: Optional[datetime] = None
    ended: Optional[datetime] = None
    told: Optional[str] = None
    touched: int = 0

    def seconds(self, now: datetime) -> Optional[float]:
        """How long it has been in its state; of one that has ended, how long it took since it began."""
        begin = self.began if self.ended is not None else self.changed
        return None if begin is None else max(0.0, ((self.ended or now) - begin).total_seconds())


class Watched:
    """An execution, event by event."""

    def __init__(self, nodes: Sequence[Mapping[str, Any]] = ()) -> None:
        """Begin with the nodes of its flow, as far as they are known."""
        self.status = "pending"
        self.began: Optional[datetime] = None
        self.ended: Optional[datetime] = None
        self.told: Optional[str] = None
        self.nodes = {node["id"]: Node(node["id"], node.get("agent_id")) for node in nodes}
        self._count = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in the next event."""
        self._count += 1
        kind, _, word = str(event["type"]).partition(".")
        if kind == "execution":
            self._take_execution(word, event)
        elif event.get("node_id"):
            self._take_node(event)

    def _take_execution(self, word: str, event: Mapping[str, Any]) -> None:
        at = moment(event.get("at"))
        if word == "accepted":
            self.began = at
        elif word in ("started", "resumed"):
            self.status = "running"
        elif word in ("paused", *ENDED):
            self.status = word
        if word in ENDED:
            self.ended = at
            self.told = _told(event["data"])
            for node in self.nodes.values():
                if node.state in ("running", "waiting", "retrying"):
                    node.state, node.ended = "cancelled", at

    def _take_node(self, event: Mapping[str, Any]) -> None:
        state = _STATES.get(event["type"])
        if state is None:
            return
        node_id, at = event["node_id"], moment(event.get("at"))
        node = self.nodes.setdefault(node_id, Node(node_id))
        node.state, node.touched = state, self._count
        node.agent_id = event.get("agent_id") or node.agent_id
        node.attempt = event.get("attempt") or node.attempt
        node.told = _told(event["data"])
        node.changed = at
        node.began = node.began or (at if state == "running" else None)
        node.ended = at if state in ENDED else None

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None

    @property
    def done(self) -> int:
        """How many nodes have ended."""
        return sum(node.state in ENDED for node in self.nodes.values())

    def seconds(self, now: datetime) -> Optional[float]:
        """How long it has run."""
        return None if self.began is None else max(0.0, ((self.ended or now) - self.began).total_seconds())

    def in_view(self, room: int) -> list[Node]:
        """All nodes in their order; where there is not room, those that matter most now."""
        nodes = list(self.nodes.values())
        if len(nodes) <= room:
            return nodes
        chosen = sorted(nodes, key=lambda node: (_IN_VIEW.get(node.state, 9), -node.touched))[: max(0, room)]
        kept = {node.node_id for node in chosen}
        return [node for node in nodes if node.node_id in kept]


def _told(data: Mapping[str, Any]) -> Optional[str]:
    """What an event says beyond its type."""
    if data.get("error_message") or data.get("error_code"):
        return ": ".join(str(data[name]) for name in ("error_code", "error_message") if data.get(name))
    if data.get("reason"):
        return ": ".join(str(data[name]) for name in ("reason", "detail") if data.get(name))
    return None
