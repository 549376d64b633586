"""Configured features that cannot be served yet: TLS towards clients. No other module knows about this.

Serving in clear what asks for TLS would be worse than not serving it. So a start and a reload refuse listeners that speak TLS, a check warns
of them, and a management port that must speak TLS stays closed. When TLS comes, this module is removed together with its callers.
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
    """The listeners that a start refuses, one complaint for each place that asks for TLS."""
    rule = Rule(top)
    seen: set[Path] = set()
    for path, service in services:
        address = next((address for address, tls in rule.of(service) if tls), None)
        place = (*path, "tls") if service.tls is not None else ("tls",)
        if address is not None and place not in seen:
            seen.add(place)
            yield place, True, f"`tls` is not in effect yet: Terraster does not start rather than serve `{service.label}` in clear"


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
    """Raise StartError for a listener that asks for TLS, however the snapshot was made."""
    for listener in snapshot.listeners:
        if listener.tls:
            names = ", ".join(service.name for service in snapshot.services if listener.address in service.listeners)
            raise StartError(f"service {names}: TLS is not there yet; {listener.address} is refused rather than served in clear")


def admin_addresses(snapshot: Snapshot) -> tuple[str, ...]:
    """The addresses that the admin worker listens on, the control socket apart: not the management port's if it must speak TLS."""
    wanted = (snapshot.metrics_listen,) if snapshot.admin_tls else (snapshot.admin_listen, snapshot.metrics_listen)
    return tuple(address for address in wanted if address)
