"""What each event means, as a sentence for people; ``docs/observability.md`` has the same table.

A call to the log names its event and gives the facts. ``{name}`` in a sentence is one of them.
"""

from __future__ import annotations

from typing import Any, Mapping

SENTENCES: Mapping[str, str] = {
    # executions
    "execution.accepted": "An execution of {flow_id} was accepted.",
    "execution.started": "The execution of {flow_id} has begun.",
    "execution.cancel_requested": "Somebody asked for the end of the execution of {flow_id}.",
    "execution.completed": "The execution of {flow_id} has completed.",
    "execution.failed": "The execution of {flow_id} has failed: {reason}",
    "execution.cancelled": "The execution of {flow_id} was cancelled.",
    # nodes and calls
    "node.started": "A call for node {node_id} is about to leave.",
    "node.completed": "Node {node_id} has completed.",
    "node.replaced": "Node {node_id} has failed, and the output that its flow names stands in: {reason}",
    "node.retrying": "Node {node_id} has failed and will be tried again: {reason}",
    "node.failed": "Node {node_id} has failed: {reason}",
    "node.skipped": "Node {node_id} is skipped: all it depends on was.",
    "node.waiting": "Node {node_id} waits for: {waiting_for}. {reason}",
    "call.answered": "Agent {agent_id} has answered.",
    "call.taken": "Agent {agent_id} has taken the task and will answer later.",
    "call.refused": "A call to agent {agent_id} has failed: {reason}",
    "call.dropped": "A call to agent {agent_id} was dropped: nobody waits for it any longer.",
    # agents
    "agent.registered": "Agent {agent_id} was registered.",
    "agent.changed": "The registration of agent {agent_id} was changed.",
    "agent.deleted": "Agent {agent_id} was deleted.",
    "agent.state": "Agent {agent_id} was {before} and reports to be {state}.",
    "agent.offline": "Agent {agent_id} counts as offline: {reason}.",
    "agent.back": "Agent {agent_id} was offline and is heard again.",
    "agent.breaker_opened": "Agent {agent_id} could not be reached, again, and is left for {pause} s: {reason}",
    "agent.breaker_closed": "Agent {agent_id} can be reached again and gets work.",
    "agent.probe_failed": "Agent {agent_id} was asked for its health, and does not seem well: {reason}",
    "agent.probe_passed": "Agent {agent_id} was asked for its health, and is well.",
    # requests
    "request.answered": "{method} {path} was answered with {status}.",
    "request.refused": "{method} {path} was refused: {reason}",
    "request.malformed": "Somebody sent what is no HTTP: {reason}",
    "request.failed": "A request has failed for a reason of the server's own: {reason}",
    "request.store_failed": "A request could not be served, for the store could not: {reason}",
    "stream.cut": "A stream's reader took nothing in for too long and was cut off.",
    "stream.failed": "A stream has ended early: {reason}",
    # keys and flows
    "flows.loaded": "The flows of {directory} were loaded.",
    "key.created": "The API key {key_id} was created.",
    "key.revoked": "The API key {key_id} was revoked.",
    # the server
    "server.ready": "The server accepts connections at {url}.",
    "server.stopping": "The server stops: it accepts nothing new and lets open calls end.",
    "server.stopped": "The server has stopped.",
    "store.failed": "The store has failed, and the process must end: {reason}",
    "store.dead": "The database is dead: {reason}",
    # the engine
    "engine.recovered": "{executions} executions that were open at the last end of the server go on.",
    "engine.recovery_waits": "Open executions cannot be taken up now, and will be: {reason}",
    "engine.task_failed": "A task of the engine's has failed: {reason}",
    "engine.task_stays": "A task that nobody waits for any longer could not be forgotten: {reason}",
    "engine.step_failed": "A step of the engine's has failed, and the execution is taken up anew: {reason}",
    "engine.hop_failed": "An attempt has failed inside the engine, and the execution is taken up anew: {reason}",
    "run.lost": "Memory and store disagree about an execution, and it is taken up anew: {reason}",
    "run.waits_for_store": "An execution cannot go on before the store answers: {reason}",
    "queue.store_failed": "The queue could not be looked after, for the store could not: {reason}",
    "pruner.pruned": "Old history was deleted.",
    "pruner.store_failed": "Old history could not be deleted: {reason}",
    "observer.failed": "An observer of the engine has failed: {reason}",
    # events, metrics and traces
    "feed.store_failed": "New events could not be read for their readers, and will be: {reason}",
    "metrics.store_failed": "A scrape of the metrics went without the store: {reason}",
    "metrics.sizes_failed": "The sizes of the database could not be looked at: {reason}",
    "traces.failed": "A span could not be made: {reason}",
    "traces.not_installed": "{reason}",
    "traces.not_flushed": "{reason}",
    # protocols and discovery
    "protocol.failed": "A call has failed inside Ops-Core: {reason}",
    "spine.call_failed": "A call has failed inside Ops-Core: {reason}",
    "spine.probe_failed": "Asking an agent for its health has failed inside Ops-Core: {reason}",
    "agentkit.call_failed": "A call to AgentKit has failed inside Ops-Core: {reason}",
    "agentkit.listed_agent_ignored": "An agent on AgentKit's list cannot be called and is ignored: {reason}",
    "local.call_failed": "A call of a local agent has failed inside Ops-Core: {reason}",
    "discovery.off": "AgentKit offers no list of agents: {reason}",
    "discovery.failed": "AgentKit's list of agents could not be read: {reason}",
    "discovery.registered": "Agent {agent_id}, on AgentKit's list, was registered.",
    "discovery.changed": "The registration of agent {agent_id} was changed as AgentKit's list says.",
    "discovery.forgotten": "Agent {agent_id} is on AgentKit's list no more and was deleted.",
    # the log itself
    "logs.dropped": "{lost} lines of the log were lost here: they came faster than they could be written.",
    "logs.not_kept": "Lines of the log cannot be kept in the store now: {reason}",
    "logs.not_pruned": "Old lines of the log could not be deleted from the store: {reason}",
    "logs.not_shown": "A line of the log could not be shown or handed on: {reason}",
    "logs.lost": "{lost} lines of the log were not kept in the store.",
}


def sentence(event: str, facts: Mapping[str, Any]) -> str:
    """The sentence for an event; one without a sentence is said in its own words."""
    template = SENTENCES.get(event)
    if template is None:
        words = event.replace(".", ": ", 1).replace("_", " ").replace(".", " ")
        return f"{words[0].upper()}{words[1:]}: {facts['reason']}" if facts.get("reason") else f"{words}."
    if "{" not in template:
        return template
    return template.format_map(_Known(facts)).strip()


class _Known(dict[str, Any]):
    """Facts; what is not known is left out of a sentence."""

    def __missing__(self, name: str) -> str:
        return ""
