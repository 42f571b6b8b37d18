"""Live progress of one execution, told by its events."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Console
from rich.text import Text

_SIGNS = {
    "node.started": ("▸", "cyan"),
    "node.completed": ("✓", "green"),
    "node.failed": ("✗", "red"),
    "node.retrying": ("↻", "yellow"),
    "node.waiting": ("…", "yellow"),
    "execution.completed": ("✓", "bold green"),
    "execution.failed": ("✗", "bold red"),
    "execution.cancelled": ("✗", "bold yellow"),
}
FINAL = ("execution.completed", "execution.failed", "execution.cancelled")
_LOOK_EVERY = 0.05


async def follow(client: Any, execution_id: str, console: Console) -> dict[str, Any]:
    """Print events as they come until the execution has ended; the execution then."""
    after, ended = 0, False
    while not ended:
        page = await client.get_execution_events(execution_id, after=after)
        for event in page["events"]:
            _tell(console, event)
            ended = ended or event["type"] in FINAL
        after = page["next_after"]
        if not page["events"]:
            await asyncio.sleep(_LOOK_EVERY)
    execution: dict[str, Any] = await client.get_execution(execution_id)
    return execution


def _tell(console: Console, event: dict[str, Any]) -> None:
    sign, style = _SIGNS.get(event["type"], (" ", "dim"))
    subject = event.get("node_id") or "execution"
    agent = f" ({event['agent_id']})" if event.get("agent_id") else ""
    what = event["type"].partition(".")[2].replace("_", " ")
    line = Text(f"  {sign} ", style=style)
    line.append(f"{subject}{agent} {what}", style="")
    detail = event["data"].get("error_message")
    if detail:
        line.append(f": {detail}", style="red")
    console.print(line, highlight=False, soft_wrap=True)
