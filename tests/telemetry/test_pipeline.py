from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from typing import Any, Iterator, Sequence

import pytest
from collected import collecting

from opscore.telemetry.formats import as_json
from opscore.telemetry.lines import Line
from opscore.telemetry.logs import configure_logging, open_logs
from opscore.telemetry.pipeline import Outlet, Pipeline
from opscore.telemetry.secrets import Secrets

LIMIT = 20.0


class Pipe:
    """A pipe that is read when the test says so."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")

    def read(self) -> list[dict[str, Any]]:
        """All that is written from now on until the other end is closed."""
        with os.fdopen(self._reading) as reader:
            return [json.loads(line) for line in reader]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    opened = Pipe()
    yield opened
    opened.stream.close()


def _logger(pipeline: Pipeline) -> logging.Logger:
    logger = logging.getLogger(f"piped.{id(pipeline)}")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(pipeline)
    return logger


class Gate:
    """A taker that can be held, and with it the logs' thread."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self.count = 0

    def take(self, lines: Sequence[Line]) -> None:
        self.reached.set()
        self.open.wait(LIMIT)
        self.count += len(lines)


def test_a_pipe_that_nobody_reads_holds_nobody(pipe: Pipe) -> None:
    """With a full pipe whoever logs goes on, takers have all lines, and the lines lost are counted and said later."""
    outlet = Outlet(pipe.stream, as_json, longest_backlog=100_000)
    pipeline = Pipeline(Secrets(), outlet)
    gate = Gate()
    gate.open.set()
    pipeline.add(gate)
    logger = _logger(pipeline)
    for number in range(5_000):
        logger.info("a.b", extra={"number": number, "text": "x" * 100})
        if number % 500 == 0:
            done = threading.Event()
            pipeline.after_all(done.set)
            assert done.wait(LIMIT)
    done = threading.Event()
    pipeline.after_all(done.set)
    assert done.wait(LIMIT)
    assert gate.count == 5_000
    found: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: found.extend(pipe.read()))
    reader.start()
    outlet.flush()
    logger.info("a.b", extra={"number": 5_000})
    pipeline.close()
    outlet._thread.join(LIMIT)
    pipe.stream.close()
    reader.join(LIMIT)
    told = [line["number"] for line in found if line["event"] == "a.b"]
    lost = sum(line["lost"] for line in found if line["event"] == "logs.dropped")
    assert told == sorted(told)
    assert told[-1] == 5_000
    assert 0 < lost < 5_000
    assert len(told) + lost == 5_001


def test_closing_does_not_wait_for_a_reader_that_does_not_read(pipe: Pipe) -> None:
    """With a full pipe the end of the process is not held up: its close returns."""
    outlet = Outlet(pipe.stream, as_json)
    pipeline = Pipeline(Secrets(), outlet)
    logger = _logger(pipeline)
    for _ in range(1_000):
        logger.info("a.b", extra={"text": "x" * 1_000})
    closing = threading.Thread(target=pipeline.close)
    closing.start()
    closing.join(LIMIT)
    assert not closing.is_alive()
    reader = threading.Thread(target=pipe.read)
    reader.start()
    outlet._thread.join(LIMIT)
    assert not outlet._thread.is_alive()
    pipe.stream.close()
    reader.join(LIMIT)


def test_more_than_can_be_worked_out_is_dropped_and_said() -> None:
    """A queue that is full drops what comes, and a line says how much that was."""
    stream = io.StringIO()
    pipeline = Pipeline(Secrets(), Outlet(stream, as_json), longest_queue=10)
    gate = Gate()
    pipeline.add(gate)
    logger = _logger(pipeline)
    logger.info("a.b")
    assert gate.reached.wait(LIMIT)
    for _ in range(25):
        logger.info("a.b")
    assert pipeline.lost == {"queue": 15, "output": 0}
    gate.open.set()
    pipeline.close()
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in found] == ["a.b"] * 11 + ["logs.dropped"]
    assert found[-1]["lost"] == 15


def test_a_taker_that_fails_harms_nobody() -> None:
    """Its failure is a line; the others have theirs, and the thread goes on."""

    class Broken:
        def take(self, lines: Sequence[Line]) -> None:
            raise ZeroDivisionError

    with collecting() as log:
        log.pipeline.add(Broken())
        log.logger.info("a.b")
        log.pipeline.flush()
        log.logger.info("a.c")
        assert [line["event"] for line in log.objects] == ["a.b", "logs.not_shown", "a.c", "logs.not_shown"]


def test_nothing_is_made_for_a_level_that_is_off() -> None:
    """A line below the level reaches nobody, and its facts are not looked at."""

    class Never:
        def __str__(self) -> str:
            raise AssertionError

    with collecting(level=logging.WARNING) as log:
        log.logger.info("a.b", extra={"value": Never()})
        log.logger.debug("%s", Never())
        assert log.text == ""


PROGRAM = """
import logging, os, sys
from opscore.telemetry.logs import configure_logging
configure_logging("INFO", "json", ["opscore.calls=DEBUG", "opscore.web=ERROR"])
configure_logging("INFO", "json", ["opscore.calls=DEBUG", "opscore.web=ERROR"])
logging.getLogger("opscore.engine").debug("a.hidden")
logging.getLogger("opscore.calls").debug("a.shown")
logging.getLogger("opscore.web").warning("a.hidden")
for n in range(3000):
    logging.getLogger("opscore").info("a.b", extra={"n": n})
import warnings; warnings.warn("old\\nfashioned")
if sys.argv[1] == "os._exit":
    logging.shutdown()
    os._exit(70)
raise SystemExit(3)
"""


@pytest.mark.parametrize(("how", "code"), [("os._exit", 70), ("exit", 3)])
def test_all_is_written_at_the_end(how: str, code: int) -> None:
    """Whether the process ends by itself or is ended after logging.shutdown(), each line is there once; levels hold."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False, timeout=60)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == code
    assert [line["n"] for line in found if line["event"] == "a.b"] == list(range(3000))
    assert [line["event"] for line in found if line["event"] != "a.b"] == ["a.shown", "py.warnings"]


def test_a_program_that_embeds_us_keeps_its_own_logging(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody configured logs, records go on to the program's handlers, and nothing stays when the block ends."""
    root, ours = logging.getLogger(), logging.getLogger("opscore")
    before = list(root.handlers), list(ours.handlers)
    kept = root.handlers[:]
    root.handlers.clear()
    try:
        with open_logs() as first, open_logs() as second:
            assert first.secrets is second.secrets
            ours.warning("a.warned")
            first.flush()
        assert capsys.readouterr().err == "a.warned\n"
    finally:
        root.handlers[:] = kept
    assert (list(root.handlers), list(ours.handlers)) == before


def test_configured_logs_are_used_by_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in a process with configured logs adds no handler of its own."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    level, levels = (
        root.level,
        {name: logging.getLogger(name).level for name in ("asyncio", "aiosqlite", "aiohttp.access")},
    )
    monkeypatch.setattr(logging, "_srcfile", logging._srcfile)
    for flag in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, flag, getattr(logging, flag))
    pipeline = configure_logging("INFO", "console")
    try:
        with open_logs() as found:
            assert found is pipeline
        logging.getLogger("opscore").info("server.stopping")
        pipeline.flush()
        assert "server.stopping" in stream.getvalue()
    finally:
        root.removeHandler(pipeline)
        pipeline.close()
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
        logging.captureWarnings(capture=False)
