"""Where each value of a location comes from."""

from __future__ import annotations

from ...config.sentences import suggestion
from ...config.snapshot import Location, Service
from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.reading import Effective, EffectiveQuery
from ..operation import Operation
from ..places import Places
from ..problem import Mistake, Refused
from .reading import overrides

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    reader = Reader(deps, Places(deps.snapshot))
    return (
        Operation(
            method="GET",
            path="/api/config/effective",
            id="getEffectiveConfig",
            tag="config",
            summary="Every value that a location has, with its origin",
            detail="The origin is the narrowest level that writes the value, with file, line and column, or a default. Changes of operators "
            "above the file hold instead of it: they are in `edits` and `overrides`. The files are read as they are now.",
            handle=reader.effective,
            role=Role.READER,
            query=EffectiveQuery,
            answer=Effective,
            refuses=(404, 409),
            example={"query": {"service_name": "shop", "path": "/"}},
        ),
    )


class Reader:
    """The handlers."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def effective(self, call: Call) -> Answer:
        service, location = _find(self._places, call.query.service_name, call.query.path)
        changed = overrides(self._deps.ask("status").get("orders", {}), self._places, service.name)
        return Answer(
            {
                "service_name": service.name,
                "path": location.place,
                "generation": self._deps.snapshot().generation,
                "values": self._deps.readings.values(service.name, location.label),
                "edits": [one for one in self._deps.ask("edits")["edits"] if one["service"] == service.name],
                "overrides": [row for key, row in sorted(changed.items()) if key[1] in ("", location.id)],
            }
        )


def _find(places: Places, service_name: str, path: str) -> tuple[Service, Location]:
    """The location that a query means. Raises `Refused`."""
    if not service_name:
        keys = places.services()
        if len(keys) != 1:
            words = f"name the service by `service_name`: there are {len(keys)}"
            raise Refused(409, words, [Mistake(pointer="/service_name", detail=words, where="query")])
        service_name = keys[0][0]
    service = places.service(service_name)
    for location in service.locations:
        if path == location.place:
            return service, location
    found = [location for location in service.locations if location.path == path and not location.arm]
    if len(found) == 1:
        return service, found[0]
    known = [one.place for one in service.locations]
    words = f"service {service.name} has no location {path}{suggestion(path, known)}"
    if found:
        words = f"service {service.name} has several locations {path}: {', '.join(one.place for one in found[:20])}"
    raise Refused(404, words, [Mistake(pointer="/path", detail=words, where="query")])
