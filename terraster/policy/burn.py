"""How fast an error budget burns: the alerts on several windows and burn rates of "The Site Reliability Workbook", chapter 5 (Google, 2018),
https://sre.google/workbook/alerting-on-slos/.

An objective of 99.9 % allows one bad request of 1,000: that is its budget. The burn rate is the share of bad requests divided by the share that
is allowed. With a rate of 1 the budget lasts exactly for the window of the objective; with 14.4 an hour takes 2 % of a budget of 30 days.

A pair of windows burns if the rate is at least its factor in both: the long window says that it matters, the short one that it still goes on.
So a burn ends some minutes after the errors end. Below `FEWEST` bad requests in the long window no pair burns: at night one failure among three
requests does not make an outage.

Pure. A window that is longer than that of the objective is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

from ..config.slo import Objective
from .series import Series

__all__ = ["FEWEST", "PAIRS", "WINDOWS", "Assessment", "Pair", "Severity", "assess", "server_errors", "slower"]

Severity = Literal["page", "ticket"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

FEWEST = 5
"""Bad requests in the long window of a pair, without which it does not burn."""

_NEARLY = 1 - 1e-9  # for what floating point loses


class Pair(NamedTuple):
    """Two windows in seconds, the rate that burns, and its severity: "page" wakes an operator, "ticket" can wait for the next day."""

    short: int
    long: int
    factor: float
    severity: Severity


PAIRS: tuple[Pair, ...] = (
    Pair(5 * _MINUTE, _HOUR, 14.4, "page"),
    Pair(30 * _MINUTE, 6 * _HOUR, 6.0, "page"),
    Pair(2 * _HOUR, _DAY, 3.0, "ticket"),
    Pair(6 * _HOUR, 3 * _DAY, 1.0, "ticket"),
)
"""The worst first."""

WINDOWS: dict[int, str] = {
    5 * _MINUTE: "5m",
    30 * _MINUTE: "30m",
    _HOUR: "1h",
    2 * _HOUR: "2h",
    6 * _HOUR: "6h",
    _DAY: "1d",
    3 * _DAY: "3d",
}
"""The windows of all pairs, with their names; the shortest first."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The state of one objective at one moment.

    window:   seconds over which it holds
    since:    when the counting began, at most `window` ago; seconds since 1970, 0: nothing was counted yet
    requests: within the window; bad: of these
    left:     part of the budget that is left: 1.0 all of it, 0.0 none, below 0 overspent
    rates:    burn rate by window in seconds
    burning:  the worst pair that burns, None: none does
    gone_in:  seconds in which the rest of the budget is gone if the pair burns on; inf: no pair burns
    """

    objective: Objective
    window: float
    since: float
    requests: float
    bad: float
    left: float
    rates: dict[int, float]
    burning: Pair | None
    gone_in: float


def assess(series: Series, objective: Objective, window: float, now: float) -> Assessment:
    """series: the counts of the objective. window: seconds over which it holds. now: seconds since 1970"""
    allowed = objective.allowed
    counts = {seconds: series.over(seconds, now) for seconds in WINDOWS if seconds <= window}
    rates = {seconds: _share(*count) / allowed for seconds, count in counts.items()}
    requests, bad = series.over(window, now)
    left = 1 - _share(requests, bad) / allowed
    burning = next((pair for pair in PAIRS if _burns(pair, rates, counts)), None)
    gone_in = inf if burning is None else max(0.0, left) * window / rates[burning.long]
    first = series.first()
    since = max(first, now - window) if first else 0.0
    return Assessment(objective, window, since, requests, bad, left, rates, burning, gone_in)


def _burns(pair: Pair, rates: dict[int, float], counts: dict[int, tuple[float, float]]) -> bool:
    if pair.long not in counts or counts[pair.long][1] < FEWEST:
        return False
    return min(rates[pair.short], rates[pair.long]) >= pair.factor * _NEARLY


def _share(total: float, bad: float) -> float:
    return bad / total if total else 0.0


def server_errors(requests: int, errors: int, calls: int, failed_calls: int) -> int:
    """Requests that ended with a server error. errors: those answered with 5xx. calls: those of gRPC; failed_calls: those of them whose
    outcome counts as 5xx. A call that was answered with an HTTP status of 5xx is in both counts."""
    return failed_calls + min(errors, max(0, requests - calls))


def slower(bounds: Sequence[float], counts: Sequence[int], seconds: float) -> float:
    """Requests that took longer than ``seconds``, taken as evenly spread within a bucket.

    bounds: the upper ends of the buckets. counts: requests in each bucket, and then those beyond the last one, all of which count
    """
    found = float(counts[len(bounds)])
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if bound > seconds:
            found += count * min(1.0, (bound - seconds) / (bound - lower))
        lower = bound
    return found
