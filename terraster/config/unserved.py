"""Services that cannot be served as they are configured: TLS without a certificate.

Serving in clear what asks for TLS would be worse than not serving it. So a start and a reload refuse a service with `tls` that names no
certificate, and a check warns of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import StartError
from .listeners import Rule
from .messages import Complaint
from .settings import ServiceSettings, Settings
from .snapshot import Snapshot

__all__ = ["listeners", "refuse"]

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


def refuse(snapshot: Snapshot) -> None:
    """Raise StartError for a service on a TLS listener that has no certificate, however the snapshot was made."""
    secured = {listener.address for listener in snapshot.listeners if listener.tls}
    for service in snapshot.services:
        if not secured.isdisjoint(service.listeners) and not (
            service.tls is not None and (service.tls.files or service.tls.folders or service.tls.domains)
        ):
            words = "`tls` names no certificate: add `cert_file` and `key_file`, or `cert_dir`, or `auto_cert: true`"
            raise StartError(f"service {service.name}: {words}")
