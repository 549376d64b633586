"""Splits, resolved: a location whose requests go to arms, and the arms, which are locations of the same service.

An arm has the path and all settings of its location, and backends, a state, counters and a queue of its own. No request is matched to it: the
location hands it those of its clients (`terraster.filters.split`). Its id is the location's, "#", and its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from .settings.split import SplitSettings
from .snapshot import Backend, Location, Service, Sticky

__all__ = ["Arm", "Split", "arm_names", "arms", "backends", "changes", "split"]


class Arm(NamedTuple):
    """An arm of a split. location: the id of the location that has its backends"""

    name: str
    weight: int
    location: str


@dataclass(frozen=True, slots=True)
class Split:
    """How a location divides its clients."""

    by: str  # "cookie", "client-ip", "header:NAME", "cookie:NAME", "query:NAME"
    salt: str  # splits with the same one assign a client alike
    arms: tuple[Arm, ...]
    cookie: Sticky  # its name, attributes and key; `by: cookie` only
    ipv6_prefix: int = 64
    fallback: bool = False
    override: str = ""  # "header:NAME", "cookie:NAME", "query:NAME", "" = none


def arm_names(written: SplitSettings) -> list[str]:
    """The names of the arms: those that were written, else their positions."""
    return [arm.name or str(position) for position, arm in enumerate(written.to, 1)]


def split(written: SplitSettings, location: str, key: bytes) -> Split:
    """The split of a location. location: its id. key: of cookies"""
    name = written.name or f"terraster-split-{hashlib.blake2b(location.encode(), digest_size=4).hexdigest()}"
    arms = zip(arm_names(written), written.to, strict=True)
    return Split(
        by=written.by,
        salt=written.name or location,
        arms=tuple(Arm(name, arm.weight, f"{location}#{name}") for name, arm in arms),
        cookie=Sticky(
            name=name,
            path=written.path or "",
            domain=written.domain or "",
            ttl=written.ttl,
            secure=written.secure,
            same_site=written.same_site,
            key=key,
        ),
        ipv6_prefix=written.ipv6_prefix,
        fallback=written.fallback,
        override=written.override or "",
    )


def arms(service: Service, location: Location) -> tuple[Location, ...]:
    """The locations of the arms of a location; () if it has no split."""
    if location.split is None:
        return ()
    found = {arm.location for arm in location.split.arms}
    return tuple([one for one in service.locations if one.id in found])


def backends(service: Service, location: Location) -> tuple[Backend, ...]:
    """The backends that requests of a location may reach, those of its arms included."""
    return location.backends + tuple([backend for arm in arms(service, location) for backend in arm.backends])


def changes(old: Split | None, new: Split | None) -> Iterator[str]:
    """The lines that tell what changed of a split. Keys of cookies are not shown."""
    if old is None or new is None:
        if old is not new:
            yield f"~ split: {'off → on' if old is None else 'on → off'}"
        return
    before, after = ({arm.name: arm.weight for arm in one.arms} for one in (old, new))
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one is None:
            yield f"~ split: arm {name} came, weight {other}"
        elif other is None:
            yield f"~ split: arm {name} went, weight {one}"
        elif one != other:
            yield f"~ split: arm {name} weight {one} → {other}"
    if before == after and [*before] != [*after]:
        yield "~ split: order of the arms"
    for key in ("by", "salt", "ipv6_prefix", "fallback", "override"):
        one, other = getattr(old, key), getattr(new, key)
        if one != other:
            yield f"~ split: {'name' if key == 'salt' else key} {_shown(one)} → {_shown(other)}"
    if replace(old.cookie, name="") != replace(new.cookie, name=""):
        yield "~ split: cookie changed"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value or "off")
