"""Reload in place: a new configuration for processes that go on serving.

    load ─▶ lease slots ─▶ diff ─▶ compile ─▶ bind what is new ─▶ probe what is new ══ commit ══▶ tell the children ─▶ all agreed

Up to the commit nothing has changed for anybody, and any problem takes everything back. From the commit on, a child that is
forked inherits the new plan, and the others get what changed over their channels; one that refuses, or does not
answer in time, is replaced by a new one before it drains. So a reload has one true outcome, and whoever asked gets it.

What operators set at run time and what names resolve to lies above the file (`Master.arrange`). When that changes, `Reloader.refresh`
goes the same way with the configuration as it was loaded last: a generation of its own, but no reload in metrics or status.

The work runs in the greenlet of whoever asked, one reload at a time, and yields between its stages: probes and supervision go on.
"""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import gevent
from gevent.lock import RLock

from terraster.config import unserved
from terraster.config.diff import Change, diff
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError, StartError, TerrasterError
from terraster.master.backends.prober import FIRST_ROUND
from terraster.net.yielding import yield_to_loop
from terraster.state.table import MasterCells

from .listeners import addresses

__all__ = ["Outcome", "Reloader"]

PATIENCE = 10.0  # seconds for a child to acknowledge
_SHORT_ROUND = 1.0  # seconds that a refresh waits for the first probes of new addresses: others wait for it, with a weight, say
_TOLD = 10  # changes that the line of a refresh names before it only counts
_PART = 20  # services in one message: what a child unpickles at a stretch
_FULL_COLLECTION = 16  # every so many reloads the frozen heap is searched for garbage as well

_IN_PLACE = ("workers", "log_level", "drain_timeout")  # the master applies these itself
_ADMIN = (
    "admin_listen",
    "admin_tls",
    "metrics_listen",
)  # these want a new admin worker; everything else in `Change.restart` wants all new


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A configuration that can be committed. ``loaded``: as the file has it. ``notes``: what it asks for and does not get without a
    restart."""

    loaded: Snapshot
    old: Snapshot
    new: Snapshot
    change: Change
    plan: Any
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload ended.

    ok:         whether the new configuration runs everywhere; False: the old one runs, untouched, unless `generation` is the new one
                (something broke after the commit, as when Terraster is stopped meanwhile)
    generation: the generation that runs now
    changes:    what changed, a line each
    problems:   why it did not work (``ok`` False), a line each
    notes:      what needs more than a reload, and what is new and not in effect yet, a line each
    replaced:   pids of children that did not acknowledge and were replaced
    seconds:    how long it took
    when:       time.time() of its end
    """

    ok: bool
    generation: int
    changes: list[str]
    problems: list[str]
    notes: list[str]
    replaced: list[int]
    seconds: float
    when: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Unchanged(Exception):
    """There is nothing to do. notes: what is to be said all the same."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes


class Reloader:
    """Reloads of one master. ``last``: the outcome of the last one, or None. ``refused``: the last refresh, with what it was for, if it
    failed and nothing went well since; else None."""

    def __init__(self, master: Any) -> None:
        self._master = master
        self._one_at_a_time = RLock()
        self._applied = 0
        self.last: Outcome | None = None
        self.refused: tuple[str, Outcome] | None = None

    def reload(self, why: str) -> Outcome:
        """Load the configuration again and run it. Any greenlet; waits for a reload under way. Whatever happens is in the outcome,
        and the service manager is told that the reload is over."""
        master = self._master
        with self._one_at_a_time:
            before = master.running.snapshot.generation
            master.service_manager.reloading()
            try:
                outcome = self._go(self._prepare)
            except BaseException:
                master.service_manager.ready(master.describe())
                raise
            self._record(outcome, why, before)
            master.service_manager.ready(master.describe())
            if master.children.stopping:
                master.service_manager.stopping(master.upgrade.successor)
            return outcome

    def refresh(self, why: str) -> Outcome:
        """Run the configuration that was loaded last with what lies above it now; the file is not read. Any greenlet; waits for a
        reload under way. Where nothing changes there is no new generation. One line in the log, which begins with ``why``."""
        master = self._master
        with self._one_at_a_time:
            outcome = self._go(self._again)
            self.refused = (why, outcome) if outcome.problems else None
            if outcome.problems:
                master.log.error("%s: not in effect, generation %d runs: %s", why, outcome.generation, "; ".join(outcome.problems))
            elif outcome.changes:
                yield_to_loop()
                lines = [*outcome.changes, *outcome.notes]
                changes = "; ".join(lines[:_TOLD]) + (f"; and {len(lines) - _TOLD} more" if len(lines) > _TOLD else "")
                master.log.info("%s: generation %d runs after %.3f s: %s", why, outcome.generation, outcome.seconds, changes)
                self._collect(whole=False)
            return outcome

    def _go(self, prepare: Callable[[], _Prepared]) -> Outcome:
        """Prepare, commit, tell everybody. Raises nothing but what ends the greenlet."""
        master = self._master
        started = time.monotonic()
        problems: list[str] = []
        changes: list[str] = []
        notes: list[str] = []
        replaced: list[int] = []
        try:
            prepared = prepare()
            changes = prepared.change.describe()
            self._commit(prepared)
            self._close_removed(prepared)
            replaced = self._tell_children(prepared.change)
            notes = prepared.notes + self._roll(prepared.change)
        except _Unchanged as unchanged:
            notes = unchanged.notes
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
        except StartError as error:
            problems = [str(error)]
        except Exception as error:
            master.log.exception("the reload broke off")
            problems = [f"the reload broke off: {type(error).__name__}: {error}"]
        return Outcome(
            ok=not problems,
            generation=master.running.snapshot.generation,
            changes=changes,
            problems=problems,
            notes=notes,
            replaced=replaced,
            seconds=time.monotonic() - started,
            when=time.time(),
        )

    def _prepare(self) -> _Prepared:
        """Everything that may fail, from the file on. Raises ConfigError or StartError, or _Unchanged if the files say what they said; with
        nothing changed."""
        master = self._master
        old = master.running.snapshot
        new = master.load(old.generation + 1)
        yield_to_loop()
        unserved.refuse(new)
        known = {_said(warning) for warning in old.warnings}
        notes = [f"warning: {warning}" for warning in new.warnings if _said(warning) not in known]
        for key, what in (("runtime_dir", "the control socket and the pid file stay"), ("state_dir", "what is kept stays")):
            if getattr(new, key) != getattr(old, key):
                notes.append(f"{key} needs a restart: {what} in {getattr(old, key)}")
                new = replace(new, **{key: getattr(old, key)})
        prepared = self._compile(new, notes)
        same = replace(master.running.loaded, generation=prepared.loaded.generation) == prepared.loaded
        if same and replace(old, generation=prepared.new.generation) == prepared.new:
            self._give_up()
            raise _Unchanged(notes)
        return prepared

    def _again(self) -> _Prepared:
        """The same for what was loaded last. Raises StartError, or _Unchanged if there is nothing to do; nothing has changed then."""
        master = self._master
        prepared = self._compile(
            replace(master.running.loaded, generation=master.running.snapshot.generation + 1), [], _SHORT_ROUND
        )
        if not (prepared.change.added or prepared.change.removed or prepared.change.changed):
            self._give_up()
            raise _Unchanged([])
        return prepared

    def _give_up(self) -> None:
        """Take back what was prepared."""
        self._master.leases.undo()
        self._master.prober.part()
        self._master.names.part()

    def _compile(self, loaded: Snapshot, notes: list[str], patience: float = FIRST_ROUND) -> _Prepared:
        master = self._master
        old = master.running.snapshot
        bound: dict[str, Any] = {}
        try:
            new = master.arrange(loaded)
            yield_to_loop()
            change = diff(old, new)
            yield_to_loop()
            plan = master.running.plan.updated(change)
            yield_to_loop()
            bound = master.listeners.bind(addresses(new), new.tcp_keepalive)
            master.prober.meet(new, master.ending, patience)
            self._refuse_at_the_end()
        except BaseException as error:
            self._give_up()
            master.listeners.close(bound)
            if isinstance(error, Exception) and not isinstance(error, TerrasterError):
                master.log.exception("the new configuration cannot be compiled")
                raise StartError(f"the new configuration cannot be compiled: {type(error).__name__}: {error}") from error
            raise
        return _Prepared(loaded, old, new, change, plan, notes)

    def _commit(self, prepared: _Prepared) -> None:
        """From here on the new configuration is what runs. Does not yield: no fork may see one half of it."""
        master, new = self._master, prepared.new
        master.leases.commit(new)
        master.running.loaded, master.running.snapshot, master.running.plan = prepared.loaded, new, prepared.plan
        master.table.q[master.table.master + MasterCells.GENERATION] = new.generation
        master.states.follow(new)
        master.outliers.follow()
        master.prober.follow(new)
        master.commands.follow()
        master.names.follow()
        master.names.report(master.states.resolved)
        master.log.set_level(new.log_level)
        master.listeners.keep_alive(new.tcp_keepalive)
        if new.workers != prepared.old.workers:
            master.children.want(new.workers)
            if master.children.workers < new.workers:
                prepared.notes.append(
                    f"workers: {new.workers} need a restart; {master.children.workers} is what there are seats for"
                )

    def _refuse_at_the_end(self) -> None:
        if self._master.ending.is_set() or self._master.children.stopping:
            raise StartError("Terraster is stopping")

    def _tell_children(self, change: Change) -> list[int]:
        """Send the change to every child that runs an older generation and wait for them; pids of those that had to be replaced."""
        master = self._master
        self._refuse_at_the_end()
        waiting = {worker for worker in master.children.by_pid.values() if worker.runs_old(change.generation)}
        parts = [change.services[at : at + _PART] for at in range(0, len(change.services), _PART)]
        messages: list[tuple[Any, ...]] = [("change", replace(change, services=(), lines=()), len(parts))]
        messages += [("services", part) for part in parts]
        bodies = [pickle.dumps(message, pickle.HIGHEST_PROTOCOL) for message in messages]
        descriptors = [master.listeners.open[one.address].fileno() for one in change.listeners_added]
        for worker in waiting:
            gevent.spawn(_send, worker, bodies, descriptors if worker.name == "proxy" else [])
        deadline = time.monotonic() + PATIENCE
        while True:
            master.children.heard.clear()
            waiting = {worker for worker in waiting if worker.pid in master.children.by_pid and worker.runs_old(change.generation)}
            refusing = {worker for worker in waiting if worker.refused[0] == change.generation}
            self._refuse_at_the_end()
            if waiting == refusing or not master.children.heard.wait(max(0.0, deadline - time.monotonic())):
                break
        for worker in waiting:
            why = worker.refused[1] if worker in refusing else f"no answer within {PATIENCE:g} s"
            master.log.error(
                "%s worker %d does not run generation %d: %s; replaced", worker.name, worker.pid, change.generation, why
            )
            master.children.replace(worker)
        return [worker.pid for worker in waiting]

    def _roll(self, change: Change) -> list[str]:
        """Replace the children that a change of settings needs new; they drain once the new ones serve. A note for each reason."""
        master = self._master
        keys = [key for key in change.restart if key not in _IN_PLACE]
        if not keys:
            return []
        everyone = any(key not in _ADMIN for key in keys)
        for worker in list(master.children.by_pid.values()):
            if everyone or worker.name == "admin":
                master.children.replace(worker)
        return [f"{', '.join(keys)}: {'all workers are' if everyone else 'the admin worker is'} being replaced"]

    def _close_removed(self, prepared: _Prepared) -> None:
        """Close the master's copies before the workers close theirs: the last one to close a socket has to accept what waits there."""
        master = self._master
        gone = set(addresses(prepared.old)).difference(addresses(prepared.new))
        master.listeners.close(gone, unlink=not master.listeners.activated)

    def _record(self, outcome: Outcome, why: str, before: int) -> None:
        master = self._master
        q, cells = master.table.q, master.table.master
        self.last = outcome
        if outcome.ok:
            self.refused = None
        q[cells + MasterCells.LAST_RELOAD_OK] = int(outcome.ok)
        if outcome.ok:
            q[cells + MasterCells.RELOADS] += 1
            q[cells + MasterCells.LAST_RELOAD_TIME] = int(outcome.when * 1e9)
            master.log.info("reload (%s): generation %d runs after %.3f s", why, outcome.generation, outcome.seconds)
            for line in (*outcome.changes, *outcome.notes):
                master.log.info("reload: %s", line)
            self._applied += 1
            self._collect(whole=self._applied % _FULL_COLLECTION == 0)
        else:
            q[cells + MasterCells.RELOAD_FAILURES] += 1
            how = "refused, generation %d goes on" if outcome.generation == before else "broke off, generation %d is what runs"
            master.log.error(f"reload (%s) {how}:", why, outcome.generation)
            for line in outcome.problems:
                master.log.error("reload: %s", line)

    def _collect(self, whole: bool) -> None:
        """Keep what future forks inherit out of their collector's way. ``whole``: look for garbage among it as well, which takes half a
        second with 10,000 services."""
        yield_to_loop()
        if whole:
            gc.unfreeze()
        gc.collect()
        gc.freeze()


def _said(warning: str) -> str:
    """What a warning says, without its place: a line more above it does not make it news."""
    return warning.partition(": ")[2]


def _send(worker: Any, bodies: list[bytes], descriptors: list[int]) -> None:
    # A listener may be closed by the next reload while a slow child still has to be told: it gets duplicates.
    copies = [os.dup(fd) for fd in descriptors]
    try:
        worker.channel.send_pickled(bodies, copies)
    except TerrasterError:
        return  # it has gone; SIGCHLD says the rest
    finally:
        for fd in copies:
            os.close(fd)
