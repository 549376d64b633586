"""Streaks of failures: decides if a bad report about a backend follows the one before it, with no good response in between.

Workers report failures at once, each on its own way to the master. They only count good responses, as that is cheap. So the master sees
both, but not in their order. It concludes this:

- No more good responses than at the last look: there was none in between (`NEXT`).
- More good responses: the streak is over, and this report may begin another (`FIRST`).
- The report is from before the last look that found more good responses: it may be older than they are, so it is not
  counted (`BEFORE`). Without this rule a busy backend that fails now and then, and whose failures come in batches, would look dead.

A streak is therefore never counted more than one longer than it was (the `FIRST` may be older than the good responses). It may be counted
shorter by the reports of a few milliseconds.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["BEFORE", "FIRST", "NEXT", "Turn", "Streak"]

Turn = Literal["first", "next", "before"]
FIRST: Turn = "first"
NEXT: Turn = "next"
BEFORE: Turn = "before"

_NEVER = float("-inf")


class Streak:
    """The good responses of one backend. ``good``: the most that were counted; ``at``: the look that found them."""

    __slots__ = ("good", "at")

    def __init__(self) -> None:
        self.good = 0
        self.at = _NEVER

    def place(self, good: int, when: float, now: float) -> Turn:
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
