"""What a location inherits from its service, and a service from the top: `Traffic`, worked out level by level.

Most locations of most services say nothing of their own. So where nothing is written the very object of the level above is handed
on: ten thousand locations share one `Outlier`, which costs nothing to make, little to pickle, and compares by identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import BaseModel

from .settings import LocationSettings, ServiceSettings, Settings, TrafficSettings
from .settings.middleware import CircuitBreaker, MiddlewareEntry
from .snapshot import Breaker, ConnectionPool, Outlier, Queue, Retry, Sticky

__all__ = ["Traffic", "location", "service", "top"]

_KEYS = frozenset(TrafficSettings.model_fields)
_SPELLINGS = {"failure_threshold": "threshold", "reset_timeout": "timeout"}


class Traffic(NamedTuple):
    """The fields of a Location that are inherited key by key. ``ejection``, ``circuit``: what `outlier` and `breaker` are as soon as
    somebody further down switches them on."""

    hash_on: str = "client-ip"
    hash_balance_factor: float = 0.0
    sticky: Sticky = Sticky()
    slow_start: float = 0.0
    panic_threshold: float = 0.0
    outlier: Outlier | None = Outlier()
    breaker: Breaker | None = None
    retry: Retry = Retry()
    queue: Queue = Queue()
    pool: ConnectionPool = ConnectionPool()
    ejection: Outlier = Outlier()
    circuit: Breaker = Breaker()


def top(written: Settings, secret: bytes) -> Traffic:
    """What all services inherit. secret: the key of session cookies where none is written."""
    given = Traffic(sticky=Sticky(key=secret))
    breaker = [written.circuit_breaker] if written.circuit_breaker is not None else []
    return _with_breaker(_over(given, written), [*breaker, *_breakers(written.middleware)])


def service(inherited: Traffic, written: ServiceSettings) -> Traffic:
    """What the locations of a service inherit; `inherited` itself if nothing is written."""
    made = inherited if _KEYS.isdisjoint(written.model_fields_set) else _over(inherited, written)
    return _with_breaker(made, _breakers(written.middleware)) if written.middleware else made


def location(inherited: Traffic, written: LocationSettings) -> Traffic:
    """What holds in a location; `inherited` itself if nothing is written."""
    return inherited if _KEYS.isdisjoint(written.model_fields_set) else _over(inherited, written)


def _breakers(entries: Sequence[MiddlewareEntry]) -> list[CircuitBreaker]:
    return [entry.circuit_breaker for entry in entries if entry.circuit_breaker is not None]


def _over(inherited: Traffic, written: TrafficSettings) -> Traffic:
    ejection = _laid(inherited.ejection, written.outlier)
    outlier = inherited.outlier
    if written.outlier is not None:
        outlier = ejection if written.outlier.enabled else None
    return Traffic(
        hash_on=inherited.hash_on if written.hash_on is None else written.hash_on,
        hash_balance_factor=inherited.hash_balance_factor if written.hash_balance_factor is None else written.hash_balance_factor,
        sticky=_sticky(inherited.sticky, written),
        slow_start=inherited.slow_start if written.slow_start is None else written.slow_start,
        panic_threshold=inherited.panic_threshold if written.panic_threshold is None else written.panic_threshold,
        outlier=outlier,
        breaker=inherited.breaker,
        retry=_laid(inherited.retry, written.retry),
        queue=_laid(inherited.queue, written.queue),
        pool=_laid(inherited.pool, written.connection_pool),
        ejection=ejection,
        circuit=inherited.circuit,
    )


def _with_breaker(inherited: Traffic, written: Sequence[CircuitBreaker]) -> Traffic:
    """With a circuit: given at all means on. (`terraster.config.checks` sees to it that there is at most one on each level.)"""
    for breaker in written:
        given = _given(breaker)
        circuit = replace(inherited.circuit, **{_SPELLINGS.get(key, key): value for key, value in given.items()})
        inherited = inherited._replace(breaker=circuit if breaker.enabled else None, circuit=circuit)
    return inherited


def _sticky(inherited: Sticky, written: TrafficSettings) -> Sticky:
    if written.sticky is None:
        return inherited
    given = _given(written.sticky)
    secret = given.pop("secret", None)
    if secret is not None:
        given["key"] = hashlib.sha256(secret.get_secret_value().encode()).digest()
    return replace(inherited, **given)


def _laid(inherited: Any, written: BaseModel | None) -> Any:
    """A frozen value with what was written laid over it, key by key; itself if that is nothing new."""
    given = _given(written) if written is not None else None
    return replace(inherited, **given) if given else inherited


def _given(written: BaseModel) -> dict[str, Any]:
    values = ((name, getattr(written, name)) for name in written.model_fields_set if name != "enabled")
    return {name: value for name, value in values if value is not None}
