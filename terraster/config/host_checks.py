"""Hosts that are regular expressions, next to the other hosts of their listeners: which of them take names that others seem to have.

Names are tried, not all that an expression matches (`terraster.config.host_patterns.examples`). So a warning is right, and no warning proves
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .host_patterns import examples, is_pattern, matches
from .listeners import Rule
from .messages import Complaint
from .settings import ServiceSettings

__all__ = ["warnings"]

Path = tuple[str | int, ...]
_Owners = dict[str, str]
"""The services of a listener's hosts, by host."""


def warnings(rule: Rule, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Expressions of which no example is their own, and pairs of them that match one name."""
    found = [
        (path, service, number, host)
        for path, service in services
        for number, host in enumerate(service.host or ())
        if is_pattern(host)
    ]
    if not found:
        return
    listeners: dict[str, _Owners] = {}
    for _, service in services:
        for address, _ in rule.of(service):
            owners = listeners.setdefault(address, {})
            for host in service.host or ():
                owners.setdefault(host, service.label)
    for path, service, number, host in found:
        for address, _ in rule.of(service):
            words = _taken(host, service.label, listeners[address])
            if words:
                many = isinstance(service.host, tuple) and len(service.host) > 1
                yield (*path, "host", number) if many else (*path, "host"), False, words
                break


def _taken(host: str, label: str, owners: _Owners) -> str:
    """The warning about an expression on a listener, "" if there is none."""
    names = examples(host)
    first = [next((one for one in (name, *_wildcards(name)) if one in owners), "") for name in names]
    if names and all(one and owners[one] != label for one in first):
        return (
            f"`host` {host} seems to get no request: {names[0]} is for service `{owners[first[0]]}`, whose `host` {first[0]} comes before "
            "regular expressions"
        )
    for other, whose in owners.items():
        if whose != label and is_pattern(other) and _before(other, host):
            both = next((name for name in names if matches(other, name)), None)
            if both is not None:
                return f"`host` {host} matches {both}, and so does {other} of service `{whose}`, which is longer and comes first"
    return ""


def _wildcards(name: str) -> list[str]:
    """The wildcards that match a name, the longest first."""
    parts = name.split(".")
    return [f"*.{'.'.join(parts[at:])}" for at in range(1, len(parts))]


def _before(one: str, other: str) -> bool:
    """True if the router tries one expression before the other (`terraster.route.router`)."""
    return (-len(one), one) < (-len(other), other)
