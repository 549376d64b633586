"""All that the families of operations are given: the running configuration, the master, and readings of the shared table.

A family takes what it needs from `Deps`. Knowledge of another part of the program (users, audit) is one more field here, filled in by the
admin worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..audit.chain import Verdict
from ..config.snapshot import Service, Snapshot
from ..logs.tail import Wanted
from ..users.room import Users

__all__ = ["Audit", "Deps", "Past", "Readings", "Stream", "Tail"]


class Readings(Protocol):
    """All that the admin worker can say about what runs. Values are plain JSON, as `terrasterctl status --json` has them."""

    def status(self) -> dict[str, Any]:
        """The whole document of `terraster.admin.status`. Its cost grows with the configuration."""
        ...

    def services(self, services: Sequence[Service], master: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The entries of `services` in that document, of some services; these may have only some of their locations and backends. master: its
        answer to "status", {}: without states and orders"""
        ...

    def certificates(self) -> list[dict[str, Any]]:
        """The entries of `certificates` in that document."""
        ...

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        """The values that a location has by the files, as they are now: ``key value origin place`` (`terraster.config.origins`), [] if the
        files do not have it. location: its label. Waits; raises `Refused`."""
        ...

    def differences(self, old: Mapping[str, Any], new: Mapping[str, Any] | None) -> dict[str, Any]:
        """``ok differences`` from one configuration to another, or ``ok problems``. old, new: the master's answers to "texts"; None: the files
        as they are now. Waits; raises `Refused`."""
        ...

    def top(self, seconds: float, sort: str, limit: int) -> dict[str, Any]:
        """The busiest locations and backends (`terraster.admin.top.busiest`). Takes ``seconds``; raises `Refused` if too many ask."""
        ...

    def plugins(self) -> list[dict[str, Any]]: ...

    def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The course of a request. asked, answer: those of `terraster.explain.running.answer`. Raises `Refused`."""
        ...


class Stream(Protocol):
    """The status as server-sent events: `terraster.admin.live`."""

    @property
    def is_full(self) -> bool: ...

    def frames(self, still: Callable[[], bool]) -> Iterator[bytes]: ...


class Tail(Protocol):
    """Requests that are over, live, as server-sent events: `terraster.admin.tailing`."""

    @property
    def is_full(self) -> bool: ...

    def frames(self, wanted: Wanted, still: Callable[[], bool]) -> Iterator[bytes]: ...


class Audit(Protocol):
    """The audit log, as far as it is read. All may wait; raise TerrasterError if it cannot be read."""

    def page(
        self, words: Mapping[str, str], since: float, until: float, limit: int, cursor: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Rows, the newest first, and the cursor for those before them. words: the beginnings of ``user action target``"""
        ...

    def verdict(self) -> Verdict: ...


class Past(Protocol):
    """The history. All may wait; raise TerrasterError if it cannot be read."""

    def timeline(self, since: float, until: float, kind: str, limit: int, service: str = "") -> list[dict[str, Any]]:
        """Events, the newest first: ``when kind target text generation``. kind: "": all. service: whose; "": all"""
        ...

    def minutes(self, service: str, path: str, since: float) -> list[dict[str, Any]]:
        """The minutes of a service's locations, or of those with a path: ``path minutes``"""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """snapshot: the running configuration. ask: a question to the master, by verb and arguments (`terraster.master.control`); raises
    `Refused` or TerrasterError. readings: of the shared table. live: what viewers of the dashboard get. audit: the audit log.
    users: of the API. past: the history. tail: requests that are over. objectives: the rows of `terraster.admin.slo_rows`"""

    snapshot: Callable[[], Snapshot]
    ask: Callable[..., Mapping[str, Any]]
    readings: Readings
    live: Stream
    audit: Audit
    users: Users
    past: Past
    tail: Tail
    objectives: Callable[[], list[dict[str, Any]]]
