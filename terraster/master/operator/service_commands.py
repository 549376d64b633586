"""Operators' commands for whole services while Terraster runs: maintenance.

    command ─▶ find the service ─▶ write it to the overrides ─▶ `Reloader.refresh`: a new generation, in which the service answers 503

Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from terraster.config.messages import suggestion
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.master.participant import Outcome
from terraster.master.running import Running
from terraster.state.table import Table

from .account import refusal
from .action import ENABLE, MAINTENANCE, Action, Entry
from .answers import action_json
from .commands import LONGEST, plain, said
from .orders import Orders
from .overrides import Overrides
from .services import service_key
from .touched import Place, touched

__all__ = ["ServiceCommands"]


class ServiceCommands:
    """The commands of one master. refresh: `Reloader.refresh`"""

    def __init__(
        self,
        running: Running,
        overrides: Overrides,
        orders: Orders,
        table: Table,
        log: ProgramLog,
        refresh: Callable[[str], Outcome],
    ) -> None:
        self._running = running
        self._overrides = overrides
        self._orders = orders
        self._table = table
        self._log = log
        self._refresh = refresh

    def maintenance(
        self, action: str, service: str, seconds: float = 0.0, reason: str = "", by: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Have a service answer every request with 503, or serve again.

        action:  "on", "off"
        seconds: after which it ends by itself, 0 = never; of "on" only
        dry_run: do nothing, and say whether anything would change and what it would touch

        Answer: ``service`` (its name), ``maintenance`` (the order, or None), ``before`` (the same before a change), ``changed``,
        ``notes`` (news for the operator); of a dry run also ``touches`` (`terraster.master.operator.touched`).
        """
        if action not in ("on", "off"):
            return refusal(f"there is no action {action!r}; there are on, off")
        if not 0 <= seconds <= LONGEST:
            return refusal(f"the time must be between 0 and {LONGEST:.0f} seconds")
        self._overrides.reread()
        self._orders.catch_up()
        key, now = service_key(service), time.time()
        names = [one.name for one in self._running.loaded.services]
        known = self._overrides.entries.get(key, Entry())
        if service not in names and (action == "on" or known.order is None):
            return refusal(f"there is no service {service}{suggestion(service, names)}", names)
        idle = action == "off" and known.order is None
        notes = ["no operator had switched it on"] if idle else []
        if dry_run:
            return {**self._done(service, not idle, notes), "touches": touched(self._table, self._backends(service))}
        if idle:
            return self._done(service, False, notes)
        order = Action(
            MAINTENANCE if action == "on" else ENABLE,
            now,
            plain(by),
            plain(reason),
            now + seconds if seconds and action == "on" else 0.0,
        )
        try:
            before = self._overrides.record(key, order)
        except StartError as error:
            return refusal(f"{error}; nothing was changed")
        self._log.info("service %s: %s", service, said(order))
        generation = self._running.snapshot.generation
        outcome = self._refresh(f"maintenance of service {service}")
        if not outcome.ok:
            if outcome.generation == generation:
                return self._took_back(key, order, before, outcome.problems)
            return refusal("; ".join(outcome.problems))
        self._orders.apply()
        shown = {"maintenance": action_json(known.order) if known.order is not None else None}
        return {**self._done(service, True, []), "before": shown}

    def _backends(self, service: str) -> list[Place]:
        return [
            (service, location.place, backend)
            for one in self._running.snapshot.services
            if one.name == service
            for location in one.locations
            for backend in location.backends
        ]

    def _took_back(self, key: str, order: Action, before: Entry | None, problems: list[str]) -> dict[str, Any]:
        """The answer to an order that did not come into effect."""
        try:
            self._overrides.restore(key, order, before)
        except StartError as error:
            return refusal(f"{'; '.join(problems)}; the order holds from the next start on, as it cannot be taken back: {error}")
        return refusal(f"{'; '.join(problems)}; nothing was changed")

    def _done(self, service: str, changed: bool, notes: list[str]) -> dict[str, Any]:
        order = self._overrides.entries.get(service_key(service), Entry()).order
        if order is None and any(
            getattr(settings, "enabled", False)
            for one in self._running.loaded.services
            if one.name == service
            for kind, settings in one.filters
            if kind == "maintenance"
        ):
            notes = [*notes, "the configuration has it under maintenance: `middleware: [{maintenance: …}]`"]
        shown = action_json(order) if order is not None else None
        return {"ok": True, "service": service, "maintenance": shown, "changed": changed, "notes": notes}
