"""Which of many equal lines are written."""

from __future__ import annotations

import zlib

from ..config.loggers import Sampling
from ..exchange import Exchange

__all__ = ["Sampler", "chosen"]


def chosen(count: int, rule: Sampling) -> bool:
    """True if the line with this count among its equals of one second, from 1, is written."""
    over = count - rule.initial
    return over <= 0 or (rule.thereafter > 0 and over % rule.thereafter == 0)


class Sampler:
    """Which access lines are written. rule: for equal lines of one second, which have service, location and status in common; None: a share
    of the lines, chosen by their request ids, so that logs of the same requests have the same ones."""

    __slots__ = ("_below", "_rule", "_second", "_seen")

    def __init__(self, share: float, rule: Sampling | None) -> None:
        self._below = share * (1 << 32)
        self._rule = rule
        self._second = 0
        self._seen: dict[tuple[int, int], int] = {}

    def takes(self, x: Exchange) -> bool:
        """True if the line of a finished exchange is written. Counts it."""
        if self._rule is None:
            return zlib.crc32(x.request_id) < self._below
        second = int(x.wall)
        if second != self._second:
            self._second = second
            self._seen.clear()
        line = id(x.location or x.service), x.status
        count = self._seen[line] = self._seen.get(line, 0) + 1
        return chosen(count, self._rule)
