"""Label values that others choose stay few."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest

from opscore.telemetry.metrics.series import Names, Series


def test_names_beyond_the_limit_share_one_label() -> None:
    """The first names come in, all later ones are ``other``, and the first stay what they are."""
    names = Names(2, lambda name: True)
    assert [names(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]


def test_names_that_are_not_admitted_take_no_place() -> None:
    """A name that may not become a label is ``other``, as is no name, and leaves room for those that may."""
    names = Names(1, lambda name: name.isupper())
    assert [names(name) for name in ("x", None, "A", "x")] == ["other", "other", "A", "other"]


def test_a_name_that_is_given_up_makes_room() -> None:
    """What is wanted no more is told, and another name has its place."""
    names = Names(1, lambda name: True)
    names("a")
    assert names.keep({"b"}) == {"a"}
    assert (names("b"), names("a")) == ("b", "other")


def test_series_of_two_labels_are_bounded_as_pairs() -> None:
    """Beyond the limit a pair is counted under ``other``, and what it was about is still told."""
    registry = CollectorRegistry()
    series = Series(Counter("x", "X.", ["agent", "code"], registry=registry), limit=2)
    for agent, code in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "1")):
        series.of(agent, code).inc()
    assert registry.get_sample_value("x_total", {"agent": "other", "code": "1"}) == 2
    assert registry.get_sample_value("x_total", {"agent": "b", "code": "1"}) is None


def test_forgotten_series_are_told_no_more() -> None:
    """Series that were given up are gone from the text, and begin anew when they come again."""
    registry = CollectorRegistry()
    series = Series(Counter("x", "X.", ["agent"], registry=registry))
    series.of("a").inc(3)
    series.of("b").inc()
    series.forget({"a"})
    assert b'agent="a"' not in generate_latest(registry)
    series.of("a").inc()
    assert registry.get_sample_value("x_total", {"agent": "a"}) == 1
