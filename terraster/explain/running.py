"""A question about the configuration that runs, and the answer. Nothing that is asked here changes the running Terraster.

The plan is made anew for each question, of the services that the question is about. It works on a glimpse of the shared table
(`terraster.state.table.Table.glimpse`): it reads the cells that traffic reads, and what it counts there only it sees.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from terraster.config.snapshot import Service, Snapshot
from terraster.errors import TerrasterError
from terraster.filters.registry import KINDS
from terraster.plan import Kinds, Plan, ServicePlan
from terraster.route.router import Router
from terraster.state.cells import MasterCells
from terraster.state.table import Table
from terraster.state.view import SeatView

from .course import courses
from .document import document
from .means import equip
from .question import ask

__all__ = ["Rules", "answer", "living", "no_rules"]


class Rules(Protocol):
    """Where rules are written (`terraster.config.rules.Rules`)."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that were read."""

    @property
    def known(self) -> bool:
        """False if they cannot be used, so that no rule has a place."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why they cannot be used."""

    def place(self, service: str, location: str, kind: str) -> str:
        """The place of a rule, "" if it has none."""

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        """The values of a location with their origins, [] if the files do not have it."""

    def compared(self, other: Any) -> list[dict[str, Any]]:
        """The differences from these files to others (`terraster.config.comparing`)."""


class _NoRules(NamedTuple):
    files: tuple[str, ...] = ()
    known: bool = False
    problems: tuple[str, ...] = ("this configuration is in no file",)

    def place(self, service: str, location: str, kind: str) -> str:
        return ""

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        return []

    def compared(self, other: Any) -> list[dict[str, Any]]:
        return []


def no_rules(texts: Mapping[str, bytes] | None = None, edits: Sequence[Any] = ()) -> Rules:
    """The rules of a configuration that is in no file."""
    return _NoRules()


class _Services(dict[str, ServicePlan]):
    """The services by name. One is compiled when it is asked for."""

    def __init__(self, services: Sequence[Service], view: SeatView, kinds: Kinds, now: float) -> None:
        super().__init__()
        self._configured = {service.name: service for service in services}
        self._made_with = view, kinds, now

    def __missing__(self, name: str) -> ServicePlan:
        view, kinds, now = self._made_with
        made = self[name] = ServicePlan(self._configured[name], view, kinds, None, now)
        return made


class _Names(Router[ServicePlan]):
    """The router of these services."""

    __slots__ = ("_names", "_services")

    def __init__(self, names: Router[str], services: _Services) -> None:
        super().__init__({})
        self._names = names
        self._services = services

    def find(self, listener: str, host: bytes) -> ServicePlan | None:
        name = self._names.find(listener, host)
        return None if name is None else self._services[name]

    def rule(self, listener: str, host: bytes) -> str:
        return self._names.rule(listener, host)


def living(snapshot: Snapshot, table: Table, seat: int, now: float) -> Plan:
    """The plan of a configuration that runs, for one question. table: a glimpse. seat: of this process, as others must not find it taken.
    Raises `ConfigError`."""
    view = SeatView(table)
    view.sit(seat)
    kinds = Kinds(KINDS, view)
    services = _Services(snapshot.services, view, kinds, now)
    router = _Names(Router.build(_entries(snapshot.services)), services)
    backends = {
        backend.id: backend for service in snapshot.services for location in service.locations for backend in location.backends
    }
    plan = Plan(snapshot, view, services, router, backends, kinds, time.monotonic)
    equip(plan.runtime)
    return plan


def _entries(services: Sequence[Service]) -> Iterator[tuple[str, str, str]]:
    return ((address, host, service.name) for service in services for address in service.listeners for host in service.hosts)


def answer(
    asked: dict[str, Any], snapshot: Snapshot, table: Table, seat: int, changes: Mapping[str, Any], rules: Callable[[], Rules]
) -> dict[str, Any]:
    """The answer to a question: ``ok now generation request port courses stale lines``, or ``ok problems candidates``. Runs in a process of its
    own.

    asked: ``request``, ``headers``, ``client`` and ``listener``, as `terraster.explain.question.ask` and `courses` take them. table: the
    living one. changes: as for `courses`
    """
    try:
        question = ask(str(asked["request"]), [str(line) for line in asked["headers"]], str(asked["client"]))
        now = time.monotonic()
        plan = living(snapshot, table.glimpse(), seat, now)
        found = courses(plan, question, str(asked["listener"]), now, time.time(), changes, True)
    except (TerrasterError, ValueError) as error:
        return {"ok": False, "problems": [str(error)], "candidates": []}
    except OSError as error:
        return {"ok": False, "problems": [f"the shared table cannot be mapped once more: {error.strerror}"], "candidates": []}
    written = rules()
    return {
        "ok": True,
        "now": time.time(),
        "generation": snapshot.generation,
        "request": question.shown(),
        "port": question.port,
        "courses": [document(one, written.place) for one in found],
        "lines": written.known,
        "stale": _changed(written.files, table.q[table.master + MasterCells.LAST_RELOAD_TIME] / 1e9),
    }


def _changed(files: Sequence[str], since: float) -> list[str]:
    """The files that have changed since a moment (seconds since 1970), or are gone."""
    found = []
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            found.append(file)
            continue
        if max(status.st_mtime, status.st_ctime) > since:
            found.append(file)
    return found
