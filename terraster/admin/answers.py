"""Readings for the API's operations: of the shared table and the master, as the status has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gevent

from ..api.problem import Refused
from ..config.snapshot import Service, Snapshot
from ..filters.contract import Counted
from ..net.yielding import yield_to_loop
from ..state.table import Table
from . import certificates, plugins, readings
from .explainer import Explainer
from .recent import RecentCounts
from .site import Refusal
from .status import service_rows
from .top import busiest, sample

__all__ = ["Answers"]

_TOPS = 8  # questions for the busiest that may be under way


class Answers:
    """`terraster.api.deps.Readings` of the admin worker.

    running: the configuration in effect. ask: the master. counted: what filters count. recent: what backends answered lately. document: the
    whole status. unfetched: why OCSP responses could not be fetched. explainer: reads the configuration's files again
    """

    def __init__(
        self,
        table: Table,
        running: Callable[[], Snapshot],
        ask: Callable[..., Any],
        counted: Callable[[], Sequence[Counted]],
        recent: Callable[[], RecentCounts],
        document: Callable[[], dict[str, Any]],
        unfetched: Callable[[], Mapping[str, str]],
        explainer: Explainer,
    ) -> None:
        self._table = table
        self._running = running
        self._ask = ask
        self._counted = counted
        self._recent = recent
        self._document = document
        self._unfetched = unfetched
        self._explainer = explainer
        self._counting = 0

    def status(self) -> dict[str, Any]:
        return self._document()

    def services(self, services: Sequence[Service], master: Mapping[str, Any]) -> list[dict[str, Any]]:
        part = replace(self._running(), services=tuple(services))
        locations = {one.location.id: one for one in readings.locations(self._table, part, yield_to_loop)}
        found = readings.backends(self._table, part, yield_to_loop)
        return service_rows(part.services, found, locations, master, self._counted(), self._recent())

    def certificates(self) -> list[dict[str, Any]]:
        master = self._ask("status")
        return certificates.rows(
            self._running(), master.get("certificates", ()), time.time(), master.get("staples", ()), self._unfetched()
        )

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        try:
            return self._explainer.values(service, location)
        except Refusal as error:
            raise Refused(error.status, str(error), headers=error.headers) from None

    def differences(self, old: Mapping[str, Any], new: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            return self._explainer.differences(old, new)
        except Refusal as error:
            raise Refused(error.status, str(error), headers=error.headers) from None

    def top(self, seconds: float, sort: str, limit: int) -> dict[str, Any]:
        if self._counting >= _TOPS:
            raise Refused(429, "others are asking for this; try again", headers=[("Retry-After", "1")])
        self._counting += 1
        try:
            snapshot, began = self._running(), time.monotonic()
            before = sample(self._table, snapshot, yield_to_loop)
            gevent.sleep(seconds)
            snapshot, span = self._running(), time.monotonic() - began
            return busiest(snapshot, before, sample(self._table, snapshot, yield_to_loop), span, sort, limit)
        finally:
            self._counting -= 1

    def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._explainer.explain(asked, self._running(), self._ask("edits"))
        except Refusal as error:
            raise Refused(error.status, str(error), headers=error.headers) from None

    def plugins(self) -> list[dict[str, Any]]:
        return plugins.rows(self._table, self._running())
