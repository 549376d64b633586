"""The axes of a picture: which values are where, and which of them are named. Pure."""

from __future__ import annotations

from math import ceil, floor, log10

__all__ = ["Axis", "linear", "logarithmic"]

_MOST_TICKS = 6
_FEW_POWERS = 2


class Axis:
    """Values from ``low`` to ``high``, mapped to 0 … 1. ticks: the values that are named"""

    __slots__ = ("high", "low", "ticks", "_is_log")

    def __init__(self, low: float, high: float, ticks: list[float], is_log: bool) -> None:
        self.low = low
        self.high = high
        self.ticks = ticks
        self._is_log = is_log

    def share(self, value: float) -> float:
        """Where a value is, 0 at ``low`` and 1 at ``high``; values outside are at the ends."""
        value = min(max(value, self.low), self.high)
        if self._is_log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(high: float) -> Axis:
    """An axis from 0 to at least ``high``, with round ticks."""
    high = high if high > 0.0 else 1.0
    step = 10.0 ** floor(log10(high / _MOST_TICKS))
    step *= next((factor for factor in (1, 2, 5) if high / (step * factor) <= _MOST_TICKS), 10)
    count = max(1, ceil(high / step - 1e-9))
    return Axis(0.0, count * step, [at * step for at in range(count + 1)], False)


def logarithmic(low: float, high: float) -> Axis:
    """An axis that has both values, which are above 0, with a tick at each power of ten, and at 2 and 5 times these if they are few. It begins
    and ends at one of all these."""
    low, high = min(low, high), max(low, high, low * 1.5)
    first, last = floor(log10(low)), ceil(log10(high))
    marks = [(factor * 10.0**power, factor) for power in range(first, last + 1) for factor in (1, 2, 5)]
    begin = max(mark for mark, _ in marks if mark <= low * (1 + 1e-9))
    end = min(mark for mark, _ in marks if mark >= high * (1 - 1e-9))
    ticks = [(mark, factor) for mark, factor in marks if begin <= mark <= end]
    powers = [mark for mark, factor in ticks if factor == 1]
    return Axis(begin, end, powers if len(powers) > _FEW_POWERS else [mark for mark, _ in ticks], True)
