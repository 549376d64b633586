"""Objectives of locations: burn rates and error budgets."""

from __future__ import annotations

from collections.abc import Sequence

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.services import LocationQuery
from ..models.slo import SloPage, SloRow
from ..operation import Operation
from ..pages import Item, Key, page
from ..places import Places

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/slo",
            id="listObjectives",
            tag="stats",
            summary="Objectives of locations, with burn rates and what is left of their error budgets",
            handle=Reader(deps, Places(deps.snapshot)).objectives,
            role=Role.READER,
            query=LocationQuery,
            answer=SloPage,
            refuses=(404,),
            example={"query": {"service_name": "shop"}},
        ),
    )


class Reader:
    """The handler."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def objectives(self, call: Call) -> Answer:
        query = call.query
        places = self._places.parts(self._places.locations(query.service_name, query.path))
        wanted = {
            (service.name, location.place) for service in places for location in service.locations if location.slo is not None
        }
        found: dict[Key, Item] = {}
        for row in self._deps.objectives():
            service, path = row["service"], row["location"]
            if (service, path) in wanted:
                named = {**row, "service_name": service, "path": path}
                found[service, path, row["objective"]] = {name: named[name] for name in SloRow.model_fields}

        def items(keys: Sequence[Key]) -> list[Item]:
            return [found[key] for key in keys]

        return page(sorted(found), query, SloRow, items)
