"""Problems between keys that locations inherit: they show only once the values of a level are worked out.

Looked at is each level that writes such a key (the top, a service, a location), with what it inherits; said is only what that
level itself wrote, so that a rule at the top for some locations brings no word about the others. `levels` makes the list, once a
load, of the services that `writes` picked out when they were parsed: ten thousand that write nothing cost nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from math import floor
from typing import NamedTuple

from . import inherit
from .messages import Complaint
from .settings import LocationSettings, ServiceSettings, Settings, TrafficSettings

__all__ = ["Level", "errors", "levels", "warnings", "writes"]

Path = tuple[str | int, ...]
_KEYS = frozenset(TrafficSettings.model_fields)
_FOR = {
    "sticky": ("sticky-session",),
    "hash_on": ("consistent-hash",),
    "hash_balance_factor": ("consistent-hash", "ip-hash"),
}
_HASHES = frozenset({"consistent-hash", "ip-hash"})


class Level(NamedTuple):
    """A part of the configuration that writes such keys. ``here``: its path; ``traffic``: with what it inherits; ``reach``: the locations
    it is there for, each with its own."""

    here: Path
    written: TrafficSettings
    traffic: inherit.Inherited
    reach: Sequence[tuple[LocationSettings, inherit.Inherited]]


def writes(service: ServiceSettings) -> bool:
    """True if a service or one of its locations writes a key that `levels` looks at."""
    parts = (service, *service.locations)
    return not all(_KEYS.isdisjoint(part.model_fields_set) for part in parts)


def levels(
    top: Settings, services: Iterable[tuple[Path, ServiceSettings]], writing: Iterable[tuple[Path, ServiceSettings]]
) -> Iterator[Level]:
    """The levels that write something. services: all; writing: those that write something, which is what `writes` says."""
    traffic = inherit.top(top, b"")
    if not _KEYS.isdisjoint(top.model_fields_set):
        yield Level((), top, traffic, [there for _, service in services for there in _below(traffic, service)])
    for path, service in writing:
        below = _below(traffic, service)
        if not _KEYS.isdisjoint(service.model_fields_set):
            yield Level(path, service, inherit.service(traffic, service), below)
        for index, location in enumerate(service.locations):
            if not _KEYS.isdisjoint(location.model_fields_set):
                made = inherit.location(inherit.service(traffic, service), location)
                yield Level((*path, "locations", index), location, made, [(part, made) for _, part in location.parts()])


def errors(found: Iterable[Level]) -> Iterator[Complaint]:
    """The contradictions, each with its path."""
    for here, written, traffic, _ in found:
        pool, outlier, sticky = written.connection_pool, written.outlier, written.sticky
        if pool is not None and 0 < traffic.pool.max_open < traffic.pool.max_idle:
            key = "max_idle" if "max_idle" in pool.model_fields_set else "max_open"
            words = f"`max_idle` {traffic.pool.max_idle} is more than `max_open` {traffic.pool.max_open}"
            yield (*here, "connection_pool", key), False, words
        if outlier is not None and outlier.enabled and traffic.ejection.max_time < traffic.ejection.time:
            key = "max_time" if "max_time" in outlier.model_fields_set else "time"
            words = f"`max_time` {traffic.ejection.max_time:g}s is less than `time` {traffic.ejection.time:g}s"
            yield (*here, "outlier", key), False, words
        if sticky is not None and traffic.sticky.same_site == "none" and traffic.sticky.secure == "never":
            key = "same_site" if "same_site" in sticky.model_fields_set else "secure"
            yield (*here, "sticky", key), False, "`same_site: none` with `secure: false`: browsers refuse such a cookie"


def warnings(top: Settings, found: Iterable[Level]) -> Iterator[Complaint]:
    """Keys that are allowed but have no effect, each with its path."""
    for level in found:
        here, written, traffic, reach = level
        if not reach:
            continue
        yield from _without_algorithm(top, level)
        if written.slow_start:
            yield from _starts_at_once(top, level)
        if written.outlier is not None and written.outlier.enabled:
            yield from _ejects_nothing(level)
            yield from _ejects_nobody(level)
        if isinstance(written, LocationSettings) and written.queue is not None and traffic.queue.size and not traffic.pool.max_open:
            yield from _nobody_waits(here, written)


def _nobody_waits(here: Path, location: LocationSettings) -> Iterator[Complaint]:
    found = [backend for _, part in location.parts() for backend in part.backends]
    if found and not any(backend.max_connections for backend in found):
        yield (*here, "queue"), True, "`queue` without `max_connections` of a backend: no backend is ever full, so no request waits"


def _below(traffic: inherit.Inherited, service: ServiceSettings) -> list[tuple[LocationSettings, inherit.Inherited]]:
    inherited = inherit.service(traffic, service)
    return [(part, inherit.location(inherited, location)) for location in service.locations for _, part in location.parts()]


def _without_algorithm(top: Settings, level: Level) -> Iterator[Complaint]:
    for key, algorithms in _FOR.items():
        if key == "sticky" and any(there.split is not None and there.split.by == "cookie" for there, _ in level.reach):
            continue  # its `secret` signs the cookie of the split
        if level.written.written(key) and not any(used in algorithms for there in level.reach for used in _used(top, *there)):
            key_of = "algorithm" if level.written is top else "lb_policy"
            words = " or ".join(f"`{key_of}: {algorithm}`" for algorithm in algorithms)
            yield (*level.here, key), True, f"`{key}` is for {words} and has no effect here"


def _starts_at_once(top: Settings, level: Level) -> Iterator[Complaint]:
    """A slow start where a hash chooses everywhere, also for new sessions: their keys belong to one backend, so there is no share to grow."""
    chosen = {_chooses(top, *there) for there in level.reach}
    if chosen <= _HASHES:
        words = " and ".join(f"`{name}`" for name in sorted(chosen))
        yield (*level.here, "slow_start"), True, f"`slow_start` has no effect under {words}"


def _chooses(top: Settings, location: LocationSettings, traffic: inherit.Inherited) -> str:
    """The algorithm that distributes new work."""
    policy = location.lb_policy or top.algorithm
    return traffic.sticky.algorithm if policy == "sticky-session" else policy


def _used(top: Settings, location: LocationSettings, traffic: inherit.Inherited) -> Collection[str]:
    policy = location.lb_policy or top.algorithm
    return (policy, traffic.sticky.algorithm) if policy == "sticky-session" else (policy,)


def _ejects_nothing(level: Level) -> Iterator[Complaint]:
    """Keys of `outlier` that act in none of the locations they are there for."""
    written, rules = level.written.outlier, [traffic.ejection for _, traffic in level.reach]
    assert written is not None
    here = (*level.here, "outlier")
    if not any(rule.failures or rule.connect_errors or rule.bad_statuses or rule.ratio for rule in rules):
        yield here, True, "`outlier` has no condition: set `off`, or one of its numbers"
        return
    if "statuses" in written.model_fields_set and not any(rule.bad_statuses or rule.ratio for rule in rules):
        yield (*here, "statuses"), True, "`statuses` without `bad_statuses` or `ratio` ejects nothing"
    for key in ("window", "min_requests"):
        if key in written.model_fields_set and not any(rule.ratio for rule in rules):
            yield (*here, key), True, f"`{key}` without `ratio` has no effect"


def _ejects_nobody(level: Level) -> Iterator[Complaint]:
    """A share that is less than one backend in each location that it is there for. One name, or SRV records, may be any number."""
    written = level.written.outlier
    assert written is not None
    if not written.max_ejected:
        return
    most = 0
    for location, traffic in level.reach:
        counted = [backend for backend in location.backends if backend.weight]
        if any(backend.url.srv for backend in counted) or (len(counted) == 1 and counted[0].url.is_named):
            return
        if floor(traffic.ejection.max_ejected * len(counted) + 1e-9):
            return
        most = max(most, len(counted))
    if most:
        words = f"`max_ejected` {written.max_ejected:.3g} of {most} backend{'s' * (most != 1)} is less than one: no backend is ever ejected"
        yield (*level.here, "outlier", "max_ejected"), True, words
