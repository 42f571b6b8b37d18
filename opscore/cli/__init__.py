"""The command line, ``opscore`` and ``python -m opscore``.

Commands do their heavy imports when they run: ``opscore --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from opscore.cli.agents import agents
from opscore.cli.completion import PROGRAM, VARIABLE, completion
from opscore.cli.demo import demo
from opscore.cli.events import events
from opscore.cli.executions import executions
from opscore.cli.flows import flows
from opscore.cli.keys import keys
from opscore.cli.logs import logs
from opscore.cli.output import EXIT_CODES, INTERRUPTED, failed
from opscore.cli.performance import performance
from opscore.cli.run import run
from opscore.cli.sections import Sections
from opscore.cli.serve import migrate, serve
from opscore.cli.status import status
from opscore.cli.top import top
from opscore.cli.why import why
from opscore.version import __version__

__all__ = ["main"]


_SECTIONS = {
    "Run a server": (serve, migrate, keys),
    "See what happens on one": (status, top, why, logs, events, performance),
    "Work with what it has": (executions, flows, agents),
    "Try it": (demo, run, completion),
}


@click.group(
    cls=Sections,
    sections=_SECTIONS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Ops-Core: run flows over fleets of AI agents, durably."""


def main() -> NoReturn:
    """Run a command; every error is one line, and a hint where there is one."""
    _accept_any_text()
    if VARIABLE in os.environ:
        _complete()
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = failed(error)
        if code is None:
            raise
    sys.exit(code if isinstance(code, int) else 0)


def _accept_any_text() -> None:
    """Let what a terminal's encoding lacks be shown as a question mark, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _complete() -> NoReturn:
    """Answer the shell, and end at once: a name server that gives no answer must not hold it up."""
    code = 0
    try:
        cli.main(prog_name=PROGRAM, complete_var=VARIABLE)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    sys.stdout.flush()
    os._exit(code)
