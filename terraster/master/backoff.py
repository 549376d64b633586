"""When to start the next child after one died: at once the first time, ever later if they keep dying young. Never give up.

Pure: the clock is an argument.
"""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """The delays of one role. Times are ``time.monotonic()`` seconds.

    Young deaths in a row are waited for 0, ``FIRST``, 2 · ``FIRST`` … up to ``LONGEST`` seconds. Young is younger than ``GROWN``:
    a child that is killed each second is replaced at once each time, one that cannot live is not allowed to burn the
    machine.

    Children that die together die of one cause, and count once: those that had been started before the first of them died, and
    followed it within ``TOGETHER`` seconds.
    """

    GROWN = 0.7
    FIRST = 0.25
    LONGEST = 10.0
    TOGETHER = 0.05

    __slots__ = ("_row", "_until", "_first")

    def __init__(self) -> None:
        self._row = 0
        self._until = 0.0
        self._first = float("-inf")  # when the first of those that died together did

    def died(self, now: float, age: float) -> float:
        """A child died at ``age`` seconds; the seconds to wait before the next one."""
        if now - self._first <= self.TOGETHER and now - age < self._first:
            return max(0.0, self._until - now)
        self._first = now
        self._row = 0 if age >= self.GROWN else self._row + 1
        delay = 0.0 if self._row <= 1 else min(self.LONGEST, self.FIRST * 2.0 ** (self._row - 2))
        self._until = now + delay
        return delay

    def remaining(self, now: float) -> float:
        """Seconds until the next child may be started; 0 or less: now."""
        return self._until - now
