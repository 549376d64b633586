"""Services, locations and backends that run: lists in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.services import (
    BackendPage,
    BackendQuery,
    BackendRow,
    LocationPage,
    LocationQuery,
    LocationRow,
    ServicePage,
    ServiceQuery,
    ServiceRow,
)
from ..operation import Operation
from ..pages import Item, Key, page
from ..places import Places

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    places = Places(deps.snapshot)
    reader = Reader(deps, places)
    return (
        Operation(
            method="GET",
            path="/api/services",
            id="listServices",
            tag="services",
            summary="The services that run",
            handle=reader.services,
            role=Role.READER,
            query=ServiceQuery,
            answer=ServicePage,
            refuses=(404,),
            example={"query": {"limit": "10"}},
        ),
        Operation(
            method="GET",
            path="/api/locations",
            id="listLocations",
            tag="services",
            summary="The locations that run, of all services or of one",
            handle=reader.locations,
            role=Role.READER,
            query=LocationQuery,
            answer=LocationPage,
            refuses=(404,),
            example={"query": {"service_name": "shop"}},
        ),
        Operation(
            method="GET",
            path="/api/backends",
            id="listBackends",
            tag="backends",
            summary="The backends that run, of all services, of one service or of one location",
            handle=reader.backends,
            role=Role.READER,
            query=BackendQuery,
            answer=BackendPage,
            refuses=(404,),
            example={"query": {"service_name": "shop", "path": "/", "fields": "url,state,reason"}},
        ),
    )


class Reader:
    """The handlers."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def services(self, call: Call) -> Answer:
        named = call.query.service_name
        keys = [(self._places.service(named).name,)] if named else self._places.services()
        return page(keys, call.query, ServiceRow, partial(self._service_items, self._deps.ask("status")))

    def locations(self, call: Call) -> Answer:
        keys = self._places.locations(call.query.service_name, call.query.path)
        return page(keys, call.query, LocationRow, partial(self._location_items, self._deps.ask("status")))

    def backends(self, call: Call) -> Answer:
        keys = self._places.backends(call.query.service_name, call.query.path)
        state = call.query.state
        accept = partial(_is_in, state) if state else _any
        return page(keys, call.query, BackendRow, partial(self._backend_items, self._deps.ask("status")), accept)

    def _service_items(self, master: Mapping[str, Any], keys: Sequence[Key]) -> list[Item]:
        parts = self._places.parts(keys)
        rows = self._deps.readings.services(parts, master)
        return [_service(row, service.tls is not None) for row, service in zip(rows, parts, strict=True)]

    def _location_items(self, master: Mapping[str, Any], keys: Sequence[Key]) -> list[Item]:
        parts = self._places.parts(keys)
        found: dict[Key, Item] = {}
        for row, service in zip(self._deps.readings.services(parts, master), parts, strict=True):
            for one, location in zip(row["locations"], service.locations, strict=True):
                found[service.name, location.id] = _location(service.name, one)
        return [found[key] for key in keys]

    def _backend_items(self, master: Mapping[str, Any], keys: Sequence[Key]) -> list[Item]:
        parts = self._places.parts(keys)
        found: dict[Key, Item] = {}
        for row, service in zip(self._deps.readings.services(parts, master), parts, strict=True):
            for place, location in zip(row["locations"], service.locations, strict=True):
                for one, backend in zip(place["backends"], location.backends, strict=True):
                    known = {"service_name": service.name, "path": place["path"], **one}
                    found[service.name, location.id, backend.id] = {name: known[name] for name in BackendRow.model_fields}
        return [found[key] for key in keys]


def _any(item: Item) -> bool:
    return True


def _is_in(state: str, item: Item) -> bool:
    return bool(item["state"] == state)


def _up(backends: Sequence[Mapping[str, Any]]) -> int:
    return sum(1 for one in backends if one["up"])


def _service(row: Mapping[str, Any], tls: bool) -> Item:
    places = row["locations"]
    responses: dict[str, int] = {}
    for place in places:
        for name, count in place["responses"].items():
            responses[name] = responses.get(name, 0) + count
    return {
        "name": row["name"],
        "hosts": row["hosts"],
        "listeners": row["listeners"],
        "tls": tls,
        "maintenance": row["maintenance"],
        "locations": len(places),
        "backends": sum(len(place["backends"]) for place in places),
        "backends_up": sum(_up(place["backends"]) for place in places),
        "requests": sum(place["requests"] for place in places),
        "responses": responses,
    }


def _location(service: str, row: Mapping[str, Any]) -> Item:
    known = {**row, "service_name": service, "backends": len(row["backends"]), "backends_up": _up(row["backends"])}
    return {name: known[name] for name in LocationRow.model_fields}
