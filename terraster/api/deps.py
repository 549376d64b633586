"""All that the families of operations are given: the running configuration, the master, and readings of the shared table.

A family takes what it needs from `Deps`. Knowledge of another part of the program (users, audit) is one more field here, filled in by the
admin worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..config.snapshot import Service, Snapshot

__all__ = ["Deps", "Readings", "Stream"]


class Readings(Protocol):
    """All that the admin worker can say about what runs. Values are plain JSON, as `terrasterctl status --json` has them."""

    def status(self) -> dict[str, Any]:
        """The whole document of `terraster.admin.status`. Its cost grows with the configuration."""
        ...

    def services(self, services: Sequence[Service]) -> list[dict[str, Any]]:
        """The entries of `services` in that document, of some services; these may have only some of their locations and backends."""
        ...

    def plugins(self) -> list[dict[str, Any]]: ...


class Stream(Protocol):
    """The status as server-sent events: `terraster.admin.live`."""

    @property
    def is_full(self) -> bool: ...

    def frames(self, still: Callable[[], bool]) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Deps:
    """snapshot: the running configuration. ask: a question to the master, by verb and arguments (`terraster.master.control`); raises
    `Refused` or TerrasterError. readings: of the shared table. live: what viewers of the dashboard get"""

    snapshot: Callable[[], Snapshot]
    ask: Callable[..., Mapping[str, Any]]
    readings: Readings
    live: Stream
