"""Operators' commands for single backends while Terraster runs: drain, maintenance, another weight.

    command ─▶ find the backend ─▶ write it to the overrides ─┬─ order:  `Orders.apply`, one cell that all workers read
                                                              └─ weight: `Reloader.refresh`, a new generation

Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from terraster.config.snapshot import Backend
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.master.participant import Outcome
from terraster.master.running import Running

from .account import Accounts, refusal
from .action import (
    CHECKS,
    DRAIN,
    ENABLE,
    FORCED_DOWN,
    FORCED_UP,
    MAINTENANCE,
    MOST_WEIGHT,
    PAUSED_DOWN,
    PAUSED_UP,
    TEXT,
    WEIGHT,
    WEIGHT_OF_FILE,
    Action,
    Entry,
)
from .answers import overrides_json
from .etags import etag, matches
from .find import Found, Unfound, endpoint_id, label, listed, matching, spellings
from .orders import Orders
from .overrides import Overrides
from .services import service_of

__all__ = ["LONGEST", "OperatorCommands", "plain", "said"]

LONGEST = 10 * 365 * 86400.0  # seconds that something may be asked for

_ACTIONS = {
    "drain": DRAIN,
    "maintain": MAINTENANCE,
    "enable": ENABLE,
    "weight": WEIGHT,
    "force-up": FORCED_UP,
    "force-down": FORCED_DOWN,
    "pause-checks": PAUSED_UP,
    "resume-checks": CHECKS,
}
_ENDS = {ENABLE: "order", WEIGHT_OF_FILE: "weight", CHECKS: "forced"}  # actions that end others, and what an `Entry` has of these


class OperatorCommands:
    """The commands of one master. refresh, alone: `Reloader.refresh`, `Reloader.alone`"""

    def __init__(
        self,
        running: Running,
        overrides: Overrides,
        orders: Orders,
        accounts: Accounts,
        log: ProgramLog,
        refresh: Callable[[str], Outcome],
        alone: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._running = running
        self._overrides = overrides
        self._orders = orders
        self._accounts = accounts
        self._log = log
        self._refresh = refresh
        self._alone = alone

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
        if_match: str = "",
        sole: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Drain, maintain, enable a backend, set its weight, or decide in place of its health checks.

        action:  "drain", "maintain", "enable", "weight", "force-up", "force-down", "pause-checks" (the verdict stays), "resume-checks"
        service: its name; or name and path in one, where ``path`` is empty
        sole:    True if it may be left out for a backend that is in one place only, as for edits
        url:     as configured, or shortened to host:port where that is clear; or the backend's name; one of these and "@ADDRESS": one
                 endpoint of a host name
        weight:  of "weight" only; None = the file's again
        seconds: after which it ends by itself, 0 = never
        dry_run: do nothing, and say whether anything would change and what it would touch

        Answer: ``backend`` (see `Accounts.short`), ``before`` (the same before a change), ``changed``, ``notes`` (news for the operator); of a
        dry run also ``touches`` (`terraster.master.operator.touched`).
        """
        if action not in _ACTIONS:
            return refusal(f"there is no action {action!r}; there are {', '.join(_ACTIONS)}")
        if not 0 <= seconds <= LONGEST:
            return refusal(f"the time must be between 0 and {LONGEST:.0f} seconds")
        if weight is not None and not 0 <= weight <= MOST_WEIGHT:
            return refusal(f"a weight is a whole number from 0 to {MOST_WEIGHT}")
        if not service:
            found = self._anywhere(path, url) if sole else []
            if len(found) != 1:
                return self._which(path, url)
            service, path = found[0][0].name, found[0][1].place
        if if_match.strip() in ("", "*"):  # an order waits for no reload
            return self._order(action, service, path, url, weight, seconds, reason, by, "", dry_run)
        with self._alone():  # an edit that compared the same ETag is under way
            return self._order(action, service, path, url, weight, seconds, reason, by, if_match, dry_run)

    def _order(
        self,
        action: str,
        service: str,
        path: str,
        url: str,
        weight: int | None,
        seconds: float,
        reason: str,
        by: str,
        if_match: str = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        self._overrides.reread()
        self._orders.catch_up()
        try:
            found, endpoint = self._accounts.find(service, path, url)
        except Unfound as error:
            ends = action in ("enable", "resume-checks") or (action == "weight" and weight is None)
            gone = self._gone(service, path, url) if ends and not dry_run else ""
            return self._forget(gone, action, by, reason) if gone else refusal(str(error), error.candidates)
        current = etag(found[1], self._overrides.entries)
        if if_match and not matches(if_match, current):
            words = f"location {found[1].id} has been changed meanwhile"
            return {**refusal(words), "code": "stale", "etag": current}
        backend, now = found[2], time.time()
        name = backend.id if endpoint is None else endpoint_id(backend.id, endpoint)
        if endpoint is not None and action == "weight":
            return refusal(f"a weight is for all endpoints of {backend.url}; drain or maintain holds for one")
        what = WEIGHT_OF_FILE if action == "weight" and weight is None else _ACTIONS[action]
        if what == PAUSED_UP:
            verdicts = self._accounts.verdicts(found, endpoint)
            if len(verdicts) > 1:
                return refusal(f"some addresses of {backend.url} are up and others are not; name one: {backend.url}@ADDRESS")
            what = PAUSED_UP if True in verdicts else PAUSED_DOWN
        known, account = self._overrides.entries.get(name, Entry()), self._accounts.short(found, endpoint)
        idle = what in _ENDS and getattr(known, _ENDS[what]) is None
        if dry_run:
            notes = ["nothing is overridden"] if idle else []
            return {
                **self._done(found, endpoint, False, notes),
                "changed": not idle,
                "touches": self._accounts.touched(found, endpoint),
            }
        if idle:
            return self._done(found, endpoint, False, ["nothing was overridden"])
        until = now + seconds if seconds and what not in _ENDS else 0.0
        order = Action(what, now, plain(by), plain(reason), until, weight if what == WEIGHT and weight is not None else -1)
        try:
            before = self._overrides.record(name, order)
        except StartError as error:
            return refusal(f"{error}; nothing was changed")
        shown = backend.display if endpoint is None else backend.url + name.removeprefix(backend.id)
        self._log.info("backend %s of %s: %s", shown, _where(found), said(order))
        if what in (WEIGHT, WEIGHT_OF_FILE):
            generation = self._running.snapshot.generation
            outcome = self._refresh(f"weight of {backend.display} of {_where(found)}")
            if not outcome.ok and outcome.generation == generation:
                return self._took_back(backend.id, order, before, outcome.problems)
            if not outcome.ok:
                return refusal("; ".join(outcome.problems))
        self._orders.apply()
        self._orders.catch_up()
        return {**self._done(found, endpoint, True, []), "before": account}

    def _gone(self, service: str, path: str, url: str) -> str:
        """The id of the one backend that is meant and is no longer configured; "" if there is none or more than one, or if a configured
        one may be meant."""
        with suppress(Unfound):
            matching(self._running.loaded, service, path, url)
            return ""
        found = []
        for name, entry in self._overrides.entries.items():
            there, _, known = name.partition(" ")
            if (
                entry.gone
                and (entry.order or entry.weight or entry.forced)
                and not service_of(name)
                and url.rstrip("/") in spellings(known)
            ):
                wanted = f"{service}{path}"
                if there.rstrip("/") == wanted.rstrip("/") or (not path and there.partition("/")[0] == wanted):
                    found.append(name)
        return found[0] if len(found) == 1 else ""

    def _forget(self, name: str, action: str, by: str, reason: str) -> dict[str, Any]:
        """Take back the overrides of a backend that is no longer configured."""
        known = self._overrides.entries[name]
        there, _, url = name.partition(" ")
        service, slash, path = there.partition("/")
        what = {"enable": ENABLE, "resume-checks": CHECKS}.get(action, WEIGHT_OF_FILE)
        changed = getattr(known, _ENDS[what]) is not None
        if changed:
            order = Action(what, time.time(), plain(by), plain(reason))
            try:
                self._overrides.record(name, order)
            except StartError as error:
                return refusal(f"{error}; nothing was changed")
            self._log.info("backend %s of %s, no longer configured: %s", url, there, said(order))
            self._orders.apply()
        entry = self._overrides.entries.get(name, Entry())
        notes = [] if changed else ["nothing was overridden"]
        if action == "enable" and entry.weight is not None:
            notes.append(f"its weight is still {entry.weight.weight}, should it come back; `weight … file` ends that")
        account = {
            "service": service,
            "location": slash + path,
            "url": url,
            "name": None,
            "id": name,
            "state": "removed",
            "since": entry.gone or None,
            "reason": "",
            "by": "",
            "until": None,
            "active": 0,
            "weight": entry.weight.weight if entry.weight else None,
            "configured_weight": None,
            **overrides_json(entry),
        }
        return {"ok": True, "changed": changed, "backend": account, "notes": notes, "etag": ""}

    def _anywhere(self, path: str, url: str) -> list[Found]:
        """The backends of all services that may be meant by a URL, or by "URL@ADDRESS"."""
        whole, at, _ = url.rpartition("@")
        for one in (url, whole) if at else (url,):
            with suppress(Unfound):
                return matching(self._running.loaded, "", path, one)
        return []

    def _which(self, path: str, url: str) -> dict[str, Any]:
        """The answer to a change of a backend of no service."""
        try:
            names = [label(found) for found in matching(self._running.loaded, "", path, url)]
            return refusal(f"{url} of which service? There are {listed(names)}", names)
        except Unfound as error:
            return refusal(str(error), error.candidates)

    def _took_back(self, name: str, order: Action, before: Entry | None, problems: list[str]) -> dict[str, Any]:
        """The answer to a weight that did not come into effect."""
        try:
            self._overrides.restore(name, order, before)
        except StartError as error:
            return refusal(f"{'; '.join(problems)}; the weight holds from the next start on, as it cannot be taken back: {error}")
        return refusal(f"{'; '.join(problems)}; nothing was changed")

    def _done(self, found: Found, endpoint: Backend | None, changed: bool, notes: list[str]) -> dict[str, Any]:
        account = self._accounts.short(found, endpoint)
        service, location, backend = found
        whole = self._overrides.entries.get(backend.id, Entry())
        entry = self._overrides.entries.get(account["id"], Entry())
        if account["state"] in ("down", "ejected") and entry.order is None:
            notes.append(f"it is {account['state']}: {account['reason']}" if account["reason"] else f"it is {account['state']}")
        if endpoint is not None and entry.order is None and whole.order is not None:
            notes.append(f"the order for all endpoints of {backend.url} still holds; `enable` {backend.url} ends it")
        if endpoint is None and whole.order is None:
            notes += [f"{one} by an order of its own; `enable` that ends it" for one in self._accounts.ordered_endpoints(found)]
        if changed and entry.history[-1].what == ENABLE and entry.weight is not None:
            notes.append(
                f"its weight is still {entry.weight.weight} instead of the file's {backend.weight}; `weight … file` ends that"
            )
        if entry.forced is not None and entry.order is None and account["state"] not in ("up", "down"):
            notes.append(f"it is {entry.forced.what} by an operator, and {account['state']} all the same")
        if endpoint is not None and entry.forced is None and whole.forced is not None:
            notes.append(f"all endpoints of {backend.url} are {whole.forced.what}; `resume-checks` {backend.url} ends it")
        if changed and not self._accounts.takes_work(found):
            notes.append(f"no backend of {location.id} takes new work now")
        tag = etag(location, self._overrides.entries)
        return {"ok": True, "changed": changed, "backend": account, "notes": notes, "etag": tag}


def _where(found: Found) -> str:
    return found[1].id


def said(action: Action) -> str:
    """An action as a line of the log has it."""
    words = f"weight {action.weight}" if action.what == WEIGHT else action.what
    until = time.strftime(" until %Y-%m-%d %H:%M:%S", time.localtime(action.until)) if action.until else ""
    return f"{words}{until} (by {action.by or 'an operator'}{': ' + action.reason if action.reason else ''})"


def plain(text: str) -> str:
    """Text of an operator, on one line, without characters that would move a cursor."""
    return "".join(char if char.isprintable() else " " for char in text)[:TEXT].strip()
