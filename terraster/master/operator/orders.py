"""Operators' orders in effect: drain and maintenance of backends as facts of the states, weights and maintenance of services by a new
generation, and the end of all in time.

An order with an end ends by itself. During an upgrade there are two masters, and an operator may ask either. So each looks several times
a second whether the other one has written something, and brings that into effect. If a name resolves to several addresses, one configured
backend has several endpoints, and an order holds for all of them, but for those with an order of their own.

Master only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent

from terraster.logs.program import ProgramLog
from terraster.master.agenda import Agenda, Entry
from terraster.master.backends.states import BackendStates, Order
from terraster.master.participant import Outcome, Participant, Proposal
from terraster.master.running import Running

from .account import overridden
from .action import EXPIRED, LOG, Action
from .action import Entry as Kept
from .find import backends, base, endpoint_id
from .overrides import Overrides
from .services import service_key, service_of

__all__ = ["Orders"]

_NAP = 1.0  # seconds after which the clock is read while an end is due: it may have been set
_LOOK = 0.2  # seconds between two looks during an upgrade
_AGAIN = 1.0  # seconds until a look that failed is repeated


class Orders(Participant):
    """The orders of one master.

    refresh:    `Reloader.refresh`
    is_upgrade: True while there are two masters
    """

    name = "orders"

    def __init__(
        self,
        running: Running,
        overrides: Overrides,
        states: BackendStates,
        agenda: Agenda,
        log: ProgramLog,
        refresh: Callable[[str], Outcome],
        is_upgrade: Callable[[], bool],
    ) -> None:
        self._running = running
        self._overrides = overrides
        self._states = states
        self._agenda = agenda
        self._log = log
        self._refresh = refresh
        self._is_upgrade = is_upgrade
        self._ordered: set[str] = set()  # ids of which the states have an order, or are forced
        self._entry: Entry | None = None
        self._looking: gevent.Greenlet | None = None
        self._acts = False  # between `start` and `stop`
        self._stopped = False

    def commit(self, new: Proposal) -> None:
        self.apply()

    def start(self) -> None:
        self._acts = True
        self._plan()

    def stop(self) -> None:
        """An order that ends later ends after the next start."""
        self._acts, self._stopped = False, True
        if self._entry is not None:
            self._entry.cancel()
        if self._looking is not None:
            self._looking.kill()

    def detail(self) -> Any:
        """``backends``, by id (of endpoints too): operators' overrides; ``orphans``: those for backends that are not configured."""
        return overridden(self._running, self._overrides)

    def apply(self) -> None:
        """The configuration that runs has changed, or the overrides have: hand all orders to the states. Does not yield."""
        names = [backend.id for _service, _location, backend in backends(self._running.loaded)]
        configured = set(names)
        if any(name not in configured for name in self._overrides.entries):
            running = (backend for _service, _location, backend in backends(self._running.snapshot))
            names += [endpoint_id(base(backend.id, configured), backend) for backend in running]
        names.append(LOG)
        names += [service_key(service.name) for service in self._running.loaded.services]
        self._overrides.follow(names, alone=not self._is_upgrade())
        orders = {name: entry.order for name, entry in self._overrides.entries.items() if entry.order is not None}
        forces = {name: entry.forced for name, entry in self._overrides.entries.items() if entry.forced is not None}
        if orders or forces or self._ordered:
            for _service, _location, backend in backends(self._running.snapshot):
                name = base(backend.id, configured)
                order = orders.get(endpoint_id(name, backend)) or orders.get(name)
                forced = forces.get(endpoint_id(name, backend)) or forces.get(name)
                if order is not None or forced is not None or backend.id in self._ordered:
                    self._states.ordered(backend.id, _order(order))
                    self._states.forced(backend.id, _order(forced))
                    self._ordered.add(backend.id)
                if order is None and forced is None:
                    self._ordered.discard(backend.id)
        self._plan()

    def upgrade(self) -> None:
        """An upgrade begins: from now on an order that the other master received holds here too."""
        self._plan()

    def alone(self) -> None:
        """An upgrade is over, however it ended: the last orders of the other master hold too. Waits."""
        if not self._stopped:
            self._overrides.reread()
            self.catch_up()
            self.apply()

    def catch_up(self) -> None:
        """Bring into effect what another master wrote. Waits."""
        if self._overrides.news:
            self._overrides.news = False
            self._refresh("the other master received a command")
            self.apply()

    def _plan(self, seconds: float | None = None) -> None:
        """Look again when the next order ends, or in so many seconds."""
        if not self._acts:
            return
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        if seconds is None:
            end = self._overrides.next_end()
            seconds = min(_NAP, max(0.0, end - time.time())) if end else None
        if self._is_upgrade():
            seconds = _LOOK if seconds is None else min(_LOOK, seconds)
        if seconds is not None:
            self._entry = self._agenda.after(seconds, self._begin)

    def _begin(self) -> None:
        if self._looking is None or self._looking.dead:
            self._looking = gevent.spawn(self._look)

    def _look(self) -> None:
        again = None
        try:
            if self._is_upgrade():
                self._overrides.reread()
            self._expire()
            self.catch_up()
        except Exception:
            self._log.exception("cannot end operators' orders; tried again")
            again = _AGAIN
        self._looking = None
        self._plan(again)

    def _expire(self) -> None:
        before = self._overrides.expire()
        if not before:
            return
        entries = self._overrides.entries
        for name in before:
            for action in entries.get(name, Kept()).history[-2:]:
                if action.what == EXPIRED:
                    self._log.info("%s: %s", name if service_of(name) or name == LOG else f"backend {name}", action.reason)
        if any(entry.weight != entries.get(name, Kept()).weight for name, entry in before.items()):
            self._refresh("a weight's time was over")
        if any(service_of(name) and entry.order != entries.get(name, Kept()).order for name, entry in before.items()):
            self._refresh("a maintenance's time was over")
        if LOG in before and before[LOG].forced != entries.get(LOG, Kept()).forced:
            self._refresh("the time of a level of the log was over")
        self.apply()


def _order(action: Action | None) -> Order | None:
    return None if action is None else Order(action.what, action.until, action.reason, action.by)
