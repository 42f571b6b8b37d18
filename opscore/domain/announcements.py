"""Agents as AgentKit describes them, in a notice or on its list (``agentId``, ``agentName``, ``capabilities`` ...)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attrs

from opscore.domain.agents import AgentSpec, is_id
from opscore.domain.errors import Invalid

LONGEST_NAME = 200
LONGEST_VERSION = 100
LONGEST_ENDPOINT = 2_000
LONGEST_CAPABILITY = 200
MOST_CAPABILITIES = 200

_PROTOCOL = "agentkit"
_OPERATORS = ("description", "agent_type", "is_active", "max_concurrency")
"""What AgentKit does not know, and so does not change."""


def announced(details: Any) -> AgentSpec:
    """The specification that an agent's details mean.

    Raises:
        Invalid: They are not as they should be.
    """
    if not isinstance(details, dict):
        raise Invalid("An agent's details must be an object.")
    agent_id = details.get("agentId")
    if not isinstance(agent_id, str) or not is_id(agent_id):
        raise _invalid("agentId", "must be 1 to 100 letters, digits, '_' or '-'.")
    metadata = details.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise _invalid("metadata", "must be an object.")
    return AgentSpec(
        agent_id=agent_id,
        name=_text(details, "agentName", LONGEST_NAME) or agent_id,
        protocol=_PROTOCOL,
        endpoint=_text(details, "contactEndpoint", LONGEST_ENDPOINT) or None,
        capabilities=_capabilities(details),
        version=_text(details, "version", LONGEST_VERSION),
        metadata=metadata,
    )


def merged(spec: AgentSpec, known: AgentSpec) -> AgentSpec:
    """An announced agent as it is to be registered: what only an operator says of it stays as it is known."""
    return attrs.evolve(spec, **{name: getattr(known, name) for name in _OPERATORS})


def _text(details: Mapping[str, Any], field: str, longest: int) -> Optional[str]:
    value = details.get(field)
    if value is not None and not (isinstance(value, str) and len(value) <= longest):
        raise _invalid(field, f"must be text of at most {longest} characters.")
    return value


def _capabilities(details: Mapping[str, Any]) -> tuple[str, ...]:
    given = details.get("capabilities") or []
    if not isinstance(given, list) or len(given) > MOST_CAPABILITIES:
        raise _invalid("capabilities", f"must be a list of at most {MOST_CAPABILITIES}.")
    if not all(isinstance(one, str) and len(one) <= LONGEST_CAPABILITY for one in given):
        raise _invalid("capabilities", f"must be texts of at most {LONGEST_CAPABILITY} characters.")
    return tuple(given)


def _invalid(field: str, text: str) -> Invalid:
    return Invalid(f"{field} {text}", details={field: [text[0].upper() + text[1:]]})
