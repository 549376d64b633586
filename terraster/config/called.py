"""The servers that filters of a service ask, as locations of that service: with a backend, a pool, counters and a state like all others.

The path of such a location begins with `terraster.config.settings.kinds.CALLED`, so no request is for it. It is not probed, and neither ejected
nor cut off by a circuit: when it is away, requests are refused, and as soon as it is back they are let in again.
"""

from __future__ import annotations

from collections.abc import Iterable

from .addresses import Url
from .ids import backend_id, location_id
from .inherit import ToBackends
from .settings.kinds import CALLED, Call
from .snapshot import Backend, Credentials, Filters, HealthCheck, Location, Retry, Service, Timeouts

__all__ = ["called", "served"]

_UNPROBED = HealthCheck(type="none")
_NONE = Credentials()


def called(service: str, places: Iterable[Filters], tls: ToBackends) -> list[Location]:
    """The locations of the servers that the filters of these places ask, each once. tls: how the service speaks TLS to backends."""
    found: dict[str, Call] = {}
    for filters in places:
        for _, settings in filters:
            for call in settings.calls():
                found.setdefault(call.path, call)
    return [_location(service, call, tls) for call in found.values()]


def served(service: Service) -> tuple[Location, ...]:
    """The locations of a service that requests are matched to; its very locations if there are no others: servers that filters ask, arms of
    splits."""
    if not any(location.arm or location.path.startswith(CALLED) for location in service.locations):
        return service.locations
    return tuple([location for location in service.locations if not (location.arm or location.path.startswith(CALLED))])


def _location(service: str, call: Call, tls: ToBackends) -> Location:
    seconds = call.timeout
    return Location(
        id=location_id(service, call.path),
        path=call.path,
        backends=tuple([_backend(service, call, url, tls) for url in call.urls]),
        outlier=None,
        retry=Retry(attempts=call.attempts),
        timeouts=Timeouts(connect=seconds, response=seconds, read=seconds, total=seconds),
    )


def _backend(service: str, call: Call, url: Url, tls: ToBackends) -> Backend:
    return Backend(
        id=backend_id(service, call.path, url.text),
        url=url.text,
        scheme="https" if url.scheme == "https" else "http",
        host=url.host,
        port=url.port,
        base_path=url.base_path,
        skip_tls_verify=tls.skip_tls_verify,
        sni=tls.sni,
        http2=call.http2,
        health=_UNPROBED,
        address=f"unix:{url.socket}" if url.socket else "",
        credentials=tls.credentials if url.scheme == "https" else _NONE,
    )
