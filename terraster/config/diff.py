"""The difference between two Snapshots: small enough to send to every child, complete enough to make the new one from the old one.

    patch(old, diff(old, new)) == new

Services are compared whole: a child rebuilds those that differ and leaves the others alone, down to their open connections.
`Change.lines` describes the change for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace

from ..wire.grpc import APART, word_of
from . import quantities, splitting
from .min_rate import MinRate
from .settings import CertManager, HealthCheckSettings, MinRateSettings, Model, Settings, TimeoutSettings, TrafficSettings
from .settings.base import quantity_of
from .settings.http2 import Http2Settings
from .settings.inherited import ConnectionPool as ConnectionPoolSettings
from .settings.inherited import OutlierSettings, QueueSettings, RetrySettings, StickySettings
from .slo import Slo
from .snapshot import (
    BACKUP,
    Backend,
    ConnectionPool,
    Credentials,
    Filters,
    HealthCheck,
    Http2Limits,
    Listener,
    Location,
    Outlier,
    Queue,
    Retry,
    Service,
    Snapshot,
    Sticky,
    Timeouts,
)
from .telling import masked

__all__ = ["Change", "diff", "patch"]

RESTART = ("workers", "admin_listen", "metrics_listen", "runtime_dir", "state_dir")
"""Keys of a Snapshot that a running process does not take over."""

_IN_PLACE = (
    "admin_tls",
    "admin_rate",
    "audit_days",
    "admin_allowed",
    "admin_host",
    "admin_debug",
    "auth",
    "trusted_proxies",
    "limits",
    "timeouts",
    "access_log",
    "filters",
    "plugins",
    "tcp_keepalive",
    "drain_timeout",
    "drain_delay",
    "drain_jitter",
    "max_generations",
    "orphan_timeout",
    "log_level",
    "program_log",
    "nameservers",
    "ticket_key_lifetime",
    "certificate_check",
    "certificate_threshold",
    "alerting",
    "acme",
    "tracing",
    "sampling",
)
_OF_CERTIFICATES = {
    "ticket_key_lifetime": "ticket_key_lifetime",
    "certificate_check": "check_interval",
    "certificate_threshold": "expiration_threshold",
    "alerting": "alerting",
}
"""Fields of a Snapshot whose keys are in `cert_manager`."""
_WRITTEN = {
    "admin_tls": "api.tls",
    "admin_rate": "api.rate_limit",
    "admin_allowed": "api.allowed_ips",
    "admin_host": "api.host",
    "admin_debug": "api.debug",
    "audit_days": "api.audit_days",
    "sampling": "tracing.sampler",
}
"""Fields of a Snapshot whose keys have another name."""
_OF_SERVICE = ("timeouts", "body_size", "min_rate", "access_log", "ignore_client_abort")
"""Fields of a Location that are None where the service's value holds."""
_MOST_LINES = 1000
_SPELLINGS = {"pool": "connection_pool", "breaker": "circuit_breaker", "policy": "lb_policy"}
_MODELS: dict[type, type[Model]] = {
    Snapshot: Settings,
    Location: TrafficSettings,
    HealthCheck: HealthCheckSettings,
    Http2Limits: Http2Settings,
    Outlier: OutlierSettings,
    Retry: RetrySettings,
    Queue: QueueSettings,
    ConnectionPool: ConnectionPoolSettings,
    Sticky: StickySettings,
    Timeouts: TimeoutSettings,
    MinRate: MinRateSettings,
}
"""The models that know what the numbers of a frozen value count."""

_CERTIFICATES = CertManager.model_validate({})

_SECRET = ("key",)
_QUERY = re.compile(r"(https?://[^\s?]*\?)\S+")
"""The query of a URL: it may hold a secret, so it is not shown."""
_UNSHOWN = ("headers", "request_body")  # of health checks: they may hold a password
_VALUES = ("headers", "query", "cookies")  # of `match`: so may they


@dataclass(frozen=True, slots=True)
class Change:
    """The way from one Snapshot to the next. Picklable.

    generation: that of the new one
    base:       the new one without its services
    services:   those added or changed, whole
    removed, added, changed: names of services, sorted
    listeners_added, listeners_removed: a listener whose settings changed is in both, unless only `http2` did, which is for new connections
    restart:    keys that changed and need new workers or a restart
    lines:      what changed, for people
    """

    generation: int
    base: Snapshot
    services: tuple[Service, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    listeners_added: tuple[Listener, ...]
    listeners_removed: tuple[Listener, ...]
    restart: tuple[str, ...]
    lines: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """A line for each thing that changed, "+" added, "-" removed, "~" changed; none if nothing did."""
        return list(self.lines)


def diff(old: Snapshot, new: Snapshot) -> Change:
    """The change from `old` to `new`. Slots count: compare two snapshots with leased slots, or two without."""
    before = {service.name: service for service in old.services}
    after = {service.name: service for service in new.services}
    removed = sorted(before.keys() - after.keys())
    added = sorted(after.keys() - before.keys())
    changed = sorted(
        name
        for name, service in after.items()
        if (known := before.get(name)) is not None and known is not service and known != service
    )
    gone = [listener for listener in old.listeners if listener not in new.listeners]
    come = [listener for listener in new.listeners if listener not in old.listeners]
    _keep(gone, come)
    lines: list[str] = []
    for line in _lines(old, new, before, after, removed, added, changed, gone, come):
        if len(lines) == _MOST_LINES:
            lines.append("… and more")
            break
        lines.append(line)
    return Change(
        generation=new.generation,
        base=replace(new, services=()),
        services=tuple(after[name] for name in sorted((*added, *changed))),
        removed=tuple(removed),
        added=tuple(added),
        changed=tuple(changed),
        listeners_added=tuple(come),
        listeners_removed=tuple(gone),
        restart=tuple(key for key in RESTART if getattr(old, key) != getattr(new, key)),
        lines=tuple(lines),
    )


def patch(old: Snapshot, change: Change) -> Snapshot:
    """The new Snapshot, made from the old one and the change. Services are sorted by name, as in `resolve`."""
    gone = {*change.removed, *change.changed}
    services = [service for service in old.services if service.name not in gone]
    if change.services:
        services = sorted((*services, *change.services), key=lambda service: service.name)
    return replace(change.base, services=tuple(services))


def _keep(gone: list[Listener], come: list[Listener]) -> None:
    """Take out the listeners of which only `http2` changed: their sockets and connections stay."""
    for old in list(gone):
        for new in list(come):
            if old.address == new.address and replace(old, http2=new.http2) == new:
                gone.remove(old)
                come.remove(new)


def _lines(
    old: Snapshot,
    new: Snapshot,
    before: dict[str, Service],
    after: dict[str, Service],
    removed: list[str],
    added: list[str],
    changed: list[str],
    gone: list[Listener],
    come: list[Listener],
) -> Iterator[str]:
    for key in (*RESTART, *_IN_PLACE):
        one, other = getattr(old, key), getattr(new, key)
        if one != other and key == "plugins":
            yield from _of_plugins(old, new)
        elif one != other:
            plain = isinstance(one, str | int | float)
            inner = _OF_CERTIFICATES.get(key)
            owner: object = _CERTIFICATES if inner else new
            written, name = (f"cert_manager.{inner}", inner) if inner else (_WRITTEN.get(key, key), key)
            yield f"~ {written}: {_shown(one, name, owner)} → {_shown(other, name, owner)}" if plain else f"~ {written}"
    if old.warnings != new.warnings:
        yield "~ warnings"
    for sign, listeners in (("-", gone), ("+", come)):
        yield from (f"{sign} listener {listener.address}" for listener in listeners)
    spoken = {listener.address: listener.http2 for listener in old.listeners}
    told = {listener.address for listener in come}
    for listener in new.listeners:
        if listener.address in spoken and listener.address not in told:
            yield from (
                f"~ listener {listener.address}: {line[2:]}" for line in _of_http2(spoken[listener.address], listener.http2)
            )
    yield from (f"- service {name}" for name in removed)
    yield from (f"+ service {name}" for name in added)
    for name in changed:
        yield from (f"~ service {name}: {line}" for line in _of_service(before[name], after[name]))


def _of_plugins(old: Snapshot, new: Snapshot) -> Iterator[str]:
    """Plugins that came, went, or have another version of their code."""
    before, after = ({one.name: one for one in snapshot.plugins} for snapshot in (old, new))
    yield from (f"- plugin {name}" for name in before if name not in after)
    for name, one in after.items():
        if name not in before:
            yield f"+ plugin {name}"
        elif before[name].digest != one.digest:
            yield f"~ plugin {name}: another version of {one.file}"
        elif before[name].kept != one.kept:
            yield f"~ plugin {name}: " + (
                f"the new version of {one.file} is not used" if one.kept else f"{one.file} is the version in use again"
            )
        elif replace(before[name], slot=one.slot) != one:
            yield f"~ plugin {name}"


def _of_service(old: Service, new: Service) -> Iterator[str]:
    for key in _differing(old, new, ("name", "locations", "filters", "http2")):
        yield f"~ {key}"
    yield from _of_http2(old.http2, new.http2)
    said = list(_of_filters(old.filters, new.filters))
    yield from said
    before = {location.place: location for location in old.locations}
    after = {location.place: location for location in new.locations}
    yield from (f"- location {label}" for label in before if label not in after)
    order = [[label for label, location in labelled.items() if not location.arm] for labelled in (before, after)]
    if before.keys() == after.keys() and order[0] != order[1]:  # that of arms means nothing
        yield "~ order of the locations"
    of_whole: list[str] = []
    for label, location in after.items():
        if label not in before:
            yield f"+ location {label}"
        else:
            where = "" if len(after) == 1 else f"{label}: "
            lines = [line for line in _of_location(before[label], location) if line not in said]
            if location.arm:
                lines = [line for line in lines if line not in of_whole]
            else:
                of_whole = lines
            yield from (where + line for line in lines)


def _of_http2(old: Http2Limits | None, new: Http2Limits | None) -> Iterator[str]:
    """HTTP/2 switched on or off, or each limit that changed."""
    if old != new:
        yield from _of_value("http2", old, new, new)


def _of_location(old: Location, new: Location) -> Iterator[str]:
    for key in _differing(old, new, ("id", "slot", "backends", "departed", "filters", "split")):
        yield from _of_value(_SPELLINGS.get(key, key), getattr(old, key), getattr(new, key), new)
    yield from splitting.changes(old.split, new.split)
    yield from _of_filters(old.filters, new.filters)
    before = {backend.label: backend for backend in old.backends}
    after = {backend.label: backend for backend in new.backends}
    yield from (f"- backend {backend.display}" for label, backend in before.items() if label not in after)
    yield from (f"+ backend {backend.display}" for label, backend in after.items() if label not in before)
    if before.keys() == after.keys() and [*before] != [*after]:
        yield "~ order of the backends"
    for label, backend in after.items():
        if label in before:
            yield from (f"~ backend {backend.display}: {line}" for line in _of_backend(before[label], backend))


def _of_filters(old: Filters, new: Filters) -> Iterator[str]:
    """Filters that came, went or changed; of those that changed each key that did."""
    before, after = ({f"{name} {one.entry}".rstrip(): one for name, one in filters} for filters in (old, new))
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield f"~ {name}: {'on → off' if other is None else 'off → on'}"
            continue
        for key in type(other).model_fields:
            if getattr(one, key) != getattr(other, key):
                yield f"~ {name}: {key} {_shown(getattr(one, key), key, other)} → {_shown(getattr(other, key), key, other)}"


def _of_value(name: str, old: object, new: object, owner: object) -> Iterator[str]:
    """A changed value of `owner`; for a mapping, each changed key. Secrets are not shown."""
    if name in _OF_SERVICE and (old is None or new is None):
        plain = not is_dataclass(old) and not is_dataclass(new)
        shown = ["the service's" if one is None else _shown(one, name, owner) for one in (old, new)]
        yield f"~ {name}: {shown[0]} → {shown[1]}" if plain else f"~ {name}"
        return
    if not is_dataclass(old) or not is_dataclass(new) or isinstance(new, Slo):
        shown = ["on" if is_dataclass(one) and not isinstance(one, Slo) else _shown(one, name, owner) for one in (old, new)]
        yield f"~ {name}: {shown[0]} → {shown[1]}"
        return
    for key in _differing(old, new, ()):
        if key in _SECRET or (name == "match" and key in _VALUES):
            yield f"~ {name}: {key} changed"
        else:
            yield f"~ {name}: {key} {_shown(getattr(old, key), key, new)} → {_shown(getattr(new, key), key, new)}"


def _of_backend(old: Backend, new: Backend) -> Iterator[str]:
    yield from _of_credentials("", old.credentials, new.credentials)
    if (old.probe_credentials, new.probe_credentials) != (old.credentials, new.credentials):
        yield from _of_credentials("health_check ", old.probe_credentials, new.probe_credentials)
    for key in _differing(old, new, ("slot", "health", "credentials", "probe_credentials")):
        yield f"{key} {_shown(getattr(old, key), key, new)} → {_shown(getattr(new, key), key, new)}"
    for key in _differing(old.health, new.health, ("ca_file", "client_cert", "client_key")):
        if key in _UNSHOWN:
            yield f"health_check {key} changed"
            continue
        yield f"health_check {key} {_shown(getattr(old.health, key), key, new.health)} → {_shown(getattr(new.health, key), key, new.health)}"


def _of_credentials(where: str, old: Credentials, new: Credentials) -> Iterator[str]:
    """Other files for TLS, and files that hold something else than before."""
    for key in ("ca_file", "client_cert", "client_key"):
        one, other = getattr(old, key), getattr(new, key)
        if one != other:
            yield f"{where}{key} {one or 'off'} → {other or 'off'}"
    if old.ca_file == new.ca_file and old.authorities != new.authorities:
        yield f"{where}ca_file: other authorities"
    if old.client_cert == new.client_cert and old.certificate != new.certificate:
        yield f"{where}client_cert: another certificate"


def _differing(old: object, new: object, without: tuple[str, ...]) -> list[str]:
    names = (field.name for field in fields(new))  # type: ignore[arg-type]
    return [name for name in names if name not in without and getattr(old, name) != getattr(new, name)]


def _shown(value: object, name: str, owner: object) -> str:
    """A value of the field `name` of `owner` as the file would say it, without secrets."""
    if value is None or value == "" or value == ():
        return "off"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == "priority" and value == BACKUP:
        return "backup"
    if name == "max_idle" and value == -1:
        return "the default"
    if isinstance(value, int | float):
        return quantities.shown(value, _quantity(name, owner))
    if isinstance(value, dict):
        return _QUERY.sub(r"\1…", ", ".join(f"{key}: {of_key}" for key, of_key in masked(value).items())) or "off"
    if isinstance(value, tuple):
        return ", ".join(_range(item) for item in value)
    return _QUERY.sub(r"\1…", str(value))


def _range(item: object) -> str:
    if isinstance(item, tuple) and len(item) == 2:
        if isinstance(item[0], int) and item[0] > APART:
            return word_of(item[0])
        return f"{item[0]}" if item[0] == item[1] else f"{item[0]}-{item[1]}"
    return str(item)


def _quantity(name: str, owner: object) -> quantities.Quantity | None:
    model = type(owner) if isinstance(owner, Model) else _MODELS.get(type(owner))
    field = model.model_fields.get(name) if model is not None else None
    return quantity_of(field) if field is not None else None
