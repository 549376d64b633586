"""Server errors (5xx) that an operator should hear of: those of one backend that its siblings do not have, and those of most attempts.

An application may answer 500 all day, so a status alone does not say that its backend is ill. It says so if other backends of the same
location, which get the same requests, do not answer so.

A backend stands out if all of these hold:

- At least `LEAST` of its attempts were answered with a server error.
- Their share is at least `TIMES` the share at its siblings together.
- The difference of the two shares is at least `DEVIATIONS` standard errors (the z-test of two proportions). With equal backends that
  happens by chance in less than one of 30,000 comparisons. So two errors more than a sibling's are noise among few attempts, and a share
  of 2 % beside 0.1 % is a difference among many.

Among two backends with the same number of attempts, of which one answers nothing but errors, eight errors are enough.

Pure. The caller counts attempts over a recent time, not since the start.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

__all__ = ["DEVIATIONS", "LEAST", "MANY", "TIMES", "Count", "prevail", "stands_out"]

LEAST = 5  # server errors of one backend
TIMES = 2.0
DEVIATIONS = 4.0

MANY = 20  # attempts at a location below which nothing is said about all its backends


class Count(NamedTuple):
    """Attempts within some time, and those of them that were answered with a server error."""

    attempts: int
    errors: int


def stands_out(one: Count, siblings: Count) -> bool:
    """True if a backend has more server errors than chance explains. siblings: the sum of the location's other backends"""
    if one.errors < LEAST or not siblings.attempts or one.attempts < one.errors:
        return False
    share, other = one.errors / one.attempts, siblings.errors / siblings.attempts
    if share < TIMES * other:
        return False
    both = (one.errors + siblings.errors) / (one.attempts + siblings.attempts)
    error = sqrt(both * (1 - both) * (1 / one.attempts + 1 / siblings.attempts))
    return share - other >= DEVIATIONS * error


def prevail(together: Count) -> bool:
    """True if at least half of a location's attempts were answered with a server error, and there were at least `MANY`."""
    return together.attempts >= MANY and 2 * together.errors >= together.attempts
