"""``opscore serve`` and ``opscore migrate``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Coroutine, Optional, TypeVar

import click

from opscore.cli.output import print_json

if TYPE_CHECKING:
    from opscore.settings import Settings

T = TypeVar("T")


def address_of(database: Optional[str]) -> Optional[str]:
    """A database as people write it, a path or an address, as the address that settings hold."""
    if database is None or "://" in database:
        return database
    return f"sqlite:///{database}"


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop where it exists."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    # uvloop.run is younger than the oldest uvloop for Python 3.9
    uvloop.install()
    return asyncio.run(work)


database_option = click.option(
    "--database", metavar="URL", help="sqlite:///path, or just a path. [OPSCORE_DATABASE, sqlite:///opscore.db]"
)


@click.command()
@click.option("--host", help="Address to listen on. [OPSCORE_HOST, 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on, 0 for a free one. [OPSCORE_PORT, 8000]")
@database_option
def serve(host: Optional[str], port: Optional[int], database: Optional[str]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Open calls get ten seconds to end; a second signal drops them. Nothing is lost either way.
    """
    from opscore.serving import serve as serve_until_signal
    from opscore.settings import load_settings

    settings = load_settings(host=host, port=port, database=address_of(database))
    _configure_logging(settings)

    def ready(url: str) -> None:
        click.echo(f"Ops-Core is ready at {url} (the dashboard; the API is described at {url}/docs)", err=True)

    code = run_async(serve_until_signal(settings, on_ready=ready))
    raise click.exceptions.Exit(code)


def _configure_logging(settings: Settings) -> None:
    from opscore.telemetry.logs import configure_logging

    configure_logging(settings.log_level, settings.log_format, settings.log_levels)


@click.command()
@database_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate(database: Optional[str], as_json: bool) -> None:  # noqa: FBT001 - click gives flags by position or name
    """Bring the database up to date (serve does that too)."""
    from opscore.bootstrap import migrate as migrate_database
    from opscore.settings import load_settings

    settings = load_settings(database=address_of(database))

    applied = run_async(migrate_database(settings))
    if as_json:
        print_json({"database": settings.database, "applied": applied})
    elif applied:
        click.echo(f"Applied {', '.join(applied)} to {settings.database_path}.")
    else:
        click.echo(f"{settings.database_path} is up to date.")
