"""The figures of one run, for the table and the plots, from the client's requests and the arrivals at the backends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from bad_backends import BACKENDS, Bad
from open_loop import Sample

__all__ = ["FAIR", "Figures", "Use", "figures", "percentile"]

FAIR = 1 / BACKENDS
GONE = 0.02  # a share below this is "avoided"
BACK = 0.2  # a share that deviates less than this part from the fair one is "back"
LOOK = 0.5  # seconds over which the share is measured for "avoided"
LOOK_BACK = 1.0  # the same for "back": 20 % of a share is little, so more requests are needed
STEP = 0.1


@dataclass(frozen=True)
class Use:
    """The resources of a run, to show that only the backends were overloaded. CPU in cores.

    late:    99th percentile of the delay with which the client sent and the backends answered, seconds
    machine: busy share of all cores, other programs included
    """

    client: float
    backends: float
    terraster: float
    machine: float
    client_late: float
    backends_late: float


@dataclass(frozen=True)
class Figures:
    """One algorithm under one behaviour. Latencies and times in seconds.

    p50, p99: of the requests sent while the first backend was bad; of the whole run if no backend was bad
    longest, failures, requests: of the whole run
    share:    the bad backend's share of the attempts while it was bad
    avoided:  seconds until its share fell below `GONE`; None: not in this run
    back:     seconds after its recovery until its share was within `BACK` of fair; None: not in this run
    shares:   (second, share of the first backend) for each quarter second
    p99s:     (second, p99 of the requests sent in that second)
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
    """The value below which this part of the values lies; 0 without values."""
    return sorted(values)[int(part * (len(values) - 1))] if values else 0.0


class Arrivals:
    """The times of the requests at each backend, in order."""

    def __init__(self, moments: Sequence[Sequence[float]]) -> None:
        self._moments = moments

    def count(self, number: int, begin: float, end: float) -> int:
        moments = self._moments[number]
        return bisect_left(moments, end) - bisect_left(moments, begin)

    def share(self, begin: float, end: float) -> float | None:
        """The share of the first backend; None if no backend got a request."""
        total = sum(self.count(number, begin, end) for number in range(len(self._moments)))
        return self.count(0, begin, end) / total if total else None

    def first(self, begin: float, end: float, width: float, low: float, high: float) -> float | None:
        """The first time, in seconds after ``begin``, from which the share lay between both bounds for ``width`` seconds; None if there is
        none before ``end``."""
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
    """The figures of a run. ``samples`` and ``moments`` may include the warm-up before second 0, which is ignored."""
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
