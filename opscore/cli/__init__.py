"""The command line, ``opscore`` and ``python -m opscore``.

Commands do their heavy imports when they run: ``opscore --help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from opscore.cli.demo import demo
from opscore.cli.flows import flows
from opscore.cli.keys import keys
from opscore.cli.output import EXIT_CODES, failed
from opscore.cli.run import run
from opscore.cli.serve import migrate, serve
from opscore.version import __version__

__all__ = ["main"]

_INTERRUPTED = 130


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="opscore")
def cli() -> None:
    """Ops-Core: run flows over fleets of AI agents, durably."""


for command in (serve, run, demo, flows, keys, migrate):
    cli.add_command(command)


def main() -> NoReturn:
    """Run a command; every error is one line, and a hint where there is one."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = _INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        code = failed(error)
        if code is None:
            raise
    sys.exit(code if isinstance(code, int) else 0)
