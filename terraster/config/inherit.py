"""Inheritance from the top to a service and from a service to a location: `Inherited`, worked out level by level.

Most locations of most services say nothing of their own. So where nothing is written the very object of the level above is handed
on: ten thousand locations share one `Outlier`, which costs nothing to make, little to pickle, and compares by identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from .language import Language
from .min_rate import MinRate
from .settings import BackendSettings, LimitSettings, LocationSettings, ServiceLimits, ServiceSettings, Settings, TrafficSettings
from .settings.kinds import LAY_OVER, FilterSettings
from .settings.plugins import PluginEntry, PluginUse
from .settings.to_backends import TLS_KEYS
from .snapshot import ConnectionPool, Credentials, Filters, Limits, Outlier, Plugin, Queue, Retry, Service, Sticky

__all__ = [
    "Chosen",
    "Inherited",
    "ToBackends",
    "filters",
    "limits",
    "location",
    "min_rate",
    "service",
    "to_backends",
    "top",
    "used",
]

_KEYS = frozenset(TrafficSettings.model_fields)
_TLS_KEYS = frozenset(TLS_KEYS)
_NO_PLUGINS: dict[str, Plugin] = {}


class ToBackends(NamedTuple):
    """TLS towards backends."""

    skip_tls_verify: bool = False
    sni: str = ""
    credentials: Credentials = Credentials()


class Inherited(NamedTuple):
    """The fields of a Location that are inherited key by key. ``ejection``: what `outlier` becomes if
    a narrower level switches it on."""

    hash_on: str = "client-ip"
    hash_balance_factor: float = 0.0
    sticky: Sticky = Sticky()
    slow_start: float = 0.0
    panic_threshold: float = 0.0
    outlier: Outlier | None = Outlier()
    retry: Retry = Retry()
    queue: Queue = Queue()
    pool: ConnectionPool = ConnectionPool()
    ejection: Outlier = Outlier()
    to_backends: ToBackends = ToBackends()


def top(written: Settings, secret: bytes) -> Inherited:
    """The values that all services inherit. secret: the key of session cookies where none is written."""
    return _over(Inherited(sticky=Sticky(key=secret)), written)


def service(inherited: Inherited, written: ServiceSettings) -> Inherited:
    """The values that the locations of a service inherit; `inherited` itself if nothing is written."""
    return inherited if _KEYS.isdisjoint(written.model_fields_set) else _over(inherited, written)


def location(inherited: Inherited, written: LocationSettings) -> Inherited:
    """The values of a location; `inherited` itself if nothing is written."""
    return inherited if _KEYS.isdisjoint(written.model_fields_set) else _over(inherited, written)


class Chosen(NamedTuple):
    """The filters that a level's requests go through. ``settings``: of each entry that is written, by kind and name, switched off ones too,
    so that a narrower level can switch it on; ``filters``: of those that are on and have a filter; ``facts``: the fields of a Location that
    kinds set."""

    settings: dict[str, dict[str, Any]]
    filters: Filters
    facts: dict[str, Any]


def filters(known: Language, inherited: Chosen | None, written: BaseModel, plugins: Mapping[str, Plugin] = _NO_PLUGINS) -> Chosen:
    """The filters of a level; `inherited` itself if the level writes no kind. inherited: those of the wider level; None: there is none.

    plugins: those that may be called there, by name."""
    found = known.written(written)
    if inherited is not None and not found:
        return inherited
    settings: dict[str, dict[str, Any]] = {
        name: {"": PluginEntry.model_validate({})} for name, kind in known.plugins.items() if kind.everywhere
    }
    if inherited is not None:
        settings = dict(inherited.settings)
    for kind, here, _, _ in found:
        entries = settings.get(kind.name, {})
        wider = entries.get(here.entry) if kind.inherit is LAY_OVER else None
        settings[kind.name] = {**entries, here.entry: here.over(wider)}
    chosen: list[tuple[str, FilterSettings]] = []
    facts: dict[str, Any] = {}
    for name in known.kinds:
        for one in settings.get(name, {}).values():
            if name in known.plugins:
                if name in plugins and one.enabled:
                    chosen.append(("plugin", _use(plugins[name], one)))
            elif of_kind := one.facts():
                facts |= of_kind
            elif getattr(one, "enabled", True) or one.kept_when_off:
                chosen.append((name, one))
    return Chosen(settings, tuple(chosen), facts)


def _use(plugin: Plugin, written: PluginEntry) -> PluginUse:
    return PluginUse(
        name=plugin.name,
        hooks=plugin.hooks,
        priority=plugin.priority,
        request_body=plugin.request_body,
        response_body=plugin.response_body,
        timeout=written.timeout,
        on_error=written.on_error,
        faults=written.faults,
        values=SecretStr(json.dumps(written.own(), sort_keys=True)),
    )


def used(plugins: Mapping[str, Plugin], services: Sequence[Service], top: Chosen) -> tuple[Plugin, ...]:
    """The plugins that a service uses, in order of their names."""
    if not plugins:
        return ()
    filters = [service.filters for service in services] + [
        location.filters for service in services for location in service.locations if location.filters is not service.filters
    ]
    names = {settings.name for some in filters for _, settings in some if isinstance(settings, PluginUse)}
    made = []
    for name in sorted(names):
        written = top.settings.get(name, {}).get("")
        made.append(plugins[name] if written is None else replace(plugins[name], memory=written.memory))
    return tuple(made)


def limits(wider: Limits, written: LimitSettings | ServiceLimits | None) -> Limits:
    """Limits with what a level writes laid over them, key by key; themselves if that is nothing."""
    if written is None:
        return wider
    given = {name: getattr(written, name) for name in written.model_fields_set if name != "min_rate"}
    return replace(wider, **given, min_rate=min_rate(wider.min_rate, written) or wider.min_rate)


def min_rate(wider: MinRate, written: LimitSettings | ServiceLimits | None) -> MinRate | None:
    """The least rate of a level, laid over the wider one's key by key; None if it writes none."""
    if written is None or written.min_rate is None:
        return None
    return replace(wider, **{name: getattr(written.min_rate, name) for name in written.min_rate.model_fields_set})


def _over(inherited: Inherited, written: TrafficSettings) -> Inherited:
    ejection = _laid(inherited.ejection, written.outlier)
    outlier = inherited.outlier
    if written.outlier is not None:
        outlier = ejection if written.outlier.enabled else None
    said = written.model_fields_set
    return Inherited(
        hash_on=written.hash_on if "hash_on" in said else inherited.hash_on,
        hash_balance_factor=written.hash_balance_factor if "hash_balance_factor" in said else inherited.hash_balance_factor,
        sticky=_sticky(inherited.sticky, written),
        slow_start=written.slow_start if "slow_start" in said else inherited.slow_start,
        panic_threshold=written.panic_threshold if "panic_threshold" in said else inherited.panic_threshold,
        outlier=outlier,
        retry=_laid(inherited.retry, written.retry),
        queue=_laid(inherited.queue, written.queue),
        pool=_laid(inherited.pool, written.connection_pool),
        ejection=ejection,
        to_backends=to_backends(inherited.to_backends, written),
    )


def to_backends(inherited: ToBackends, written: TrafficSettings | BackendSettings) -> ToBackends:
    """TLS towards backends at a level; `inherited` itself if nothing is written. A client certificate replaces a wider level's with its key."""
    said = _TLS_KEYS & written.model_fields_set
    if not said:
        return inherited
    credentials = inherited.credentials
    if "ca_file" in said:
        credentials = replace(credentials, ca_file=written.ca_file)
    if "client_cert" in said:
        key = written.client_key or written.client_cert
        credentials = replace(credentials, client_cert=written.client_cert, client_key=key)
    return ToBackends(
        skip_tls_verify=bool(written.skip_tls_verify) if "skip_tls_verify" in said else inherited.skip_tls_verify,
        sni=written.sni if "sni" in said else inherited.sni,
        credentials=credentials,
    )


def _sticky(inherited: Sticky, written: TrafficSettings) -> Sticky:
    if written.sticky is None:
        return inherited
    given = _given(written.sticky)
    secret = given.pop("secret", None)
    if secret is not None:
        given["key"] = hashlib.sha256(secret.get_secret_value().encode()).digest()
    return replace(inherited, **given)


def _laid(inherited: Any, written: BaseModel | None) -> Any:
    """A frozen value with what was written laid over it, key by key; itself if that is nothing new."""
    given = _given(written) if written is not None else None
    return replace(inherited, **given) if given else inherited


def _given(written: BaseModel) -> dict[str, Any]:
    values = ((name, getattr(written, name)) for name in written.model_fields_set if name != "enabled")
    return {name: value for name, value in values if value is not None}
