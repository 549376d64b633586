"""Near misses: what nearly took a request, and why it did not."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from terraster.config.host_patterns import is_pattern
from terraster.exchange import Exchange
from terraster.location_plan import LocationPlan
from terraster.plan import Plan, ServicePlan

__all__ = ["hosts", "locations"]

_MOST = 3


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


def locations(service: ServicePlan, taken: LocationPlan | None, exchange: Exchange) -> list[str]:
    """The locations of a service that nearly took this request, in words."""
    path = exchange.path.decode("latin-1")
    found = []
    if service.forks is not None:
        for candidate in service.forks.candidates(exchange.path):
            if candidate.payload is taken:
                break
            found.append(f"{candidate.payload.label} comes before, but the request does not fulfil its conditions")
    for other in _others(service, taken):
        prefix = other.path.rstrip("/")
        if any(text.startswith(f"{other.label} ") for text in found):
            continue
        if taken is not None and len(prefix) < len(taken.path.rstrip("/")):
            if prefix and _below(path, prefix):
                found.append(f"{other.label} matches as well, but {taken.label} is longer")
        elif path.lower() == prefix.lower() or path.lower().startswith(prefix.lower() + "/"):
            found.append(f"{other.label} differs in upper and lower case")
        elif path.startswith(prefix):
            found.append(f"{other.label} takes {prefix} and {prefix}/…, but a prefix ends where a segment ends")
    if not found and taken is None:
        paths = {other.path: other for other in _others(service, None)}
        found += [f"the service has {near}" for near in get_close_matches(path, list(paths), _MOST, 0.6)]
        if not found:
            found.append("locations of the service: " + ", ".join(list(paths)[:_MOST]) + (", …" if len(paths) > _MOST else ""))
    return found[:_MOST]


def _others(service: ServicePlan, taken: LocationPlan | None) -> Iterable[LocationPlan]:
    return (one for one in service.locations if one is not taken and not one.arm and one.path.startswith("/"))


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")
