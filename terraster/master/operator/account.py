"""What operators read about single backends: in short after a command, and at length as the answer to "why?".

Answers are plain dicts for JSON. Master only; no call yields.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from terraster.config.snapshot import Backend
from terraster.master.backends.outliers import Outliers
from terraster.master.backends.prober import Prober
from terraster.master.backends.states import BackendStates
from terraster.master.running import Running
from terraster.state.cells import RESPONSE_CLASSES, BackendCells, SeatBackend
from terraster.state.table import Table

from .action import DRAIN, LOG, Action, Entry
from .answers import action_json, failure_json, overrides_json, state_json, work_json
from .find import Found, Unfound, backends, base, endpoint_id, find, label, matching, one_endpoint
from .overrides import Overrides
from .services import service_of
from .touched import touched

__all__ = ["Accounts", "overridden", "refusal"]

_EXPLAINED = 8  # backends that one question may be about


class Accounts:
    """Accounts of the backends of one master."""

    def __init__(
        self, running: Running, overrides: Overrides, states: BackendStates, prober: Prober, outliers: Outliers, table: Table
    ) -> None:
        self._running = running
        self._overrides = overrides
        self._states = states
        self._prober = prober
        self._outliers = outliers
        self._table = table

    def why(self, url: str, service: str = "", path: str = "") -> dict[str, Any]:
        """Why a backend is in its state. Without a service: every backend with that URL, if they are not too many.

        Answer: ``backends``, each as `short` has it, with probes, failures and history.
        """
        try:
            matches = matching(self._running.loaded, service, path, url)
        except Unfound as error:
            return self._why_one(url, service, path, error)
        if len(matches) > _EXPLAINED:
            return refusal(f"{url} is {len(matches)} backends; name the service", [label(one) for one in matches])
        return {"ok": True, "now": time.time(), "backends": [self._explained(one) for one in matches]}

    def find(self, service: str, path: str, url: str) -> tuple[Found, Backend | None]:
        """The one backend that is meant, and its endpoint if "URL@ADDRESS" means one. Raises Unfound."""
        try:
            return find(self._running.loaded, service, path, url), None
        except Unfound:
            whole, _, ending = url.rpartition("@")
            if not whole:
                raise
        found = find(self._running.loaded, service, path, whole)
        return found, one_endpoint(url, ending, found, self._endpoints(found))

    def _why_one(self, url: str, service: str, path: str, error: Unfound) -> dict[str, Any]:
        """The answer about one endpoint of a backend; error: the problem if the URL is not an endpoint's."""
        if "@" not in url:
            return refusal(str(error), error.candidates)
        try:
            if not service:
                (first, *others) = matching(self._running.loaded, "", path, url.rpartition("@")[0])
                if others:
                    return refusal(
                        f"{url} is an endpoint of several backends; name the service", [label(first), *map(label, others)]
                    )
                service, path = first[0].name, first[1].place
            found, endpoint = self.find(service, path, url)
        except Unfound as unfound:
            return refusal(str(unfound), unfound.candidates)
        return {"ok": True, "now": time.time(), "backends": [self._explained(found, endpoint)]}

    def short(self, found: Found, only: Backend | None = None) -> dict[str, Any]:
        """A configured backend in short: ``service location url name id state since reason by until active weight configured_weight`` and
        the keys of `overrides_json`; of several endpoints the best state, as in the status (`BackendCells.BEST`). An operator's order comes
        before an ejection here."""
        service, location, backend = found
        running = self._endpoints(found) if only is None else [only]
        name = backend.id if only is None else endpoint_id(backend.id, only)
        states = [self._states.one(one.id) for one in running]
        best = min(states, key=_rank, default={})
        whole = self._overrides.entries.get(backend.id, Entry())
        entry = self._overrides.entries.get(name, Entry())
        order = entry.order or whole.order
        if order is not None and best.get("state") == "ejected":
            best = {"state": "draining"}  # in maintenance it would not be ejected
        return {
            "service": service.name,
            "location": location.place,
            "url": backend.url + name.removeprefix(backend.id),
            "name": backend.name or None,
            "id": name,
            **state_json(best, order),
            "active": sum(self._table.backend_sum(one.slot, SeatBackend.ACTIVE) for one in running),
            "weight": whole.weight.weight if whole.weight else backend.weight,
            "configured_weight": backend.weight,
            **overrides_json(entry),
        }

    def ids(self, found: Found, only: Backend | None = None) -> list[str]:
        """The ids under which a configured backend runs: one for each endpoint."""
        return [one.id for one in self.endpoints(found, only)]

    def endpoints(self, found: Found, only: Backend | None = None) -> list[Backend]:
        """The endpoints of a configured backend that run, with slots. only: this one"""
        return self._endpoints(found) if only is None else [only]

    def verdicts(self, found: Found, only: Backend | None = None) -> set[bool]:
        """True and False as the health checks of the endpoints say."""
        return {self._states.verdict(name) for name in self.ids(found, only)}

    def touched(self, found: Found, only: Backend | None = None) -> list[dict[str, Any]]:
        """The endpoints that a change would touch. Takes a second."""
        return touched(self._table, [(found[0].name, found[1].place, one) for one in self.endpoints(found, only)])

    def ordered_endpoints(self, found: Found) -> list[str]:
        """Those endpoints of a backend that have an order of their own, as "URL@ADDRESS is draining"."""
        said = []
        for one in self._endpoints(found):
            name = endpoint_id(found[2].id, one)
            order = self._order(found, one)
            if order is not None:
                state = "draining" if order.what == DRAIN else "in maintenance"
                said.append(f"{found[2].url}{name.removeprefix(found[2].id)} is {state}")
        return said

    def takes_work(self, found: Found) -> bool:
        """True if any backend of the same location takes new work."""
        q, table = self._table.q, self._table
        return any(
            backend.weight and q[table.backend(backend.slot) + BackendCells.ADMIT] != BackendCells.NONE
            for _service, location, backend in backends(self._running.snapshot)
            if location.id == found[1].id
        )

    def _explained(self, found: Found, only: Backend | None = None) -> dict[str, Any]:
        whole = self._overrides.entries.get(found[2].id, Entry())
        name = found[2].id if only is None else endpoint_id(found[2].id, only)
        history = self._overrides.entries.get(name, Entry()).history
        return {
            **self.short(found, only),
            "history": [action_json(action) for action in reversed(history)],
            "endpoints": [
                {
                    "endpoint": one.endpoint or None,
                    "address": (None if one.socket else one.address) or None,
                    **state_json(self._states.one(one.id), self._order(found, one) or whole.order),
                    **work_json(self._states.one(one.id)),
                    **self._cells(one),
                    "last_probes": _newest_first(self._prober.recent(one.id)),
                    "last_failures": [failure_json(each) for each in _newest_first(self._outliers.recent(one.id))],
                }
                for one in (self._endpoints(found) if only is None else [only])
            ],
        }

    def _order(self, found: Found, endpoint: Backend) -> Action | None:
        return self._overrides.entries.get(endpoint_id(found[2].id, endpoint), Entry()).order

    def _cells(self, backend: Backend) -> dict[str, Any]:
        table = self._table
        own = table.q[table.backend(backend.slot) : table.backend(backend.slot) + BackendCells.CELLS].tolist()
        sums = {
            name: table.backend_sum(backend.slot, cell)
            for name, cell in (
                ("active", SeatBackend.ACTIVE),
                ("idle", SeatBackend.IDLE),
                ("open", SeatBackend.OPEN),
                ("requests", SeatBackend.REQUESTS),
                ("failures", SeatBackend.FAILURES),
                ("connect_errors", SeatBackend.CONNECT_ERRORS),
                ("bad_statuses", SeatBackend.BAD_STATUSES),
            )
        }
        classes = zip(RESPONSE_CLASSES, (table.backend_sum(backend.slot, cell) for cell in SeatBackend.CLASSES), strict=True)
        return {
            **sums,
            "responses": {name: count for name, count in classes if count},
            "circuit": BackendCells.CIRCUITS[own[BackendCells.CIRCUIT]],
            "ejections": own[BackendCells.EJECTIONS],
            "circuit_openings": own[BackendCells.OPENINGS],
        }

    def _endpoints(self, found: Found) -> list[Backend]:
        """The endpoints of a configured backend, with slots."""
        name = found[2].id
        return [
            backend
            for service in self._running.snapshot.services
            if service.name == found[0].name
            for location in service.locations
            if location.id == found[1].id
            for backend in location.backends
            if base(backend.id, (name,)) == name
        ]


def overridden(running: Running, overrides: Overrides) -> dict[str, Any]:
    """``backends``, by id (of endpoints too), what is above the file; ``orphans``: what is kept for backends that are not configured;
    ``services``: by name, the orders about whole services; ``log_level``: an action, or None."""
    several = {name: entry for name, entry in overrides.entries.items() if entry.order or entry.weight or entry.forced}
    services = {
        service: action_json(entry.order) for name, entry in several.items() if (service := service_of(name)) and entry.order
    }
    entries = {name: entry for name, entry in several.items() if not service_of(name) and name != LOG}
    level = several.get(LOG, Entry()).forced
    found = {}
    if any(not entry.gone for entry in entries.values()):
        weights = {backend.id: backend.weight for _service, _location, backend in backends(running.loaded)}
        for _service, _location, backend in backends(running.snapshot):
            name = base(backend.id, weights)
            own = entries.get(endpoint_id(name, backend))
            if name in entries or own is not None:
                changes = overrides_json(entries.get(name, Entry()))
                if own is not None and own.order is not None:
                    changes |= {key: value for key, value in overrides_json(own).items() if key.startswith("order")}
                if own is not None and own.forced is not None:
                    changes |= {key: value for key, value in overrides_json(own).items() if key.startswith("forced")}
                found[backend.id] = {**changes, "configured_weight": weights.get(name)}
    orphans = [_orphan(name, entry) for name, entry in entries.items() if entry.gone]
    return {
        "backends": found,
        "orphans": orphans,
        "services": services,
        "log_level": action_json(level) if level is not None else None,
    }


def _orphan(name: str, entry: Entry) -> dict[str, Any]:
    """The changes that are kept for a backend that is not configured."""
    place, _, url = name.partition(" ")
    service, slash, path = place.partition("/")
    return {"id": name, "service": service, "location": slash + path, "backend": url, "gone": entry.gone, **overrides_json(entry)}


def refusal(problem: str, candidates: Iterable[str] = ()) -> dict[str, Any]:
    """The answer to a command that did nothing."""
    return {"ok": False, "problems": [problem], "candidates": list(candidates)}


def _rank(state: dict[str, Any]) -> int:
    return BackendCells.BEST.index(state.get("state", "down"))


def _newest_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=_negated)


def _negated(one: dict[str, Any]) -> float:
    when: float = one["when"]
    return -when
