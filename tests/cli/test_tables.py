from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from opscore.cli.tables import Column, cut, lines

COLUMNS = (
    Column("ID"),
    Column("FLOW", can_be_cut=True),
    Column("AGE", is_right=True, matters=1),
    Column("ERROR", can_be_cut=True, matters=0, least=10),
)
ROWS = [
    ("0190-abc", "nightly-report-of-everything", "12s", "the agent gave no answer"),
    ("0190-abd", "short", "3m", ""),
]


def shown(width: int) -> list[str]:
    return [line.plain for line in lines(COLUMNS, ROWS, width)]


def test_a_table_is_whole_where_there_is_room() -> None:
    """Values stand below each other, those that are right at the right; no line ends in blanks."""
    assert [line.plain for line in lines(COLUMNS, ROWS, None)] == [
        "ID        FLOW                          AGE  ERROR",
        "0190-abc  nightly-report-of-everything  12s  the agent gave no answer",
        "0190-abd  short                          3m",
    ]
    assert shown(200) == [line.plain for line in lines(COLUMNS, ROWS, None)]


def test_the_widest_is_cut_first() -> None:
    """What may be cut loses cells, the widest column first."""
    assert shown(50)[1] == "0190-abc  nightly-report-…  12s  the agent gave n…"


def test_what_matters_least_is_left_out() -> None:
    """A column whose rest would be of no use goes, then the next; what always stays stays whole."""
    assert shown(32)[:2] == ["ID        FLOW               AGE", "0190-abc  nightly-report-o…  12s"]
    assert shown(18)[:2] == ["ID        FLOW", "0190-abc  nightly…"]
    assert shown(12)[1] == "0190-abc  n…"


@given(
    st.lists(st.tuples(*[st.text(max_size=40)] * 4).map(lambda row: tuple(cell.replace("\n", " ") for cell in row))),
    st.integers(1, 120),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    """Whatever is in it, also characters that take two cells."""
    assert all(cell_len(line.plain) <= width for line in lines(COLUMNS, rows, width))


def test_what_is_cut_keeps_its_colour() -> None:
    """The ellipsis takes the place of what is cut off, a wide character is not halved."""
    assert cut(Text("completed", "green"), 5).plain == "comp…"
    assert cut(Text("日本語", "green"), 4).plain == "日…"
    assert cut(Text("short"), 5).plain == "short"
    assert cut(Text("short"), 0).plain == ""
