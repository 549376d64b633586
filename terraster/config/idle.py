"""Keys that have no effect where they are written, whatever their value: a table for each level, a row for each key.

A key is checked only if it was written and asks for something, on its level, with the locations and backends below. A key that has an
effect on one of them is fine there. (`terraster.config.level_checks` has the doubts that hang on the value, or on another key's value.)

`mentions` is asked once when a service is parsed: ten thousand services without such keys cost nothing in a load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel

from .algorithms import WITHOUT_WEIGHTS
from .listeners import Rule
from .messages import Complaint
from .settings import BackendSettings, LocationSettings, ServiceSettings, Settings, TrafficSettings
from .settings.to_backends import TLS_KEYS

__all__ = ["AT_TOP", "IN_BACKEND", "IN_LOCATION", "IN_SERVICE", "mentions", "warnings"]

Path = tuple[str | int, ...]


class Position(NamedTuple):
    """A level of the configuration. ``here``: its path. ``locations``: those that its keys are for, each with its service. ``backend``:
    the one that it is, if it is one."""

    here: Path
    written: BaseModel
    top: Settings
    services: Sequence[ServiceSettings]
    locations: Sequence[tuple[ServiceSettings, LocationSettings]]
    backend: BackendSettings | None = None

    def backends(self) -> Iterator[tuple[ServiceSettings, LocationSettings, BackendSettings]]:
        """The backends that its keys are for."""
        for service, location in self.locations:
            for backend in location.backends if self.backend is None else (self.backend,):
                yield service, location, backend


Judge = Callable[[Position], str]
"""Words that complete "`key` …" if the key has no effect at this place; "" if it does something."""


class Row(NamedTuple):
    """``key``: dotted, within its level."""

    key: str
    judge: Judge


def mentions(service: ServiceSettings) -> bool:
    """True if a service, or what is below it, writes a key that is in the tables."""
    if not _IN_SERVICE.keys().isdisjoint(service.model_fields_set):
        return True
    for location in service.locations:
        if not _IN_LOCATION.keys().isdisjoint(location.model_fields_set):
            return True
        for _, part in location.parts():
            if not all(_IN_BACKEND.keys().isdisjoint(backend.model_fields_set) for backend in part.backends):
                return True
    return False


def warnings(
    top: Settings, services: Sequence[tuple[Path, ServiceSettings]], mentioning: Iterable[tuple[Path, ServiceSettings]]
) -> Iterator[Complaint]:
    """Keys without effect, each with its path. services: all; mentioning: those for which `mentions` is true."""
    every = [service for _, service in services]
    yield from _of_place(_AT_TOP, Position((), top, top, every, [one for service in every for one in _parts(service)]))
    for path, service in mentioning:
        if not _IN_SERVICE.keys().isdisjoint(service.model_fields_set):
            yield from _of_place(_IN_SERVICE, Position(path, service, top, [service], _parts(service)))
        for index, location in enumerate(service.locations):
            here: Path = (*path, "locations", index)
            if not _IN_LOCATION.keys().isdisjoint(location.model_fields_set):
                parts = [(service, part) for _, part in location.parts()]
                yield from _of_place(_IN_LOCATION, Position(here, location, top, [service], parts))
            for inside, part in location.parts():
                yield from _of_backends(path if path == ("backends",) else (*here, *inside, "backends"), top, service, part)


def _parts(service: ServiceSettings) -> list[tuple[ServiceSettings, LocationSettings]]:
    """The locations of a service, each arm as one of its own."""
    return [(service, part) for location in service.locations for _, part in location.parts()]


def _of_backends(here: Path, top: Settings, service: ServiceSettings, location: LocationSettings) -> Iterator[Complaint]:
    said: set[str] = set()
    for number, backend in enumerate(location.backends):
        if not _IN_BACKEND.keys().isdisjoint(backend.model_fields_set):
            for complaint in _of_place(
                _IN_BACKEND, Position((*here, number), backend, top, [service], [(service, location)], backend)
            ):
                if complaint[2] not in said:  # once for all backends of a location
                    said.add(complaint[2])
                    yield complaint


def _of_place(table: Mapping[str, Sequence[Row]], place: Position) -> Iterator[Complaint]:
    for name in table.keys() & place.written.model_fields_set:
        for key, judge in table[name]:
            steps = key.split(".")
            if _asks(place.written, steps) and (words := judge(place)):
                yield (*place.here, *steps), True, f"`{steps[-1]}` {words}"


def _asks(model: BaseModel, steps: Sequence[str]) -> bool:
    """True if a key was written, and not to say that nothing is wanted."""
    for step in steps[:-1]:
        if step not in model.model_fields_set or not isinstance(inner := getattr(model, step), BaseModel):
            return False
        model = inner
    return steps[-1] in model.model_fields_set and getattr(model, steps[-1]) not in (None, False, "")


def _probed_by(*idle: str) -> Judge:
    """For keys of `health_check` that these types of a probe have no use for."""

    def judge(place: Position) -> str:
        used = set()
        for service, location, backend in place.backends():
            levels = (level.health_check for level in (backend, location, service, place.top))
            used.add(next((level.type for level in levels if level is not None and "type" in level.model_fields_set), "http"))
            if used.difference(idle):
                return ""
        return f"has no effect under {' and '.join(f'`type: {kind}`' for kind in sorted(used))}" if used else ""

    return judge


def _without_https(place: Position) -> str:
    if any(backend.url.scheme == "https" for _, _, backend in place.backends()):
        return ""
    if place.backend is not None:
        return f"is for https and has no effect with {'unix:' if place.backend.url.socket else 'http://'}"
    return "is for https backends, and there are none here" if any(place.backends()) else ""


def _without_ports(place: Position) -> str:
    found = [backend.url.socket for _, _, backend in place.backends()]
    return "has no effect: the backends are unix sockets" if found and all(found) else ""


def _without_backends(place: Position) -> str:
    if any(location.backends for _, location in place.locations):
        return ""
    if isinstance(place.written, LocationSettings):
        return "has no effect in a location without `backends`"
    return "has no effect in a service without `backends`"


def _without_weights(place: Position) -> str:
    ((service, location),) = place.locations
    assert place.backend is not None
    if place.backend.weight == 1:
        return ""
    policy = location.lb_policy or place.top.algorithm
    if policy == "sticky-session":
        levels = (level.sticky for level in (location, service, place.top))
        policy = next((level.algorithm for level in levels if level is not None and level.algorithm is not None), "round-robin")
    if policy not in WITHOUT_WEIGHTS or place.backend.weight == 0:
        return ""
    other = "; `weighted-least-connections` uses it" if policy == "least-connections" else ""
    return f"has no effect under `{policy}`{other}"


def _one_tier(place: Position) -> str:
    ((_, location),) = place.locations
    tiers = {backend.priority for backend in location.backends}
    if (
        len(tiers) > 1
        or any(backend.backup for backend in location.backends)
        or any(backend.url.srv for backend in location.backends)
    ):
        return ""
    return f"is {min(tiers)} for every backend here: this has the same effect as no `priority`"


def _without_redirect(place: Position) -> str:
    redirects = any(service.http_redirect for service in place.services) or any(there.http_redirect for _, there in place.locations)
    return "" if redirects else "has no effect without `http_redirect`"


def _head_comes_first(place: Position) -> str:
    return "belongs at the top: a request's head is read before its service and location are known"


def _tried_once(place: Position) -> str:
    for service, location in place.locations:
        levels = (level.retry for level in (location, service, place.top))
        attempts = next((level.attempts for level in levels if level is not None and "attempts" in level.model_fields_set), 0)
        if attempts != 1:
            return ""
    return "has no effect with one attempt (`attempts: 1`, or `retry: off`)" if place.locations else ""


def _no_second(place: Position) -> str:
    for _, location in place.locations:
        hosts = [backend.url for backend in location.backends]
        several = len(hosts) > 1 or any(url.is_named for url in hosts)
        if several and (location.lb_policy or place.top.algorithm) != "sticky-session":
            return ""
    return "has no effect without a second backend, or under `sticky-session`" if any(place.backends()) else ""


def _none_idle(place: Position) -> str:
    for service, location in place.locations:
        levels = (level.connection_pool for level in (location, service, place.top))
        if next((level.max_idle for level in levels if level is not None and "max_idle" in level.model_fields_set), 1) != 0:
            return ""
    return "has no effect with `max_idle: 0`" if place.locations else ""


def _not_json(place: Position) -> str:
    formats = set()
    for service, *location in [*place.locations, *((service,) for service in place.services if not service.locations)]:
        levels = (level.access_log for level in (*location, service, place.top))
        formats.add(next((level.format for level in levels if level is not None and "format" in level.model_fields_set), "json"))
    return "is for `format: json`, and has no effect with another format" if formats and "json" not in formats else ""


def _no_default_service(place: Position) -> str:
    return "" if place.top.backends else "is for the top's `backends`, and there are none"


def _without_cookie(place: Position) -> str:
    split = place.written.split if isinstance(place.written, LocationSettings) else None
    return "" if split is None or split.by == "cookie" else f"is for `by: cookie`, and has no effect with `by: {split.by}`"


def _without_address(place: Position) -> str:
    split = place.written.split if isinstance(place.written, LocationSettings) else None
    return "" if split is None or split.by != "cookie" else "has no effect with `by: cookie`"


def _one_arm(place: Position) -> str:
    split = place.written.split if isinstance(place.written, LocationSettings) else None
    alone = split is not None and sum(arm.weight > 0 for arm in split.to) == 1
    return "has no effect: only one arm has a `weight`" if alone else ""


def _own_port(place: Position) -> str:
    api = place.top.management()
    return f"has no effect beside `{'api' if place.top.api is not None else 'admin_api'}.port`" if api.port else ""


def _unheard(clear: bool, secret: bool) -> Judge:
    """For the top's addresses, which services without addresses of their own listen on. clear, secret: True if the key is for services
    without TLS, and for those with it."""

    def judge(place: Position) -> str:
        rule = Rule(place.top)
        others = False
        for service in place.services:
            if service.port or service.listen:
                continue
            tls = rule.tls(service)
            if secret if tls else clear:
                return ""
            if tls and clear and not secret and rule.of(service)[-1][1] is False:  # its redirect listens there
                return ""
            others = True
        if not others:
            return "has no effect: each service has an address of its own" if place.services else ""
        return f"has no effect: no service that listens on the top's addresses speaks {'plain HTTP' if clear else 'TLS'}"

    return judge


def _port(place: Position) -> str:
    beside = [f"`{key}`" for key in ("http_port", "https_port") if getattr(place.top, key)]
    words = _unheard(not place.top.http_port, not place.top.https_port)(place)
    return f"has no effect beside {' and '.join(beside)}" if words and beside else words


_CHECK = (
    *(
        Row(f"health_check.{key}", _probed_by("tcp", "grpc", "none"))
        for key in ("path", "status", "body", "method", "request_body")
    ),
    *(Row(f"health_check.{key}", _probed_by("tcp", "none")) for key in ("host", "headers")),
    Row("health_check.service", _probed_by("http", "tcp", "none")),
    *(Row(f"health_check.{key}", _probed_by("none")) for key in ("interval", "fast_interval", "timeout", "thresholds", "port")),
    Row("health_check.port", _without_ports),
    *(Row(f"health_check.{key}", _probed_by("tcp", "none")) for key in TLS_KEYS),
    *(Row(f"health_check.{key}", _without_https) for key in TLS_KEYS),
)
_TRAFFIC = (
    *(Row(f"retry.{key}", _tried_once) for key in ("on", "idempotency_key", "backoff", "body_size", "response_size")),
    Row("retry.hedge", _no_second),
    Row("connection_pool.idle_timeout", _none_idle),
    *(Row(key, _without_https) for key in TLS_KEYS),
)
_FORWARDING = tuple(Row(key, _without_backends) for key in ("health_check", *TrafficSettings.model_fields))

AT_TOP = (
    Row("host", _no_default_service),
    Row("port", _port),
    Row("listen", _unheard(True, True)),
    Row("http_port", _unheard(True, False)),
    Row("https_port", _unheard(False, True)),
    Row("admin_port", _own_port),
    Row("access_log.fields", _not_json),
    *_CHECK,
    *_TRAFFIC,
)
IN_SERVICE = (
    Row("timeouts.client_header", _head_comes_first),
    Row("redirect_port", _without_redirect),
    Row("access_log.fields", _not_json),
    *_FORWARDING,
    *_CHECK,
    *_TRAFFIC,
)
IN_LOCATION = (
    Row("lb_policy", _without_backends),
    Row("rewrite", _without_backends),
    *(Row(f"split.{key}", _without_cookie) for key in ("path", "domain", "ttl", "secure", "same_site")),
    Row("split.ipv6_prefix", _without_address),
    Row("split.fallback", _one_arm),
    Row("timeouts.client_header", _head_comes_first),
    Row("access_log.fields", _not_json),
    *_FORWARDING,
    *_CHECK,
    *_TRAFFIC,
)
IN_BACKEND = (
    Row("weight", _without_weights),
    Row("priority", _one_tier),
    *(Row(key, _without_https) for key in TLS_KEYS),
    *_CHECK,
)


def _by_key(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by the first step of their keys, so that a level is looked at for what it writes only."""
    made: dict[str, list[Row]] = {}
    for row in rows:
        made.setdefault(row.key.partition(".")[0], []).append(row)
    return made


_AT_TOP, _IN_SERVICE, _IN_LOCATION, _IN_BACKEND = map(_by_key, (AT_TOP, IN_SERVICE, IN_LOCATION, IN_BACKEND))
