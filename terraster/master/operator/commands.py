"""What operators do to single backends while Terraster runs: drain, maintenance, another weight; and the answer to "why?".

    asked ─▶ find the backend ─▶ write it to the overlay ─┬─ order:  `BackendStates.ordered`, one cell that all workers look at
                                                          └─ weight: `Reloader.refresh`, a new generation

What was asked for with an end ends here too, by itself: a greenlet wakes at the next end. During an upgrade there are two masters, and
either may be asked: the greenlet looks several times a second whether the other was told something, and brings that into effect. Where one name
resolves to several addresses there are several endpoints of one configured backend, and an order holds for all of them.

Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.

The module is longer than 400 lines: it is to be divided when the master's rooms are redrawn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import gevent
from gevent.event import Event

from terraster.config.snapshot import Backend
from terraster.errors import StartError
from terraster.master.backends.states import Order
from terraster.state.table import RESPONSE_CLASSES, BackendCells, SeatBackend

from .action import DRAIN, ENABLE, EXPIRED, MAINTENANCE, MOST_WEIGHT, TEXT, WEIGHT, WEIGHT_OF_FILE, Action, Entry
from .find import Found, Unfound, backends, base, find, label, listed, matching, spellings

__all__ = ["OperatorCommands"]

LONGEST = 10 * 365 * 86400.0  # seconds that something may be asked for
_EXPLAINED = 8  # backends that one question may be about
_NAP = 1.0  # seconds after which the clock is looked at while an end is due: it may have been set
_LOOK = 0.2  # seconds between two looks during an upgrade

_ACTIONS = {"drain": DRAIN, "maintain": MAINTENANCE, "enable": ENABLE, "weight": WEIGHT}


class OperatorCommands:
    """The hands of operators on one master. Orders hold as soon as `follow` was called, they end after `start`."""

    def __init__(self, master: Any) -> None:
        self._master = master
        self._overrides = master.overrides
        self._ordered: set[str] = set()  # ids that the states were given an order for
        self._sooner = Event()
        self._runner: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to end what is over."""
        self._runner = gevent.spawn(self._run)

    def stop(self) -> None:
        """End nothing any more; it ends after the next start."""
        if self._runner is not None:
            self._runner.kill()

    def follow(self) -> None:
        """The configuration that runs has changed, or the overlay has: hand all orders to the states. Does not yield."""
        names = (backend.id for _service, _location, backend in backends(self._master.running.loaded))
        self._overrides.follow(names, alone=not self._is_upgrade())
        orders = {name: entry.order for name, entry in self._overrides.entries.items() if entry.order is not None}
        if orders or self._ordered:
            configured = {backend.id for _service, _location, backend in backends(self._master.running.loaded)}
            for _service, _location, backend in backends(self._master.running.snapshot):
                action_ = orders.get(base(backend.id, configured))
                if action_ is not None:
                    self._master.states.ordered(backend.id, Order(action_.what, action_.until, action_.reason, action_.by))
                    self._ordered.add(backend.id)
                elif backend.id in self._ordered:
                    self._master.states.ordered(backend.id, None)
                    self._ordered.discard(backend.id)
        self._sooner.set()

    def upgrade(self) -> None:
        """An upgrade begins: from now on what the other master is told holds here too."""
        self._sooner.set()

    def alone(self) -> None:
        """An upgrade is over, however it ended: so does what the other master was told last."""
        if not self._master.children.stopping:
            self._overrides.reread()
            self._catch_up()
            self.follow()

    def _is_upgrade(self) -> bool:
        return bool(self._master.upgrade.is_under_way)

    def _catch_up(self) -> None:
        """Bring into effect what another master wrote."""
        if self._overrides.news:
            self._overrides.news = False
            self._master.reloader.refresh("another master was told something")
            self.follow()

    def backend(
        self,
        action: str,
        service: str,
        path: str = "",
        url: str = "",
        weight: int | None = None,
        seconds: float = 0.0,
        reason: str = "",
        by: str = "",
    ) -> dict[str, Any]:
        """Drain, maintain, enable a backend, or set its weight.

        action:  "drain", "maintain", "enable", "weight"
        service: its name; or name and path in one, where ``path`` is empty
        url:     as configured, or shortened to host:port where that is clear; or the backend's name
        weight:  of "weight" only; None = the file's again
        seconds: after which it ends by itself, 0 = for good

        Answer: ``backend`` (see `_account`), ``changed``, ``notes`` (what the operator should know).
        """
        if action not in _ACTIONS:
            return _no(f"there is no action {action!r}; there are {', '.join(_ACTIONS)}")
        if not 0 <= seconds <= LONGEST:
            return _no(f"the time must be between 0 and {LONGEST:.0f} seconds")
        if weight is not None and not 0 <= weight <= MOST_WEIGHT:
            return _no(f"a weight is a whole number from 0 to {MOST_WEIGHT}")
        if not service:
            return self._which(path, url)
        self._overrides.reread()
        self._catch_up()
        try:
            found = find(self._master.running.loaded, service, path, url)
        except Unfound as error:
            gone = self._gone(service, path, url) if action == "enable" or (action == "weight" and weight is None) else ""
            return self._forget(gone, action, by, reason) if gone else _no(str(error), error.candidates)
        backend, now = found[2], time.time()
        what = WEIGHT_OF_FILE if action == "weight" and weight is None else _ACTIONS[action]
        known = self._overrides.entries.get(backend.id, Entry())
        if (what == ENABLE and known.order is None) or (what == WEIGHT_OF_FILE and known.weight is None):
            return self._done(found, False, ["nothing was overridden"])
        until = now + seconds if seconds and what in (DRAIN, MAINTENANCE, WEIGHT) else 0.0
        action_ = Action(what, now, _plain(by), _plain(reason), until, weight if what == WEIGHT and weight is not None else -1)
        try:
            before = self._overrides.record(backend.id, action_)
        except StartError as error:
            return _no(f"{error}; nothing was changed")
        self._master.log.info("backend %s of %s: %s", backend.display, _where(found), _said(action_))
        if what in (WEIGHT, WEIGHT_OF_FILE):
            generation = self._master.running.snapshot.generation
            outcome = self._master.reloader.refresh(f"weight of {backend.display} of {_where(found)}")
            if not outcome.ok and outcome.generation == generation:
                return self._took_back(backend.id, action_, before, outcome.problems)
            if not outcome.ok:
                return _no("; ".join(outcome.problems))
        self.follow()
        self._catch_up()
        return self._done(found, True, [])

    def _gone(self, service: str, path: str, url: str) -> str:
        """The id of the one backend that is meant and is not configured any more, "" = there is none, or more than one, or some that are
        configured may be meant."""
        with suppress(Unfound):
            matching(self._master.running.loaded, service, path, url)
            return ""
        found = []
        for name, entry in self._overrides.entries.items():
            there, _, known = name.partition(" ")
            if entry.gone and (entry.order or entry.weight) and url.rstrip("/") in spellings(known):
                wanted = f"{service}{path}"
                if there.rstrip("/") == wanted.rstrip("/") or (not path and there.partition("/")[0] == wanted):
                    found.append(name)
        return found[0] if len(found) == 1 else ""

    def _forget(self, name: str, action: str, by: str, reason: str) -> dict[str, Any]:
        """Take back what lies above the file for a backend that is not configured any more."""
        known = self._overrides.entries[name]
        there, _, url = name.partition(" ")
        service, slash, path = there.partition("/")
        changed = (known.order if action == "enable" else known.weight) is not None
        if changed:
            action_ = Action(ENABLE if action == "enable" else WEIGHT_OF_FILE, time.time(), _plain(by), _plain(reason))
            try:
                self._overrides.record(name, action_)
            except StartError as error:
                return _no(f"{error}; nothing was changed")
            self._master.log.info("backend %s of %s, not configured any more: %s", url, there, _said(action_))
            self._sooner.set()
        entry = self._overrides.entries.get(name, Entry())
        notes = [] if changed else ["nothing was overridden"]
        if action == "enable" and entry.weight is not None:
            notes.append(f"its weight is still {entry.weight.weight}, should it come back; `weight … file` ends that")
        account = {
            "service": service,
            "path": slash + path,
            "url": url,
            "name": None,
            "id": name,
            "state": "not configured any more",
            "since": entry.gone or None,
            "why": "",
            "by": "",
            "until": None,
            "active": 0,
            "weight": entry.weight.weight if entry.weight else None,
            "configured_weight": None,
            **_overrides(entry),
        }
        return {"ok": True, "changed": changed, "backend": account, "notes": notes}

    def _which(self, path: str, url: str) -> dict[str, Any]:
        """The answer to a change of a backend of no service."""
        try:
            names = [label(found) for found in matching(self._master.running.loaded, "", path, url)]
            return _no(f"{url} of which service? There are {listed(names)}", names)
        except Unfound as error:
            return _no(str(error), error.candidates)

    def why(self, url: str, service: str = "", path: str = "") -> dict[str, Any]:
        """All that is known of why a backend is in the state it is in. Without a service: of every backend with that URL, if they
        are not too many. Answer: ``backends``, each as `_account` has it and more: probes, failures, history."""
        try:
            matches = matching(self._master.running.loaded, service, path, url)
        except Unfound as error:
            return _no(str(error), error.candidates)
        if len(matches) > _EXPLAINED:
            return _no(f"{url} is {len(matches)} backends; name the service", [label(found) for found in matches])
        return {"ok": True, "now": time.time(), "backends": [self._explained(found) for found in matches]}

    def detail(self) -> dict[str, Any]:
        """For the status: ``backends``, by id (of endpoints too), what lies above the file; ``orphans``: what is kept for backends
        that are not configured."""
        weights = {backend.id: backend.weight for _service, _location, backend in backends(self._master.running.loaded)}
        entries = {name: entry for name, entry in self._overrides.entries.items() if entry.order or entry.weight}
        found = {}
        if any(not entry.gone for entry in entries.values()):
            for _service, _location, backend in backends(self._master.running.snapshot):
                name = base(backend.id, weights)
                if name in entries:
                    found[backend.id] = {**_overrides(entries[name]), "configured_weight": weights[name]}
        orphans = [{"backend": name, "gone": entry.gone, **_overrides(entry)} for name, entry in entries.items() if entry.gone]
        return {"backends": found, "orphans": orphans}

    def _took_back(self, name: str, action_: Action, before: Entry | None, problems: list[str]) -> dict[str, Any]:
        """A weight that could not be brought into effect."""
        try:
            self._overrides.restore(name, action_, before)
        except StartError as error:
            return _no(f"{'; '.join(problems)}; the weight holds from the next start on, as it cannot be taken back: {error}")
        return _no(f"{'; '.join(problems)}; nothing was changed")

    def _done(self, found: Found, changed: bool, notes: list[str]) -> dict[str, Any]:
        account = self._account(found)
        service, location, backend = found
        entry = self._overrides.entries.get(backend.id, Entry())
        if account["state"] in ("down", "ejected") and entry.order is None:
            notes.append(f"it is {account['state']}: {account['why']}" if account["why"] else f"it is {account['state']}")
        if changed and entry.history[-1].what == ENABLE and entry.weight is not None:
            notes.append(
                f"its weight is still {entry.weight.weight} instead of the file's {backend.weight}; `weight … file` ends that"
            )
        if changed and not self._takes_work(found):
            notes.append(f"no backend of {service.name}{location.path} takes new work now")
        return {"ok": True, "changed": changed, "backend": account, "notes": notes}

    def _takes_work(self, found: Found) -> bool:
        """Whether any backend of the location takes new work."""
        q, table = self._master.table.q, self._master.table
        return any(
            backend.weight and q[table.backend(backend.slot) + BackendCells.ADMIT] != BackendCells.NONE
            for _service, location, backend in backends(self._master.running.snapshot)
            if location.id == found[1].id
        )

    def _account(self, found: Found) -> dict[str, Any]:
        """A configured backend in short: ``service path url name id state since why by until active weight configured_weight`` and what
        `_overrides` has; of several endpoints the best state, as in the status (`BackendCells.BEST`). What an operator asked for comes before
        an ejection here."""
        service, location, backend = found
        states = [self._state(one) for one in self._running(found)]
        best = min(states, key=lambda one: BackendCells.BEST.index(one.get("state", "down")), default={})
        entry = self._overrides.entries.get(backend.id, Entry())
        if entry.order is not None and best.get("state") == "ejected":
            order = entry.order  # a drain: in maintenance it would not be ejected
            best = {"state": "draining", "since": order.when, "why": order.reason, "by": order.by, "until": order.until}
        return {
            "service": service.name,
            "path": location.path,
            "url": backend.url,
            "name": backend.name or None,
            "id": backend.id,
            "state": best.get("state", "down"),
            "since": best.get("since"),
            "why": best.get("why", ""),
            "by": best.get("by", ""),
            "until": best.get("until") or None,
            "active": sum(self._master.table.backend_sum(one.slot, SeatBackend.ACTIVE) for one in self._running(found)),
            "weight": entry.weight.weight if entry.weight else backend.weight,
            "configured_weight": backend.weight,
            **_overrides(entry),
        }

    def _explained(self, found: Found) -> dict[str, Any]:
        master, entry = self._master, self._overrides.entries.get(found[2].id, Entry())
        return {
            **self._account(found),
            "history": [asdict(action_) for action_ in reversed(entry.history)],
            "endpoints": [
                {
                    "address": one.endpoint or (None if one.socket else one.address) or None,
                    **self._state(one),
                    **self._cells(one),
                    "probes": _newest(master.prober.recent(one.id)),
                    "failures": _newest(master.outliers.recent(one.id)),
                }
                for one in self._running(found)
            ],
        }

    def _state(self, backend: Backend) -> dict[str, Any]:
        found: dict[str, Any] = self._master.states.one(backend.id)
        return found

    def _cells(self, backend: Backend) -> dict[str, Any]:
        table = self._master.table
        own = table.q[table.backend(backend.slot) : table.backend(backend.slot) + BackendCells.CELLS].tolist()
        sums = {
            name: table.backend_sum(backend.slot, cell)
            for name, cell in (
                ("active", SeatBackend.ACTIVE),
                ("idle", SeatBackend.IDLE),
                ("open", SeatBackend.OPEN),
                ("requests", SeatBackend.REQUESTS),
                ("failed", SeatBackend.FAILURES),
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

    def _running(self, found: Found) -> list[Backend]:
        """The endpoints of a configured backend, with slots."""
        name = found[2].id
        return [
            backend
            for service in self._master.running.snapshot.services
            if service.name == found[0].name
            for location in service.locations
            if location.path == found[1].path
            for backend in location.backends
            if base(backend.id, (name,)) == name
        ]

    def _run(self) -> None:
        while True:
            self._sooner.clear()
            end = self._overrides.next_end()
            nap = min(_NAP, max(0.0, end - time.time())) if end else None
            shared = self._is_upgrade()
            self._sooner.wait(min(_LOOK, _LOOK if nap is None else nap) if shared else nap)
            try:
                if shared:
                    self._overrides.reread()
                self._expire()
                self._catch_up()
            except Exception:
                self._master.log.exception("cannot end what operators asked for; tried again")
                gevent.sleep(1.0)

    def _expire(self) -> None:
        before = self._overrides.expire()
        if not before:
            return
        for name in before:
            for action_ in self._overrides.entries.get(name, Entry()).history[-2:]:
                if action_.what == EXPIRED:
                    self._master.log.info("backend %s: %s", name, action_.reason)
        if any(entry.weight != self._overrides.entries.get(name, Entry()).weight for name, entry in before.items()):
            self._master.reloader.refresh("a weight's time was over")
        self.follow()


def _newest(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda one: -one["when"])


def _overrides(entry: Entry) -> dict[str, Any]:
    """What lies above the file, as JSON: ``order`` and ``weight_override``, each an action or None; ``order_after`` and ``weight_after``:
    the actions that hold again when it ends, the next one first."""
    return {
        "order": asdict(entry.order) if entry.order else None,
        "order_after": [asdict(action_) for action_ in reversed(entry.under_order)],
        "weight_override": asdict(entry.weight) if entry.weight else None,
        "weight_after": [asdict(action_) for action_ in reversed(entry.under_weight)],
    }


def _where(found: Found) -> str:
    return f"{found[0].name}{found[1].path}"


def _said(action_: Action) -> str:
    """An action as a line of the log has it."""
    words = f"weight {action_.weight}" if action_.what == WEIGHT else action_.what
    until = time.strftime(" until %Y-%m-%d %H:%M:%S", time.localtime(action_.until)) if action_.until else ""
    return f"{words}{until} (by {action_.by or 'somebody'}{': ' + action_.reason if action_.reason else ''})"


def _plain(text: str) -> str:
    """Text of an operator, on one line, without what would move the cursor of whoever reads it."""
    return "".join(char if char.isprintable() else " " for char in text)[:TEXT].strip()


def _no(problem: str, candidates: Iterable[str] = ()) -> dict[str, Any]:
    return {"ok": False, "problems": [problem], "candidates": list(candidates)}
