"""Services and their locations."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from ..host_patterns import is_pattern
from ..match import Match, mark
from ..min_rate import MinRate
from ..snapshot import Timeouts
from .backend import BackendSetting, HealthCheckSetting
from .base import (
    Algorithm,
    Duration,
    Hosts,
    Listen,
    Model,
    Path,
    Port,
    Size,
    SomeTime,
    Text,
    text,
    uri_path,
)
from .http2 import Http2Setting
from .inherited import TrafficSettings
from .logs import AccessLogSetting, LogOptions
from .match import MatchSettings
from .rewrite import Rewrite
from .split import SplitSettings
from .tls import TlsSetting
from .tracing import SamplingSetting

__all__ = ["LocationSettings", "MiddlewareEntry", "MinRateSettings", "ServiceLimits", "ServiceSettings", "TimeoutSettings"]

_MIN_RATE = MinRate()
_TIMEOUTS = Timeouts()


def _service_name(value: str) -> str:
    if not value or any(character.isspace() or character == "/" for character in value):
        raise ValueError('must be one word without "/"')
    return value


def _redirect(value: object) -> str:
    target = text(value)
    if not target.startswith(("/", "http://", "https://")) or any(c.isspace() or ord(c) > 126 for c in target):
        raise ValueError(f'must be a path that starts with "/" or an http(s) URL, not {target!r}')
    if target.startswith("/"):
        uri_path(re.split(r"[?#]", target, maxsplit=1)[0])
    return target


def _location_name(value: str) -> str:
    if not _LOCATION_NAME.fullmatch(value):
        raise ValueError("must be one word of at most 64 letters, digits, `.`, `-` and `_`")
    return value


_LOCATION_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LocationName = Annotated[Text, AfterValidator(_location_name)]
ServiceName = Annotated[Text, AfterValidator(_service_name)]
Redirect = Annotated[str, BeforeValidator(_redirect), WithJsonSchema({"type": "string", "pattern": "^(/|https?://|\\$\\{)"})]


class TimeoutSettings(Model):
    """How long Terraster waits, all but two between two octets; 0: for ever. Each key is inherited on its own: location, service, top,
    default."""

    client_header: Duration = Field(
        _TIMEOUTS.client_header,
        description="From the first octet of a request head to its end. The service is not known then: only the top's counts.",
    )
    client_body: Duration = Field(_TIMEOUTS.client_body, description="Between two reads of a request body.")
    keepalive: Duration = Field(
        _TIMEOUTS.keepalive, description="A client's idle connection after a request; the location of that request counts."
    )
    connect: Duration = Field(_TIMEOUTS.connect, description="Until a connection to a backend is open, its TLS handshake included.")
    response: Duration = Field(
        _TIMEOUTS.response,
        description="From the last octet of the request to the whole head of the response, interim answers included.",
    )
    read: Duration = Field(
        _TIMEOUTS.read, description="Between two reads of a response body, and between two writes to the client."
    )
    tunnel: Duration = Field(_TIMEOUTS.tunnel, description="Silence in both directions after an upgrade (WebSocket).")
    total: Duration = Field(
        _TIMEOUTS.total,
        description="A whole exchange, from the request's head to the last octet of the answer, retries and waiting included; not "
        "upgraded connections.",
    )


class MinRateSettings(Model):
    """The least rate of a client, while a request's body or a response waits for it. WebSockets and other tunnels are excepted."""

    incoming: Size = Field(
        _MIN_RATE.incoming, alias="in", description="Octets per second of a request body; a slower client gets 408; 0: no limit."
    )
    outgoing: Size = Field(
        _MIN_RATE.outgoing,
        alias="out",
        description="Octets per second of a response that a client takes; else it breaks off; 0: no limit.",
    )
    grace: Annotated[SomeTime, Field(ge=1)] = Field(
        _MIN_RATE.grace, description="Time that a client is waited for before its rate is judged, and judged again; at least 1s."
    )


class ServiceLimits(Model):
    """Limits on requests of clients to this service or location."""

    body_size: Size | None = Field(None, description="Octets of a request body; 0: no limit. Default: the wider level's.")
    min_rate: MinRateSettings | None = Field(None, description="The least rate of a client; over the wider level's, key by key.")


class MiddlewareEntry(Model):
    """One entry of `middleware`: one kind, or several. The kinds are fields of the models that `terraster.config.language` makes of this."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _some_kind(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must name a kind of middleware")
        return self


class LocationSettings(TrafficSettings):
    """One path of a service, and how requests below it are answered. The longest matching path wins, on segment boundaries."""

    path: Path = Field(description="Prefix of the paths served here; /api fits /api and /api/x, not /apis.")
    name: LocationName | None = Field(
        None,
        description="Name in logs, metrics and commands, behind the path: /api#canary. Default: the path and the conditions of `match`.",
    )
    match: MatchSettings | None = Field(
        None,
        description="Conditions beside `path`. Several locations may have one path, if their conditions differ. Default: none.",
    )
    lb_policy: Algorithm | None = Field(None, description="How a backend is chosen. Default: the top's `algorithm`.")
    rewrite: Rewrite = Field(
        (),
        description="Text that replaces the matched prefix in the forwarded path; or rules with regular expressions, of which the first that "
        "matches counts. Default: the prefix stays.",
    )
    redirect: Redirect | None = Field(
        None,
        description="With backends: requests for exactly this path of the service are sent to the location's path. Without "
        "backends, or as an http(s) URL: everything below the location is sent there. Status 308.",
    )
    http_redirect: bool | None = Field(
        None, description="Send plain-HTTP requests to https, port `redirect_port`. Default: the service's."
    )
    backends: tuple[BackendSetting, ...] = Field((), description="Servers that answer requests here: URLs, or mappings.")
    split: SplitSettings | None = Field(
        None, description="Divides the clients among arms, each with backends of its own; in place of `backends`. Default: none."
    )
    middleware: tuple[MiddlewareEntry, ...] = Field((), description="Overrides the service's entries of the same kind.")
    health_check: HealthCheckSetting | None = Field(
        None, description="How this location's backends are probed, where that differs from the service."
    )
    timeouts: TimeoutSettings | None = Field(None, description="Timeouts that differ here.")
    limits: ServiceLimits | None = Field(None, description="Limits on requests of clients here.")
    access_log: AccessLogSetting | None = Field(None, description="`off`, a path, or a mapping; over the service's.")
    ignore_client_abort: bool | None = Field(
        None, description="Take a client's end of file for a half-close instead of for leaving. Default: the service's."
    )

    def conditions(self) -> tuple[Match | None, str]:
        """The conditions beside the path, and the mark that tells the location from others of its path."""
        match = None if self.match is None else self.match.frozen()
        return match, mark(match, self.name or "")

    @property
    def forwards(self) -> bool:
        """True if requests go to backends, its own or those of arms."""
        return bool(self.backends) or self.split is not None

    def parts(self) -> tuple[tuple[tuple[str | int, ...], LocationSettings], ...]:
        """The location by groups of backends, each with the path of the mapping that has them: itself, or each arm of its split as a location
        of its own."""
        if self.split is None:
            return (((), self),)
        return tuple(
            (
                ("split", "to", number),
                self.model_copy(update={"backends": arm.backends, "lb_policy": arm.lb_policy or self.lb_policy}),
            )
            for number, arm in enumerate(self.split.to)
        )


class ServiceSettings(TrafficSettings):
    """A virtual host: names, listeners and locations."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["name"]}, {"required": ["host"]}]})

    name: ServiceName | None = Field(
        None, description="Name in logs, metrics and commands; unique. Default: the first `host` that is not a regular expression."
    )
    host: Hosts | None = Field(
        None,
        description='Host names answered: exact, "*.example.com", a regular expression (RE2) behind "~" or `"*"`, or a list. Default: `"*"`.',
    )
    port: Port | None = Field(None, description="Port to listen on, all addresses. Default: the top's `port`.")
    listen: Listen | None = Field(
        None, description='Addresses to listen on: "127.0.0.1:8080", "[::1]:8080", "unix:/path", or a list. Beside `port`.'
    )
    proxy_protocol: bool | None = Field(
        None, description="Expect a PROXY header (v1, v2) from `trusted_proxies` on its listeners. Default: the top's."
    )
    tls: TlsSetting | None = Field(None, description="TLS towards clients. Default: the top's, on the top's listeners.")
    http2: Http2Setting | None = Field(
        None, description="HTTP/2 with clients: `on`, `off`, or a mapping; over the top's, key by key. Default: the top's."
    )
    http_redirect: bool | None = Field(
        None, description="Send plain-HTTP requests to https, port `redirect_port`. Status 308. Default: false."
    )
    redirect_port: Port = Field(443, description="Port that `http_redirect` names.")
    health_check: HealthCheckSetting | None = Field(
        None, description="How this service's backends are probed, where that differs from the top."
    )
    middleware: tuple[MiddlewareEntry, ...] = Field((), description="Overrides the top's entries of the same kind.")
    locations: tuple[LocationSettings, ...] = Field((), description="Paths, and what the service does below each.")
    timeouts: TimeoutSettings | None = Field(None, description="Timeouts that differ here.")
    limits: ServiceLimits | None = Field(None, description="Limits on requests of clients here.")
    access_log: AccessLogSetting | None = Field(None, description="`off`, a path, or a mapping; over the top's.")
    encoded_slashes: Literal["keep", "refuse"] | None = Field(
        None, description="Keep %2F and %5C in paths as they are, or refuse them (400). Default: the top's."
    )
    merge_slashes: bool | None = Field(
        None, description="Several slashes in a row in a path are one, for locations and for the backend. Default: the top's."
    )
    underscores: Literal["drop", "pass"] | None = Field(
        None,
        description="Drop or pass request fields whose names differ only by `_` for `-` from one that a header rule or Terraster itself "
        "writes. Default: the top's.",
    )
    strict_responses: bool | None = Field(
        None,
        description="Refuse responses of backends that are not in order, also where their meaning is clear. Default: the top's.",
    )
    ignore_client_abort: bool | None = Field(
        None, description="Take a client's end of file for a half-close instead of for leaving. Default: the top's."
    )
    log_name: Text | None = Field(
        None,
        description="Which of `loggers` is this service's; an unknown one is an error where `loggers` has some for services. "
        "Default: service_default.",
    )
    log_options: LogOptions | None = Field(None, description="Optional parts of access lines.")
    tracing: SamplingSetting | None = Field(
        None, description="Which requests are recorded as spans: `on`, `off`, or a mapping. Default: the top's."
    )
    plugin_disabled: bool = Field(False, description="Run no plugins for this service.")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is None and self.host is None:
            raise ValueError("needs a `name` or a `host`")
        if self.name is None and self.host is not None and all(map(is_pattern, self.host)):
            raise ValueError("needs a `name`, as its hosts are regular expressions")
        return self

    @property
    def label(self) -> str:
        """The service's name: `name`, else its first host that is not a regular expression."""
        if self.name is not None:
            return self.name
        return next((host for host in self.host or () if not is_pattern(host)), "*")
