"""``opscore completion``: what makes a shell complete commands, and the ids that a running server knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Iterable, Optional

import click
from click.shell_completion import CompletionItem, get_completion_class

from opscore.cli.connection import Remote

if TYPE_CHECKING:
    from opscore_sdk import OpsCoreClientAsync

PROGRAM = "opscore"
VARIABLE = "_OPSCORE_COMPLETE"
"""Set by the shell's script when it asks for completions."""

_PATIENCE = 2.0
"""Seconds that a person who pressed the tabulator waits for a server."""
_MOST = 50

_WHERE = {
    "bash": 'eval "$(opscore completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(opscore completion zsh)"    in ~/.zshrc',
    "fish": "opscore completion fish > ~/.config/fish/completions/opscore.fish",
}


@click.command(epilog="\b\nTo have it in every shell:\n" + "\n".join(f"  {line}" for line in _WHERE.values()))
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete `opscore`.

    Ids of executions, agents and flows are completed too, where a server answers at once.
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())


Found = Iterable[tuple[str, Optional[str]]]
Look = Callable[["OpsCoreClientAsync", str], Awaitable[Found]]
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(look: Look) -> Completer:
    """Complete with what a server has; with nothing when it gives no answer."""

    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
        remote = Remote(context.params.get("url"), context.params.get("api_key"))
        return [CompletionItem(value, help=told) for value, told in _known(remote, look, begun)]

    return complete


def _known(remote: Remote, look: Look, begun: str) -> Found:
    import aiohttp  # noqa: F401 - the client loads it with its first request, and that takes its time

    from opscore_sdk import OpsCoreSDKError

    async def asked() -> Found:
        async with remote.client(timeout=_PATIENCE) as client:
            return await asyncio.wait_for(look(client, begun), _PATIENCE)

    try:
        return asyncio.run(asked())
    except (OpsCoreSDKError, asyncio.TimeoutError):
        return []


async def _executions(client: OpsCoreClientAsync, begun: str) -> Found:
    # What is found by text may have it elsewhere than at the beginning of its id.
    page = await client.list_executions(q=begun or None, limit=_MOST)
    return [
        (one.execution_id, f"{one.flow_id} {one.status}")
        for one in page.executions
        if one.execution_id.startswith(begun)
    ]


async def _agents(client: OpsCoreClientAsync, begun: str) -> Found:
    found = (await client.list_agents()).agents
    return [(one.agent_id, one.condition) for one in found if one.agent_id.startswith(begun)]


async def _flows(client: OpsCoreClientAsync, begun: str) -> Found:
    found: Any = (await client.list_flows()).flows
    return [(one.flow_id, one.name) for one in found if one.flow_id.startswith(begun)]


execution_ids, agent_ids, flow_ids = map(_completer, (_executions, _agents, _flows))
