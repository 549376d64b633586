"""Backends by name: one backend for each address that the name has.

One address: the backend keeps its id, so its counters and operators' orders stay when the address changes. Several: each is an
endpoint with an id of its own ("ID@ADDRESS", for SRV "ID@TARGET:PORT"). An endpoint that stays keeps the id it has, however many come or
go: sessions, circuits, counters and slow start are kept by it. So one of several may be called ID, and one that is alone ID@ADDRESS.
Weight and `max_connections` hold for each endpoint; the weight of an SRV record multiplies the backend's, its priority is added to the
backend's.

Pure. `terraster.master.discovery.names` knows what the names stand for.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from terraster.config.snapshot import Backend, Location, Service

from .resolver import Endpoint

__all__ = ["endings", "expand", "is_named", "shown"]

Found = Callable[[str, bool], Iterable[tuple[Endpoint, str]]]
"""The endpoints of a host (and whether its SRV records are meant) with what their ids end in; nothing where there are none."""


def expand(service: Service, found: Found) -> Service:
    """The service with its endpoints; the very same object where that changes nothing."""
    locations = tuple(_location(location, found) for location in service.locations)
    if all(one is other for one, other in zip(locations, service.locations, strict=True)):
        return service
    return replace(service, locations=locations)


def _location(location: Location, found: Found) -> Location:
    backends = tuple(one for backend in location.backends for one in _backends(backend, found))
    same = len(backends) == len(location.backends)
    if same and all(one is other for one, other in zip(backends, location.backends, strict=True)):
        return location
    return replace(location, backends=backends)


def _backends(backend: Backend, found: Found) -> list[Backend]:
    endpoints = found(backend.host, backend.srv) if is_named(backend) else ()
    return [
        replace(
            backend,
            id=f"{backend.id}@{ending}" if ending else backend.id,
            host=one.target if backend.srv else backend.host,
            port=one.port if backend.srv else backend.port,
            weight=backend.weight * one.weight,
            priority=backend.priority + one.priority,
            address=one.address,
            endpoint=ending,
        )
        for one, ending in endpoints
    ] or [backend]


def is_named(backend: Backend) -> bool:
    """True if it is reached by a name."""
    if backend.srv:
        return True
    if backend.socket:
        return False
    try:
        ipaddress.ip_address(backend.host)
    except ValueError:
        return True
    return False


def endings(endpoints: tuple[Endpoint, ...], before: dict[Endpoint, str]) -> tuple[str, ...]:
    """The ending of the id of each endpoint, "" = none. An endpoint that was there before keeps its ending."""
    known = {_spot(one): place for one, place in before.items()}
    kept = {_spot(one) for one in endpoints} & known.keys()
    taken = {known[spot] for spot in kept}
    targets = Counter((one.target, one.port) for one in endpoints)
    places = []
    for one in endpoints:
        whole = f"{one.target}:{one.port}" if one.target else one.address
        if _spot(one) in kept:
            place = known[_spot(one)]
        elif len(endpoints) == 1:
            place = ""
        elif one.target and (targets[one.target, one.port] > 1 or whole in taken):
            place = f"{whole}/{one.address}"
        else:
            place = whole
        places.append(place)
    return tuple(places)


def _spot(one: Endpoint) -> tuple[str, str, int]:
    return one.address, one.target, one.port


def shown(one: Endpoint) -> str:
    """An endpoint in words."""
    return f"{one.target}:{one.port} ({one.address})" if one.target else one.address
