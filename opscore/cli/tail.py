"""An endless stream in a terminal: it outlives the server's restarts, and says what is missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Callable

import click

if TYPE_CHECKING:
    from opscore_sdk import Feed
    from opscore_sdk.streams import Entry

_PAUSE = 1.0


async def follow(feed: Feed[Entry], show: Callable[[Entry], object]) -> None:
    """Show what comes until somebody interrupts; a server that is away is waited for."""
    from opscore_sdk import OpsCoreConnectionError, ServerError

    pruned, is_told = None, False
    async with feed:
        while True:
            try:
                async for item in feed:
                    is_told = False
                    if feed.pruned != pruned:
                        pruned = feed.pruned
                        click.echo("Some of what was asked for is gone by now.", err=True)
                    show(item)
            except (OpsCoreConnectionError, ServerError) as error:
                if not is_told:
                    click.echo(f"{error} Trying again; Ctrl-C ends.", err=True)
                is_told = True
            feed.begin_again()
            await asyncio.sleep(_PAUSE)
