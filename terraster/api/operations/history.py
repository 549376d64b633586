"""The timeline of events, and a day of traffic by the minute."""

from __future__ import annotations

import time

from ..call import Answer, Call, Role
from ..deps import Deps
from ..models.history import EventList, EventQuery, History, HistoryQuery
from ..operation import Operation
from ..places import Places

__all__ = ["operations"]

_DAY = 86_400.0


def operations(deps: Deps) -> tuple[Operation, ...]:
    reader = Reader(deps, Places(deps.snapshot))
    return (
        Operation(
            method="GET",
            path="/api/events",
            id="listEvents",
            tag="history",
            summary="The timeline of the last day: states of backends, reloads, workers, problems, operators",
            handle=reader.events,
            role=Role.READER,
            query=EventQuery,
            answer=EventList,
            refuses=(503,),
            example={"query": {"kind": "backend", "limit": "10"}},
        ),
        Operation(
            method="GET",
            path="/api/history",
            id="readHistory",
            tag="history",
            summary="The last day of a service's locations, by the minute",
            handle=reader.history,
            role=Role.READER,
            query=HistoryQuery,
            answer=History,
            refuses=(404, 503),
            example={"query": {"service_name": "shop"}},
        ),
    )


class Reader:
    """The handlers."""

    def __init__(self, deps: Deps, places: Places) -> None:
        self._deps = deps
        self._places = places

    def events(self, call: Call) -> Answer:
        query = call.query
        since = query.since or time.time() - _DAY
        return Answer({"events": self._deps.past.timeline(since, query.until, query.kind, query.limit, query.service_name)})

    def history(self, call: Call) -> Answer:
        query = call.query
        self._places.locations(query.service_name, query.path)  # refuses names that do not exist
        since = query.since or time.time() - _DAY
        return Answer({"step": 60, "locations": self._deps.past.minutes(query.service_name, query.path, since)})
