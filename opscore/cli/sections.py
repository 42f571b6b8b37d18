"""Groups of commands: help in sections, and a command that is meant when none is named."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import click


class Sections(click.Group):
    """A group whose help has its commands in sections."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the help."""
        return [str(command.name) for commands in self._sections.values() for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each group of commands."""
        widest = max(len(str(command.name)) for commands in self._sections.values() for command in commands)
        limit = formatter.width - 6 - widest
        for title, commands in self._sections.items():
            rows = [(str(command.name).ljust(widest), command.get_short_help_str(limit)) for command in commands]
            with formatter.section(title):
                formatter.write_dl(rows)


class Listing(click.Group):
    """A group whose command ``list`` is meant when none is named: ``opscore agents`` lists agents."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``list`` before its options."""
        is_for_group = bool(args) and (args[0] in self.commands or args[0] in self.get_help_option_names(ctx))
        if not is_for_group and (not args or args[0].startswith("-")) and not ctx.resilient_parsing:
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[Optional[str], Optional[click.Command], list[str]]:
        """As click does; what is no command is named with what there is."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            names = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"{error.message.rstrip('.')}. There are: {names}.", ctx) from None
