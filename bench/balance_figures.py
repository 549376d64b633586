"""What one run says: from the requests of the client and the arrivals at the backends to the figures of the table and the plots."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from bad_backends import BACKENDS, Bad
from open_loop import Sample

__all__ = ["FAIR", "Figures", "Use", "figures", "percentile"]

FAIR = 1 / BACKENDS
GONE = 0.02  # a share below this is "avoided"
BACK = 0.2  # a share this near to the fair one, as a part of it, is "back"
LOOK = 0.5  # seconds over which a share is taken to see whether a backend is avoided
LOOK_BACK = 1.0  # to see whether it is back: 20 % of a share is little, so more requests are looked at
STEP = 0.1


@dataclass(frozen=True)
class Use:
    """What the run took, to see that nothing but the backends was short. CPU in cores; late: 99th percentile of the seconds by which
    the client sent, and the backends answered, later than meant. machine: share of all cores that was busy, with whatever else ran."""

    client: float
    backends: float
    terraster: float
    machine: float
    client_late: float
    backends_late: float


@dataclass(frozen=True)
class Figures:
    """One algorithm under one behaviour. Latencies and times in seconds.

    p50, p99: of what was sent while the first backend was bad (all of the run where none is). longest, failures, requests: of the
    whole run. share: of the attempts that the bad one got while it was bad. avoided: seconds until its share fell below `GONE`; back:
    seconds until it was within `BACK` of fair after it had recovered; None: not in this run. shares: (second, share of the first
    backend) each quarter second; p99s: (second, p99 of what was sent in it).
    """

    algorithm: str
    behaviour: str
    p50: float
    p99: float
    longest: float
    requests: int
    failures: int
    share: float
    avoided: float | None
    back: float | None
    use: Use
    shares: list[tuple[float, float]] = field(repr=False)
    p99s: list[tuple[float, float]] = field(repr=False)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies; 0 of nothing."""
    return sorted(values)[int(part * (len(values) - 1))] if values else 0.0


class Arrivals:
    """When requests came to each backend, in order."""

    def __init__(self, moments: Sequence[Sequence[float]]) -> None:
        self._moments = moments

    def count(self, number: int, begin: float, end: float) -> int:
        moments = self._moments[number]
        return bisect_left(moments, end) - bisect_left(moments, begin)

    def share(self, begin: float, end: float) -> float | None:
        """Of the first backend; None if nobody got anything."""
        total = sum(self.count(number, begin, end) for number in range(len(self._moments)))
        return self.count(0, begin, end) / total if total else None

    def first(self, begin: float, end: float, width: float, low: float, high: float) -> float | None:
        """Seconds after ``begin`` from which on, for ``width`` seconds, the share lay between the two; None: nowhere before ``end``."""
        moment = begin
        while moment + width <= end:
            share = self.share(moment, moment + width)
            if share is not None and low <= share <= high:
                return round(moment - begin, 1)
            moment += STEP
        return None


def figures(
    algorithm: str, behaviour: str, bad: Bad, length: float, samples: list[Sample], moments: list[list[float]], use: Use
) -> Figures:
    """``samples`` and ``moments`` may hold what was before second 0, the warm-up; it is left out."""
    samples = [sample for sample in samples if sample.due >= 0]
    begin, end = (0.0, length) if bad.kind == "none" else (bad.begin, bad.end)
    during = [sample.latency for sample in samples if begin <= sample.due < end]
    came = Arrivals(moments)
    seconds = [[sample.latency for sample in samples if second <= sample.due < second + 1] for second in range(int(length))]
    quarters = [(number / 4, came.share(number / 4, number / 4 + 0.25)) for number in range(int(length * 4))]
    is_bad = bad.kind != "none"
    return Figures(
        algorithm,
        behaviour,
        percentile(during, 0.5),
        percentile(during, 0.99),
        max(sample.latency for sample in samples),
        len(samples),
        sum(sample.status != 200 for sample in samples),
        came.share(begin, end) or 0.0,
        came.first(begin, end, LOOK, 0.0, GONE) if is_bad else None,
        came.first(end, length, LOOK_BACK, FAIR * (1 - BACK), FAIR * (1 + BACK)) if is_bad else None,
        use,
        [(moment + 0.125, share) for moment, share in quarters if share is not None],
        [(second + 0.5, percentile(values, 0.99)) for second, values in enumerate(seconds) if values],
    )
