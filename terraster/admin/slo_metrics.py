"""The metrics of objectives. A location without `slo` has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from ..policy.burn import WINDOWS, Severity
from .metrics import Description
from .slos import SloRow

__all__ = ["SLO_METRICS", "SloCollector"]

_OBJECTIVE = ("service", "location", "objective")

SLO_METRICS: tuple[Description, ...] = (
    Description("terraster_slo_objective_ratio", "gauge", "Share of requests that the objective asks for.", _OBJECTIVE),
    Description(
        "terraster_slo_burn_rate", "gauge", "Share of bad requests within a window, by the share allowed.", (*_OBJECTIVE, "window")
    ),
    Description(
        "terraster_slo_error_budget_remaining_ratio",
        "gauge",
        "Part of the error budget that is left, below 0 if overspent.",
        _OBJECTIVE,
    ),
    Description("terraster_slo_burning", "gauge", "1 if the budget burns so fast, by severity.", (*_OBJECTIVE, "severity")),
)


class SloCollector(Collector):
    """rows: the objectives and their states now"""

    def __init__(self, rows: Callable[[], Sequence[SloRow]]) -> None:
        self._rows = rows

    def describe(self) -> Iterable[Metric]:
        """The metrics without samples: nothing is judged."""
        return [Metric(one.name, one.help, one.type) for one in SLO_METRICS]

    def collect(self) -> Iterator[Metric]:
        rows = [
            ({"service": one.service, "location": one.location, "objective": one.state.objective.name}, one.state)
            for one in self._rows()
        ]
        samples = (
            [Sample("", labels, 1 - state.objective.allowed) for labels, state in rows],
            [Sample("", {**labels, "window": WINDOWS[at]}, rate) for labels, state in rows for at, rate in state.rates.items()],
            [Sample("", labels, state.left) for labels, state in rows],
            [
                Sample("", {**labels, "severity": severity}, state.burning is not None and state.burning.severity == severity)
                for labels, state in rows
                for severity in get_args(Severity)
            ],
        )
        for one, found in zip(SLO_METRICS, samples, strict=True):
            metric = Metric(one.name, one.help, one.type)
            metric.samples = [sample._replace(name=one.name) for sample in found]
            yield metric
