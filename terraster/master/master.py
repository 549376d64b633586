"""The master: starts everything, watches everything, ends everything; it never touches a client's octets.

    terraster (master)
     ├─ proxy worker, seat 1 … N
     └─ admin worker

It is a subclass of gunicorn's Arbiter, which gives it the program's log and the class of each child. The loop waits cooperatively:
probes, channels and reloads are greenlets of the same hub. The order of a start:

    load ─▶ prepare: overrides, names, slots, plan, listeners, first probes ─▶ commit ─▶ fork ─▶ all children serve ─▶ READY=1

`terraster.master.parts` makes the parts and names the participants of a reload, `terraster.master.children` has the children,
`terraster.master.reload` the reload, `terraster.master.upgrade` the upgrade by USR2.

The module is longer than 400 lines because the start, the signals and the end of one process share all of its parts.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import NoReturn

import gevent
from gevent import get_hub
from gevent.event import Event
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from terraster.config import unserved
from terraster.errors import StartError
from terraster.logs import journal
from terraster.net.tunnel import FAREWELL
from terraster.state.cells import MasterCells
from terraster.worker.process import Process

from . import collector, shared
from .adoption import Adoption
from .agenda import Agenda
from .application import Application
from .children import FORCED
from .descriptors import raise_limit
from .drain import Drain
from .listeners import Asks, Listeners, addresses, control_address, nobody
from .operator.documents import Documents
from .participant import Participant, Proposal, commit, prepare
from .parts import Basis, Parts
from .pidfile import Pidfile, remove_directories, runtime_directory
from .reload import Load, Placed, as_it_is
from .running import Compile, Running
from .signal_audit import SignalAudit
from .signals import Signals
from .steps import Step
from .systemd import ServiceManager
from .upgrade import Upgrade

__all__ = ["Master"]


class Master(Arbiter):  # type: ignore[misc]
    """The one master of a host. Made, and run, in the main greenlet of a process without threads."""

    def __init__(
        self,
        load: Load,
        roles: Mapping[str, type[Process]],
        compile: Compile,
        more: Sequence[Participant],
        step: Step,
        asks: Asks = nobody,
        placed: Placed = as_it_is,
        documents: Documents | None = None,
    ) -> None:
        self.documents = documents
        self.more = more
        self.step = step
        self.load = load
        self.roles = dict(roles)
        self.compile = compile
        self.placed = placed
        self.running = Running(load(1))
        unserved.refuse(self.running.loaded)
        super().__init__(Application(self.running.loaded, next(iter(self.roles.values()))))
        self.log.set_level(self.running.loaded.log_level)
        self.log.configure(self.running.loaded.program_log)
        self.service_manager = ServiceManager(os.environ)
        self.upgrade = Upgrade(self.log, self.cfg.env_orig, self.START_CTX["cwd"], step)
        self.listeners = Listeners(aside=self.upgrade.predecessor != 0, asks=asks)
        self.ending = Event()  # a signal that ends the master came in
        self.heard = Event()  # see `Children`
        self.signals = Signals(self._on_end)
        self.audit = SignalAudit(self.running.loaded.state_dir, self.log)
        self.adoption = Adoption(self.running.loaded.runtime_dir, self.log)
        self._announced = False
        self._stopped = False

    def run(self) -> NoReturn:
        """The life of the master. Ends by SystemExit."""
        self.start()
        util._setproctitle("master [terraster]")
        try:
            self.children.manage()
            while True:
                self._promote()
                if self._announced:
                    self.adoption.dismiss_late()
                for number in self.wait_for_signals():
                    self._handle(number)
                self.children.end_overdue()
                self.children.manage()
                if not self.upgrade.is_under_way and self.predecessors.manage():
                    self.children.tell_all(("seats",))
                    self.outliers.retired()
        except HaltServer as end:
            self.halt(end.reason, end.exit_status)
        except Exception:
            self.log.exception("the master cannot go on; it stops at once")
            self.stop(False)
            self.pidfile.unlink()
            sys.exit(-1)

    def start(self) -> None:
        """Everything up to the first fork."""
        self.pid = os.getpid()
        for warning in self.running.loaded.warnings:
            self.log.warning("%s", warning)
        get_hub().exception_stream = self.log.stream()
        raise_limit(self.log)
        self.listeners.inherit(os.environ)
        self.signals.start()
        self.upgrade.watch_predecessor(self.signals.wake)
        self._write_pidfile()
        try:
            if not self.upgrade.predecessor:
                self.adoption.take_over(self.listeners, addresses(self.running.loaded))
            if self.adoption:
                self.step("sockets adopted")
            self._prepare()
        except BaseException:
            if self.ending.is_set():
                self._leave_nobody()
            self.listeners.close_all(unlink=not self.upgrade.predecessor and not self.adoption)
            self.pidfile.unlink()
            remove_directories(self._made)
            raise

    def _leave_nobody(self) -> None:
        """A signal ended the start: Terraster ends as a whole, unless another master lives."""
        if self.upgrade.promoted(os.environ):
            self.adoption.look(self.upgrade.is_settled)
        if not self.upgrade.predecessor:
            self.adoption.dismiss(wait=self.running.snapshot.drain_timeout + FAREWELL + FORCED)

    def _dismiss_orphans(self) -> None:
        """This master serves: the workers of the one before are needed no longer."""
        if self.adoption:
            self.listeners.promote()
            self.adoption.dismiss()
            self.step("orphans dismissed")
        self._let_leave()

    def _let_leave(self) -> None:
        """Give the workers of masters that have ended their time to leave."""
        self.predecessors.dismissed(self.running.snapshot.drain_timeout + FAREWELL + FORCED)

    def _write_pidfile(self) -> None:
        path = self.cfg.pidfile + (".2" if self.upgrade.predecessor else "")
        self._made = runtime_directory(os.path.dirname(path))
        try:
            self.pidfile = Pidfile(path)
            self.pidfile.create(self.pid, beside="" if self.upgrade.predecessor else f"{self.cfg.pidfile}.2")
            if not self.upgrade.predecessor:
                self.pidfile.forget_dead(f"{path}.2")
        except OSError as error:
            remove_directories(self._made)
            raise StartError(f"cannot write {path}: {error.strerror}") from error

    def _prepare(self) -> None:
        """Run the first configuration, in the two phases of all later ones."""
        self.agenda = Agenda(self.log)
        self.agenda.start()
        new = Proposal(self.running.loaded, None, self.ending)
        parts = Parts(self._basis(), new)
        self.table, self.leases, self.predecessors = parts.table, parts.leases, parts.predecessors
        self.participants, self.children, self.reloader = parts.participants, parts.children, parts.reloader
        self.tickets = parts.tickets
        self.outliers, self.orders, self.files = parts.outliers, parts.orders, parts.files
        self.service_manager.status("probing the backends")
        prepare(parts.behind_table, new, self.step, self.log)
        if self.ending.is_set():
            self.log.info("stopped before the first round of probes was over")
            self.service_manager.stopping()
            self._stop_participants()
            raise SystemExit(0)
        for note in new.notes:
            self.log.warning("%s", note)
        commit(self.participants, new, self.step)
        self.generations = parts.generations
        self.generations.started()
        for one in self.participants:
            one.start()
        self.files.start()
        gc.collect()
        gc.freeze()
        collector.work()  # `terraster.cli.entry` let it rest; before the freeze it would look at all that was made once more
        self.log.info("listening on %s", ", ".join(addresses(new.snapshot)) or "nothing")
        if remark := parts.rooms.remark:
            (self.log.warning if parts.rooms.is_faulty else self.log.info)("%s (docs/operations.md, Compiled rooms)", remark)
        if journal.takes_access_lines(new.snapshot, os.environ):
            self.log.info(
                "access lines go to systemd's journal, which may drop lines, warnings too, if there are many: `access_log` may name a file"
            )

    def _basis(self) -> Basis:
        return Basis(
            load=self.load,
            placed=self.placed,
            documents=self.documents,
            roles=self.roles,
            compile=self.compile,
            more=self.more,
            step=self.step,
            running=self.running,
            app=self.app,
            log=self.log,
            agenda=self.agenda,
            service_manager=self.service_manager,
            upgrade=self.upgrade,
            listeners=self.listeners,
            adoption=self.adoption,
            signals=self.signals,
            pidfile=self.pidfile,
            heard=self.heard,
            ending=self.ending,
        )

    def _on_end(self) -> None:
        self.ending.set()
        self.heard.set()

    def describe(self) -> str:
        """One line for the service manager."""
        return self.running.describe(self.children.workers)

    # Waiting.

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """One turn's wait: until a signal, a wake-up, the next start of a child, or the next sign of life is due."""
        self._live()
        due = [timeout]
        if seconds := self.children.next_start(time.monotonic()):
            due.append(seconds)
        if self.service_manager.watchdog:
            due.append(self.service_manager.watchdog)
        signals = self.signals.wait(min(due))
        self._live()
        return signals

    def _live(self) -> None:
        self.table.q[self.table.master + MasterCells.HEARTBEAT] = time.monotonic_ns()
        self.service_manager.alive()
        self.log.flush()
        self.log.publish(self.table.q, self.table.seat(0), time.time())
        if not self._announced and not self.children.stopping and self.children.all_serve():
            self._announced = self.children.complete = True
            self.log.info("ready: %s (pid %d)", self.describe(), self.pid)
            self.service_manager.ready(self.describe())
            self.generations.served()
            self._dismiss_orphans()

    def _handle(self, number: int) -> None:
        """Do what a signal asks for. Raises HaltServer if it ends the master."""
        match number:
            case signal.SIGCHLD:
                for pid in self.children.reap():
                    if self.upgrade.ended(pid):
                        self.leases.outlived()
                        self._let_leave()
                        self.pidfile.forget_dead(f"{self.cfg.pidfile}.2")
                        self.listeners.forget_successor(pid)
                        gevent.spawn(self.orders.alone)
            case signal.SIGHUP:
                self.log.info("SIGHUP: reloading")
                gevent.spawn(self._reload)
            case signal.SIGTERM:
                snapshot = self.running.snapshot
                first = f"new connections are accepted for {snapshot.drain_delay:g} s; then " if snapshot.drain_delay else ""
                if not self._stopped:
                    self._tell_stop(True)
                self.log.info("SIGTERM: stopping; %sopen requests get up to %g s", first, snapshot.drain_timeout)
                self.audit.took(number, snapshot.generation)
                raise HaltServer("", 0)
            case signal.SIGINT | signal.SIGQUIT:
                self.log.info("%s: stopping at once", signal.Signals(number).name)
                self.stop(False)
                self.audit.took(number, self.running.snapshot.generation)
                raise HaltServer("", 0)
            case signal.SIGTTIN | signal.SIGTTOU:
                workers = self.children.want(self.children.workers + (1 if number == signal.SIGTTIN else -1))
                words = f"{workers} worker{'s' * (workers != 1)} from now on"
                self.log.info("%s: %s", signal.Signals(number).name, words)
                self.audit.took(number, self.running.snapshot.generation, words)
            case signal.SIGUSR1:
                self.log.info("SIGUSR1: opening the log files again")
                self.log.reopen_files()
                self.children.kill_all(signal.SIGUSR1)
                self.audit.took(number, self.running.snapshot.generation)
            case signal.SIGUSR2:
                self._upgrade()

    def _reload(self) -> None:
        before = self.running.snapshot.generation
        self.audit.reloaded(before, self.reloader.reload("HUP"))

    def _upgrade(self) -> None:
        """Upgrade in place: a new master with our listening sockets; we go on until TERM or QUIT comes."""
        if self.upgrade.is_under_way:
            self.log.warning("SIGUSR2 ignored: an upgrade is under way")
            self.audit.ignored(signal.SIGUSR2, self.running.snapshot.generation, "an upgrade is under way")
            return
        self.leases.closed = "an upgrade is under way; its two masters share the table"
        self.upgrade.begin(self.listeners, control_address(self.running.snapshot), self._hand_over_table)
        self.orders.upgrade()
        self.audit.took(signal.SIGUSR2, self.running.snapshot.generation)

    def _hand_over_table(self, environ: MutableMapping[str, str]) -> None:
        shared.hand_over(self.table, self.running.snapshot, environ)
        self.tickets.hand_over(environ)

    def _promote(self) -> None:
        """The master that started this one has gone: take over its names."""
        if self.service_manager.silent and self.pidfile.has_name(self.cfg.pidfile):
            self.service_manager.silent = False
            self.service_manager.ready(self.describe())
        if self.upgrade.promoted(os.environ):
            self.service_manager.silent = False
            if self._announced:
                self._let_leave()
            self.pidfile.rename(self.cfg.pidfile)
            self.step("pid file promoted")
            self.listeners.promote()
            self.step("control socket promoted")
            gevent.spawn(self.orders.alone)
            self.service_manager.ready(self.describe())

    # The end.

    def halt(self, reason: str = "", exit_status: int = 0) -> NoReturn:
        """Stop, and end the process."""
        self.stop()
        if exit_status:
            self.log.error("stopped: %s", reason)
        else:
            self.log.info("stopped")
        self.pidfile.unlink()
        if exit_status:
            remove_directories(self._made)
        sys.exit(exit_status)

    def _stop_participants(self) -> None:
        self.agenda.stop()
        for one in self.participants:
            one.stop()

    def _tell_stop(self, graceful: bool) -> int:
        """Others see from now on that this master stops: so workers of a successor that dies do not leave because this one serves. Returns
        `MasterCells.DELAY` or `MasterCells.DRAIN`."""
        shared, q, cells = self.upgrade.is_under_way, self.table.q, self.table.master
        delays = graceful and self.running.snapshot.drain_delay and self._announced and not shared
        q[cells + MasterCells.SHARED] = int(shared)
        q[cells + MasterCells.STOPPING] = found = MasterCells.DELAY if delays else MasterCells.DRAIN
        return found

    def stop(self, graceful: bool = True) -> None:
        """End all children: drained, or at once. Safe to call again."""
        if self._stopped:
            return
        self._stopped = True
        self._promote()
        has_served = self._announced or self.ending.is_set()  # else the workers of a master before wait for another one
        self._on_end()
        q, cells, snapshot, shared = self.table.q, self.table.master, self.running.snapshot, self.upgrade.is_under_way
        delays = self._tell_stop(graceful) == MasterCells.DELAY
        if self.predecessors.are_joined_by(self.upgrade.successor):
            self.pidfile.give_name()
        self.service_manager.stopping(self.upgrade.successor)
        drain = Drain(self.children, self.wait_for_signals, self._handle)
        if delays:
            graceful = drain.delay(snapshot.drain_delay)
            q[cells + MasterCells.STOPPING] = MasterCells.DRAIN
        self.children.stopping = True
        self.files.stop()
        self._stop_participants()
        self.listeners.close([one.address for one in snapshot.listeners], unlink=not shared and not self.listeners.activated)
        if graceful:
            self.children.tell_all(("stopping",))
            drain.drain(snapshot.drain_timeout)
        else:
            drain.end()
        if has_served and not shared:  # else another master serves, or its workers do until there is one
            self.adoption.look(self.upgrade.is_settled)
            drain.predecessors(self.predecessors, self.adoption, snapshot.drain_timeout, graceful)
        if self.predecessors.are_joined_by(self.upgrade.successor):
            self.pidfile.give_name()
            self.listeners.give_name(self.upgrade.successor)
        self.listeners.close_all(unlink=not shared)
