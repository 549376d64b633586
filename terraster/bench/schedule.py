"""When requests are due in an open loop: a sequence of times that does not depend on answers.

A client that waits for an answer before its next request is silent while a server stalls, and does not measure the requests that others would
have sent meanwhile ("coordinated omission", a term of Gil Tene). So a request has a time at which it is due, and its latency counts from then.
"""

from __future__ import annotations

from math import ceil
from random import Random

from .load import Load

__all__ = ["Schedule"]


class Schedule:
    """The times of one share of a load, from the start of the load on. Pure.

    due: seconds at which the next request is due. Even times of all shares interleave; random ones are those of a Poisson process.
    """

    __slots__ = ("due", "_at", "_chance", "_load", "_of_share")

    def __init__(self, load: Load) -> None:
        """load: with a rate"""
        self._load = load
        self._at = load.index
        self._of_share = load.rate / load.of
        self._chance = Random(load.seed) if load.random else None
        self.due = self._at / load.rate if self._chance is None else self._chance.expovariate(self._of_share)

    @property
    def gap(self) -> float:
        """Seconds from an even time to the next one of all shares; 0.0 between random times."""
        return 1.0 / self._load.rate if self._chance is None else 0.0

    def before(self, end: float) -> int:
        """How many requests are due from now on and before ``end``, in seconds; of random times, as many as are to be expected."""
        return ceil((end - self.due) * self._of_share - 1e-9) if end > self.due else 0

    def advance(self) -> None:
        """Go on to the next request."""
        if self._chance is None:
            self._at += self._load.of
            self.due = self._at / self._load.rate  # from the start, so that rounding does not add up
        else:
            self.due += self._chance.expovariate(self._of_share)
