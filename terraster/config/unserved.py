"""Configured features that cannot be served yet: TLS without a certificate file, and TLS of the management port.

Serving in clear what asks for TLS would be worse than not serving it. So a start and a reload refuse a service with `tls` that names no
certificate, a check warns of it, and a management port that must speak TLS stays closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..errors import StartError
from .listeners import Rule, management_address
from .messages import Complaint
from .settings import ServiceSettings, Settings
from .snapshot import Snapshot

__all__ = ["admin_addresses", "listeners", "management", "refuse", "said", "says"]

Path = tuple[str | int, ...]


def listeners(top: Settings, services: Sequence[tuple[Path, ServiceSettings]]) -> Iterator[Complaint]:
    """The services that a start refuses, one complaint for each `tls` without a certificate."""
    rule = Rule(top)
    common = top.cert_manager is not None and top.cert_manager.cert_dir is not None
    seen: set[Path] = set()
    for path, service in services:
        settings = service.tls or top.tls
        if settings is None or not rule.tls(service) or settings.files() or settings.cert_dir or settings.auto_cert or common:
            continue
        place = (*path, "tls") if service.tls is not None else ("tls",)
        if place not in seen:
            seen.add(place)
            words = "`tls` needs `cert_file` and `key_file`, or `cert_dir`, or `auto_cert` (it names no certificate)"
            yield place, True, f"{words}: Terraster does not start with `{service.label}`"


def management(top: Settings) -> Iterator[Complaint]:
    """The management port, if it stays closed."""
    api = top.management()
    if api.enabled and api.tls is not None and api.tls.enabled:
        words = f"`tls` is not in effect yet: the management port {management_address(top)} stays closed"
        yield ("api" if top.api is not None else "admin_api", "tls"), True, words


def said(complaints: Sequence[Complaint], refused: Collection[Complaint]) -> frozenset[Path]:
    """The parts of the configuration whose `tls` needs no word of the general kind ("not in effect yet"), as these complaints say more.
    refused: what `listeners` found."""
    found = {path[:1] for path, _, _ in complaints if path[-1] == "tls" and path[0] != "services"}
    return frozenset(found | ({("services",), ("tls",)} if refused else set()))


def says(parts: frozenset[Path], path: Path) -> bool:
    """True if a key is a `tls` in one of the parts that `said` found."""
    return path[-1] == "tls" and path[:1] in parts


def refuse(snapshot: Snapshot) -> None:
    """Raise StartError for a service on a TLS listener that has no certificate, however the snapshot was made."""
    secured = {listener.address for listener in snapshot.listeners if listener.tls}
    for service in snapshot.services:
        if not secured.isdisjoint(service.listeners) and not (
            service.tls is not None and (service.tls.files or service.tls.folders or service.tls.domains)
        ):
            words = "`tls` names no certificate: add `cert_file` and `key_file`, or `cert_dir`, or `auto_cert: true`"
            raise StartError(f"service {service.name}: {words}")


def admin_addresses(snapshot: Snapshot) -> tuple[str, ...]:
    """The addresses that the admin worker listens on, the control socket apart: not the management port's if it must speak TLS."""
    wanted = (snapshot.metrics_listen,) if snapshot.admin_tls else (snapshot.admin_listen, snapshot.metrics_listen)
    return tuple(address for address in wanted if address)
