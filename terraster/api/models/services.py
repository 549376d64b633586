"""Services, locations and backends as lists show them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Listed, Model, Row

__all__ = [
    "BackendPage",
    "BackendQuery",
    "BackendRow",
    "LocationPage",
    "LocationQuery",
    "LocationRow",
    "ServicePage",
    "ServiceQuery",
    "ServiceRow",
]

Name = Annotated[str, Field(max_length=500, description="Name of a service.")]
Path = Annotated[str, Field(max_length=4000, description="Path of a location of that service.")]
Counts = dict[str, int]
Moment = Annotated[float | None, Field(description="Seconds since 1970.")]


class ServiceQuery(Listed):
    service_name: Name = ""


class LocationQuery(Listed):
    service_name: Name = ""
    path: Path = ""


class BackendQuery(LocationQuery):
    state: Annotated[
        Literal["", "up", "down", "ejected", "draining", "maintenance", "unresolved"],
        Field(description="Only backends in this state."),
    ] = ""


class Order(Model):
    """An order of an operator."""

    what: str
    when: float
    by: str
    reason: str
    until: Moment
    weight: int | None


class Left(Model):
    """The work that is left at a backend which takes no new work."""

    requests: Annotated[int, Field(description="Under way, tunnels included.")]
    tunnels: Annotated[int, Field(description="Of these, WebSockets and other tunnels.")]
    connections: Annotated[int, Field(description="Open connections, idle ones included.")]
    attempts: Annotated[int, Field(description="Requests that were begun in the last `seconds`.")]
    seconds: float
    sessions: Annotated[bool, Field(description="True if clients with sticky sessions still come here.")]
    safe: Annotated[bool, Field(description="True if the backend may be stopped now.")]
    words: Annotated[str, Field(description="Why.")]


class Maintenance(Model):
    """A service that answers all requests itself."""

    when: float
    by: str
    reason: str
    until: Moment


class ServiceRow(Row):
    name: str
    hosts: list[str]
    listeners: list[str]
    tls: Annotated[bool, Field(description="True if it is for TLS clients.")]
    maintenance: Annotated[dict[str, Any] | None, Field(description="The order that has it in maintenance.")]
    locations: Annotated[int, Field(description="Number of its locations.")]
    backends: Annotated[int, Field(description="Number of its backends.")]
    backends_up: Annotated[int, Field(description="Number of backends that take requests.")]
    requests: Annotated[int, Field(description="Requests since the start.")]
    responses: Annotated[Counts, Field(description="Responses by class, `2xx` and so on.")]


class LocationRow(Row):
    service_name: str
    path: str
    policy: Annotated[str | None, Field(description="Algorithm that chooses a backend; null: it has none.")]
    redirect: str | None
    arm: Annotated[dict[str, Any] | None, Field(description="If it is an arm of a split: its weight and `fallback`.")]
    split: Annotated[dict[str, float] | None, Field(description="If it splits its requests: weights by arm.")]
    backends: Annotated[int, Field(description="Number of its backends.")]
    backends_up: Annotated[int, Field(description="Number of backends that take requests.")]
    panic: Annotated[bool, Field(description="True if too few backends are healthy, so that all are used.")]
    requests: int
    responses: Counts
    mean_duration: Annotated[float | None, Field(description="Seconds from a request to its last octet, on average.")]
    queue: Annotated[int | None, Field(description="Requests that may wait for a backend with room.")]
    queued: Annotated[int, Field(description="Requests that wait now.")]
    filters: Annotated[dict[str, dict[str, float]], Field(description="Counts of its filters.")]


class BackendRow(Row):
    service_name: str
    path: str
    url: str
    name: str | None
    endpoint: Annotated[str | None, Field(description="Which of several of the same URL.")]
    address: str | None
    up: bool
    state: Annotated[str, Field(description="up, down, ejected, draining, maintenance or unresolved.")]
    admit: Annotated[str, Field(description="The new work that it gets.")]
    since: Moment
    until: Moment
    reason: Annotated[str, Field(description="Why it is in this state.")]
    by: str
    order: Annotated[Order | None, Field(description="The order of an operator.")]
    weight: int
    configured_weight: int
    weight_override: Order | None
    forced: Annotated[Order | None, Field(description="The decision of an operator in place of its health checks.")]
    priority: int
    max_connections: Annotated[int, Field(description="Requests at once over all workers; 0: no limit.")]
    active: Annotated[int, Field(description="Requests under way.")]
    tunnels: Annotated[int, Field(description="Of these, WebSockets and other tunnels.")]
    open: Annotated[int, Field(description="Open connections.")]
    left: Annotated[Left | None, Field(description="The work that is left; null: it takes new work, or is down.")]
    idle: Annotated[int, Field(description="Idle connections.")]
    requests: int
    failures: int
    connect_errors: int
    bad_statuses: int
    responses: Counts
    retries: int
    circuit: str
    ejections: int
    latency: Annotated[float | None, Field(description="Seconds from a request to the head of its response, on average.")]
    recent_latency: float | None
    recent_failure: str
    probes: int
    probe_failures: int
    probe_seconds: Annotated[float | None, Field(description="Seconds that the last health check took.")]


Next = Annotated[str | None, Field(description="`cursor` of the next page; null: there is none.")]


class ServicePage(Model):
    items: list[ServiceRow]
    next: Next


class LocationPage(Model):
    items: list[LocationRow]
    next: Next


class BackendPage(Model):
    items: list[BackendRow]
    next: Next
