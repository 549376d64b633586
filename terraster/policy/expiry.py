"""How long a certificate is still valid, and when that is a worry.

Pure: times go in, words come out. A threshold in days suits certificates of a year. One of a week would be under it for its whole life. So
the threshold of a certificate is never more than a third of its lifetime: by then a renewal at two thirds, as most tools do it, is late.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["SHARE", "State", "margin", "state"]

SHARE = 1 / 3
"""Part of a lifetime that a threshold is at most."""

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
