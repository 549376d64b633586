"""In a row: whether a bad report about a backend follows the one before it, with nothing good in between.

Workers report what failed at once, each on its own way to the master. What went well they only count, as that is cheap; so the
master sees the two beside each other, not in their order. What can be said is this:

- The good ones have not become more since the last look: nothing good lies between (`NEXT`).
- They have: whatever the row was, it is over, and this report may begin another (`FIRST`).
- The report is of a moment before the last look that found more good ones: it may lie on the other side of them, so it is not
  counted (`BEFORE`). Without this a busy backend that fails now and then, and whose failures come in batches, looks dead.

A row is therefore never counted more than one longer than it was (the `FIRST` may have come before the good ones); it may be counted
a few milliseconds' reports shorter.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["BEFORE", "FIRST", "NEXT", "Place", "Streak"]

Place = Literal["first", "next", "before"]
FIRST: Place = "first"
NEXT: Place = "next"
BEFORE: Place = "before"

_NEVER = float("-inf")


class Streak:
    """What is known of the good ones of one backend. ``good``: the most that were counted; ``at``: the look that found them."""

    __slots__ = ("good", "at")

    def __init__(self) -> None:
        self.good = 0
        self.at = _NEVER

    def place(self, good: int, when: float, now: float) -> Place:
        """Where a report belongs.

        good: good responses over all workers, as they are counted now; when: the moment of the report; now: that of the look. The
        count may go back, when heads that were counted as good turn out to be followed by broken bodies; that is nothing new.
        """
        if good > self.good:
            self.good, self.at = good, now
            return FIRST
        return BEFORE if when <= self.at else NEXT

    def restart(self, good: int, now: float) -> None:
        """Begin anew with this count: reports of earlier moments do not count."""
        self.good, self.at = good, now
