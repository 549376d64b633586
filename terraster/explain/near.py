"""Near misses: what nearly took a request, and why it did not."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from terraster.config.host_patterns import is_pattern
from terraster.config.snapshot import Location
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.plan import Plan, ServicePlan

from .unmet import unmet

__all__ = ["hosts", "locations"]

_MOST = 3
_ALIKE = 0.75
"""The likeness of two paths from which on one may be meant by the other: /chekout and /checkout, /aip and /api."""


def hosts(plan: Plan, listener: str, name: str) -> list[str]:
    """Why no service of a listener has this host, in words, the nearest first."""
    here: dict[str, str] = {}
    found = []
    for service in plan.snapshot.services:
        for host in service.hosts:
            if listener in service.listeners:
                here[host] = service.name
            elif host == name:
                found.append(f"service {service.name} has {host}, but listens on {', '.join(service.listeners)}")
    for host, owner in here.items():
        if host.startswith("*.") and host[2:] == name:
            found.append(f"service {owner} has {host}, which takes the names below {name} and not {name} itself")
        elif is_pattern(host) and host[1:].strip("^$") and get_close_matches(name, [host], 1, 0.7):
            found.append(f"service {owner} has {host}, which does not match the whole name")
    exact = [host for host in here if not host.startswith(("*", "~"))]
    found += [f"service {here[host]} has {host}" for host in get_close_matches(name, exact, _MOST, 0.75)]
    if not found and here:
        some = list(here)[:_MOST]
        found.append(f"hosts there: {', '.join(some)}{', …' if len(here) > len(some) else ''}")
    return found[:_MOST]


def locations(plan: Plan, service: ServicePlan, taken: LocationPlan | None, exchange: Exchange) -> list[str]:
    """The locations of a service that nearly took this request, in words."""
    path = exchange.path.decode("latin-1")
    configured = {one.id: one for one in next(one for one in plan.snapshot.services if one.name == service.name).locations}
    found = _unfulfilled(service, configured, exchange)
    for other in _others(service, taken):
        prefix = other.path.rstrip("/")
        match = configured[other.id].match
        if any(text.startswith(f"{other.label} ") for text in found):
            continue
        if taken is not None and len(prefix) < len(taken.path.rstrip("/")):
            if prefix and _below(path, prefix):
                found.append(f"{other.label} matches as well, but {taken.label} is longer")
        elif match is not None and match.exact and path != other.path and _below(path, prefix):
            found.append(f"{other.label} takes {other.path} alone, and no other path (`path: exact`)")
        elif not _below(path, prefix) and _below(path.lower(), prefix.lower()):
            found.append(f"{other.label} differs in upper and lower case")
        elif path.startswith(prefix) and not _below(path, prefix):
            found.append(f"{other.label} takes {prefix} and {prefix}/…, but a prefix ends where a segment ends")
    if not found:
        found += _alike(service, taken, path)
    return found[:_MOST]


def _unfulfilled(service: ServicePlan, configured: dict[str, Location], exchange: Exchange) -> list[str]:
    """The locations that would come before the one that took the request, if it fulfilled their conditions."""
    found = []
    for candidate in service.forks.candidates(exchange.path) if service.forks is not None else ():
        needed = unmet(configured[candidate.payload.id], exchange)
        if not needed:
            break
        found.append(f"{candidate.payload.label} comes before, but needs {needed}")
    return found


def _alike(service: ServicePlan, taken: LocationPlan | None, path: str) -> list[str]:
    """Locations whose paths are written much like this one: the path may have a typing mistake."""
    depth = len(taken.path.rstrip("/")) if taken is not None else -1
    paths = list(dict.fromkeys([other.path for other in _others(service, taken) if len(other.path.rstrip("/")) > depth]))
    ratios = {other: _ratio(_cut(path, other.count("/")), other) for other in paths}
    alike = sorted([other for other in paths if ratios[other] >= _ALIKE], key=lambda other: -ratios[other])
    if alike or taken is not None:
        return [f"the service has {other}" for other in alike]
    return ["locations of the service: " + ", ".join(paths[:_MOST]) + (", …" if len(paths) > _MOST else "")]


def _cut(path: str, segments: int) -> str:
    """The first segments of a path."""
    return "/".join(path.split("/")[: segments + 1])


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _others(service: ServicePlan, taken: LocationPlan | None) -> Iterable[LocationPlan]:
    return (one for one in service.locations if one is not taken and not one.arm and one.path.startswith("/"))


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
