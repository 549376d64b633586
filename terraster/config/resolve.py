"""Settings → Snapshot: every inherited value worked out, every default filled in.

Pure but for what a default may hang on: the number of cores, the user, and the environment. It does not fail on settings that
the loader made.

On a reload, `previous` saves the work for what has not changed: services are taken over from the old Snapshot if the loader gave
back the very same object for them and the top says the same (so a Snapshot with leased slots keeps them).

The module is longer than 400 lines because a reader wants the levels in one place, from the top down to a backend.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from . import acme, inherit, loggers, management, tracing
from .called import called
from .checks import canonical
from .cipher_suites import is_of_tls13
from .client_auth import ClientAuth
from .directories import runtime_dir, state_dir
from .http2 import Http2Rule, protocols
from .ids import backend_id, location_id
from .ids import label as label_of
from .language import Language, language
from .listeners import Rule, management_address, metrics_address
from .match import order
from .min_rate import MinRate
from .settings import (
    AccessLogSettings,
    BackendSettings,
    CertManager,
    HealthCheckSettings,
    LocationSettings,
    ServiceSettings,
    Settings,
    TimeoutSettings,
    TlsSettings,
)
from .snapshot import (
    BACKUP,
    AccessLog,
    Alerting,
    Backend,
    Credentials,
    HealthCheck,
    Limits,
    Listener,
    Location,
    Plugin,
    Service,
    Snapshot,
    Timeouts,
    Tls,
)
from .splitting import split

__all__ = ["resolve"]


def resolve(
    settings: Settings,
    generation: int,
    *,
    previous: tuple[Settings, Snapshot] | None = None,
    environ: Mapping[str, str] | None = None,
    secret: bytes = b"",
) -> Snapshot:
    """The Snapshot of loaded settings, services in order of their names.

    secret: what session cookies are signed with where `sticky.secret` says nothing; the same in all calls with a `previous`.

    Slots are -1 but in services taken over from `previous`, the settings and the snapshot of before.
    """
    environ = os.environ if environ is None else environ
    known: dict[int, Service] = {}
    if previous is not None and _same_top(previous[0], settings):
        before = {service.name: service for service in previous[1].services}
        known = {id(written): before[written.label] for written in previous[0].services if written.label in before}
    top = _Top(settings, secret, settings.language or language())
    services = []
    listeners: dict[str, Listener] = {}
    for written in settings.all_services():
        service = known.get(id(written)) or top.service(written)
        services.append(service)
        proxied = top.rule.proxy_protocol(written)
        for address, tls in top.rule.of(written):
            if address not in listeners:
                listeners[address] = Listener(address, tls, proxied)
            if not tls:
                listeners[address] = top.http2.in_clear(listeners[address], service)
    cert_manager = settings.cert_manager or CertManager.model_validate({})
    logger = settings.loggers.get(loggers.PROGRAM)
    level = settings.log_level or (logger.level if logger else None) or "info"
    kept = settings.state_dir or state_dir(environ, os.geteuid())
    return Snapshot(
        generation=generation,
        listeners=tuple(sorted(listeners.values(), key=lambda listener: listener.address)),
        services=tuple(sorted(services, key=lambda service: service.name)),
        workers=settings.workers or len(os.sched_getaffinity(0)),
        trusted_proxies=settings.trusted_proxies,
        limits=top.limits,
        timeouts=top.timeouts,
        access_log=top.access_log,
        filters=top.chosen.filters,
        plugins=inherit.used(settings.plugins, services, top.chosen),
        ticket_key_lifetime=cert_manager.ticket_key_lifetime,
        certificate_check=cert_manager.check_interval,
        alerting=_alerting(cert_manager),
        certificate_threshold=cert_manager.expiration_threshold,
        acme=acme.authority(settings) if any(service.tls and service.tls.domains for service in services) else None,
        tracing=tracing.of_top(settings),
        sampling=tracing.unrouted(settings),
        nameservers=settings.nameservers,
        admin_listen=management_address(settings),
        admin_tls=management.tls(settings),
        admin_rate=management.rate(settings),
        audit_days=settings.management().audit_days,
        admin_allowed=settings.management().allowed_ips,
        admin_host=management.name(settings),
        admin_debug=settings.management().debug,
        auth=management.auth(settings, kept),
        metrics_listen=metrics_address(settings),
        runtime_dir=settings.runtime_dir or runtime_dir(environ, os.geteuid()),
        state_dir=kept,
        tcp_keepalive=settings.tcp_keepalive,
        drain_timeout=settings.drain_timeout,
        drain_delay=settings.drain_delay,
        drain_jitter=settings.drain_jitter,
        max_generations=settings.max_generations,
        orphan_timeout=settings.orphan_timeout,
        log_level="warning" if level == "warn" else level,
        program_log=loggers.program(logger),
        warnings=settings.warnings,
    )


def _alerting(manager: CertManager) -> Alerting | None:
    written = manager.alerting
    if written is None or not written.enabled or written.smtp_host is None:
        return None
    return Alerting(
        host=written.smtp_host,
        port=written.smtp_port or 587,
        sender=written.from_email or "",
        password="" if written.from_password is None else written.from_password.get_secret_value(),
        receivers=written.to_emails,
        starttls=written.starttls,
        ca_file=written.ca_file or "",
    )


def _folders(settings: TlsSettings, manager: CertManager | None) -> tuple[str, ...]:
    """The folders of certificates of a service: its own before the common one."""
    found = (settings.cert_dir, manager.cert_dir if manager is not None else None)
    return tuple(dict.fromkeys(folder for folder in found if folder is not None))


def _same_top(one: Settings, other: Settings) -> bool:
    if one.plugins != other.plugins:
        return False
    return all(getattr(one, name) == getattr(other, name) for name in type(other).model_fields if name != "services")


def _given(model: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The values of those keys that were written; none if `model` is None."""
    return {} if model is None else {name: getattr(model, name) for name in names if name in model.model_fields_set}


_TIMEOUTS = tuple(TimeoutSettings.model_fields)
_ACCESS_LOG = tuple(AccessLogSettings.model_fields)
_HEALTH = (
    "type",
    "path",
    "interval",
    "fast_interval",
    "timeout",
    "skip_tls_verify",
    "host",
    "sni",
    "ca_file",
    "status",
    "body",
    "port",
    "method",
    "request_body",
    "service",
)

_NONE = Credentials()


class _Wider(NamedTuple):
    """The values that the locations of a service inherit. written: the service itself."""

    written: ServiceSettings
    service: str
    redirects: bool
    health: HealthCheck
    skips: bool | None
    traffic: inherit.Inherited
    chosen: inherit.Chosen
    plugins: Mapping[str, Plugin]
    timeouts: Timeouts
    min_rate: MinRate


class _Top:
    """The values that services inherit."""

    def __init__(self, settings: Settings, secret: bytes, known: Language) -> None:
        self.rule = Rule(settings)
        self.http2 = Http2Rule(settings, self.rule)
        self.timeouts = replace(Timeouts(), **_given(settings.timeouts, _TIMEOUTS))
        self.limits = inherit.limits(Limits(), settings.limits)
        self._settings = settings
        self._health = _health(HealthCheck(), settings.health_check)
        given = _given(settings.access_log, _ACCESS_LOG)
        self._given_log = replace(AccessLog(), **given)
        self.access_log = loggers.access(self._given_log, settings.loggers, None, given)
        self._language = known
        self._plugins = settings.plugins
        self.chosen = inherit.filters(known, None, settings)
        self._everywhere = inherit.filters(known, None, settings, self._plugins) if self._plugins else self.chosen
        self._traffic = inherit.top(settings, secret)

    def service(self, written: ServiceSettings) -> Service:
        """One service, resolved."""
        top = self._settings
        health = _health(self._health, written.health_check)
        skips = _skips(written.health_check, top.health_check)
        traffic = inherit.service(self._traffic, written)
        name = written.label
        plugins, wider_chosen = ({}, self.chosen) if written.plugin_disabled else (self._plugins, self._everywhere)
        chosen = inherit.filters(self._language, wider_chosen, written, plugins)
        redirects = bool(written.http_redirect)
        timeouts = self.timeouts if written.timeouts is None else replace(self.timeouts, **_given(written.timeouts, _TIMEOUTS))
        limits = inherit.limits(self.limits, written.limits)
        wider = _Wider(written, name, redirects, health, skips, traffic, chosen, plugins, timeouts, limits.min_rate)
        locations = [made for location in written.locations for made in self._locations(wider, location)]
        locations += called(name, (chosen.filters, *[location.filters for location in locations]), traffic.to_backends)
        http2 = self.http2.of(written)
        return Service(
            name=name,
            hosts=written.host or ("*",),
            listeners=tuple(address for address, _ in self.rule.of(written)),
            locations=tuple(sorted(locations, key=lambda location: order(location.path, location.match))),
            http_redirect=bool(written.http_redirect),
            redirect_port=written.redirect_port,
            filters=chosen.filters,
            timeouts=timeouts,
            limits=limits,
            access_log=self._logged(written),
            encoded_slashes=written.encoded_slashes or top.encoded_slashes or "auto",
            merge_slashes=top.merge_slashes if written.merge_slashes is None else written.merge_slashes,
            underscores=written.underscores or top.underscores,
            strict_responses=top.strict_responses if written.strict_responses is None else written.strict_responses,
            ignore_client_abort=top.ignore_client_abort if written.ignore_client_abort is None else written.ignore_client_abort,
            tls=self._tls(written, http2 is not None),
            http2=http2,
            tracing=tracing.of_service(top, written),
        )

    def _tls(self, written: ServiceSettings, http2: bool) -> Tls | None:
        """The service's own `tls`, else the top's if it covers the service."""
        if not self.rule.tls(written):
            return None
        settings = written.tls or self._settings.tls
        assert settings is not None
        asked = settings.client_auth
        return Tls(
            files=settings.files(),
            min_version=settings.min_version,
            ciphers=tuple(name for name in settings.cipher_suites if not is_of_tls13(name)),
            tickets=not settings.session_tickets_disabled,
            protocols=protocols(settings, http2),
            default=settings.default,
            folders=_folders(settings, self._settings.cert_manager),
            client_auth=None if asked is None else ClientAuth(asked.mode, asked.ca_file, asked.crl_file or "", asked.verify_depth),
            domains=acme.domains(written, settings),
            challenge=acme.challenge(self._settings, self.rule, written) if settings.auto_cert else "",
            ocsp=settings.ocsp,
        )

    def _logged(self, written: ServiceSettings, location: AccessLogSettings | None = None) -> AccessLog:
        """The log of a service, or of one of its locations."""
        log = self._given_log
        own: dict[str, Any] = {}
        for level in (written.access_log, location):
            own |= _given(level, _ACCESS_LOG)
        options = written.log_options
        if options is not None:
            log = replace(log, headers=options.headers, query=options.query_params, trace=options.trace)
        return loggers.access(replace(log, **own), self._settings.loggers, written.log_name, own)

    @staticmethod
    def _backends(service: str, label: str, written: LocationSettings, probed: _Probed) -> tuple[Backend, ...]:
        shared = probed.check()  # one value for all backends without keys of their own
        made = []
        for backend in written.backends:
            own = probed.of(backend)
            made.append(_backend(service, label, backend, own, shared if own is probed else own.check()))
        return tuple(made)

    def _locations(self, wider: _Wider, written: LocationSettings) -> Iterator[Location]:
        """A location, and behind it those of its arms."""
        whole = self._location(wider, written)
        if written.split is None:
            yield whole
            return
        made = split(written.split, whole.id, whole.sticky.key)
        yield replace(whole, split=made)
        for arm, (_, part) in zip(made.arms, written.parts(), strict=True):
            yield replace(self._location(wider, part, f"#{arm.name}"), id=arm.location, arm=arm.name)

    def _location(self, wider: _Wider, written: LocationSettings, arm: str = "") -> Location:
        """arm: of the ids of its backends"""
        path, (match, mark) = canonical(written.path), written.conditions()
        health = _health(wider.health, written.health_check)
        skips = wider.skips if (own := _skips(written.health_check)) is None else own
        traffic = inherit.location(wider.traffic, written)
        chosen = inherit.filters(self._language, wider.chosen, written, wider.plugins)
        service, label = wider.service, label_of(path, mark)
        return Location(
            id=location_id(service, label),
            path=path,
            match=match,
            mark=mark,
            policy=written.lb_policy or self._settings.algorithm,
            rewrite=next((rule.prefix for rule in written.rewrite if rule.prefix), ""),
            rewrites=tuple((rule.match, rule.to) for rule in written.rewrite if rule.match and rule.to),
            redirect=written.redirect or "",
            http_redirect=wider.redirects if written.http_redirect is None else written.http_redirect,
            backends=self._backends(service, f"{label}{arm}", written, _Probed(health, skips, traffic.to_backends)),
            hash_on=traffic.hash_on,
            hash_balance_factor=traffic.hash_balance_factor,
            sticky=traffic.sticky,
            slow_start=traffic.slow_start,
            panic_threshold=traffic.panic_threshold,
            outlier=traffic.outlier,
            retry=traffic.retry,
            queue=traffic.queue,
            pool=traffic.pool,
            filters=chosen.filters,
            timeouts=None if written.timeouts is None else replace(wider.timeouts, **_given(written.timeouts, _TIMEOUTS)),
            body_size=None if written.limits is None else written.limits.written("body_size"),
            min_rate=inherit.min_rate(wider.min_rate, written.limits),
            access_log=None if written.access_log is None else self._logged(wider.written, written.access_log),
            ignore_client_abort=written.ignore_client_abort,
            **chosen.facts,
        )


def _skips(*levels: HealthCheckSettings | None) -> bool | None:
    """`health_check.skip_tls_verify` of the nearest level that says it, nearest first; None if none does."""
    said = (level.skip_tls_verify for level in levels if level is not None)
    return next((one for one in said if one is not None), None)


class _Probed(NamedTuple):
    """How backends are reached. skips: what `health_check.skip_tls_verify` says; None: nothing, so probes do as requests do."""

    health: HealthCheck
    skips: bool | None
    tls: inherit.ToBackends

    def of(self, written: BackendSettings) -> _Probed:
        """The same for one backend; itself if that writes nothing of it."""
        tls = inherit.to_backends(self.tls, written)
        if tls is self.tls and written.health_check is None:
            return self
        own = _skips(written.health_check)
        return _Probed(_health(self.health, written.health_check), self.skips if own is None else own, tls)

    def check(self) -> HealthCheck:
        """The health check with what it takes from requests."""
        health, tls = self.health, self.tls
        if tls.skip_tls_verify and self.skips is None:
            health = replace(health, skip_tls_verify=True)
        return replace(health, sni=tls.sni) if tls.sni and not health.sni else health

    def credentials(self) -> Credentials:
        """Those of probes; the very ones of requests where the health check names no files."""
        health, credentials = self.health, self.tls.credentials
        if health.ca_file:
            credentials = replace(credentials, ca_file=health.ca_file)
        if health.client_cert:
            credentials = replace(credentials, client_cert=health.client_cert, client_key=health.client_key)
        return credentials


def _backend(service: str, label: str, written: BackendSettings, probed: _Probed, health: HealthCheck) -> Backend:
    url = written.url
    secure = url.scheme == "https"
    return Backend(
        id=backend_id(service, label, url.text),
        url=url.text,
        scheme="https" if url.scheme == "https" else "http",
        host=url.host,
        port=url.port,
        base_path=url.base_path,
        weight=written.weight,
        max_connections=written.max_connections,
        skip_tls_verify=probed.tls.skip_tls_verify,
        sni=probed.tls.sni,
        http2=written.http2,
        health=health,
        priority=BACKUP if written.backup else written.priority,
        srv=url.srv,
        address=f"unix:{url.socket}" if url.socket else "",
        name=written.name or "",
        send_proxy=written.send_proxy,
        credentials=probed.tls.credentials if secure else _NONE,
        probe_credentials=probed.credentials() if secure else _NONE,
    )


def _health(inherited: HealthCheck, written: HealthCheckSettings | None) -> HealthCheck:
    if written is None:
        return inherited
    given = _given(written, _HEALTH)
    if "headers" in written.model_fields_set:
        given["headers"] = tuple(written.headers.items())
    if written.client_cert:
        given |= {"client_cert": written.client_cert, "client_key": written.client_key or written.client_cert}
    if written.thresholds is not None:
        given |= _given(written.thresholds, ("healthy", "unhealthy"))
    return replace(inherited, **given)
