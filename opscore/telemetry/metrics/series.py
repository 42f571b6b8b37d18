"""Series: label values that cannot become too many, and a metric's children where they are found at once.

Whoever registers agents, defines flows or answers calls chooses names that become label values, and each new one is a
series more that is kept here and by whoever scrapes. So names are admitted up to a limit, in the order they come; the
others share one series, ``other``. Children are kept in dictionaries: ``labels()`` of the library takes a lock and
makes texts of its arguments each time, which is several times what counting costs.
"""

from __future__ import annotations

from typing import Callable, Container, Generic, Optional, TypeVar

from prometheus_client.metrics import MetricWrapperBase

OTHER = "other"


class Names:
    """Names that are label values."""

    def __init__(self, limit: int, admits: Callable[[str], bool]) -> None:
        """Take what it works with.

        Args:
            limit: How many there may be.
            admits: Says whether a new one may become one.
        """
        self._limit = limit
        self._admits = admits
        self._known: set[str] = set()

    def __call__(self, name: Optional[str]) -> str:
        """The label value for a name."""
        if name in self._known:
            return name
        if name is None or len(self._known) >= self._limit or not self._admits(name):
            return OTHER
        self._known.add(name)
        return name

    def keep(self, wanted: Container[str]) -> frozenset[str]:
        """Give up the names that are wanted no more; which those are."""
        gone = frozenset(name for name in self._known if name not in wanted)
        self._known -= gone
        return gone


MetricT = TypeVar("MetricT", bound=MetricWrapperBase)


class Series(Generic[MetricT]):
    """The children of one metric."""

    def __init__(self, metric: MetricT, limit: Optional[int] = None) -> None:
        """Take what it works with.

        Args:
            metric: Whose children they are.
            limit: How many there may be, where names alone do not bound them; beyond it the first label is ``other``.
        """
        self._metric = metric
        self._limit = limit
        self._children: dict[tuple[str, ...], MetricT] = {}

    def of(self, *labels: str) -> MetricT:
        """The child with these label values."""
        child = self._children.get(labels)
        return self._add(labels) if child is None else child

    def forget(self, first: Container[str]) -> None:
        """Give up all children whose first label is one of these."""
        for labels in [labels for labels in self._children if labels[0] in first]:
            del self._children[labels]
            self._metric.remove(*labels)

    def _add(self, labels: tuple[str, ...]) -> MetricT:
        if self._limit is not None and len(self._children) >= self._limit and labels[0] != OTHER:
            return self.of(OTHER, *labels[1:])
        child = self._children[labels] = self._metric.labels(*labels)
        return child
