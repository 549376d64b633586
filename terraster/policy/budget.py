"""How many retries a location may spend: a share of its requests, and a few more.

When every backend is slow or failing, each retry makes it worse: three attempts for each request are three times the load, at the
worst moment. So retries and hedges are paid from what requests bring in (Finagle's RetryBudget, Envoy's retry_budget). Requests
and retries are remembered for some ten seconds, fading; a few retries a second are free, or a location with little traffic could
never retry at all.

A share is a share in each worker as in all of them together, so workers need not know of each other; only the free retries are
divided between them.
"""

from __future__ import annotations

from math import exp

__all__ = ["Budget"]

_MEMORY = 10.0  # seconds


class Budget:
    """One location's, in one worker. share: retries per request. free: retries per second, over all workers. now: monotonic time."""

    __slots__ = ("share", "free", "_requests", "_retries", "_seen", "_at")

    def __init__(self, share: float, free: float, now: float) -> None:
        self.share = share
        self.free = free
        self._requests = 0.0  # of the last ten seconds, roughly
        self._retries = 0.0
        self._seen = 0
        self._at = now

    def spend(self, requests: int, workers: int, now: float) -> bool:
        """True if one more retry is allowed; it is counted then. requests: all there ever were in this worker. workers: how many share
        the free ones."""
        elapsed = max(0.0, now - self._at)
        fade = exp(-elapsed / _MEMORY)
        came = float(requests - self._seen)
        if elapsed > 0:  # as if they had come evenly since the last look
            came *= (1 - fade) * _MEMORY / elapsed
        self._requests = self._requests * fade + came
        self._retries *= fade
        self._seen, self._at = requests, now
        if self._retries + 1 > self.share * self._requests + self.free * _MEMORY / workers:
            return False
        self._retries += 1
        return True

    def refund(self) -> None:
        """The one that was allowed last is not made."""
        self._retries = max(0.0, self._retries - 1)

    def resume_from(self, old: Budget) -> None:
        """Go on with what the generation before had spent."""
        self._requests, self._retries, self._seen, self._at = old._requests, old._retries, old._seen, old._at
