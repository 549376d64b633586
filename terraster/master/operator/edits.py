"""The edits in effect: changes of the configuration above its files, which outlive reloads and restarts.

    edits ─▶ `Documents.read`: made in the documents of the files, and checked with them ─▶ prepare: written ─▶ commit: renamed

A change of the edits uses the files as they were at the last load: text that an operator is writing into them just now is not taken. A
reload reads them anew and makes the edits again. An edit that has nothing to change any longer, or that makes the files as they are now
wrong, is dormant: it is kept, it is told, and it works again when it can. A file of edits never keeps Terraster from starting.

Two masters of an upgrade: the second one reads the edits at its start, and none of them takes any until the other one has ended
(`terraster.master.operator.edit_commands`). Each sees by its clock when an edit ends. Master only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent

from terraster.config.edits import Dormant, Edit, to_json
from terraster.config.snapshot import Snapshot
from terraster.config.telling import masked
from terraster.errors import ConfigError
from terraster.logs.program import ProgramLog
from terraster.master.agenda import Agenda, Entry
from terraster.master.participant import Outcome, Participant, Proposal

from .documents import Documents, Laid
from .edit_file import EditFile

__all__ = ["KEPT", "Edits", "Run"]

Run = Callable[[str, Callable[[int], Snapshot]], Outcome]
"""`Reloader.edit`"""

KEPT = 10  # generations that can be gone back to
_NAP = 1.0  # seconds after which the clock is read while an end is due: it may have been set
_AGAIN = 5.0  # seconds until the end of an edit that could not come into effect is tried again


class Edits(Participant):
    """The edits of one master.

    load:      reads the configuration without edits, if there are no documents
    documents: None: there are no edits
    run:       see `Run`

    ``edits``: all of them, in order, also those whose time is over; ``dormant``: why some do nothing; ``texts``: of the files, as they run.
    """

    name = "edits"

    def __init__(
        self,
        load: Callable[[int], Snapshot],
        documents: Documents | None,
        file: EditFile,
        agenda: Agenda,
        log: ProgramLog,
        run: Run,
    ) -> None:
        self.edits: tuple[Edit, ...] = ()
        self.following = 1
        self.dormant: dict[int, Dormant] = {}
        self.texts: Mapping[str, bytes] = {}
        self.documents = documents
        self._load = load
        self._file = file
        self._agenda = agenda
        self._log = log
        self._run = run
        self._pending: tuple[Laid, tuple[Edit, ...] | None] | None = (
            None  # a configuration on its way, and its edits if they are others
        )
        self._taken: tuple[Laid, tuple[Edit, ...] | None] | None = None  # the one that was prepared
        self._renamed = False
        self._syncing: gevent.Greenlet | None = None
        self._entry: Entry | None = None
        self._ending: gevent.Greenlet | None = None
        self._acts = False
        self.states: dict[
            int, tuple[tuple[Edit, ...], Mapping[str, bytes]]
        ] = {}  # by generation: the edits, and the texts of the files

    def first(self, loaded: Snapshot) -> Snapshot:
        """The first configuration with the edits that were kept. loaded: the same without them"""
        if self.documents is None:
            return loaded
        self.edits, self.following = self._file.read()
        laid = self.documents.last
        if self.active():
            laid = self._laid(loaded.generation, True)
        assert laid is not None
        self._pending = laid, None
        for line in self._dormant_lines(laid.dormant):
            self._log.warning("%s", line)
        return laid.snapshot

    def read(self, generation: int) -> Snapshot:
        """The configuration of the files now, with the edits. Raises what `Documents.read` raises."""
        if self.documents is None:
            return self._load(generation)
        laid = self._laid(generation, False)
        self._pending = laid, None
        return laid.snapshot

    def propose(self, edits: Sequence[Edit], laid: Laid) -> None:
        """The edits of the configuration that is about to be prepared."""
        self._pending = laid, tuple(edits)

    def active(self) -> tuple[Edit, ...]:
        """The edits whose time is not over."""
        now = time.time()
        return tuple([edit for edit in self.edits if edit.holds(now)])

    def prepare(self, new: Proposal) -> None:
        self._taken = None
        if self._pending is not None and self._pending[0].snapshot.services is new.loaded.services:
            self._taken = self._pending
            if self._taken[1] is not None:
                self._file.write(self._taken[1], self._next(self._taken[1]))

    def rollback(self) -> None:
        self._file.drop()
        self._pending = self._taken = None

    def unchanged(self, new: Proposal) -> None:
        if self._taken is not None:
            self._take(self._taken[0])

    def commit(self, new: Proposal) -> None:
        if self._taken is not None:
            self._commit(*self._taken)
        self.states[new.loaded.generation] = self.edits, self.texts
        while len(self.states) > KEPT:
            del self.states[min(self.states)]

    def _commit(self, laid: Laid, edits: tuple[Edit, ...] | None) -> None:
        if edits is not None:
            self._file.take()
            self.following = self._next(edits)
            self.edits = edits
            self._renamed = True
        self._take(laid)
        self._pending = self._taken = None

    def settle(self, new: Proposal) -> None:
        if self._renamed:
            self._renamed = False
            self._syncing = gevent.spawn(
                self._file.sync
            )  # while the children take the change over: they do not outlive a loss of power
        self._plan()

    def synced(self) -> None:
        """Return when the edits in effect outlive a loss of power."""
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None

    def start(self) -> None:
        self._acts = True
        self._plan()

    def stop(self) -> None:
        """An edit that ends later ends after the next start."""
        self._acts = False
        if self._entry is not None:
            self._entry.cancel()
        if self._ending is not None:
            self._ending.kill()

    def abandon(self) -> None:
        self._file.abandon()

    def kept(self, new: Proposal) -> list[str]:
        return self._dormant_lines(self._taken[0].dormant) if self._taken is not None else []

    def detail(self) -> Any:
        """The edits as JSON, with ``dormant``: why it does nothing, "" if it has its effect."""
        return [self.shown(edit) for edit in self.edits]

    def shown(self, edit: Edit) -> dict[str, Any]:
        """An edit as JSON, for programs and operators: without secrets."""
        why = self.dormant.get(edit.number)
        return {
            **to_json(edit),
            "value": masked(edit.document),
            "until": edit.until or None,
            "words": edit.words,
            "dormant": why.words if why is not None else "",
        }

    def _take(self, laid: Laid) -> None:
        self.dormant, self.texts = dict(laid.dormant), laid.texts

    def _next(self, edits: Sequence[Edit]) -> int:
        return max([self.following, *(edit.number + 1 for edit in edits)])

    def _dormant_lines(self, dormant: Mapping[int, Dormant]) -> list[str]:
        return [
            f"{edit.label} has no effect and is kept ({edit.words}): {dormant[edit.number].words}"
            for edit in self.edits
            if edit.number in dormant
        ]

    def _laid(self, generation: int, starting: bool) -> Laid:
        """The files with the edits. Edits that make them wrong are left out; starting: all of them, if that helps, rather than not to start."""
        assert self.documents is not None
        left = self.active()
        dormant: dict[int, Dormant] = {}
        while True:
            try:
                laid = self.documents.read(generation, left)
                return laid._replace(dormant={**laid.dormant, **dormant})
            except ConfigError as error:
                blamed = {edit.number: _words(error, edit) for edit in left if _words(error, edit)}
                if starting and left and not blamed:
                    blamed = {edit.number: str(error.problems[0]) for edit in left}
                if not blamed:
                    raise
                dormant |= {number: Dormant("invalid", words) for number, words in blamed.items()}
                left = tuple([edit for edit in left if edit.number not in blamed])

    # The end of edits in time.

    def _plan(self, seconds: float | None = None) -> None:
        if not self._acts:
            return
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        ends = [edit.until for edit in self.edits if edit.until]
        if ends:
            due = min(_NAP, max(0.0, min(ends) - time.time())) if seconds is None else seconds
            self._entry = self._agenda.after(due, self._begin)

    def _begin(self) -> None:
        if self._ending is None or self._ending.dead:
            self._ending = gevent.spawn(self._end)

    def _end(self) -> None:
        again = None
        now = time.time()
        over = [edit for edit in self.edits if not edit.holds(now)]
        if over:
            for edit in over:
                self._log.info("%s is over: %s", edit.label, edit.words)
            outcome = self._run("an edit's time was over", self._without_those_over)
            if not outcome.ok:
                again = _AGAIN
        self._ending = None
        self._plan(again)

    def _without_those_over(self, generation: int) -> Snapshot:
        assert self.documents is not None
        edits = self.active()
        laid = self.documents.read(generation, edits, self.texts)
        self.propose(edits, laid)
        return laid.snapshot


def _words(error: ConfigError, edit: Edit) -> str:
    """The words of an error about an edit; "" if it is not to blame."""
    return next((problem.message for problem in error.problems if problem.file == edit.label), "")
