"""When an OCSP response is fetched, fetched again and tried again. Pure: facts and a clock reading in, moments out.

- A response is fetched again when half of its time (thisUpdate to nextUpdate) is over. One that was that old already when it came, because
  the responder has no newer one, is fetched again after half of the time that it had left.
- After a failure the next try waits a minute, and twice as long after each further one, at most an hour. A response that is there is used
  until its end meanwhile.

Chance spreads what many certificates, and many hosts, do at the same time. Moments are time.time(); 0.0 = none.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SKEW", "Fetched", "is_current", "next_fetch"]

_FIRST, _LONGEST = 60.0, 3600.0  # seconds after the first failure, and at most
_SHORTEST = 60.0  # seconds between two fetches that go well; less only for a response that lives for minutes
_JITTER = 0.1  # part of a wait that chance adds or takes
SKEW = 300.0
"""Seconds that the responder's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The facts about the response of a certificate.

    this_update, next_update: its time; 0.0 = there is none
    fetched_at: when it came
    failures:   tries that failed since
    failed_at:  when the last one failed
    chance:     0 … 1, drawn anew after each try
    """

    this_update: float = 0.0
    next_update: float = 0.0
    fetched_at: float = 0.0
    failures: int = 0
    failed_at: float = 0.0
    chance: float = 0.5


def is_current(this_update: float, next_update: float, now: float) -> bool:
    """True if a response with this time may be sent now."""
    return this_update - SKEW <= now < next_update


def next_fetch(known: Fetched, now: float) -> float:
    """When the response of a certificate is to be fetched; not after ``now``: at once."""
    swing = 1 + _JITTER * (2 * known.chance - 1)
    if known.failures:
        delay: float = min(_FIRST * 2 ** min(known.failures - 1, 10), _LONGEST) * swing
        return min(known.failed_at, now) + delay
    if not known.next_update:
        return now
    fetched_at = min(known.fetched_at, now)
    life = known.next_update - known.this_update
    at = known.this_update + life / 2 * swing
    if at <= fetched_at:
        at = fetched_at + (known.next_update - fetched_at) / 2 * swing
    return max(at, fetched_at + min(_SHORTEST, life / 4))
