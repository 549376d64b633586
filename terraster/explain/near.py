"""Near misses: the rules that nearly took a request, and what would have made them take it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches

from terraster.config.host_patterns import is_pattern
from terraster.config.snapshot import Location
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.plan import Plan, ServicePlan

from .unmet import unmet

__all__ = ["Near", "hosts", "locations"]

_MOST = 3
_ALIKE = 0.75
"""The likeness of two paths from which on one may be meant by the other: /chekout and /checkout, /aip and /api."""


@dataclass(frozen=True, slots=True)
class Near:
    """A rule that nearly took a request. text: in words. service, location: the name and the label of what has the rule, "" = none"""

    text: str
    service: str = ""
    location: str = ""


def hosts(plan: Plan, listener: str, name: str) -> list[Near]:
    """Why no service of a listener has this host, the nearest first."""
    here: dict[str, str] = {}
    found = []
    for service in plan.snapshot.services:
        for host in service.hosts:
            if listener in service.listeners:
                here[host] = service.name
            elif host == name:
                text = f"service {service.name} takes {host}, but at the listener {', '.join(service.listeners)}"
                found.append(Near(text, service.name))
    for host, owner in here.items():
        if host.startswith("*.") and host[2:] == name:
            text = f"service {owner} takes {host}, the names below {name} and not {name} itself"
        elif is_pattern(host) and host[1:].strip("^$") and get_close_matches(name, [host], 1, 0.7):
            text = f"service {owner} takes {host}, which does not match the whole name"
        else:
            continue
        found.append(Near(text, owner))
    exact = [host for host in here if not host.startswith(("*", "~"))]
    found += [
        Near(f"service {here[host]} takes the host {host}", here[host]) for host in get_close_matches(name, exact, _MOST, 0.75)
    ]
    if not found and here:
        some = list(here)[:_MOST]
        more = f"; {len(here) - len(some)} more hosts are there" if len(here) > len(some) else ""
        found = [Near(f"service {here[host]} takes the host {host}{more if host == some[-1] else ''}", here[host]) for host in some]
    return found[:_MOST]


def locations(plan: Plan, service: ServicePlan, taken: LocationPlan | None, exchange: Exchange) -> list[Near]:
    """The locations of a service that nearly took this request."""
    path = exchange.path.decode("latin-1")
    configured = {one.id: one for one in next(one for one in plan.snapshot.services if one.name == service.name).locations}
    found = _unfulfilled(service, taken, configured, exchange)
    said = {one.location for one in found}
    below = []
    for other in _others(service, taken):
        if other.label in said:
            continue
        prefix = other.path.rstrip("/")
        match = configured[other.id].match
        exact = match is not None and match.exact
        text = ""
        if taken is not None and len(prefix) < len(taken.path.rstrip("/")):
            if prefix and _below(path, prefix) and not exact:
                text = f"{other.label} matches as well, but {taken.label} is longer"
        elif exact and path != other.path and path.rstrip("/") == prefix:
            text = f"{other.label} takes {other.path} alone: the path needs {'a' if other.path.endswith('/') else 'no'} slash at its end"
        elif exact and path != other.path and _below(path, prefix):
            text = f"{other.label} takes {other.path} alone, and no other path (`path: exact`)"
        elif not _below(path, prefix) and _below(path.lower(), prefix.lower()):
            text = f"{other.label} differs in upper and lower case"
        elif path.startswith(prefix) and not _below(path, prefix):
            text = f"{other.label} takes {prefix} and {prefix}/…, but a prefix ends where a segment ends"
        elif path != "/" and _below(prefix, path.rstrip("/")) and prefix != path.rstrip("/"):
            more = prefix[len(path.rstrip("/")) :]
            below.append(_of(service, other, f"{other.label} is below this path, which would need {more} at its end"))
        if text:
            found.append(_of(service, other, text))
    found += below
    if not found:
        found += _alike(service, taken, path)
    return found[:_MOST]


def _of(service: ServicePlan, location: LocationPlan, text: str) -> Near:
    return Near(text, service.name, location.label)


def _unfulfilled(
    service: ServicePlan, taken: LocationPlan | None, configured: dict[str, Location], exchange: Exchange
) -> list[Near]:
    """The locations that would come before the one that took the request, if it fulfilled their conditions."""
    place = "takes such requests" if taken is None else f"comes before {taken.label}"
    found = []
    for candidate in service.forks.candidates(exchange.path) if service.forks is not None else ():
        needed = unmet(configured[candidate.payload.id], exchange)
        if not needed:
            break
        found.append(_of(service, candidate.payload, f"{candidate.payload.label} {place}, but needs {needed}"))
    return found


def _alike(service: ServicePlan, taken: LocationPlan | None, path: str) -> list[Near]:
    """Locations whose paths are written much like this one: the path may have a typing mistake."""
    depth = len(taken.path.rstrip("/")) if taken is not None else -1
    first: dict[str, LocationPlan] = {}
    for other in _others(service, taken):
        if len(other.path.rstrip("/")) > depth:
            first.setdefault(other.path, other)
    ratios = {other: _ratio(_cut(path, other.count("/")), other) for other in first}
    alike = sorted([other for other in first if ratios[other] >= _ALIKE], key=lambda other: -ratios[other])
    if alike or taken is not None:
        return [_of(service, first[other], f"the path {other} is written much like this one") for other in alike]
    some = list(first)[:_MOST]
    more = f"; {len(first) - len(some)} more are there" if len(first) > len(some) else ""
    return [_of(service, first[other], f"the service has {other}{more if other == some[-1] else ''}") for other in some]


def _cut(path: str, segments: int) -> str:
    """The first segments of a path."""
    return "/".join(path.split("/")[: segments + 1])


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _others(service: ServicePlan, taken: LocationPlan | None) -> Iterable[LocationPlan]:
    return (one for one in service.locations if one is not taken and not one.arm and one.path.startswith("/"))


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
