"""Metrics as a scraper reads them."""

from __future__ import annotations

from typing import Optional

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, frozenset[tuple[str, str]]]


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.kinds: dict[str, str] = {}
        self.labels: dict[str, frozenset[str]] = {}
        """The labels that each metric's samples have, but for the ``le`` of buckets."""
        self._samples: dict[Sample, float] = {}
        for family in text_string_to_metric_families(text):
            name = family.name + ("_total" if family.type == "counter" else "")
            self.kinds[name] = family.type
            found = [frozenset(sample.labels) - {"le"} for sample in family.samples]
            self.labels[name] = frozenset().union(*found)
            for sample in family.samples:
                self._samples[sample.name, frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, **labels: str) -> Optional[float]:
        """One sample; None where there is none."""
        return self._samples.get((name, frozenset(labels.items())))

    def values(self, name: str) -> dict[str, float]:
        """All samples of a name, by the values of their labels."""
        return {
            ",".join(value for _, value in sorted(labels)): number
            for (found, labels), number in self._samples.items()
            if found == name
        }
