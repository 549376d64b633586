"""Events, and minutes of traffic."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .audit import Seconds
from .base import Digits, Model, Query

__all__ = ["Event", "EventList", "EventQuery", "History", "HistoryQuery", "LocationHistory"]


class EventQuery(Query):
    """Which events, the newest first."""

    since: Annotated[Seconds, Field(description="Only events from this moment on, in seconds since 1970. 0: of the last day.")] = (
        0.0
    )
    until: Annotated[Seconds, Field(description="Only events before this moment, in seconds since 1970; 0: all.")] = 0.0
    kind: Annotated[
        Literal["", "backend", "reload", "generation", "worker", "problem", "operator"],
        Field(description="Only events of this kind."),
    ] = ""
    service_name: Annotated[
        str, Field(max_length=500, description="Only events of this service, its locations and its backends.")
    ] = ""
    limit: Annotated[Digits, Field(ge=1, le=10_000, description="How many events at most.")] = 100


class Event(Model):
    """Something that happened."""

    when: float
    kind: str
    target: Annotated[str, Field(description="The backend or service that it is about.")]
    text: str
    generation: int | None
    answer: Annotated[
        str,
        Field(description="The beginning of the answer to the health check that failed, without secrets; empty: there is none."),
    ]


class EventList(Model):
    events: list[Event]


class HistoryQuery(Query):
    """Whose minutes."""

    service_name: Annotated[str, Field(min_length=1, max_length=500, description="Name of a service.")]
    path: Annotated[str, Field(max_length=4000, description="Path of a location of that service.")] = ""
    since: Annotated[Seconds, Field(description="From this moment on, in seconds since 1970. 0: the last day.")] = 0.0


class LocationHistory(Model):
    """One location."""

    path: str
    minutes: Annotated[
        list[list[float]],
        Field(
            description="A row for each minute with traffic: its beginning in seconds since 1970, requests, answers 4xx, answers 5xx, and the "
            "times in seconds that 50, 95 and 99 percent of the requests did not exceed."
        ),
    ]


class History(Model):
    """The traffic of a service's locations; those without traffic are left out."""

    step: Annotated[int, Field(description="Seconds of a minute.")]
    locations: list[LocationHistory]
