"""``opscore keys``: on a running server over HTTP, or on a database that nobody serves."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional

import click

from opscore.cli.output import print_json
from opscore.cli.serve import address_of, database_option, run_async
from opscore.domain.instants import show
from opscore.domain.keys import SCOPES, Key

Json = dict[str, Any]


@click.group()
@click.option("--url", envvar="OPSCORE_API_URL", help="A running server; without it the database file is opened.")
@click.option("--api-key", envvar="OPSCORE_API_KEY", help="An admin key for that server.")
@database_option
@click.pass_context
def keys(context: click.Context, url: Optional[str], api_key: Optional[str], database: Optional[str]) -> None:
    """Create, list and revoke API keys."""
    context.obj = (url, api_key, address_of(database))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be repeated. [read, write]")
@json_option
@click.pass_obj
def create(where: Any, name: str, scopes: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Create a key and show it, this once."""
    wanted = scopes or ("read", "write")

    async def over_http(client: Any) -> Json:
        created: Json = await client.create_key(name, wanted)
        return created

    async def in_file(operations: Any) -> Json:
        key, secret = await operations.keys.create(name, wanted)
        return {**_record(key), "key": secret}

    created = _perform(where, over_http, in_file)
    if as_json:
        print_json(created)
        return
    click.echo(created["key"])
    click.echo(f"Key {created['key_id']} ({', '.join(created['scopes'])}). It is shown this once: keep it.", err=True)


@keys.command(name="list")
@json_option
@click.pass_obj
def list_keys(where: Any, as_json: bool) -> None:  # noqa: FBT001
    """List all keys, without their secrets."""

    async def over_http(client: Any) -> Json:
        listed: Json = await client.list_keys()
        return listed

    async def in_file(operations: Any) -> Json:
        found = [_record(key) for key in await operations.keys.list()]
        return {"keys": found, "count": len(found)}

    listed = _perform(where, over_http, in_file)
    if as_json:
        print_json(listed)
        return
    for key in listed["keys"]:
        state = f"revoked {key['revoked_at']}" if key["revoked_at"] else "active"
        scopes = ",".join(key["scopes"])
        click.echo(f"{key['key_id']}  {key['hint']}...  {scopes:<16}  {key['created_at']}  {state}  {key['name']}")
    if not listed["keys"]:
        click.echo("No keys yet; `opscore keys create NAME` makes one.", err=True)


@keys.command()
@click.argument("key_id")
@json_option
@click.pass_obj
def revoke(where: Any, key_id: str, as_json: bool) -> None:  # noqa: FBT001
    """Revoke a key, at once and for good."""

    async def over_http(client: Any) -> Json:
        revoked: Json = await client.revoke_key(key_id)
        return revoked

    async def in_file(operations: Any) -> Json:
        return _record(await operations.keys.revoke(key_id))

    revoked = _perform(where, over_http, in_file)
    if as_json:
        print_json(revoked)
    else:
        click.echo(f"Key {revoked['key_id']} is revoked.")


def _perform(
    where: Any, over_http: Callable[[Any], Awaitable[Json]], in_file: Callable[[Any], Awaitable[Json]]
) -> Json:
    url, api_key, database = where

    async def remote() -> Json:
        from opscore_sdk import OpsCoreClientAsync

        async with OpsCoreClientAsync(url, api_key, max_retries=0) as client:
            return await over_http(client)

    async def local() -> Json:
        from opscore.bootstrap import running
        from opscore.settings import load_settings

        settings = load_settings(host="127.0.0.1", database=database, drain_timeout=0.1, flows_dir="")
        async with running(settings) as operations:
            return await in_file(operations)

    return run_async(remote() if url else local())


def _record(key: Key) -> Json:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "hint": key.hint,
        "created_at": show(key.created_at),
        "revoked_at": show(key.revoked_at),
    }
