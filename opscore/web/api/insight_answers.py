"""Answers about how things stand: pure translation of the domain's values to the API's JSON."""

from __future__ import annotations

from typing import Any

from opscore.domain.flows import Flow, Node
from opscore.domain.keys import Identity

Json = dict[str, Any]


def identity(found: Identity) -> Json:
    """Who asks, and what that one may do."""
    return {
        "key_required": found.key_required,
        "authenticated": found.key is not None,
        "key_id": None if found.key is None else found.key.key_id,
        "name": None if found.key is None else found.key.name,
        "scopes": list(found.scopes),
    }


def graph(flow: Flow) -> Json:
    """A flow as nodes and edges, whatever kind of definition it came from."""
    body: Json = {
        "flow_id": flow.flow_id,
        "flow_version": flow.version,
        "kind": flow.kind,
        "name": flow.name,
        "nodes": [_node(node) for node in flow.nodes.values()],
        "edges": [{"from": before, "to": node.id} for node in flow.nodes.values() for before in node.depends_on],
        "entries": list(flow.roots),
        "exits": list(flow.exits),
    }
    if "input_schema" in flow.definition:
        body["input_schema"] = flow.definition["input_schema"]
    return body


def _node(node: Node) -> Json:
    return {
        "id": node.id,
        "name": node.name,
        "type": node.type,
        "agent_id": node.agent_id,
        "capability": node.capability,
        "timeout": node.timeout,
        "max_attempts": node.retry.max_attempts,
        "fallback_agent_id": node.on_error.agent_id,
    }
