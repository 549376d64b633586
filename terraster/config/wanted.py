"""The service, or the port of Terraster's own, that a listening address is for, and the key that has it. For errors about the address.

Pure: settings go in; a path into them and words come out.
"""

from __future__ import annotations

from collections.abc import Sequence

from .listeners import Rule, management_address, metrics_address
from .settings import ServiceSettings, Settings

__all__ = ["wanted"]

Path = tuple[str | int, ...]


def wanted(top: Settings, services: Sequence[tuple[Path, ServiceSettings]], address: str) -> tuple[Path, str] | None:
    """The path of the key, and what the address is for, as a noun. None: for nothing. The path is () if the address is the default one."""
    rule = Rule(top)
    for path, service in services:
        if address in (one for one, _tls in rule.of(service)):
            return _key(top, path, service, address), f"service `{service.label}`"
    if address == management_address(top):
        section = "api" if top.api is not None else "admin_api"
        if top.management().port:
            return (section, "port"), "the management API"
        return (("admin_port",) if top.admin_port else ()), "the management API"
    if address == metrics_address(top):
        return (("metrics", "listen") if top.metrics is not None else ()), "`metrics`"
    return None


def _key(top: Settings, path: Path, service: ServiceSettings, address: str) -> Path:
    levels: tuple[tuple[Path, Settings | ServiceSettings], ...] = ((path, service), ((), top))
    for here, level in levels:
        if address in (level.listen or ()):
            return (*here, "listen", (level.listen or ()).index(address))
        for key in ("port", "http_port", "https_port"):
            if address == f":{getattr(level, key, None)}":
                return (*here, key)
    return ()
