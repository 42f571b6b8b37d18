"""What callers' trace headers are understood as, and which spans executions and attempts have."""

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opscore.domain.tracing import TraceContext, attempt_span, execution_span, read_context, recall, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ARABIC = "\u0663" * 32
GOOD = f"00-{TRACE}-{SPAN}-01"

PARENTS: list[tuple[str, Optional[str], Optional[TraceContext]]] = [
    ("sampled", GOOD, TraceContext(TRACE, SPAN, 1)),
    ("not sampled", f"00-{TRACE}-{SPAN}-00", TraceContext(TRACE, SPAN, 0)),
    ("random and sampled", f"00-{TRACE}-{SPAN}-03", TraceContext(TRACE, SPAN, 3)),
    ("unknown flags are dropped", f"00-{TRACE}-{SPAN}-ff", TraceContext(TRACE, SPAN, 3)),
    ("blanks around it", f" \t{GOOD} ", TraceContext(TRACE, SPAN, 1)),
    ("a later version", f"01-{TRACE}-{SPAN}-01", TraceContext(TRACE, SPAN, 1)),
    ("a later version with more", f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", TraceContext(TRACE, SPAN, 1)),
    ("a later version, glued", f"cc-{TRACE}-{SPAN}-01what", None),
    ("this version with more", f"{GOOD}-more", None),
    ("this version with a dash", f"{GOOD}-", None),
    ("the version that is none", f"ff-{TRACE}-{SPAN}-01", None),
    ("nothing", None, None),
    ("empty", "", None),
    ("blank", "   ", None),
    ("upper case trace", f"00-{TRACE.upper()}-{SPAN}-01", None),
    ("upper case span", f"00-{TRACE}-{SPAN.upper()}-01", None),
    ("upper case flags", f"00-{TRACE}-{SPAN}-0A", None),
    ("trace of zeros", f"00-{'0' * 32}-{SPAN}-01", None),
    ("span of zeros", f"00-{TRACE}-{'0' * 16}-01", None),
    ("short trace", f"00-{TRACE[:-1]}-{SPAN}-01", None),
    ("long trace", f"00-{TRACE}0-{SPAN}-01", None),
    ("short span", f"00-{TRACE}-{SPAN[:-1]}-01", None),
    ("one digit of flags", f"00-{TRACE}-{SPAN}-1", None),
    ("three digits of flags", f"00-{TRACE}-{SPAN}-001", None),
    ("no flags", f"00-{TRACE}-{SPAN}", None),
    ("one digit of version", f"0-{TRACE}-{SPAN}-01", None),
    ("no hex", f"00-{'g' * 32}-{SPAN}-01", None),
    ("underscores", f"00_{TRACE}_{SPAN}_01", None),
    ("digits of another script", f"00-{ARABIC}-{SPAN}-01", None),
    ("a line break at its end", f"{GOOD}\n", None),
    ("a line break and more", f"cc-{TRACE}-{SPAN}-01-x\ny", None),
    ("endless", f"cc-{TRACE}-{SPAN}-01-" + "x" * 1000, None),
]  # fmt: skip

STATES: list[tuple[str, Optional[str], str]] = [
    ("one member", "congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
    ("two members", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
    ("blanks around members", "a=1 ,\tb=2", "a=1,b=2"),
    ("empty members", "a=1,,b=2,", "a=1,b=2"),
    ("a tenant", "fw529a3039@dt=FfhM", "fw529a3039@dt=FfhM"),
    ("a blank within a value", "a=1 2", "a=1 2"),
    ("an equals sign in a value", "a=1=2", ""),
    ("nothing", None, ""),
    ("empty", "", ""),
    ("no value", "a=", ""),
    ("no key", "=1", ""),
    ("no equals sign", "abc", ""),
    ("an upper case key", "A=1", ""),
    ("the same key twice", "a=1,a=2", ""),
    ("a control character", "a=\x01", ""),
    ("a letter beyond ASCII", "a=\u00e9", ""),
    ("a line break", "a=1\nb=2", ""),
    ("32 members", ",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
    ("33 members", ",".join(f"k{n}=1" for n in range(33)), ""),
    ("512 characters", "a=" + "x" * 256 + ",b=" + "x" * 251, "a=" + "x" * 256 + ",b=" + "x" * 251),
    ("513 characters", "a=" + "x" * 256 + ",b=" + "x" * 252, ""),
    ("a value that is too long", "a=" + "x" * 257, ""),
]


@pytest.mark.parametrize(("parent", "meant"), [row[1:] for row in PARENTS], ids=[row[0] for row in PARENTS])
def test_only_well_formed_parents_are_believed(parent: Optional[str], meant: Optional[TraceContext]) -> None:
    """What is not exactly as the standard has it counts as absent."""
    assert read_context(parent) == meant


@pytest.mark.parametrize(("state", "meant"), [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_a_state_that_is_not_well_formed_leaves_the_parent_as_it_is(state: Optional[str], meant: str) -> None:
    """A bad or oversized state is dropped whole, a good one kept in its order."""
    assert read_context(GOOD, state) == TraceContext(TRACE, SPAN, 1, meant)


@given(st.text(), st.text())
def test_no_header_is_an_error(parent: str, state: str) -> None:
    """Whatever the headers hold, reading them ends well, and what is passed on is one plain line."""
    for context in (read_context(parent, state), read_context(GOOD, state)):
        if context is not None:
            assert f"{context.parent}{context.state}".isascii()
            assert f"{context.parent}{context.state}x".isprintable()
            assert len(context.state) <= 512


@given(st.sampled_from([row[2] for row in PARENTS if row[2] is not None]), st.sampled_from([row[2] for row in STATES]))
def test_a_kept_context_is_the_same(context: TraceContext, state: str) -> None:
    """What is written for the store is read back whole."""
    kept = TraceContext(context.trace_id, context.span_id, context.flags, state)
    assert recall(kept.text) == kept


def test_the_kept_text_of_nobody_is_nobody() -> None:
    """An execution without a caller's context has none after a restart either."""
    assert recall(None) is None


def test_an_execution_without_a_caller_is_a_trace_of_its_own() -> None:
    """Its trace is its id; an id that could be none still has one, and always the same."""
    assert trace_of("019a1fc1-6d85-731e-a21b-70c291746085") == "019a1fc16d85731ea21b70c291746085"
    assert trace_of("00000000-0000-0000-0000-000000000000") == trace_of("00000000-0000-0000-0000-000000000000")
    assert read_context(f"00-{trace_of('no uuid')}-{SPAN}-01") is not None


@given(st.text(), st.text(), st.integers(1, 1000))
def test_spans_follow_from_what_they_are_of(execution_id: str, node_id: str, attempt: int) -> None:
    """The same attempt has the same span in every process, another one another, and all are well-formed."""
    spans = [execution_span(execution_id), attempt_span(execution_id, node_id, attempt)]
    spans.append(attempt_span(execution_id, node_id, attempt + 1))
    assert len(set(spans)) == 3
    assert attempt_span(execution_id, node_id, attempt) == spans[1]
    for span in spans:
        assert read_context(f"00-{TRACE}-{span}-01") is not None
