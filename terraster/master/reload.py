"""Reload in place: a new configuration for processes that go on serving.

    load ─▶ each participant prepares ══ each commits ══▶ each settles ─▶ the children are told ─▶ all agreed

`terraster.master.participant` has the contract, the master the tuple of participants. Up to the commit nothing has changed for anyone, and
a problem of any participant takes everything back. From the commit on, a child that is forked inherits the new plan, and the others get
what changed over their channels. A child that refuses, or does not answer in time, is replaced by a new one before it drains. So a reload
has one true outcome, and the operator who asked for it gets it.

Operators' overrides and the addresses of names lie above the file. When they change, `Reloader.refresh` goes the same way with the
configuration that was loaded last: a generation of its own, but no reload in metrics or status.

The work runs in the greenlet of the caller, one reload at a time, and yields between its steps: probes and supervision go on. The module is
longer than 400 lines because a reload, its rehearsal and a refresh are the same steps.
"""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import RLock

from terraster.config import unserved
from terraster.config.diff import Change
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError, Problem, StartError, TerrasterError
from terraster.logs.program import ProgramLog
from terraster.net.yielding import yield_to_loop
from terraster.state.cells import MasterCells
from terraster.state.table import Table
from terraster.worker.process import Process

from .children import Children
from .events import Events
from .listeners import Listeners
from .participant import Outcome, Participant, Proposal, commit, prepare, rollback
from .plugin_deaths import kept_versions
from .running import Running
from .steps import Step
from .systemd import ServiceManager
from .upgrade import Upgrade

__all__ = ["Load", "Placed", "Reloader", "as_it_is"]

Load = Callable[[int], Snapshot]

Placed = Callable[[str | Problem], str]
"""Why a configuration cannot run → the same in words, behind the place in its file if there is one."""


def as_it_is(words: str | Problem) -> str:
    """No other place is known."""
    return str(words)


PATIENCE = 10.0  # seconds for a child to acknowledge
_SHORT_ROUND = 1.0  # seconds that a refresh waits for the first probes of new addresses: a change of weight may wait behind it
_TOLD = 10  # changes that the line of a refresh names before it only counts
_PART = 20  # services in one message: what a child unpickles at a stretch
_FULL_COLLECTION = 16  # every so many reloads the frozen heap is searched for garbage as well

_IN_PLACE = ("workers", "log_level", "program_log", "drain_timeout")  # the master applies these itself
_ADMIN = (
    "admin_listen",
    "metrics_listen",
)  # need a new admin worker; all other keys in `Change.restart` need new workers


class _Unchanged(Exception):
    """There is nothing to do. notes: what is to be said all the same."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes


class Reloader:
    """Reloads of one master.

    participants: in the order in which they prepare and commit
    load:         reads the configuration as generation n: ``load(n)``; raises ConfigError
    ending:       set when the master is told to stop
    step:         see `terraster.master.steps`
    placed:       see `terraster.master.run`

    ``last``: the outcome of the last reload, or None. ``rehearsed``: the change of the last rehearsal, None if it was none. ``refused``: the
    last refresh with its reason, if it failed and no change has succeeded since; else None.
    """

    def __init__(
        self,
        running: Running,
        participants: Sequence[Participant],
        load: Load,
        children: Children,
        listeners: Listeners,
        service_manager: ServiceManager,
        upgrade: Upgrade,
        table: Table,
        log: ProgramLog,
        ending: Event,
        step: Step,
        placed: Placed = as_it_is,
    ) -> None:
        self._running = running
        self._participants = participants
        self._load = load
        self._children = children
        self._listeners = listeners
        self._service_manager = service_manager
        self._upgrade = upgrade
        self._table = table
        self._log = log
        self._ending = ending
        self._step = step
        self._placed = placed
        self._one_at_a_time = RLock()
        self._applied = 0
        self.events = Events()
        self.noted: Callable[[str, Outcome], None] | None = None  # called after each reload and refresh
        self.last: Outcome | None = None
        self.rehearsed: Change | None = None
        self.refused: tuple[str, Outcome] | None = None

    def reload(self, why: str) -> Outcome:
        """Load the configuration again and run it. Any greenlet; waits for a reload under way. Every problem is in the outcome, and the
        service manager hears that the reload is over."""
        with self._one_at_a_time:
            before = self._running.snapshot.generation
            self._service_manager.reloading()
            try:
                outcome = self._go(self._of_file)
            except BaseException:
                self._service_manager.ready(self._describe())
                raise
            self._record(outcome, why, before)
            self._note(f"reload ({why})", outcome)
            self._service_manager.ready(self._describe())
            if self._children.stopping:
                self._service_manager.stopping(self._upgrade.successor)
            return outcome

    def refresh(self, why: str) -> Outcome:
        """Run the configuration that was loaded last with the overrides and addresses of now; the file is not read. Any greenlet; waits for
        a reload under way. If nothing changes, there is no new generation. One line in the log, which begins with ``why``."""
        return self._refreshed(why, self._of_last)

    @property
    def alone(self) -> RLock:
        """Held, no other reload and no refresh runs."""
        return self._one_at_a_time

    def edit(self, why: str, propose: Callable[[int], Snapshot]) -> Outcome:
        """Run a configuration with other edits, which ``propose(generation)`` gives; it may raise ConfigError or StartError. There is a new
        generation even if it says what the last one said. Any greenlet; waits for a reload under way. Like `refresh` in all else."""
        return self._refreshed(why, lambda: self._of_edit(propose), False)

    def rehearse(self, propose: Callable[[int], Snapshot] | None = None) -> Outcome:
        """A reload (or an edit, see there) up to the commit, which is then taken back: the outcome has the changes. Any
        greenlet; waits for a reload under way."""
        with self._one_at_a_time:
            self.rehearsed = None
            return self._go(self._of_file if propose is None else lambda: self._of_edit(propose), rehearsal=True)

    def _refreshed(self, why: str, propose: Callable[[], Proposal], remembered: bool = True) -> Outcome:
        """remembered: True: a failure is shown in the status until a change succeeds"""
        with self._one_at_a_time:
            outcome = self._go(propose)
            self._note(why, outcome)
            if remembered or outcome.ok:
                self.refused = (why, outcome) if outcome.problems else None
            if outcome.problems or outcome.changes:
                words = f"{why}: {'; '.join((outcome.problems or outcome.changes)[:_TOLD])}"
                self.events.add("generation", f"not in effect: {words}" if outcome.problems else words, "", outcome.generation)
            if outcome.problems:
                self._log.error("%s: not in effect, generation %d runs: %s", why, outcome.generation, "; ".join(outcome.problems))
            elif outcome.changes:
                yield_to_loop()
                lines = [*outcome.changes, *outcome.notes]
                changes = "; ".join(lines[:_TOLD]) + (f"; and {len(lines) - _TOLD} more" if len(lines) > _TOLD else "")
                self._log.info("%s: generation %d runs after %.3f s: %s", why, outcome.generation, outcome.seconds, changes)
                self._collect(whole=False)
            return outcome

    def _note(self, why: str, outcome: Outcome) -> None:
        if self.noted is not None:
            self.noted(why, outcome)

    def _describe(self) -> str:
        return self._running.describe(self._children.workers)

    # The two phases.

    def _go(self, propose: Callable[[], Proposal], rehearsal: bool = False) -> Outcome:
        """Prepare, commit, tell all children. Raises nothing but what ends the greenlet. rehearsal: do not commit"""
        started = time.monotonic()
        problems: list[str] = []
        changes: list[str] = []
        notes: list[str] = []
        replaced: list[int] = []
        try:
            new = propose()
            assert new.change is not None
            changes = new.change.describe()
            if rehearsal:
                rollback(self._participants)
                self.rehearsed = new.change
                raise _Unchanged(new.notes + _would_replace(new.change))
            commit(self._participants, new, self._step)
            for one in self._participants:
                one.settle(new)
            self._step("settled")
            replaced = self._tell_children(new.change)
            self._step("children told")
            notes = new.notes + self._roll(new.change)
        except _Unchanged as unchanged:
            notes = unchanged.notes
        except ConfigError as error:
            problems = [self._placed(problem) for problem in error.problems]
        except StartError as error:
            problems = [self._placed(str(error))]
        except Exception as error:
            self._log.exception("the reload broke off")
            problems = [f"the reload broke off: {type(error).__name__}: {error}"]
        return Outcome(
            ok=not problems,
            generation=self._running.snapshot.generation,
            changes=changes,
            problems=problems,
            notes=notes,
            kept=[] if problems else kept_versions(self._running.snapshot, self._table),
            replaced=replaced,
            seconds=time.monotonic() - started,
            when=time.time(),
        )

    def _of_file(self) -> Proposal:
        """All that may fail, from the file on. Raises ConfigError or StartError, or _Unchanged if the files say what they said; nothing has
        changed then."""
        running = self._running
        old = running.snapshot
        loaded = self._load(old.generation + 1)
        self._step("loaded")
        yield_to_loop()
        unserved.refuse(loaded)
        known = {_said(warning) for warning in old.warnings}
        notes = [f"warning: {warning}" for warning in loaded.warnings if _said(warning) not in known]
        for key, what in (("runtime_dir", "the control socket and the pid file stay"), ("state_dir", "what is kept stays")):
            if getattr(loaded, key) != getattr(old, key):
                notes.append(f"{key} needs a restart: {what} in {getattr(old, key)}")
                loaded = replace(loaded, **{key: getattr(old, key)})
        new = Proposal(loaded, old, self._ending)
        new.notes = notes
        self._prepare(new)
        for one in self._participants:
            notes += one.kept(new)
        same = replace(running.loaded, generation=loaded.generation) == loaded
        if same and replace(old, generation=new.snapshot.generation) == new.snapshot:
            for one in self._participants:
                one.unchanged(new)
            rollback(self._participants)
            raise _Unchanged(notes)
        return new

    def _of_last(self) -> Proposal:
        """The same for the configuration that was loaded last. Raises StartError, or _Unchanged if there is nothing to do; nothing has
        changed then."""
        running = self._running
        loaded = replace(running.loaded, generation=running.snapshot.generation + 1)
        new = Proposal(loaded, running.snapshot, self._ending, _SHORT_ROUND)
        self._prepare(new)
        assert new.change is not None
        of_all = any(getattr(new.snapshot, key) != getattr(running.snapshot, key) for key in ("admin_tls", "log_level"))
        if not (new.change.added or new.change.removed or new.change.changed or of_all):
            rollback(self._participants)
            raise _Unchanged([])
        return new

    def _of_edit(self, propose: Callable[[int], Snapshot]) -> Proposal:
        """The same for a configuration with other edits. Raises ConfigError or StartError; nothing has changed then."""
        old = self._running.snapshot
        loaded = propose(old.generation + 1)
        unserved.refuse(loaded)
        loaded = replace(loaded, runtime_dir=old.runtime_dir, state_dir=old.state_dir)
        new = Proposal(loaded, old, self._ending, _SHORT_ROUND)
        self._prepare(new)
        return new

    def _prepare(self, new: Proposal) -> None:
        prepare(self._participants, new, self._step, self._log)
        try:
            self._refuse_at_the_end()
        except StartError:
            rollback(self._participants)
            raise

    def _refuse_at_the_end(self) -> None:
        if self._ending.is_set() or self._children.stopping:
            raise StartError("Terraster is stopping")

    def _tell_children(self, change: Change) -> list[int]:
        """Send the change to every child that runs an older generation and wait for them; pids of those that had to be replaced."""
        self._refuse_at_the_end()
        waiting = {worker for worker in self._children.by_pid.values() if worker.runs_old(change.generation)}
        parts = [change.services[at : at + _PART] for at in range(0, len(change.services), _PART)]
        messages: list[tuple[Any, ...]] = [("change", replace(change, services=(), lines=()), len(parts))]
        messages += [("services", part) for part in parts]
        bodies = [pickle.dumps(message, pickle.HIGHEST_PROTOCOL) for message in messages]
        descriptors = [self._listeners.open[one.address].fileno() for one in change.listeners_added]
        for worker in waiting:
            gevent.spawn(_send, worker, bodies, descriptors if worker.name == "proxy" else [])
        deadline = time.monotonic() + PATIENCE
        while True:
            self._children.heard.clear()
            waiting = {worker for worker in waiting if worker.pid in self._children.by_pid and worker.runs_old(change.generation)}
            refusing = {worker for worker in waiting if worker.refused[0] == change.generation}
            self._refuse_at_the_end()
            if waiting == refusing or not self._children.heard.wait(max(0.0, deadline - time.monotonic())):
                break
        for worker in waiting:
            why = worker.refused[1] if worker in refusing else f"no answer within {PATIENCE:g} s"
            self._log.error(
                "%s worker %d does not run generation %d: %s; replaced", worker.name, worker.pid, change.generation, why
            )
            self._children.replace(worker)
        return [worker.pid for worker in waiting]

    def _roll(self, change: Change) -> list[str]:
        """Replace the children that a change of settings needs new; they drain once the new ones serve. A note for each reason."""
        keys = [key for key in change.restart if key not in _IN_PLACE]
        if not keys:
            return []
        everyone = any(key not in _ADMIN for key in keys)
        for worker in list(self._children.by_pid.values()):
            if everyone or worker.name == "admin":
                self._children.replace(worker)
        return [f"{', '.join(keys)}: {'all workers are' if everyone else 'the admin worker is'} being replaced"]

    def _record(self, outcome: Outcome, why: str, before: int) -> None:
        q, cells = self._table.q, self._table.master
        self.last = outcome
        if outcome.ok:
            self.refused = None
        q[cells + MasterCells.LAST_RELOAD_OK] = int(outcome.ok)
        words = "; ".join((outcome.problems or outcome.changes)[:_TOLD]) or "nothing to reload"
        self.events.add("reload", f"{'done' if outcome.ok else 'refused'} ({why}): {words}", "", outcome.generation)
        if outcome.ok:
            q[cells + MasterCells.RELOADS] += 1
            q[cells + MasterCells.LAST_RELOAD_TIME] = int(outcome.when * 1e9)
            if outcome.changes:
                self._log.info(
                    "reload (%s): generation %d runs in all processes, after %.3f s", why, outcome.generation, outcome.seconds
                )
            else:
                self._log.info("reload (%s): nothing to reload, generation %d goes on", why, outcome.generation)
            for line in (*outcome.changes, *outcome.notes):
                self._log.info("reload: %s", line)
            for line in outcome.kept:
                self._log.error("reload: %s", line)
            self._applied += 1
            self._collect(whole=self._applied % _FULL_COLLECTION == 0)
        else:
            q[cells + MasterCells.RELOAD_FAILURES] += 1
            how = "refused, generation %d goes on" if outcome.generation == before else "broke off, generation %d is what runs"
            self._log.error(f"reload (%s) {how}:", why, outcome.generation)
            for line in outcome.problems:
                self._log.error("reload: %s", line)

    def _collect(self, whole: bool) -> None:
        """Keep what future forks inherit out of their collector's way. ``whole``: look for garbage among it as well, which takes half a
        second with 10,000 services."""
        yield_to_loop()
        if whole:
            gc.unfreeze()
        gc.collect()
        gc.freeze()


def _would_replace(change: Change) -> list[str]:
    """A note if a change would replace processes."""
    keys = [key for key in change.restart if key not in _IN_PLACE]
    everyone = any(key not in _ADMIN for key in keys)
    return [f"{', '.join(keys)}: {'all workers' if everyone else 'the admin worker'} would be replaced"] if keys else []


def _said(warning: str) -> str:
    """The text of a warning without its place: a line more above it does not make it news."""
    return warning.partition(": ")[2]


def _send(worker: Process, bodies: list[bytes], descriptors: list[int]) -> None:
    # A listener may be closed by the next reload while a slow child still has to be told: it gets duplicates.
    copies = [os.dup(fd) for fd in descriptors]
    try:
        worker.channel.send_pickled(bodies, copies)
    except TerrasterError:
        return  # the child has gone; SIGCHLD says the rest
    finally:
        for fd in copies:
            os.close(fd)
