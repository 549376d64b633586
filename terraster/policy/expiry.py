"""How long a certificate is still valid, and when that is a worry.

Pure: times go in, words come out. A threshold in days suits certificates of a year. One of a week would be under it for its whole life. So
the threshold of a certificate is never more than a third of its lifetime: by then a renewal at two thirds, as most tools do it, is late.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["DAYS", "SHARE", "State", "margin", "next_stage", "span", "stage", "state"]

SHARE = 1 / 3
"""Part of a lifetime that a threshold is at most."""

_LATE = 0.3
"""Part of a lifetime that the first stage is at most: a renewal at two thirds, which takes its time, is not told."""

DAYS = (14, 7, 1, 0)
"""Further stages of a warning, in days before the end; 0: it has expired."""

State = Literal["valid", "not-yet-valid", "expiring", "expired"]


def margin(not_before: float, not_after: float, threshold: float) -> float:
    """Seconds before its end from which on something with these dates counts as expiring. threshold: the configured seconds"""
    return max(0.0, min(threshold, (not_after - not_before) * SHARE))


def state(not_before: float, not_after: float, threshold: float, now: float) -> State:
    """The state of something with these dates. All are seconds since 1970, threshold apart: the configured seconds."""
    if now >= not_after:
        return "expired"
    if now < not_before:
        return "not-yet-valid"
    return "expiring" if now >= not_after - margin(not_before, not_after, threshold) else "valid"


def _stages(not_before: float, not_after: float, threshold: float) -> list[float]:
    """Seconds before the end at which operators are told, the most first: the threshold, and the stages that are smaller."""
    first = max(0.0, min(threshold, (not_after - not_before) * _LATE))
    return [first, *(day * 86400.0 for day in DAYS if day * 86400.0 < first)] if first else [0.0]


def stage(not_before: float, not_after: float, threshold: float, now: float) -> float | None:
    """The stage that has been reached, as seconds before the end: 0.0 if it is over; None before the first one."""
    left = not_after - now
    return min((one for one in _stages(not_before, not_after, threshold) if left <= one), default=None)


def next_stage(not_before: float, not_after: float, threshold: float, now: float) -> float | None:
    """Seconds until the next stage is reached; None if the last one was."""
    left = not_after - now
    return min((left - one for one in _stages(not_before, not_after, threshold) if left > one), default=None)


def span(seconds: float) -> str:
    """A time in the largest unit that it has at least twice, rounded down: "12 days", "36 hours"."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} seconds"
