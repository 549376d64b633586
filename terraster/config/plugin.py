"""A plugin as it travels in a `terraster.config.snapshot.Snapshot`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MOST_COUNTERS", "OUR_KEYS", "Plugin", "quarantine_reasons"]

OUR_KEYS = frozenset(("enabled", "timeout", "on_error", "faults", "required", "memory"))
"""Keys that every plugin has (`terraster.config.settings.plugins.PluginEntry`), so that no plugin may have them in its `Settings`."""

MOST_COUNTERS = 32
"""Counters of a plugin's own, at most."""


_FAULTS = (
    ("exceptions", "exception", "exceptions"),
    ("timeouts", "timeout", "timeouts"),
    ("deaths", "death of a worker", "deaths of workers"),
)


def quarantine_reasons(row: Mapping[str, Any]) -> str:
    """The faults of a plugin in words. row: of the status"""
    named = [f"{many} {one if many == 1 else several}" for key, one, several in _FAULTS if (many := row.get(key, 0))]
    return ", ".join(named) or "it could not be loaded, or set up"


@dataclass(frozen=True, slots=True)
class Plugin:
    """The code of a plugin, and what its class says about it. ``origin``: "file", "package"."""

    name: str
    origin: str
    file: str  # of its code; for a package its "MODULE:NAME"
    cls: str  # the name of its class in the file
    octets: bytes = field(default=b"", repr=False)  # of the file
    digest: str = ""  # of its code: another one means another version
    hooks: tuple[str, ...] = ()
    priority: int = 0
    request_body: int = 0  # octets of a request body that its hook takes, 0: it has no such hook
    response_body: int = 0
    counters: tuple[tuple[str, str], ...] = ()  # of its own: name and help
    memory: int = 1 << 30  # octets by which a worker may grow
    kept: str = ""  # why a newer version of the code is not used
    slot: int = -1  # a location's slot of the shared table, in which it is counted

    @property
    def id(self) -> str:
        """The stable id of its slot. No location has this one."""
        return f"plugin {self.name}"
