"""Tables for people: whole where there is room, cut column by column where there is not, one line for each row.

At a terminal a table is never wider than that: columns that may be cut are cut, the widest first, and when that is not
enough the columns that matter least are left out. In a pipe every value is whole.
"""

from __future__ import annotations

from typing import Any, Iterable, Optional, Sequence, Union

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from opscore.cli.wording import STYLES, plain

_GAP = 2
Cell = Union[str, Text]


@attrs.frozen
class Column:
    """A column.

    Attributes:
        title: Its head.
        can_be_cut: Whether part of a value is of use.
        least: The fewest cells of a value that are of use.
        is_right: Whether values stand at the right.
        matters: Columns with the lowest number are left out first; None for one that always stays.
    """

    title: str
    can_be_cut: bool = False
    is_right: bool = False
    matters: Optional[int] = None
    least: int = 6


def console(*, stderr: bool = False) -> Console:
    """What tables are printed on: no markup in texts, no colour in pipes or with ``NO_COLOR``."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def word(state: Any) -> Text:
    """A state in its colour."""
    text = plain(state)
    return Text(text, STYLES.get(text.lower(), ""))


def lines(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], width: Optional[int], *, header: bool = True
) -> list[Text]:
    """A table as lines, each at most so wide; without a width as wide as it comes."""
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    wide = [
        max([cell_len(column.title) if header else 0, *(cell_len(row[at].plain) for row in cells)])
        for at, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if width is not None:
        shown, wide = _fitted(columns, wide, width)
    drawn = [[Text(column.title, "bold") for column in columns]] if header else []
    return [_line([(row[at], wide[at], columns[at]) for at in shown], width) for row in [*drawn, *cells]]


def _fitted(columns: Sequence[Column], wide: list[int], width: int) -> tuple[list[int], list[int]]:
    shown, wide = list(range(len(columns))), list(wide)
    while True:
        over = sum(wide[at] for at in shown) + _GAP * (len(shown) - 1) - width
        if over <= 0:
            return shown, wide
        spare = {at: max(0, wide[at] - columns[at].least) for at in shown if columns[at].can_be_cut}
        loose = [at for at in shown if columns[at].matters is not None]
        if not loose or sum(spare.values()) >= over:
            _cut(wide, spare, over)
            return shown, wide
        shown.remove(min(loose, key=lambda at: columns[at].matters or 0))


def _cut(wide: list[int], spare: dict[int, int], over: int) -> None:
    """Take so many cells away, always from the widest that has any to spare."""
    for _ in range(min(over, sum(spare.values()))):
        widest = max((at for at in spare if spare[at]), key=lambda at: wide[at])
        wide[widest] -= 1
        spare[widest] -= 1


def _line(cells: Sequence[tuple[Text, int, Column]], width: Optional[int]) -> Text:
    line = Text()
    for at, (cell, wide, column) in enumerate(cells):
        text = cut(cell, wide)
        missing = " " * (wide - cell_len(text.plain))
        line.append(missing if column.is_right else "")
        line.append_text(text)
        if at < len(cells) - 1:
            line.append(("" if column.is_right else missing) + " " * _GAP)
    line.rstrip()
    return line if width is None else cut(line, width)


def cut(text: Text, width: int) -> Text:
    """A text that is at most so wide; what is cut off ends in an ellipsis."""
    if cell_len(text.plain) <= width:
        return text
    if width < 1:
        return Text()
    kept = len(set_cell_size(text.plain, width - 1).rstrip())
    short = text[:kept]
    short.append("…", text.style)
    return short


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, indent: int = 0) -> None:
    """Print a table on standard output."""
    out = console()
    width = out.width - indent if out.is_terminal else None
    for line in lines(columns, rows, width):
        out.print(Text(" " * indent).append_text(line))


def paragraph(out: Console, text: Text, indent: int = 0, hang: int = 0) -> None:
    """Print what may be long: folded between words at a terminal, as one line in a pipe.

    Args:
        out: Where to.
        text: What.
        indent: Cells before each line.
        hang: Cells before each line but the first.
    """
    if not out.is_terminal:
        out.print(text)
        return
    width = max(20, out.width - indent)
    first, *others = text.wrap(out, width)
    rest = Text(" ").join(others).wrap(out, max(20, width - hang)) if hang and others else others
    for at, line in enumerate([first, *rest]):
        line.rstrip()
        out.print(Text(" " * (indent + hang if at else indent)).append_text(line))


def print_facts(facts: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values, a line each; values are whole, however long."""
    out = console()
    shown = list(facts)
    wide = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        out.print(Text(f"{name:<{wide}}  ", "bold").append_text(value if isinstance(value, Text) else Text(value)))
