"""The dashboard's page and files, as a browser gets them. What they do in one is in tests/browser."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from opscore.settings import Settings
from opscore.testing import open_client

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "opscore" / "web" / "dashboard" / "static"
OURS = sorted(path for path in STATIC.rglob("*.js") if "vendor" not in path.parts)
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody without a key, at a server that wants one."""
    settings = Settings(database="sqlite:///:memory:", drain_timeout=0.1, api_key="secret-for-tests")
    async with (
        open_client(settings) as opened,
        aiohttp.ClientSession(opened.make_url("/"), auto_decompress=False) as stranger,
    ):
        yield stranger


async def shell(client: aiohttp.ClientSession) -> str:
    async with client.get("/", headers={**BROWSER, "Accept-Encoding": "identity"}) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_the_root_is_a_page_for_browsers_and_a_pointer_for_others(client: aiohttp.ClientSession) -> None:
    """Accept with text/html gets the page, anything else the JSON pointer; caches are told."""
    async with client.get("/", headers=BROWSER) as page:
        assert (page.content_type, page.headers["Vary"]) == ("text/html", "Accept")
        assert page.headers["Cache-Control"] == "no-cache"
    async with client.get("/", headers={"Accept": "*/*"}) as pointer:
        assert pointer.headers["Vary"] == "Accept"
        assert (await pointer.json())["docs"] == "/docs"


async def test_the_policy_lets_nothing_in(client: aiohttp.ClientSession) -> None:
    """The page may load its own files and ask its own server; nothing inline, no eval, no frame."""
    async with client.get("/", headers=BROWSER) as page:
        given = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
        text = await page.text()
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Permissions-Policy" in page.headers
    assert given == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "font-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert not re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?:", text)


async def test_all_the_page_names_is_there_and_may_be_kept(client: aiohttp.ClientSession) -> None:
    """Each file has its type, needs no key, and is kept for ever under an address that names its content."""
    addresses = re.findall(r'(?:href|src)="(/dashboard[^"]+)"', await shell(client))
    assert {address.rsplit(".", 1)[1] for address in addresses} == {"js", "css", "svg"}
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for address in addresses:
        async with client.get(address) as file:
            assert file.status == 200, address
            assert file.content_type == kinds[address.rsplit(".", 1)[1]]
            assert file.headers["X-Content-Type-Options"] == "nosniff"
            assert "immutable" in file.headers["Cache-Control"]


async def test_files_travel_compressed_where_that_is_understood(client: aiohttp.ClientSession) -> None:
    """The compressed file is the same file."""
    (main,) = re.findall(r'src="(/dashboard[^"]+main\.js)"', await shell(client))
    async with client.get(main, headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        expected = await plain.read()
    async with client.get(main, headers={"Accept-Encoding": "gzip"}) as packed:
        assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(await packed.read()) == expected == (STATIC / "main.js").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "../__init__.py",
        "%2e%2e/__init__.py",
        "..%2f__init__.py",
        "core",
        "core/",
        "core/nothing.js",
        "//etc/passwd",
    ],
)
async def test_nothing_else_is_served(client: aiohttp.ClientSession, name: str) -> None:
    """What is not in the list is not there, however its path is written."""
    base = re.findall(r'src="(/dashboard/static/[0-9a-f]+/)main\.js"', await shell(client))[0]
    async with client.get(base + name) as answer:
        assert answer.status in (401, 404)


async def test_versions_never_mix(client: aiohttp.ClientSession) -> None:
    """A file asked for under another version's address is not there."""
    async with client.get("/dashboard/static/0123456789abcdef/main.js") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_modules_import_what_is_there_and_make_no_markup_of_text(path: Path) -> None:
    """Imports are relative and lead to files; nothing that could turn text into markup or code is used."""
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r'^(?:import .* from|export .* from|import) "([^"]+)";$', text, re.MULTILINE):
        assert target.startswith("."), target
        assert (path.parent / target).is_file(), target
    dangers = r"innerHTML|outerHTML =|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:"
    assert not re.findall(dangers + r"|style=\"|localStorage\.setItem\((?!PLACE)", text)


def test_what_is_vendored_is_named_with_its_licence() -> None:
    """NOTICE names each file of others, and the licence that it refers to is there."""
    vendor = STATIC / "vendor"
    notice = (vendor / "NOTICE").read_text(encoding="utf-8")
    for path in vendor.glob("*.js"):
        assert path.name in notice
    for licence in re.findall(r"see (\S+\.LICENSE)", notice):
        assert (vendor / licence).is_file()


def test_the_wheel_has_all_files(tmp_path: Path) -> None:
    """A wheel of the server holds every file of the dashboard."""
    leftovers = shutil.ignore_patterns("build", "dist", ".*", "*.egg-info", "__pycache__", "tests", "client")
    shutil.copytree(ROOT, tmp_path / "source", ignore=leftovers)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        str(tmp_path / "dist"),
        str(tmp_path / "source"),
    ]
    subprocess.run(command, check=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "/dashboard/static/" in name}
    assert names == {path.relative_to(ROOT).as_posix() for path in STATIC.rglob("*") if path.is_file()}
