"""Logs over the standard logging module: JSON for machines or lines for people, on standard error.

Call sites name an event and give facts: ``log.info("agent.offline", extra={"agent_id": agent_id})``. What is
promised of every line (one record is one line, no secret is in it, nobody waits for it) is kept behind, in ``lines``,
``secrets``, ``formats`` and ``pipeline``.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from typing import Iterator, Mapping, Optional, Sequence, TextIO

from opscore.telemetry.formats import Console, as_json
from opscore.telemetry.pipeline import Pipeline, Silent, to_standard_error
from opscore.telemetry.secrets import Secrets

NOISY: Mapping[str, int] = {
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "aiosqlite": logging.WARNING,
}
"""Loggers that speak of every step they take, and the level from which they are heard."""

_OURS = "opscore"


def configure_logging(
    level: str = "INFO",
    format: str = "console",  # noqa: A002 - the setting's name
    levels: Sequence[str] = (),
) -> Pipeline:
    """Send all logs of the process to standard error; calling it again replaces what it set.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        format: ``json``, one object a line, or ``console``, lines for people (in colour on a terminal).
        levels: Other levels for some loggers, each as ``name=LEVEL``.
    """
    form = as_json if format == "json" else Console(colour=_wants_colour(sys.stderr))
    old = _configured()
    pipeline = Pipeline(old.secrets if old is not None else Secrets(), to_standard_error(form))
    root = logging.getLogger()
    if old is not None:
        root.removeHandler(old)
        old.close()
    root.addHandler(pipeline)
    root.setLevel(level.upper())
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    for name, _, word in (one.partition("=") for one in levels):
        logging.getLogger(name.strip()).setLevel(word.strip().upper())
    logging.captureWarnings(True)
    _spare_what_is_not_shown()
    return pipeline


def _spare_what_is_not_shown() -> None:
    """Have records made without what no line has: thread, process, caller (the Logging HOWTO, "Optimization")."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - that page names it
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False


def _configured() -> Optional[Pipeline]:
    """The pipeline that was configured for the process."""
    return next((one for one in logging.getLogger().handlers if isinstance(one, Pipeline)), None)


@contextmanager
def open_logs() -> Iterator[Pipeline]:
    """The process's pipeline; where nobody configured one, one for our own loggers, as long as the block lasts."""
    found = _configured()
    if found is not None:
        yield found
        return
    logger = logging.getLogger(_OURS)
    # Servers of one process hear of each other's work, so what one knows to be secret the others must know too.
    other = next((one for one in logger.handlers if isinstance(one, Silent)), None)
    pipeline = Silent(Secrets() if other is None else other.secrets, stands_in=other is None)
    logger.addHandler(pipeline)
    try:
        yield pipeline
    finally:
        logger.removeHandler(pipeline)
        pipeline.close()


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
