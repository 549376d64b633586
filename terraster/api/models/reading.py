"""Health, counts, limits, probes, certificates, plugins, overrides and generations as answers show them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from .base import Listed, Model, Query, Row
from .changes import Edit
from .services import Counts, LocationQuery, Moment, Name, Next, Path

__all__ = [
    "CertificatePage",
    "CertificateQuery",
    "CertificateRow",
    "Effective",
    "EffectiveQuery",
    "Generation",
    "Generations",
    "HealthPage",
    "HealthRow",
    "LimitPage",
    "LimitRow",
    "Listed",
    "LocationQuery",
    "OverrideRow",
    "PluginPage",
    "PluginRow",
    "ProbePage",
    "ProbeRow",
    "StatsPage",
    "StatsRow",
    "Status",
    "Why",
    "WhyQuery",
]


class Unhealthy(Model):
    """A backend that takes no requests, or not all."""

    url: str
    state: str
    since: Moment
    reason: str


class HealthRow(Row):
    service_name: str
    path: str
    health: Annotated[
        Literal["healthy", "degraded", "down", "none"],
        Field(description="healthy: all backends are up; degraded: some are; down: none is; none: it has no backends."),
    ]
    backends: int
    backends_up: int
    panic: Annotated[bool, Field(description="True if too few backends are healthy, so that all are used.")]
    unhealthy: Annotated[list[Unhealthy], Field(description="Backends that are not up, at most 100.")]


class StatsRow(Row):
    service_name: str
    path: str
    requests: int
    responses: Counts
    bytes_in: int
    bytes_out: int
    mean_duration: Annotated[float | None, Field(description="Seconds from a request to its last octet, on average.")]
    active: Annotated[int, Field(description="Requests under way at its backends.")]
    open: Annotated[int, Field(description="Open connections to its backends.")]
    failures: Annotated[int, Field(description="Attempts that failed.")]
    retries: int
    hedges: int
    retry_budget_refusals: int
    queued: Annotated[int, Field(description="Requests that wait now.")]
    queue_refused: int
    queue_timeouts: int
    slow_clients: int
    filters: Annotated[dict[str, dict[str, float]], Field(description="Counts of its filters.")]


class LimitRow(Row):
    service_name: str
    path: str
    kind: Annotated[str, Field(description="`rate_limit` or `limit_connections`.")]
    name: Annotated[str, Field(description="The entry's name; empty: it has none.")]
    settings: Annotated[dict[str, Any], Field(description="Its keys, as in the configuration.")]
    counts: Annotated[dict[str, float], Field(description="Counts of the location for all entries of this kind.")]


class ProbeRow(Row):
    service_name: str
    path: str
    url: str
    type: Annotated[str, Field(description="`http`, `tcp`, `grpc` or `none`.")]
    up: Annotated[bool | None, Field(description="The verdict; null: no probe has ended yet, or there are none.")]
    since: Moment
    reason: Annotated[str, Field(description="The last probe in words, if it failed.")]
    seconds: Annotated[float | None, Field(description="Duration of the last probe.")]
    probes: int
    probe_failures: int


class CertificateQuery(Listed):
    state: Annotated[
        Literal["", "valid", "expiring", "expired", "not-yet-valid"], Field(description="Only certificates in this state.")
    ] = ""


class CertificateRow(Row):
    name: str
    service: str
    file: str
    names: list[str]
    issuer: str
    kind: str
    not_before: float
    expires: float
    days_left: float
    state: str
    fingerprint: str
    problem: str
    ocsp: str
    ocsp_until: Moment
    ocsp_problem: str
    must_staple: bool


class PluginRow(Row):
    name: str
    state: Annotated[str, Field(description="active, kept (an older version runs) or quarantined.")]
    origin: str
    file: str
    version: str
    problem: str
    hooks: list[str]
    priority: int
    services: list[str]
    calls: int
    mean_seconds: float | None
    answers: int
    exceptions: int
    timeouts: int
    skipped: int
    quarantines: int
    quarantined_workers: int
    counters: dict[str, int]


class OverrideRow(Row):
    kind: Annotated[str, Field(description="`order` (drain, maintenance), `weight` or `forced` (in place of health checks).")]
    service_name: str
    path: Annotated[str | None, Field(description="null: the whole service.")]
    url: str | None
    endpoint: str | None
    what: str
    when: float
    by: str
    reason: str
    until: Moment
    weight: int | None
    configured_weight: int | None
    orphan: Annotated[bool, Field(description="True if its backend is not configured now.")]


class Generation(Model):
    generation: int
    running: bool
    when: Moment
    why: Annotated[str, Field(description="The reload or the change that made it.")]
    changes: Annotated[list[str], Field(description="Its differences from the generation before, a line each.")]
    edits: Annotated[list[int], Field(description="Numbers of its edits above the files.")]


class Generations(Model):
    items: Annotated[list[Generation], Field(description="Those that are kept, the newest first.")]
    last_reload: Annotated[
        dict[str, Any] | None, Field(description="The outcome of the last reload, whether it was taken or refused.")
    ]


class EffectiveQuery(Query):
    service_name: Annotated[Name, Field(description="Name of a service. It may be left out if there is only one.")] = ""
    path: Path = "/"


class Value(Model):
    """A value with its origin."""

    key: Annotated[str, Field(description="As in the configuration, such as `timeouts.connect`.")]
    value: Annotated[Any, Field(description="The value; of a default, in words.")]
    origin: Annotated[Literal["location", "service", "top", "default"], Field(description="The level that it is written at.")]
    place: Annotated[str, Field(description="FILE:LINE:COLUMN; empty: it is a default.")]


class Effective(Model):
    service_name: str
    path: str
    generation: int
    values: list[Value]
    edits: Annotated[list[Edit], Field(description="Edits of the service above the file.")]
    overrides: Annotated[list[OverrideRow], Field(description="Drains, maintenance and weights of operators, with who and until.")]


class Loose(Model):
    """A document that may grow: its members are in docs/operations.md."""

    model_config = ConfigDict(extra="allow")


class Status(Loose):
    ok: bool
    problems: Annotated[list[dict[str, Any]], Field(description="The worst first.")]
    generation: int | None
    now: float


class WhyQuery(Query):
    url: Annotated[str, Field(min_length=1, max_length=2000, description="The backend.")]
    service_name: Name = ""
    path: Path = ""


class Why(Loose):
    ok: bool
    now: float
    backends: Annotated[list[dict[str, Any]], Field(description="Its state, the reason, probes, failures and history.")]


class HealthPage(Model):
    items: list[HealthRow]
    next: Next


class StatsPage(Model):
    items: list[StatsRow]
    next: Next


class LimitPage(Model):
    items: list[LimitRow]
    next: Next


class ProbePage(Model):
    items: list[ProbeRow]
    next: Next


class CertificatePage(Model):
    items: list[CertificateRow]
    next: Next


class PluginPage(Model):
    items: list[PluginRow]
    next: Next
