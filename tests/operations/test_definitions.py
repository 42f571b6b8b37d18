from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Iterable

import attrs
import pytest

from opscore.bootstrap import running
from opscore.domain.errors import Invalid, InvalidFiles
from opscore.domain.files import MAX_FILE_BYTES, File
from opscore.folders import read_folder
from opscore.operations.definitions import Loaded, load
from opscore.settings import Settings

SETTINGS = Settings(database="sqlite:///:memory:", drain_timeout=0.1)


def flow(flow_id: str, agent: str = "x") -> bytes:
    return f"flow_id: {flow_id}\nnodes: [{{id: a, agent_id: {agent}}}]\n".encode()


def files(directory: Path, **named: bytes) -> None:
    for name, raw in named.items():
        (directory / f"{name}.yaml").write_bytes(raw)


async def test_new_changed_and_unchanged_flows_are_told_apart(tmp_path: Path) -> None:
    """A new flow is stored, a changed one becomes its next version, an unchanged one stays."""
    files(tmp_path, a=flow("a"), b=flow("b"))
    async with running(SETTINGS) as operations:
        assert await load(operations.flows, str(tmp_path), read_folder) == Loaded(new=2, changed=0, unchanged=0)
        files(tmp_path, b=flow("b", "y"), c=flow("c"))
        assert await load(operations.flows, str(tmp_path), read_folder) == Loaded(new=1, changed=1, unchanged=1)
        versions = {stored.flow.flow_id: stored.flow.version for stored in await operations.flows.list()}
        assert versions == {"a": 1, "b": 2, "c": 1}


async def test_one_bad_file_keeps_all_out(tmp_path: Path) -> None:
    """All mistakes of all files are told at once, a line each, and nothing is stored."""
    (tmp_path / "flows").mkdir()
    files(tmp_path / "flows", a=flow("a"), b=flow("b b"), c=b"x: [}", d=flow("a"), e=b"", f=b"\xff")
    (tmp_path / "flows" / "g.yaml").symlink_to("nowhere")
    async with running(SETTINGS) as operations:
        with pytest.raises(InvalidFiles) as refused:
            await load(operations.flows, f"{tmp_path}/./flows", read_folder)
        assert await operations.flows.list() == []
    texts = [line.removeprefix(f"{tmp_path}/./flows/").split(" ")[0] for line in refused.value.message.splitlines()]
    assert texts == ["b.yaml:1:", "c.yaml:1:", "d.yaml:1:", "e.yaml:1:", "f.yaml:1:", "g.yaml:1:"]
    assert "No such file" in refused.value.message


async def test_files_are_read_off_the_loop() -> None:
    """A slow disk does not stop the loop: reading happens in another thread."""
    threads = []

    def read(directory: str) -> Iterable[File]:
        threads.append((directory, threading.current_thread()))
        return [File("a.yaml", flow("a"))]

    async with running(SETTINGS) as operations:
        await load(operations.flows, "anywhere", read)
    ((directory, thread),) = threads
    assert directory == "anywhere"
    assert thread is not threading.current_thread()


async def test_a_directory_that_is_not_there_names_its_setting(tmp_path: Path) -> None:
    """A wrong OPSCORE_FLOWS_DIR, or a file in it, ends the start before the database is opened."""
    files(tmp_path, a=b"name: n")
    database = tmp_path / "new.db"
    for directory in ("missing", "a.yaml", ""):
        settings = attrs.evolve(SETTINGS, database=f"sqlite:///{database}", flows_dir=str(tmp_path / directory))
        with pytest.raises(Invalid, match=r"^OPSCORE_FLOWS_DIR: "):
            async with running(settings):
                pass
    assert not database.exists()


async def test_a_start_logs_what_was_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The start says in one line how many flows came from files."""
    files(tmp_path, a=flow("a"), b=flow("b"))
    with caplog.at_level(logging.INFO, "opscore"):
        async with running(attrs.evolve(SETTINGS, flows_dir=str(tmp_path))) as operations:
            assert len(await operations.flows.list()) == 2
    (record,) = [record for record in caplog.records if record.message == "flows.loaded"]
    facts = vars(record)
    assert (facts["new"], facts["changed"], facts["unchanged"]) == (2, 0, 0)


def names(directory: Path) -> list[str]:
    return [str(Path(file.name).relative_to(directory)) for file in read_folder(str(directory))]


def test_a_directory_is_read_with_all_below_it(tmp_path: Path) -> None:
    """Definitions are found at any depth, by name; other and hidden files are left out."""
    for name in ("b.yml", "a.json", "c/d/e.YAML", "c.yaml", "readme.md", ".hidden.yaml", ".git/x.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(flow("f"))
    assert names(tmp_path) == ["a.json", "b.yml", "c/d/e.YAML", "c.yaml"]


def test_links_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    """A linked file or directory is read, a directory only once, and a link to itself is no end."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "..data").mkdir()
    files(tmp_path / "sub", a=flow("a"))
    files(tmp_path / "..data", mounted=flow("m"))
    (tmp_path / "mounted.yaml").symlink_to("..data/mounted.yaml")
    (tmp_path / "again").symlink_to("sub")
    (tmp_path / "sub" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    assert names(tmp_path) == ["mounted.yaml", "sub/a.yaml"]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A pipe, a link to nowhere and a link to itself are problems, and a large file is not read to its end."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    with (tmp_path / "large.yaml").open("wb") as large:
        large.truncate(50 * MAX_FILE_BYTES)
    found = {Path(file.name).name: file for file in read_folder(str(tmp_path))}
    assert len(found["large.yaml"].raw) == MAX_FILE_BYTES + 1
    assert "regular" in found["pipe.yaml"].problem
    assert "No such file" in found["gone.yaml"].problem
    assert "symbolic links" in found["self.yaml"].problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    """A file and a directory without permission are problems of their own."""
    files(tmp_path, a=flow("a"))
    (tmp_path / "closed").mkdir()
    for path in (tmp_path / "a.yaml", tmp_path / "closed"):
        path.chmod(0)
    found = {Path(file.name).name: file.problem for file in read_folder(str(tmp_path))}
    (tmp_path / "closed").chmod(0o700)
    assert {name: "Permission denied" in problem for name, problem in found.items()} == {"a.yaml": True, "closed": True}
