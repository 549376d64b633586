"""Latencies in a bounded memory, with the same relative error everywhere (the idea of Gil Tene's HdrHistogram).

Each power of two seconds from 2^-20 (about 1 µs) to 2^12 (about 68 minutes) is cut into 256 equal parts. So a quantile is never less than the
exact one, and at most 1/256 (0.4 %) more. Shorter times count in the first part, longer ones in the last; the least and the greatest are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import ceil, frexp, inf, sqrt
from typing import Any

__all__ = ["PARTS", "Histogram"]

PARTS = 256
"""Parts of a power of two."""

_LOWEST = -20  # the exponent of the first power of two
_POWERS = 32
_LAST = PARTS * _POWERS - 1
_OFFSET = -PARTS * (_LOWEST + 2)
_TWICE = 2.0 * PARTS
_LEAST = 2.0**_LOWEST
_MOST = 2.0 ** (_LOWEST + _POWERS)


class Histogram:
    """How often which time, in seconds.

    total: times that were added. least, greatest: of them, exact; inf and 0.0 of none. sum, squares: of all times, and of their squares
    """

    __slots__ = ("greatest", "least", "squares", "sum", "total", "_counts")

    def __init__(self) -> None:
        self.total = 0
        self.least = inf
        self.greatest = 0.0
        self.sum = 0.0
        self.squares = 0.0
        self._counts: defaultdict[int, int] = defaultdict(int)  # by part; most parts have no time

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.total += 1
        self.sum += seconds
        self.squares += seconds * seconds
        if seconds > self.greatest:
            self.greatest = seconds
        if seconds < self.least:
            self.least = seconds
        if _LEAST <= seconds < _MOST:
            part, exponent = frexp(seconds)
            self._counts[int(part * _TWICE) + exponent * PARTS + _OFFSET] += 1
        else:
            self._counts[0 if seconds < _LEAST else _LAST] += 1

    def merge(self, other: Histogram) -> None:
        """Count the times of another one as well."""
        if other.total:
            for at, count in other._counts.items():
                self._counts[at] += count
            self._add_sums(other.total, other.least, other.greatest, other.sum, other.squares)

    def quantile(self, share: float) -> float:
        """The time that at least this share (0 to 1) of all times did not exceed; 0.0 of none."""
        if not self.total:
            return 0.0
        wanted = max(1, ceil(self.total * share - 1e-9))  # 0.999 × 1000 must not be a little more than 999
        seen = 0
        for at, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return self.greatest if at == _LAST else min(_edge(at + 1), self.greatest)
        return self.greatest

    @property
    def mean(self) -> float:
        """The arithmetic mean; 0.0 of none."""
        return self.sum / self.total if self.total else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation; 0.0 of none."""
        return sqrt(max(0.0, self.squares / self.total - self.mean**2)) if self.total else 0.0

    def parts(self) -> list[tuple[float, float, int]]:
        """The parts with a time: (lower edge, upper edge, count), in order."""
        return [(_edge(at), _edge(at + 1), count) for at, count in sorted(self._counts.items())]

    def to_json(self) -> dict[str, Any]:
        """Its content, for `from_json`. It is as long as there are parts with a time."""
        sums = [self.total, self.least, self.greatest, self.sum, self.squares] if self.total else []
        return {"counts": {str(at): count for at, count in self._counts.items()}, "sums": sums}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Histogram:
        """The histogram with this content."""
        made = cls()
        for at, count in content["counts"].items():
            made._counts[int(at)] = count
        if content["sums"]:
            made._add_sums(*content["sums"])
        return made

    def _add_sums(self, total: int, least: float, greatest: float, sum_: float, squares: float) -> None:
        self.total += total
        self.least = min(self.least, least)
        self.greatest = max(self.greatest, greatest)
        self.sum += sum_
        self.squares += squares


def _edge(at: int) -> float:
    """The lower edge of a part."""
    power, part = divmod(at, PARTS)
    return float((1.0 + part / PARTS) * 2.0 ** (power + _LOWEST))
