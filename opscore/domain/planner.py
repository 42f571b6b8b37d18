"""What comes next in one execution: incremental, pure, the same answer for the same facts.

A :class:`Progress` remembers, for the nodes that something already happened to, how much they still wait
for. When a node ends, only its followers are looked at: the cost of a step does not grow with the flow.
"""

from __future__ import annotations

from typing import Any, Mapping, Union

import attrs

from opscore.domain.executions import StepStatus
from opscore.domain.flows import Flow, Node


@attrs.frozen
class Ready:
    """The node may run now."""

    node_id: str


@attrs.frozen
class Skip:
    """The node is not to run: all that it depends on was skipped."""

    node_id: str


@attrs.frozen
class Complete:
    """All nodes have ended: so has the execution."""


Command = Union[Ready, Skip, Complete]
_ENDED = ("completed", "skipped", "failed")


class Progress:
    """How far one execution of a flow has come."""

    __slots__ = ("_alive", "_flow", "_left", "_unfinished")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._left: dict[str, int] = {}
        self._alive: set[str] = set()
        self._unfinished = len(flow.nodes)

    @classmethod
    def resume(cls, flow: Flow, steps: Mapping[str, StepStatus]) -> tuple[Progress, list[str]]:
        """Rebuild from what was recorded.

        Args:
            flow: The version of the flow that the execution runs.
            steps: The status of each step that has one. A failed one is one that the flow goes on after.

        Returns:
            The progress, and the nodes that may run and have no result yet, begun or not.
        """
        progress = cls(flow)
        ready = list(flow.roots)
        for node_id, status in steps.items():
            if status in _ENDED:
                freed = progress._release(node_id, completed=status != "skipped")
                ready += [follower for follower, alive in freed if alive]
        return progress, [node_id for node_id in ready if steps.get(node_id) not in _ENDED]

    def begin(self) -> list[Command]:
        """The first nodes."""
        if not self._flow.nodes:
            return [Complete()]
        return [Ready(node_id) for node_id in self._flow.roots]

    def ended(self, node_id: str, *, completed: bool) -> list[Command]:
        """Take in that a node completed (or was skipped); what that makes possible.

        Nodes that are skipped in consequence are taken in at once; the caller only records them.
        """
        commands: list[Command] = []
        ends = [(node_id, completed)]
        while ends:
            for follower, alive in self._release(ends[-1][0], completed=ends.pop()[1]):
                commands.append(Ready(follower) if alive else Skip(follower))
                if not alive:
                    ends.append((follower, False))
        if not self._unfinished:
            commands.append(Complete())
        return commands

    def _release(self, node_id: str, *, completed: bool) -> list[tuple[str, bool]]:
        """Count a node as ended; the followers that waited for it last, and whether they are to run."""
        self._unfinished -= 1
        freed = []
        for follower in self._flow.followers.get(node_id, ()):
            if completed:
                self._alive.add(follower)
            left = self._left.pop(follower, len(self._flow.nodes[follower].depends_on)) - 1
            if left:
                self._left[follower] = left
            else:
                freed.append((follower, follower in self._alive))
                self._alive.discard(follower)
        return freed


def merged_input(
    node: Node, execution_input: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What a node gets: the execution's input, then the outputs of its dependencies in their order."""
    merged = dict(execution_input)
    for before in node.depends_on:
        merged.update(outputs.get(before, {}))
    return merged


def passed_on(
    node: Node, execution_input: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The output of a node without an agent: an output node collects only what reaches it."""
    if node.type == "output" and node.depends_on:
        return merged_input(node, {}, outputs)
    return merged_input(node, execution_input, outputs)


def as_output(value: Any) -> dict[str, Any]:
    """An output that is not an object becomes ``{"value": ...}``."""
    return value if isinstance(value, dict) else {"value": value}


def given_input(
    flow: Flow, node: Node, execution_input: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What an agent is called with: the merged input; in a workflow with the task's own parameters on top.

    The first task of a workflow has its parameters as the execution's input, or what was given instead of them.
    """
    merged = merged_input(node, execution_input, outputs)
    return {**merged, **node.config} if flow.kind == "workflow" and node.id not in flow.roots else merged


def task_payload(
    flow: Flow, node: Node, execution_input: Mapping[str, Any], merged: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What an agent gets that knows no difference between input and configuration.

    A task of a workflow gets its own parameters; the first what the session was triggered with, which are its
    parameters where nothing else was given.
    """
    if flow.kind != "workflow":
        return {**node.config, **merged}
    return execution_input if node.id in flow.roots else node.config
