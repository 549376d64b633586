"""What a running Terraster counts, added up."""

from __future__ import annotations

from collections.abc import Mapping

from .terraster_process import Terraster
from .waiting import wait_until

__all__ = ["of", "quiet", "total"]


def total(proxy: Terraster, name: str) -> float:
    """A metric, added up over all its labels; 0 while nothing was counted."""
    return _sum(proxy.metrics(), name)


def of(proxy: Terraster, name: str, url: str, label: str = "") -> float:
    """A metric of one backend. label: one that the sample has too, as ``code="5xx"``"""
    samples = proxy.metrics().items()
    found = [value for sample, value in samples if sample.startswith(name + "{") and f'"{url}"' in sample and label in sample]
    assert len(found) == 1, (name, url, found)
    return found[0]


def quiet(proxy: Terraster) -> None:
    """Wait until no request is at a backend and none waits for one: whatever was counted in has been counted out."""
    names = ("terraster_backend_active_requests", "terraster_location_queue_depth")
    wait_until(lambda: not any(_sum(proxy.metrics(), name) for name in names), "requests are still counted as under way")


def _sum(metrics: Mapping[str, float], name: str) -> float:
    return sum(value for sample, value in metrics.items() if sample.partition("{")[0] == name)
