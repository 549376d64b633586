"""The text of a scrape: one metric after the other.

The format is Prometheus's text format 0.0.4, which every scraper reads. OpenMetrics costs prometheus_client 1.6 times as much.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .metrics import TableCollector, Written

__all__ = ["CONTENT_TYPE", "exposition", "make_registry"]

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Single(Collector):
    """A collector of one finished metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def make_registry(collector: TableCollector) -> CollectorRegistry:
    """A registry with our metrics and with prometheus_client's ``process_…`` metrics, which describe the admin worker."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry, pid=os.getpid)
    return registry


def exposition(registry: CollectorRegistry) -> Iterator[bytes]:
    """The text of a scrape, one metric at a time, and a large one in pieces."""
    for metric in registry.collect():
        if isinstance(metric, Written):
            yield generate_latest(_Single(Metric(metric.name, metric.documentation, metric.type)))  # its HELP and TYPE
            yield from metric.pieces
        else:
            yield generate_latest(_Single(metric))
