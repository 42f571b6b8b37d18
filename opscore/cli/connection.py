"""A server that is running elsewhere: the options that name it, and questions to it."""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable, Optional, TypeVar

import attrs
import click

from opscore.cli.serve import run_async

if TYPE_CHECKING:
    from opscore_sdk import OpsCoreClientAsync

T = TypeVar("T")


@attrs.frozen
class Remote:
    """Where a server is, and the key for it; None for what the environment says."""

    url: Optional[str] = None
    api_key: Optional[str] = None

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[OpsCoreClientAsync]:
        """A client for it. A person waits: nothing is tried again unless the options say so."""
        from opscore_sdk import OpsCoreClientAsync

        async with OpsCoreClientAsync(self.url, self.api_key, **{"max_retries": 0, **options}) as client:
            yield client

    def ask(self, work: Callable[[OpsCoreClientAsync], Awaitable[T]]) -> T:
        """What some work with a client gives.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; the work was cancelled.
        """

        async def asked() -> T:
            _let_ctrl_c_cancel()
            async with self.client() as client:
                return await work(client)

        try:
            return run_async(asked())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def _let_ctrl_c_cancel() -> None:
    """Have Ctrl-C cancel the command's task, as Python does since 3.11; before, it struck whatever ran just then."""
    task = asyncio.current_task()
    if sys.version_info < (3, 11) and sys.platform != "win32" and task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)


def remote_command(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--url``, ``--api-key`` and ``--json``, and call it with ``remote`` and ``as_json``."""

    @functools.wraps(command)
    def call(*args: Any, url: Optional[str], api_key: Optional[str], **options: Any) -> Any:
        return command(*args, remote=Remote(url, api_key), **options)

    return with_url(with_key(with_json(call)))


with_url = click.option(
    "--url", envvar="OPSCORE_API_URL", metavar="URL", help="The server. [OPSCORE_API_URL, http://127.0.0.1:8000]"
)
with_key = click.option("--api-key", envvar="OPSCORE_API_KEY", metavar="KEY", help="A key for it. [OPSCORE_API_KEY]")
with_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
