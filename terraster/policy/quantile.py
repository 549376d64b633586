"""A percentile of latencies, for little: a histogram with buckets that grow by a fifth, which forgets half of itself now and then.

It costs one logarithm and one increment a latency, and is never more than a fifth too high. (Sketches that are exact to a promised
error, as DDSketch, are this with finer buckets.)
"""

from __future__ import annotations

from math import log

__all__ = ["Latencies"]

_LEAST = 0.0001  # seconds; everything below is alike
_STEP = log(1.2)
_BUCKETS = 80  # up to some 180 s
_ENOUGH = 100  # latencies before anything is said
_MANY = 2000  # latencies after which the older ones count half


class Latencies:
    """Latencies of one location in one worker, in seconds."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts: list[int] = []  # until the first one: most locations count none
        self._total = 0

    def add(self, seconds: float) -> None:
        """Count one."""
        if not self._counts:
            self._counts = [0] * _BUCKETS
        place = int(log(seconds / _LEAST) / _STEP) + 1 if seconds > _LEAST else 0
        self._counts[min(place, _BUCKETS - 1)] += 1
        self._total += 1
        if self._total >= _MANY:
            self._counts = [count >> 1 for count in self._counts]
            self._total = sum(self._counts)

    def at(self, share: float) -> float:
        """The latency that ``share`` (0 … 1) of them do not exceed, rounded up to a bucket's end; -1.0 while too few are known."""
        if self._total < _ENOUGH:
            return -1.0
        left = share * self._total
        place = 0
        while left > self._counts[place]:
            left -= self._counts[place]
            place += 1
        return float(_LEAST * 1.2**place)
