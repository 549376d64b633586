"""Settings: the configuration language as models, one class a mapping of the file, one field a key.

All keys of the language are defined here, with unit, meaning and default, except those of filters, which are defined with the filters.
`terraster.config.language` puts both together.

Settings are what was written, not what follows from it: inheritance and defaults that depend on other keys are
`terraster.config.resolve`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema

from ...errors import Problem
from .. import scalars
from ..snapshot import Limits, Plugin, Snapshot
from .acme import AcmeSettings
from .admin import ApiSetting, ApiSettings, AuthSettings, DatabaseSettings
from .backend import BackendSetting, BackendSettings, HealthCheckSetting, HealthCheckSettings, Thresholds
from .base import (
    Address,
    Algorithm,
    Duration,
    FilePath,
    Hosts,
    Listen,
    Model,
    Nameservers,
    Peers,
    Port,
    Size,
    Whole,
)
from .http2 import OVER_TLS, Http2Setting
from .inherited import TrafficSettings
from .logs import AccessLogSetting, AccessLogSettings, LoggerSettings
from .service import LocationSettings, MiddlewareEntry, MinRateSettings, ServiceLimits, ServiceSettings, TimeoutSettings
from .switches import OFF_SCHEMA, OrWord, off_is, off_is_zero
from .tls import CertManager, TlsSetting, TlsSettings
from .tracing import TracingSetting

__all__ = [
    "DEFAULT_SERVICE",
    "AccessLogSettings",
    "ApiSettings",
    "BackendSettings",
    "HealthCheckSettings",
    "LimitSettings",
    "LocationSettings",
    "MetricsSettings",
    "LoggerSettings",
    "MiddlewareEntry",
    "Model",
    "MinRateSettings",
    "ServiceLimits",
    "ServiceSettings",
    "Settings",
    "Thresholds",
    "TimeoutSettings",
    "TlsSettings",
    "TrafficSettings",
    "CertManager",
]

_LIMITS = Limits()
_TOP = Snapshot(1, (), ())


DEFAULT_SERVICE = "default"
"""The name of the service that the top's `backends` make."""


def _off(value: object) -> object:
    return "" if scalars.is_off(value) else value


class LimitSettings(Model):
    """Limits on requests of clients, and on the number of connections."""

    header_size: Annotated[Size, Field(ge=256, le=1 << 24)] = Field(
        _LIMITS.header_size, description="Octets of a whole request head, request line included; beyond it 431 (414 for the line)."
    )
    header_count: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        _LIMITS.header_count, description="Fields of a request head; beyond it 431."
    )
    body_size: Size = Field(_LIMITS.body_size, description="Octets of a request body; beyond it 413; 0: no limit.")
    connections: Annotated[Whole, Field(ge=0)] = Field(
        _LIMITS.connections, description="Client connections at once, per worker; more wait to be accepted; 0: no limit."
    )
    min_rate: MinRateSettings | None = Field(None, description="The least rate of a client.")


class MetricsSettings(Model):
    """Where Prometheus scrapes."""

    listen: Annotated[
        Literal[""] | Address,
        BeforeValidator(_off),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, OFF_SCHEMA]}),
    ] = Field("127.0.0.1:9090", description="Address of /metrics without the management API, or `off`.")


MetricsSetting = Annotated[MetricsSettings, off_is("listen", ""), OrWord(off_only=True)]


class Settings(TrafficSettings):
    """One whole configuration as it was written. Kinds of filters add their keys (`terraster.config.language`).

    language: the Language that the model belongs to; None: none, it knows no kinds. service_model: the model of its services.
    """

    language: ClassVar[Any] = None
    service_model: ClassVar[type[ServiceSettings]] = ServiceSettings

    port: Port | None = Field(None, description="Port of services that name none, all addresses. Default: 8080; 443 with TLS.")
    listen: Listen | None = Field(
        None,
        description='Addresses of services that name none: "127.0.0.1:8080", "[::1]:8080", "unix:/path", or a list. Beside `port`.',
    )
    host: Hosts | None = Field(None, description='Host names that the top\'s `backends` answer to. Default: `"*"`.')
    http_port: Port | None = Field(
        None, description="Like `port`, for services without TLS; also where a TLS service's `http_redirect` listens."
    )
    https_port: Port | None = Field(None, description="Like `port`, for services with TLS.")
    admin_port: Port | None = Field(None, description="Port of the management API. Default: 8081.")
    algorithm: Algorithm = Field("round-robin", description="How a backend is chosen where `lb_policy` says nothing.")
    backends: tuple[BackendSetting, ...] = Field(
        (), description='Servers of a service named "default" with the location "/": URLs, or mappings.'
    )
    services: tuple[ServiceSettings, ...] = Field((), description="Virtual hosts.")
    tls: TlsSetting | None = Field(None, description="TLS on the top's listeners.")
    http2: Http2Setting | None = Field(
        None,
        description="HTTP/2 with clients: `on`, `off`, or a mapping with its limits, which switches it on. On, it is spoken over TLS (ALPN) "
        f"and in clear (prior knowledge). Default: {'on over TLS, off in clear' if OVER_TLS else 'off'}.",
    )
    health_check: HealthCheckSetting | None = Field(
        None, description="How backends are probed where nothing closer says otherwise; `off`, or a mapping."
    )
    middleware: tuple[MiddlewareEntry, ...] = Field((), description="Middleware that every request passes through.")
    plugin_directory: FilePath | None = Field(
        None,
        description="Directory of plugins: each `*.py` in it. Default: `plugins` beside the configuration file, if it is there.",
    )
    acme: AcmeSettings | None = Field(None, description="How certificates are obtained, for services with `tls.auto_cert`.")
    cert_manager: CertManager | None = Field(None, description="Watches certificates.")
    auth: AuthSettings | None = Field(None, description="Users of the management API.")
    admin_api: ApiSetting | None = Field(None, description="Where the management API listens.")
    api: ApiSetting | None = Field(None, description="Another spelling of `admin_api`.")
    database: DatabaseSettings | None = Field(None, description="Where users and tokens are kept.")
    loggers: dict[str, LoggerSettings] = Field(
        default_factory=dict, description="Loggers by name; usually in the file of `--log-config`."
    )
    workers: Annotated[Whole, Field(ge=1, le=1024)] | None = Field(
        None, description="Proxy processes. Default: the cores this process may use."
    )
    timeouts: TimeoutSettings | None = Field(None, description="How long Terraster waits, for each kind of wait.")
    limits: LimitSettings | None = Field(None, description="Limits on requests of clients.")
    trusted_proxies: Peers = Field(
        (),
        description="Addresses and networks whose `X-Forwarded-*` and PROXY headers are believed; `unix`: all clients of a unix "
        "socket. Default: none.",
    )
    nameservers: Nameservers = Field(
        (),
        description='Name servers that resolve backends\' names: "10.0.0.2", "10.0.0.2:5353", "[::1]:53", or a list. '
        "Default: the system's.",
    )
    proxy_protocol: bool = Field(False, description="Expect a PROXY header (v1, v2) on the listeners of services that do not say.")
    access_log: AccessLogSetting | None = Field(None, description="`off`, a path, or a mapping. Default: JSON lines on stdout.")
    tracing: TracingSetting | None = Field(
        None, description="Records requests as spans, and sends these to an OTLP receiver. Default: off."
    )
    encoded_slashes: Literal["keep", "refuse"] | None = Field(
        None,
        description="Keep %2F and %5C in paths, or refuse them (400). Default: keep; refuse in a service whose locations differ in their "
        "access filters.",
    )
    merge_slashes: bool = Field(True, description="Several slashes in a row in a path are one, for locations and for the backend.")
    underscores: Literal["drop", "pass"] = Field(
        "drop",
        description="Drop or pass request fields whose names differ only by `_` for `-` from one that a header rule or Terraster itself "
        "writes.",
    )
    strict_responses: bool = Field(
        False, description="Refuse responses of backends that are not in order, also where their meaning is clear."
    )
    ignore_client_abort: bool = Field(False, description="Take a client's end of file for a half-close instead of for leaving.")
    metrics: MetricsSetting | None = Field(None, description="Where Prometheus scrapes.")
    runtime_dir: FilePath | None = Field(
        None,
        description="Directory of sockets and pid file. Default: $RUNTIME_DIRECTORY, else /run/terraster for root, "
        "else $XDG_RUNTIME_DIR/terraster, else /tmp/terraster-UID.",
    )
    state_dir: FilePath | None = Field(
        None,
        description="Directory of what survives a restart. Default: $STATE_DIRECTORY, else /var/lib/terraster for root, "
        "else $XDG_STATE_HOME/terraster, else ~/.local/state/terraster.",
    )
    tcp_keepalive: Annotated[Duration, Field(le=32767), BeforeValidator(off_is_zero), OrWord(off_only=True)] = Field(
        _TOP.tcp_keepalive,
        description="Silence on a connection, to a client or to a backend, after which the kernel asks whether the other side is still there; "
        "or `off`.",
    )
    drain_timeout: Duration = Field(30.0, description="How long SIGTERM waits for open requests.")
    drain_delay: Duration = Field(
        0.0,
        description="How long SIGTERM goes on accepting connections, while `/readyz` says 503, before it waits for open requests.",
    )
    drain_jitter: Duration = Field(
        10.0,
        description="WebSockets and other tunnels of a location that a reload removes or changes end after `drain_timeout` and a random "
        "part of this time.",
    )
    max_generations: Annotated[Whole, Field(ge=1, le=32)] = Field(
        16,
        description="Old configurations that each worker keeps for connections which still use them. The connections of the oldest ones end "
        "first.",
    )
    orphan_timeout: Duration = Field(
        30.0,
        description="How long workers go on serving after the master was killed, until a new master takes over. 0: they leave at once.",
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        None, description="Least level of Terraster's own log. Default: info."
    )

    _warnings: tuple[str, ...] = PrivateAttr(())
    _refusals: tuple[Problem, ...] = PrivateAttr(())
    _notes: tuple[str, ...] = PrivateAttr(())
    _plugins: Mapping[str, Plugin] = PrivateAttr(default_factory=dict)

    @property
    def plugins(self) -> Mapping[str, Plugin]:
        """The plugins that were found, by name."""
        return self._plugins

    def with_plugins(self, plugins: Mapping[str, Plugin]) -> Settings:
        """The same, with these plugins."""
        self._plugins = plugins
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """The loader's warnings, each with its place."""
        return self._warnings

    @property
    def refusals(self) -> tuple[Problem, ...]:
        """Valid settings that this Terraster cannot run. (The warnings report them too.)"""
        return self._refusals

    @property
    def notes(self) -> tuple[str, ...]:
        """Surprising effects of keys that were not written, each with its place; empty unless the loader was asked for
        them."""
        return self._notes

    def loaded(
        self,
        services: tuple[ServiceSettings, ...],
        warnings: tuple[str, ...],
        refusals: tuple[Problem, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> Settings:
        """The same with these services, taken as they are, and what the loader has to say."""
        made = self.model_copy(update={"services": services})
        made._warnings = warnings
        made._refusals = refusals
        made._notes = notes
        return made

    def all_services(self) -> tuple[ServiceSettings, ...]:
        """The services, after the one that the top's `backends` make."""
        if not self.backends:
            return self.services
        location = {"path": "/", "backends": self.backends}
        made = self.service_model.model_validate({"name": DEFAULT_SERVICE, "host": self.host or ("*",), "locations": (location,)})
        return (made, *self.services)

    def management(self) -> ApiSettings:
        """`api` or `admin_api`, whichever was written."""
        return self.api or self.admin_api or ApiSettings.model_validate({})
