"""Readings for the API's operations: of the shared table and the master, as the status has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..config.snapshot import Service, Snapshot
from ..filters.contract import Counted
from ..net.yielding import yield_to_loop
from ..state.table import Table
from . import plugins, readings
from .recent import RecentCounts
from .status import service_rows

__all__ = ["Answers"]


class Answers:
    """`terraster.api.deps.Readings` of the admin worker.

    running: the configuration in effect. ask: the master. counted: what filters count. recent: what backends answered lately. document: the
    whole status
    """

    def __init__(
        self,
        table: Table,
        running: Callable[[], Snapshot],
        ask: Callable[..., Any],
        counted: Callable[[], Sequence[Counted]],
        recent: Callable[[], RecentCounts],
        document: Callable[[], dict[str, Any]],
    ) -> None:
        self._table = table
        self._running = running
        self._ask = ask
        self._counted = counted
        self._recent = recent
        self._document = document

    def status(self) -> dict[str, Any]:
        return self._document()

    def services(self, services: Sequence[Service]) -> list[dict[str, Any]]:
        master = self._ask("status")
        part = replace(self._running(), services=tuple(services))
        locations = {one.location.id: one for one in readings.locations(self._table, part, yield_to_loop)}
        found = readings.backends(self._table, part, yield_to_loop)
        return service_rows(part, found, locations, master, self._counted(), self._recent())

    def plugins(self) -> list[dict[str, Any]]:
        return plugins.rows(self._table, self._running())
