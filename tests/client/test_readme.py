from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Iterator

import pytest
from readme_page import Page, blocks, blocks_without_await
from readme_server import KEY, readme_server

import opscore_sdk
from opscore_sdk import OpsCoreClientAsync

README = Path(__file__).parents[2] / "client" / "README.md"
TEXT = README.read_text(encoding="utf-8")


BLOCKS = blocks(TEXT)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """The README's reader, who has a server and its key in the environment."""
    with readme_server() as url:
        monkeypatch.setenv("OPSCORE_API_URL", url)
        monkeypatch.setenv("OPSCORE_API_KEY", KEY)
        reader = Page(str(README))
        yield reader
        reader.close()


def test_every_block_runs_and_prints_what_it_says(page: Page) -> None:
    """The blocks of the README run in their order, and a comment behind a print is what was printed."""
    assert page.wrong(BLOCKS) == []


def test_every_method_works_without_await(page: Page) -> None:
    """The same examples without async and await are those of the synchronous client."""
    assert page.wrong(blocks_without_await(TEXT)) == []


@pytest.mark.parametrize("name", ["agents.md", "embedding.md"])
def test_the_examples_of_other_pages_run(page: Page, name: str) -> None:
    """So do those of the pages about agents and about tests."""
    found = blocks((README.parents[1] / "docs" / name).read_text(encoding="utf-8"))
    assert found
    assert page.wrong(found) == []


def test_the_example_of_the_first_page_runs(page: Page) -> None:
    """The SDK's lines in the README of the repository start the flow of that page."""
    line, source = blocks((README.parents[1] / "README.md").read_text(encoding="utf-8"))[0]
    page.run(1, 'from opscore_sdk import OpsCoreClientSync\nclient = OpsCoreClientSync()\nclient.create_flow('
        '{"flow_id": "shout", "nodes": [{"id": "shout", "agent_id": "printer"}]})')  # fmt: skip
    printed = page.run(line, source.replace("http://127.0.0.1:8000", os.environ["OPSCORE_API_URL"]))
    assert printed == "completed {'shout': {'text': 'hello'}}\n"


def _methods(kind: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(kind) if not name.startswith("_")]


@pytest.mark.parametrize("name", sorted(_methods(OpsCoreClientAsync)))
def test_every_method_has_an_example(name: str) -> None:
    """Each public method of the client is called in some block."""
    assert any(f".{name}" in source for _, source in BLOCKS)


def test_every_public_name_is_mentioned() -> None:
    """What the package exports is in the README."""
    public = (name for name in opscore_sdk.__all__ if not name.startswith("_"))
    missing = {name for name in public if not re.search(rf"\b{name}\b", TEXT)}
    assert missing == set()


def test_quick_start_is_short() -> None:
    """The first block has fewer than ten lines."""
    assert len(BLOCKS[0][1].splitlines()) < 10


def test_every_error_is_in_the_tree() -> None:
    """The README's tree of errors names each class that the package exports."""
    tree = re.search(r"```text\n(OpsCoreSDKError.*?)```", TEXT, re.DOTALL)
    assert tree is not None
    kinds = {kind.__name__ for kind in vars(opscore_sdk.errors).values() if isinstance(kind, type)}
    exported = {name for name in kinds if name in opscore_sdk.__all__}
    assert exported == {name for name in exported if re.search(rf"\b{name}\b", tree[1])}
