"""The rate limit of the management port (`api.rate_limit`): for each client address, by the buckets that `rate_limit` of services uses.

Probes of health are never refused: the one who asks is a supervisor, and takes a refusal for an outage.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..config.snapshot import Snapshot
from ..filters.client_key import ClientKey
from ..state.buckets import RULE, Buckets
from ..state.view import SeatView
from .site import Environ, Refusal

__all__ = ["PROBES", "Throttle"]

PROBES = ("/healthz", "/readyz")
_PREFIX = 64
_SECOND = 1_000_000_000


class Throttle:
    """The guard of the management port's `Site`."""

    __slots__ = ("_buckets", "_clock", "_key", "_running")

    def __init__(self, view: SeatView, running: Callable[[], Snapshot], clock: Callable[[], int] = time.monotonic_ns) -> None:
        """running: the configuration in effect. clock: monotonic nanoseconds"""
        self._buckets = Buckets(view, _forgotten)
        self._clock = clock
        self._key = ClientKey(view.table.secret, f"management port\0{RULE}", "client-ip", _PREFIX)
        self._running = running

    def __call__(self, environ: Environ) -> None:
        """Raises `Refusal`."""
        limit = self._running().admin_rate
        if limit is None or environ["PATH_INFO"] in PROBES:
            return
        rate, burst = limit
        interval = round(_SECOND / rate)
        debt = self._buckets.take(self._key.of(environ.get("REMOTE_ADDR") or "unix"), self._clock(), interval, interval * burst)
        if debt < 0:
            raise Refusal(429, "too many requests: see `api.rate_limit`", ("Retry-After", str(max(1, -(debt // _SECOND)))))


def _forgotten() -> None:
    """More clients than there is room for: nothing counts them here."""
