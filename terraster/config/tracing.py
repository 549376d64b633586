"""Tracing: which requests are recorded as spans, and where these go, as values of a Snapshot; and what keeps that from working.

Pure, but for a look at which packages are installed: settings in, values or complaints out, as in `terraster.config.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .messages import Complaint
    from .settings import ServiceSettings, Settings
    from .settings.tracing import SamplingSettings, TracingSettings

__all__ = ["SAMPLERS", "Sampling", "Tracing", "errors", "of_service", "of_top", "unrouted", "warnings"]

Path = tuple[str | int, ...]

SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
"""OpenTelemetry's names of samplers (OTEL_TRACES_SAMPLER)."""

_PACKAGE = {"http": "opentelemetry.exporter.otlp.proto.http", "grpc": "opentelemetry.exporter.otlp.proto.grpc"}
_INSTALL = "pip install 'terraster[tracing]'"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which requests are recorded. sampler: one of `SAMPLERS`. ratio: of the traces, for those samplers that have one"""

    sampler: str = "parentbased_always_on"
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go. endpoint: a URL, with the path for `http`"""

    endpoint: str
    protocol: Literal["http", "grpc"] = "http"
    service_name: str = "terraster"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # may hold a password
    resource: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0  # seconds for one batch, repetitions included
    compression: Literal["none", "gzip"] = "none"
    ca_file: str = ""  # "" = the system's authorities


def of_top(top: Settings) -> Tracing | None:
    """Where spans go; None if no request is recorded."""
    written = top.tracing
    if written is None or written.endpoint is None:
        return None
    if not written.enabled and not any(service.tracing is not None and service.tracing.enabled for service in top.services):
        return None
    endpoint = written.endpoint
    if written.protocol == "http" and endpoint.count("/") < 3:
        endpoint += "/v1/traces"
    return Tracing(
        endpoint=endpoint,
        protocol=written.protocol,
        service_name=written.service_name,
        headers=tuple((name.lower(), value.get_secret_value()) for name, value in written.headers.items()),
        resource=tuple(written.resource.items()),
        timeout=written.timeout,
        compression=written.compression,
        ca_file=written.ca_file or "",
    )


def unrouted(top: Settings) -> Sampling | None:
    """Which requests that no service took are recorded; None: none."""
    written = top.tracing
    return _sampling(written) if written is not None and written.enabled and written.endpoint is not None else None


def of_service(top: Settings, service: ServiceSettings) -> Sampling | None:
    """Which requests of a service are recorded; None: none, and the client's trace context passes as it is."""
    wide, own = top.tracing, service.tracing
    if wide is None or wide.endpoint is None or not (wide.enabled if own is None else own.enabled):
        return None
    return _sampling(wide, own)


def _sampling(*levels: SamplingSettings | TracingSettings | None) -> Sampling:
    """The words of the narrowest level that has some. levels: the widest first"""
    made = Sampling()
    for level in levels:
        if level is not None:
            made = Sampling(level.written("sampler") or made.sampler, _ratio(level, made.ratio))
    return made


def _ratio(level: SamplingSettings | TracingSettings, wider: float) -> float:
    return wider if level.ratio is None else level.ratio


@cache
def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def errors(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Mistakes that keep spans from being recorded or sent."""
    written = top.tracing
    if written is None or written.endpoint is None:
        for path, service in services:
            if service.tracing is not None and service.tracing.enabled and not (written is not None and written.enabled):
                yield (
                    (*path, "tracing"),
                    True,
                    "`tracing` of a service needs `tracing.endpoint` at the top, the URL of an OTLP receiver",
                )
        return
    if written.protocol == "grpc" and written.endpoint.count("/") > 2:
        yield ("tracing", "endpoint"), False, "`endpoint` must have no path for `protocol: grpc`: http://collector:4317"
    if written.ca_file and written.endpoint.startswith("http://"):
        yield ("tracing", "ca_file"), True, "`ca_file` is for an https:// endpoint, and this one is spoken to in clear"
    if not (_is_installed(_PACKAGE[written.protocol]) and _is_installed("opentelemetry.sdk.trace")):
        yield ("tracing",), True, f"`tracing` needs packages that are not installed here: {_INSTALL}"


def warnings(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Keys that have no effect."""
    levels: list[tuple[Path, SamplingSettings | TracingSettings]] = [] if top.tracing is None else [(("tracing",), top.tracing)]
    levels += [((*path, "tracing"), service.tracing) for path, service in services if service.tracing is not None]
    for path, level in levels:
        sampler = level.written("sampler") or (top.tracing and top.tracing.written("sampler")) or Sampling().sampler
        if level.ratio is not None and not str(sampler).endswith("traceidratio"):
            yield (*path, "ratio"), True, f"`ratio` has no effect with `sampler: {sampler}`: it is for `parentbased_traceidratio`"
