"""Changes of what runs: bodies, queries and answers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ...config.quantities import duration
from .base import Flag, Model, Query, Whole, spelt

__all__ = [
    "Batch",
    "BackendBody",
    "BackendPatch",
    "BackendTarget",
    "ChangeQuery",
    "Changed",
    "ConfigAnswer",
    "ConfigBody",
    "DeleteBody",
    "DeleteQuery",
    "DryRunQuery",
    "LocationBody",
    "LocationChange",
    "MaintenanceAnswer",
    "MaintenanceBody",
    "NamedLocation",
    "OverridePage",
    "ReloadAnswer",
    "RollbackBody",
]

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_LONGEST = 315_360_000  # seconds: ten years


def _span(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be seconds, or a time such as 10m")
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else duration(value)
    return value


Span = Annotated[
    float,
    BeforeValidator(_span),
    Field(ge=0, le=_LONGEST),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": _LONGEST}),
]
"""A time span: seconds, or text such as 10m."""

Reason = Annotated[str, Field(max_length=500, description="A note for other operators.")]
Name = Annotated[str, Field(max_length=500, description="Name of a service.")]
Path = Annotated[str, Field(max_length=4000, description="Path of a location of that service.")]
Url = Annotated[str, Field(min_length=1, max_length=2000, description="URL of the backend.")]
DryRun = Annotated[Flag, Field(description="`true`: say what would change and what it would touch, and change nothing.")]
Ending = Annotated[
    Span, Field(validation_alias="for", serialization_alias="for", description="Seconds after which it ends by itself; 0: never.")
]


_WEIGHT = "Share of the requests, next to other backends; 0: no new ones."
_CONNECTIONS = "Requests at once, over all workers; 0: no limit."


class DryRunQuery(Query):
    dry_run: DryRun = False


class ChangeQuery(DryRunQuery):
    service_name: Annotated[str, Field(max_length=500, description="Name of a service. Needed where it is not clear.")] = ""
    path: Annotated[str, Field(max_length=4000, description="Path of a location. Needed where it is not clear.")] = ""


class DeleteQuery(ChangeQuery):
    url: Annotated[str, Field(max_length=2000, description="URL of the backend, if the body does not say it.")] = ""


class BackendTarget(ChangeQuery):
    url: Url


class NamedLocation(DryRunQuery):
    service_name: Name
    path: Annotated[str, Field(max_length=4000, description="Path of a location. Needed if the service has several.")] = ""


class LocationChange(NamedLocation):
    reason: Reason = ""
    seconds: Ending = 0.0


class BackendBody(Model):
    """A backend, with the keys of `backends[]` of the configuration. The defaults are those of a file."""

    url: Url
    name: Annotated[str | None, Field(max_length=64)] = Field(None, description="A name for operators.")
    weight: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = Field(None, description=_WEIGHT)
    max_connections: Annotated[Whole, Field(ge=0, le=10_000_000)] | None = Field(
        None, validation_alias=spelt("max_connections"), description=_CONNECTIONS
    )
    priority: Annotated[Whole, Field(ge=0, le=1000)] | None = Field(
        None, description="Tier: the lowest is used first, the next one where no backend of it has room."
    )
    backup: bool | None = Field(None, description="True: used only where no other backend has room.")
    skip_tls_verify: bool | None = Field(
        None, validation_alias=spelt("skip_tls_verify"), description="True: take any certificate of the backend."
    )
    sni: Annotated[str | None, Field(max_length=253)] = Field(None, description="Name for TLS. Default: the host of the URL.")
    http2: bool | None = Field(None, description="True: speak HTTP/2 to it.")
    send_proxy: Literal["v1", "v2"] | None = Field(
        None, validation_alias=spelt("send_proxy"), description="Begin connections with a PROXY header of this version."
    )
    health_check: dict[str, Any] | Literal["off"] | None = Field(
        None,
        validation_alias=spelt("health_check"),
        description="As in the configuration, or `off`. Default: that of the location.",
    )
    reason: Reason = ""
    seconds: Ending = 0.0


class DeleteBody(Model):
    url: Url
    reason: Reason = ""
    seconds: Ending = 0.0


class BackendPatch(Model):
    """Changes of one backend. `drain`, `maintenance` and `health` are orders: false, or `checks`, ends them."""

    weight: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = Field(None, description=_WEIGHT)
    max_connections: Annotated[Whole, Field(ge=0, le=10_000_000)] | None = Field(
        None, validation_alias=spelt("max_connections"), description=_CONNECTIONS
    )
    drain: bool | None = Field(None, description="True: no new requests, but sessions stay; false: end that.")
    maintenance: bool | None = Field(None, description="True: no requests at all; false: end that.")
    health: Annotated[
        Literal["up", "down", "paused", "checks"] | None,
        Field(
            description="In place of its health checks: up or down, whatever they say; paused: none are made, and it stays as it is; checks: "
            "they decide again."
        ),
    ] = None
    reason: Reason = ""
    seconds: Ending = 0.0


class ConfigBody(Model):
    algorithm: Annotated[str | None, Field(max_length=100, validation_alias=AliasChoices("algorithm", "lb_policy", "lbPolicy"))] = (
        Field(None, description="As `lb_policy` of the configuration.")
    )
    max_connections: Annotated[
        Annotated[Whole, Field(ge=0, le=10_000_000)] | None,
        Field(validation_alias=spelt("max_connections"), description="Of each backend of the location."),
    ] = None
    reason: Reason = ""
    seconds: Ending = 0.0


class LocationBody(Model):
    """A location, with the keys of `locations[]` of the configuration."""

    model_config = ConfigDict(extra="allow")

    path: Annotated[
        str, Field(min_length=1, max_length=4000, description="Path of the location; further keys as in `locations[]`.")
    ]


class RollbackBody(Model):
    """May be left out."""

    reason: Reason = ""


class MaintenanceBody(Model):
    on: Annotated[bool, Field(description="True: answer every request with 503; false: serve again.")]
    reason: Reason = ""
    seconds: Ending = 0.0


class Change(Model):
    """One change of a batch."""

    kind: Literal[
        "backend.add", "backend.remove", "backend.set", "location.set", "location.add", "location.replace", "location.remove"
    ]
    service_name: Annotated[str, Field(max_length=500, validation_alias=spelt("service_name"))] = ""
    path: Annotated[str, Field(max_length=4000)] = ""
    url: Annotated[str, Field(max_length=2000)] = ""
    value: dict[str, Any] = {}
    seconds: Ending = 0.0
    if_match: Annotated[str, Field(max_length=500, validation_alias=spelt("if_match"), description="ETag of its location.")] = ""


class Batch(Model):
    changes: Annotated[
        list[Change],
        Field(
            min_length=1,
            max_length=1000,
            description="Each with `kind`, `service_name`, `path`, `url`, `value`, `for`, `if_match`.",
        ),
    ]
    reason: Reason = ""


class Edit(Model):
    """A change above the configuration file that is kept."""

    number: int
    kind: str
    service: str
    location: str
    url: str
    value: dict[str, Any]
    by: str
    reason: str
    when: float
    until: float | None
    words: str
    dormant: Annotated[str, Field(description="Why it has no effect; empty: it has.")]


class Place(Model):
    service: str
    location: str
    etag: str


class Touched(Model):
    service: str
    location: str
    url: str
    active: Annotated[int, Field(description="Requests under way.")]
    open: Annotated[int, Field(description="Open connections.")]
    requests_per_second: Annotated[float, Field(description="Within the last second.")]


class Changed(Model):
    """The outcome of a change. It is in effect in all workers, unless `dry_run` is true."""

    generation: Annotated[int, Field(description="The generation that has the change; of a dry run: the one that runs.")]
    changed: Annotated[list[str], Field(description="The effect of the call, a line each.")]
    changes: Annotated[list[str], Field(description="All differences from the generation before, a line each.")]
    notes: list[str]
    edits: Annotated[list[Edit], Field(description="The changes of this call that are kept.")]
    locations: list[Place]
    touches: Annotated[list[Touched] | None, Field(description="Of a dry run: the backends that it would touch.")] = None
    seconds: float
    dry_run: bool


class ConfigAnswer(Model):
    service_name: str
    path: str
    algorithm: str
    max_connections: Annotated[int | Literal["mixed"], Field(description="`mixed` if the backends differ.")]


class MaintenanceAnswer(Model):
    service_name: str
    changed: Annotated[bool, Field(description="True if it changes anything.")]
    maintenance: dict[str, Any] | None
    notes: list[str]
    touches: Annotated[list[Touched] | None, Field(description="Of a dry run: the backends that it would touch.")] = None
    dry_run: bool = False


class OverridePage(Model):
    edits: list[Edit]
    orders: Annotated[dict[str, Any], Field(description="Drains, maintenance and weights, by backend and by service.")]
    next: Annotated[str | None, Field(description="`cursor` of the next page, null if this is the last one.")]


class ReloadAnswer(Model):
    ok: bool
    generation: int
    changes: list[str]
    problems: list[str]
    notes: list[str]
    replaced: list[int]
    touches: Annotated[list[Touched] | None, Field(description="Of a dry run: the backends that it would touch.")] = None
    seconds: float
    when: float
    dry_run: bool
