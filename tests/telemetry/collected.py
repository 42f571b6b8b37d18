"""A pipeline of its own for each test, on a logger of its own, with what comes out at its end."""

from __future__ import annotations

import io
import json
import logging
from contextlib import contextmanager
from typing import Any, Iterator, Optional, Sequence

from opscore.telemetry.formats import Console, Format, as_json
from opscore.telemetry.lines import Line
from opscore.telemetry.pipeline import Outlet, Pipeline
from opscore.telemetry.secrets import Secrets


class Collected:
    """The lines, as they were handed over and as they were written."""

    def __init__(self, pipeline: Pipeline, logger: logging.Logger, stream: io.StringIO) -> None:
        self.pipeline = pipeline
        self.logger = logger
        self._stream = stream
        self._lines: list[Line] = []

    def take(self, lines: Sequence[Line]) -> None:
        self._lines += lines

    @property
    def lines(self) -> list[Line]:
        self.pipeline.flush()
        return self._lines

    @property
    def text(self) -> str:
        self.pipeline.flush()
        return self._stream.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n")[:-1]]


@contextmanager
def collecting(
    secrets: Optional[Secrets] = None, form: Format = as_json, level: int = logging.DEBUG
) -> Iterator[Collected]:
    stream = io.StringIO()
    pipeline = Pipeline(secrets or Secrets(), Outlet(stream, form))
    logger = logging.getLogger(f"collected.{id(pipeline)}")
    logger.propagate = False
    logger.setLevel(level)
    logger.addHandler(pipeline)
    found = Collected(pipeline, logger, stream)
    pipeline.add(found)
    try:
        yield found
    finally:
        logger.removeHandler(pipeline)
        pipeline.close()


PLAIN = Console(colour=False)
COLOURED = Console(colour=True)
