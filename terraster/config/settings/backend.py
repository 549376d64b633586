"""Backends and how they are probed."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema

from .. import addresses, header_rules, scalars
from ..snapshot import HealthCheck
from .base import FileOrOff, FilePath, Model, Port, SomeTime, StatusRanges, Text, Whole, text
from .lean import Lean
from .switches import OFF_SCHEMA, OrWord, off_is
from .to_backends import ServerName, check_key

__all__ = ["BackendSetting", "BackendSettings", "HealthCheckSetting", "HealthCheckSettings", "Thresholds"]

_HEALTH_CHECK = HealthCheck()
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _probe_path(value: object) -> str:
    path = text(value)
    if not path.startswith("/") or any(not "!" <= character <= "~" or character == "#" for character in path):
        raise ValueError(f'must start with "/" and be percent-encoded, not {path!r}')
    return path


def _url(value: object) -> addresses.Url:
    return value if isinstance(value, addresses.Url) else addresses.url(value)


def _backend_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"must be 1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or a digit, not {value!r}")
    return value


def _probe_method(value: str) -> str:
    if not _METHOD.fullmatch(value) or value == "CONNECT":
        raise ValueError(f"must be a method in capitals, such as GET, HEAD or POST, and not CONNECT, not {value!r}")
    return value


def _probe_header_name(value: str) -> str:
    header_rules.field_name(value)
    return value


def _probe_headers(value: dict[str, str]) -> dict[str, str]:
    seen: set[str] = set()
    for name in value:
        if name.lower() in seen:
            raise ValueError(f"names {name} twice")
        seen.add(name.lower())
    return value


BackendName = Annotated[Text, AfterValidator(_backend_name)]
ProbePath = Annotated[str, BeforeValidator(_probe_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
ProbeMethod = Annotated[Text, AfterValidator(_probe_method)]
_ProbeHeaderName = Annotated[str, AfterValidator(_probe_header_name)]
ProbeHeaders = Annotated[dict[_ProbeHeaderName, Annotated[Text, AfterValidator(str.strip)]], AfterValidator(_probe_headers)]
_URL_SCHEMA = {"type": "string", "pattern": "^((srv\\+)?https?://|http\\+unix://|unix:/|\\$\\{)"}
BackendUrl = Annotated[addresses.Url, BeforeValidator(_url), WithJsonSchema(_URL_SCHEMA)]


def _send_proxy(value: object) -> object:
    word = "" if scalars.is_off(value) else value
    if word not in ("", "v1", "v2"):
        raise ValueError("must be `v1`, `v2` or `off`")
    return word


SendProxy = Annotated[
    Literal["", "v1", "v2"],
    BeforeValidator(_send_proxy),
    WithJsonSchema({"anyOf": [{"type": "string", "enum": ["v1", "v2", "off"]}, OFF_SCHEMA]}),
]


class Thresholds(Model):
    """How many results in a row change a backend's state."""

    healthy: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        _HEALTH_CHECK.healthy, description="Good probes in a row that bring a backend up."
    )
    unhealthy: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        _HEALTH_CHECK.unhealthy, description="Bad probes in a row that take a backend down."
    )


class HealthCheckSettings(Model):
    """How backends are probed. Each key is inherited on its own: backend over location over service over top over default. `off` is short
    for `type: none`."""

    type: Literal["http", "tcp", "grpc", "none"] = Field(
        _HEALTH_CHECK.type,
        description="http: ask for `path` and look at the status; tcp: connect; grpc: call grpc.health.v1 over HTTP/2, where SERVING is "
        "healthy; none: never probe, always healthy.",
    )
    path: ProbePath = Field(_HEALTH_CHECK.path, description="Path of the probe, perhaps with a query.")
    interval: SomeTime = Field(_HEALTH_CHECK.interval, description="Time between two probes (jitter is added).")
    fast_interval: SomeTime = Field(
        _HEALTH_CHECK.fast_interval,
        description="The same while the state is about to change: the last probe says otherwise, but `thresholds` are not reached. "
        "At most `interval`.",
    )
    timeout: SomeTime = Field(_HEALTH_CHECK.timeout, description="Time a probe may take in all.")
    thresholds: Thresholds | None = Field(None, description="How many results in a row change the state.")
    skip_tls_verify: bool | None = Field(
        None,
        description="Let probes accept any certificate; the nearest level that sets it counts. Default: the backend's "
        "`skip_tls_verify`.",
    )
    host: Text | None = Field(None, description="Host header of the probe. Default: host and port of the backend's URL.")
    sni: ServerName | None = Field(None, description="TLS server name of the probe. Default: the backend's `sni`, else its host.")
    ca_file: FilePath | None = Field(
        None, description="PEM file of the authorities that probes trust. Default: the backend's `ca_file`."
    )
    client_cert: FilePath | None = Field(
        None, description="PEM file of the certificate that probes show. Default: the backend's `client_cert`."
    )
    client_key: FilePath | None = Field(
        None, description="PEM file of its private key. Default: `client_cert`, which then has both."
    )
    status: StatusRanges = Field(
        _HEALTH_CHECK.status,
        description='Statuses that are healthy: 200, "200-399", or a list. Redirects are not followed.',
    )
    body: Text | None = Field(None, description="Text that must occur in the first 64 KiB of the answer. Default: none.")
    port: Port | None = Field(None, description="Port that is probed, of type tcp too. Default: that of the backend's URL.")
    method: ProbeMethod = Field(_HEALTH_CHECK.method, description="Method of the probe, in capitals.")
    headers: ProbeHeaders = Field(
        default_factory=dict,
        description="Header fields of the probe. They replace its own Host, User-Agent and Accept-Encoding. A narrower level replaces all "
        "of them.",
    )
    request_body: Text | None = Field(
        None, description="Body of the probe, sent as UTF-8 with a Content-Length. Needs `method` beside it. Default: none."
    )

    service: Text | None = Field(
        None, description="Service that `type: grpc` asks about, like `shop.v1.Cart`. Default: the server as a whole."
    )

    @model_validator(mode="after")
    def _body_has_a_method(self) -> Self:
        if self.request_body and "method" not in self.model_fields_set:
            raise ValueError("`request_body` needs `method` beside it: a GET has no body unless you say so")
        if self.body and self.method == "HEAD":
            raise ValueError("`body` looks for a text, and the answer to `method: HEAD` has none")
        check_key(self)
        return self


HealthCheckSetting = Annotated[HealthCheckSettings, off_is("type", "none"), OrWord(off_only=True)]


def _or_url(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class BackendSettings(Lean):
    """One server that answers requests."""

    url: BackendUrl = Field(
        description="http:// or https://, a host, perhaps a port and a base path that is put before the forwarded path; "
        "srv+http://NAME, srv+https://NAME: the hosts and ports are those of the name's SRV records; unix:/PATH: a unix socket, with a base "
        "path http+unix://%2FPATH/BASE."
    )
    name: BackendName | None = Field(
        None,
        description="Name beside the URL, in logs, metrics, status and commands; unique in its location. 1 to 64 letters, digits, `.`, `_`, "
        "`-`. Default: none.",
    )
    weight: Annotated[Whole, Field(ge=0, le=1_000_000)] = Field(
        1, description="Share of the work relative to the others; 0: no new work."
    )
    max_connections: Annotated[Whole, Field(ge=0, le=10_000_000)] = Field(
        0, description="Requests at once, over all workers; 0: no limit."
    )
    priority: Annotated[Whole, Field(ge=0, le=1000)] = Field(
        0, description="Tier: the lowest is used, the next where no backend of it has room or is up."
    )
    backup: bool = Field(False, description="Behind all others, whatever their `priority`.")
    health_check: HealthCheckSetting | None = Field(
        None, description="How this backend is probed, where that differs from its location."
    )
    send_proxy: SendProxy = Field(
        "",
        description="Begin each connection with a PROXY header of this version, v1 or v2, that names the client; or `off`. Default: off.",
    )
    skip_tls_verify: bool | None = Field(None, description="Accept any certificate of this backend. Default: the location's.")
    sni: ServerName = Field(
        "", description="TLS server name sent to this backend, and wanted in its certificate. Default: the location's."
    )
    ca_file: FileOrOff = Field(
        "",
        description="PEM file of the authorities that may have issued its certificate; or `off`: the system's. Default: the location's.",
    )
    client_cert: FileOrOff = Field(
        "", description="PEM file of the certificate that this backend is shown; or `off`. Default: the location's."
    )
    client_key: FilePath | None = Field(
        None, description="PEM file of its private key. Default: `client_cert`, which then has both."
    )
    http2: bool = Field(
        False,
        description="Speak HTTP/2 to this backend: chosen by ALPN over TLS, with prior knowledge in clear. Requests share its "
        "connections. Health checks speak it too, unless they have a port of their own.",
    )

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        check_key(self)
        if self.http2 and self.send_proxy:
            raise ValueError(
                "`send_proxy` cannot be used with `http2`: the PROXY header names the client of a whole connection, which requests of many "
                "clients share; remove one of them"
            )
        return self


class _OrUrl:
    """An annotation: the JSON Schema of a backend that may also be its URL alone."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), _URL_SCHEMA]}


BackendSetting = Annotated[BackendSettings, BeforeValidator(_or_url), _OrUrl()]
