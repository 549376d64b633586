"""Commands that edit the configuration above its files, while Terraster runs.

    changes ─▶ what they are about ─▶ edits ─▶ checked with the files ─▶ `Reloader.edit`: a new generation, in all workers

The changes of one command come into effect together or not at all. Commands that wait for each other come into effect together too, in one
generation: each has the answer that it would have had alone, and one that is refused takes no other with it.

Answers are plain dicts for JSON: ``ok``, and where it is False ``problems`` and ``code``: "invalid", "unknown", "conflict", "stale" (an
If-Match that does not hold; ``etag`` is the current one), "busy", "failed". Master only; any greenlet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gevent.lock import RLock

from terraster.config.edits import LOCATION_KINDS, LOCATION_SET, REMOVE, SET, UNKNOWN, Edit, compacted, value_of
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError, StartError
from terraster.logs.program import ProgramLog
from terraster.master.participant import Outcome
from terraster.master.running import Running
from terraster.state.table import Table

from .account import overridden, refusal
from .changes import Command, Places, Refused, asked
from .commands import plain
from .documents import Laid
from .edits import Edits, Run
from .etags import etag, matches
from .overrides import Overrides
from .touched import touched

__all__ = ["EditCommands"]

_TOGETHER = 200  # commands in one generation


class EditCommands:
    """The commands of one master.

    run, rehearse, alone: `Reloader.edit`, `Reloader.rehearse`, `Reloader.alone`
    is_upgrade: True while there are two masters
    """

    def __init__(
        self,
        running: Running,
        edits: Edits,
        overrides: Overrides,
        table: Table,
        log: ProgramLog,
        run: Run,
        rehearse: Callable[[Callable[[int], Snapshot]], Outcome],
        alone: Callable[[], RLock],
        is_upgrade: Callable[[], bool],
    ) -> None:
        self._running = running
        self._edits = edits
        self._overrides = overrides
        self._table = table
        self._log = log
        self._run = run
        self._rehearse = rehearse
        self._alone = alone
        self._is_upgrade = is_upgrade
        self._places = Places(running, edits, overrides)
        self._waiting: list[Command] = []

    def edit(
        self, changes: list[dict[str, Any]], by: str = "", reason: str = "", dry_run: bool = False, if_match: str = ""
    ) -> dict[str, Any]:
        """Make changes, all or none.

        changes:  each with ``kind`` (see `terraster.config.edits`), ``service`` and ``path`` (needed where they are not clear), ``url`` of a
                  backend, ``value``, ``for`` (seconds after which it ends by itself; 0 = never), ``if_match`` (the ETag of its location)
        dry_run:  do nothing, and say what would be done
        if_match: for changes without an own one

        Answer: ``generation``, ``changed`` (what the command did, a line each), ``changes`` (of the configuration), ``notes``,
        ``edits`` (those that are kept), ``locations``: ``service location etag`` of each that is concerned. A dry run also has ``touches``:
        ``service location url active open requests_per_second`` of the backends there.
        """
        try:
            command = asked(changes, plain(by), plain(reason), if_match)
        except Refused as refused:
            return refused.answer
        if dry_run:
            return self._dry(command)
        self._waiting.append(command)
        with self._alone():
            while command.answer is None:
                group, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                try:
                    self._do(group)
                finally:
                    for one in group:
                        if one.answer is None:
                            one.refuse("failed", ["the change broke off, see the log"])
        return command.answer

    def drop(self, numbers: list[int], by: str = "", reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Take edits back, by their numbers. Answer as that of `edit`."""
        with self._alone():
            edits = self._edits.active()
            there = {edit.number for edit in edits}
            if missing := [number for number in numbers if number not in there]:
                return Refused(
                    UNKNOWN, f"there is no edit {', '.join(map(str, missing))}", candidates=[*map(str, sorted(there))]
                ).answer
            gone = [edit for edit in edits if edit.number in numbers]
            left = tuple([edit for edit in edits if edit.number not in numbers])
            why = f"{_edits(gone)} dropped{_said(plain(by), plain(reason))}"
            return self.swap(left, why, [f"{edit.label} dropped ({edit.words})" for edit in gone], gone, dry_run)

    def edits(self) -> dict[str, Any]:
        """All edits, see `Edits.detail`, and ``orders``: the overrides, see `overridden`."""
        orders = overridden(self._running, self._overrides)
        return {"ok": True, "now": time.time(), "edits": self._edits.detail(), "orders": orders}

    def etags(self, service: str) -> dict[str, Any]:
        """``etags``: of the locations of a service, by place."""
        found = next((one for one in self._running.loaded.services if one.name == service), None)
        if found is None:
            return refusal(f"there is no service {service}")
        entries = self._overrides.entries
        return {"ok": True, "etags": {one.place: etag(one, entries) for one in found.locations}}

    # The edits of a command.

    def _resolve(self, command: Command, number: int) -> None:
        """Find what the command is about in the configuration that runs, and make its edits; number: of the first one. Raises Refused."""
        if self._edits.documents is None:
            raise Refused("failed", "this master has no files that could be edited")
        if self._is_upgrade():
            raise Refused("busy", "an upgrade is under way: try again when it is over")
        now = time.time()
        edits, places = [], set()
        for at, change in enumerate(command.changes):
            service, location = self._places.place(change)
            if change["if_match"]:
                found = next((one for one in service.locations if one.place == location), None)
                current = etag(found, self._overrides.entries) if found is not None else ""
                if not found or not matches(change["if_match"], current):
                    words = "has been changed meanwhile" if found else "is not there"
                    raise Refused("stale", f"location {service.name}{location} {words}", current=current)
            places.add((service.name, location))
            edits.append(
                Edit(
                    number=number + at,
                    kind=change["kind"],
                    service=service.name,
                    location=location,
                    url=change["url"],
                    value=value_of(change["value"]),
                    by=command.by,
                    reason=command.reason,
                    when=now,
                    until=now + change["for"] if change["for"] else 0.0,
                )
            )
        command.edits, command.places = edits, places

    # Doing it.

    def _do(self, group: list[Command]) -> None:
        """Answer commands, in their order: with as few generations as can be."""
        while group:
            number = self._edits.following
            accepted: list[Command] = []
            later: list[Command] = []
            touched: set[tuple[str, str]] = set()
            for command in group:
                try:
                    self._resolve(command, number)
                except Refused as refused:
                    if accepted:  # it may be about what one before it makes
                        later.append(command)
                    else:
                        command.answer = refused.answer
                    continue
                if later or (command.conditions and command.places & touched):
                    later.append(command)
                    continue
                number += len(command.edits)
                touched |= command.places
                accepted.append(command)
            self._apply(accepted)
            group = later

    def _apply(self, accepted: list[Command]) -> None:
        """One generation for commands, without those that are wrong."""
        documents = self._edits.documents
        generation = self._running.snapshot.generation
        while accepted:
            assert documents is not None
            edits = self._with(accepted)
            wrong: dict[int, tuple[str, list[str]]] = {}
            try:
                laid = documents.read(generation + 1, edits, self._edits.texts)
            except ConfigError as error:
                for at, command in enumerate(accepted):
                    labels = {edit.label for edit in command.edits}
                    said = [str(one) for one in error.problems if one.file in labels or len(accepted) == 1]
                    if said:
                        wrong[at] = "invalid", said
                if not wrong:
                    self._each(accepted)
                    return
            except StartError as error:
                wrong = dict.fromkeys(range(len(accepted)), ("failed", [str(error)]))
            else:
                for at, command in enumerate(accepted):
                    dormant = [laid.dormant[edit.number] for edit in command.edits if edit.number in laid.dormant]
                    if dormant:
                        wrong[at] = dormant[0].code, [one.words for one in dormant]
            if not wrong:
                break
            for at, (code, problems) in wrong.items():
                accepted[at].refuse(code, problems)
            accepted = [command for at, command in enumerate(accepted) if at not in wrong]
        if not accepted:
            return
        made = [edit for command in accepted for edit in command.edits]
        reason = accepted[0].reason
        why = f"{_edits(made)} ({reason})" if len(accepted) == 1 and reason else _edits(made)
        outcome = self._run(why, self._proposing(edits, laid))
        if not outcome.ok and outcome.generation == generation and len(accepted) > 1:
            self._each(accepted)
            return
        for command in accepted:
            if outcome.ok:
                command.answer = self._done(outcome, [edit.words for edit in command.edits], command.edits)
            else:
                ending = "; nothing was changed" if outcome.generation == generation else ""
                command.refuse("failed", [f"{problem}{ending}" for problem in outcome.problems])

    def _each(self, accepted: list[Command]) -> None:
        for command in accepted:
            try:
                self._resolve(command, self._edits.following)
            except Refused as refused:
                command.answer = refused.answer
            else:
                self._apply([command])

    def _with(self, commands: Sequence[Command]) -> tuple[Edit, ...]:
        """The edits after those of commands."""
        edits = self._edits.active()
        for command in commands:
            for edit in command.edits:
                edits = compacted(edits, edit, self._edits.dormant)
        return edits

    def _proposing(self, edits: Sequence[Edit], laid: Laid) -> Callable[[int], Snapshot]:
        def propose(generation: int) -> Snapshot:
            self._edits.propose(edits, laid)
            return laid.snapshot

        return propose

    def swap(
        self,
        edits: Sequence[Edit],
        why: str,
        changed: list[str],
        concerned: Sequence[Edit],
        dry_run: bool,
        texts: Mapping[str, bytes] | None = None,
    ) -> dict[str, Any]:
        """Have other edits, on the texts of the files as they run, or on others. Called alone (`Reloader.alone`)."""
        if self._edits.documents is None:
            return Refused("failed", "this master has no files that could be edited").answer
        if self._is_upgrade():
            return Refused("busy", "an upgrade is under way: try again when it is over").answer
        generation = self._running.snapshot.generation
        try:
            laid = self._edits.documents.read(generation + 1, edits, self._edits.texts if texts is None else texts)
        except ConfigError as error:
            return Refused("invalid", *[str(problem) for problem in error.problems]).answer
        except StartError as error:
            return Refused("failed", str(error)).answer
        propose = self._proposing(edits, laid)
        outcome = self._rehearse(propose) if dry_run else self._run(why, propose)
        if not outcome.ok:
            return Refused("failed", *outcome.problems).answer
        return {**self._done(outcome, changed, concerned), "dry_run": dry_run}

    def refused_now(self) -> dict[str, Any] | None:
        """The refusal of every change at this moment, None if changes are taken."""
        return Refused("busy", "an upgrade is under way: try again when it is over").answer if self._is_upgrade() else None

    def _dry(self, command: Command) -> dict[str, Any]:
        """The effect that a command would have, and the backends that it would touch."""
        with self._alone():
            try:
                self._resolve(command, self._edits.following)
            except Refused as refused:
                return refused.answer
            edits = self._with([command])
            made = command.edits
            assert self._edits.documents is not None
            generation = self._running.snapshot.generation
            try:
                laid = self._edits.documents.read(generation + 1, edits, self._edits.texts)
            except ConfigError as error:
                return Refused("invalid", *[str(problem) for problem in error.problems]).answer
            except StartError as error:
                return Refused("failed", str(error)).answer
            dormant = [laid.dormant[edit.number] for edit in made if edit.number in laid.dormant]
            if dormant:
                return Refused(dormant[0].code, *[one.words for one in dormant]).answer
            outcome = self._rehearse(self._proposing(edits, laid))
        if not outcome.ok:
            return Refused("failed", *outcome.problems).answer
        return {**self._done(outcome, [edit.words for edit in made], made), "dry_run": True, "touches": self._touched(command)}

    def _done(self, outcome: Outcome, changed: list[str], concerned: Sequence[Edit]) -> dict[str, Any]:
        self._edits.synced()
        kept = {edit.number for edit in self._edits.edits}
        places = dict.fromkeys((edit.service, edit.location) for edit in concerned)
        return {
            "ok": True,
            "generation": outcome.generation,
            "changed": changed,
            "changes": outcome.changes,
            "notes": outcome.notes,
            "edits": [self._edits.shown(edit) for edit in concerned if edit.number in kept],
            "locations": [
                {"service": service.name, "location": location.place, "etag": etag(location, self._overrides.entries)}
                for service in self._running.loaded.services
                for location in service.locations
                if (service.name, location.place) in places
            ],
            "seconds": outcome.seconds,
            "dry_run": False,
        }

    def _touched(self, command: Command) -> list[dict[str, Any]]:
        """The backends of the locations that a command is about, those that it names only if it is about single ones. Takes a second."""
        urls = {edit.url for edit in command.edits if edit.kind in (REMOVE, SET)}
        wide = any(edit.kind in (*LOCATION_KINDS, LOCATION_SET) for edit in command.edits)
        found = [
            (service.name, location.place, backend)
            for service in self._running.snapshot.services
            for location in service.locations
            if (service.name, location.place) in command.places
            for backend in location.backends
            if wide or backend.url in urls
        ]
        return touched(self._table, found)


def _edits(edits: Sequence[Edit]) -> str:
    if len(edits) == 1:
        return f"{edits[0].label}: {edits[0].words}"
    return f"{len(edits)} edits ({', '.join(str(edit.number) for edit in edits[:8])}{' …' if len(edits) > 8 else ''})"


def _said(by: str, reason: str) -> str:
    return f" ({by or 'an operator'}{': ' + reason if reason else ''})"
