"""Certificates by ACME: the names of each service's certificate, the kind of challenge, and what keeps an authority from proving them.

Pure: settings in, values or complaints out, as in `terraster.config.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .addresses import is_address, is_loopback, port_of
from .authority import Acme
from .host_patterns import is_pattern
from .listeners import Rule
from .messages import Complaint
from .settings import ServiceSettings, Settings
from .settings.acme import AcmeSettings
from .settings.tls import TlsSettings

__all__ = ["authority", "challenge", "domains", "errors", "settings", "warnings"]

Path = tuple[str | int, ...]


def settings(top: Settings) -> AcmeSettings:
    """The keys that were written, or the defaults."""
    return top.acme or AcmeSettings.model_validate({})


def authority(top: Settings) -> Acme:
    """The authority, as a value of a Snapshot."""
    written = settings(top)
    return Acme(
        directory=written.directory,
        email=written.email or "",
        ca_file=written.ca_file or "",
        dns_hook=written.dns_hook or "",
        eab_kid=written.eab.kid if written.eab else "",
        eab_key=written.eab.hmac_key.get_secret_value() if written.eab else "",
        key_type=written.key_type,
        renew_before=written.renew_before or 0.0,
    )


def domains(service: ServiceSettings, tls: TlsSettings) -> tuple[str, ...]:
    """The names of the certificate that is to be obtained for a service: those written, else its exact hosts."""
    if not tls.auto_cert:
        return ()
    found = tls.domains or tuple(
        host for host in service.host or () if "*" not in host and not is_pattern(host) and not is_address(host)
    )
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in found))


def challenge(top: Settings, rule: Rule, service: ServiceSettings) -> str:
    """How a service's names are proved."""
    chosen = settings(top).challenge
    if chosen is not None:
        return chosen
    return "tls-alpn-01" if any(tls and _is_port(address, 443) for address, tls in rule.of(service)) else "http-01"


def _is_port(address: str, port: int) -> bool:
    """True if a client elsewhere that asks for this port can arrive at the address."""
    return port_of(address) == port and not is_loopback(address)


def _ordered(
    top: Settings, rule: Rule, services: Sequence[tuple[Path, ServiceSettings]]
) -> Iterator[tuple[Path, ServiceSettings, TlsSettings]]:
    """The services with `auto_cert`, each with the path of the `tls` that says it."""
    for path, service in services:
        tls = service.tls or top.tls
        if tls is not None and tls.auto_cert and rule.tls(service):
            yield (*path, "tls") if service.tls is not None else ("tls",), service, tls


def errors(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Certificates that no authority could issue."""
    rule = Rule(top)
    acme = settings(top)
    if acme.challenge == "dns-01" and acme.dns_hook is None:
        yield ("acme", "challenge"), True, "`challenge: dns-01` needs `dns_hook`, the program that makes the record"
    for path, service, tls in _ordered(top, rule, services):
        names = domains(service, tls)
        where = (*path, "domains" if tls.domains else "auto_cert")
        if not names:
            yield (
                where,
                True,
                f"`auto_cert` finds no name for a certificate: service `{service.label}` has no exact `host`; add `domains`",
            )
        for name in names:
            if name.startswith("*.") and acme.challenge != "dns-01":
                words = f"`domains` {name}: an authority issues a wildcard only by `acme.challenge: dns-01` with `acme.dns_hook`"
                yield where, False, words
            elif "*" in name.removeprefix("*.") or is_pattern(name) or is_address(name):
                yield where, False, f"`domains` {name}: an authority issues no certificate for it"


def warnings(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """Challenges that cannot be reached, with the key to add; once for each kind."""
    rule = Rule(top)
    acme = settings(top)
    ordered = list(_ordered(top, rule, services))
    if acme.dns_hook is not None and acme.challenge != "dns-01":
        yield ("acme", "dns_hook"), True, "`dns_hook` has no effect: it is for `challenge: dns-01`"
    if top.acme is not None and not ordered:
        yield ("acme",), True, "`acme` has no effect: no service has `tls.auto_cert`"
    plain = any(not tls and _is_port(address, 80) for _, service in services for address, tls in rule.of(service))
    told: set[str] = set()
    for path, service, _ in ordered:
        kind = challenge(top, rule, service)
        reached = kind == "dns-01" or (
            plain if kind == "http-01" else any(tls and _is_port(address, 443) for address, tls in rule.of(service))
        )
        if reached or kind in told:
            continue
        told.add(kind)
        if kind == "http-01":
            words = (
                f"`auto_cert` of service `{service.label}`: the authority will ask on port 80 (http-01), and no plain listener is there: "
                "add `http_port: 80` and `http_redirect: true`, or `acme.challenge: dns-01`"
            )
        else:
            words = (
                f"`auto_cert` of service `{service.label}`: the authority will ask on port 443 (tls-alpn-01), and no TLS listener is there: "
                "add `https_port: 443`, or `acme.challenge: http-01`"
            )
        yield (*path, "auto_cert"), False, words
