"""The master: starts everything, watches everything, ends everything; it never touches a client's octets.

    terraster (master)
     ├─ proxy worker, seat 1 … N
     └─ admin worker

It is a subclass of gunicorn's Arbiter, which gives it the program's log and the class of each child. The loop waits cooperatively:
probes, channels and reloads are greenlets of the same hub. The order of a start:

    load ─▶ prepare: overrides, names, slots, plan, listeners, first probes ─▶ commit ─▶ fork ─▶ all children serve ─▶ READY=1

`terraster.master.children` has the children, `terraster.master.reload` the reload, `terraster.master.upgrade` the upgrade by USR2.

The module is longer than 400 lines because it makes every part of the master in one place, and names in one place what each signal does.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, NoReturn

import gevent
from gevent import get_hub
from gevent.event import Event
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from terraster.config import unserved
from terraster.errors import StartError
from terraster.logs import journal
from terraster.state.cells import MasterCells
from terraster.state.view import SeatView
from terraster.worker.process import Process

from . import shared
from .adoption import Adoption
from .agenda import Agenda
from .application import Application
from .backends.outliers import Outliers
from .backends.prober import Prober
from .backends.recent_failures import FAILURES, RecentFailures
from .backends.states import BackendStates
from .certificates import Certificates
from .children import FORCED, Children
from .control import Control
from .descriptors import raise_limit
from .discovery.names import Names
from .discovery.unresolved import UnresolvedBackends
from .drain import Drain
from .listeners import Listeners, addresses, control_address
from .operator.account import Accounts
from .operator.commands import OperatorCommands
from .operator.orders import Orders
from .operator.overrides import Overrides
from .participant import Outcome, Participant, Proposal, commit, prepare
from .pidfile import Pidfile, runtime_directory
from .reload import Load, Reloader
from .running import Compile, Planner, Running, Slots
from .runtime_files import RuntimeFiles
from .shared import Predecessors
from .signals import Signals
from .steps import Step
from .systemd import ServiceManager
from .upgrade import Upgrade

__all__ = ["Master"]

_LOOK = 0.05  # seconds between two looks whether the workers of a master before have ended
_BEFORE_TABLE = 3  # participants that prepare the first configuration before there is a table


class Master(Arbiter):  # type: ignore[misc]
    """The one master of a host. Made, and run, in the main greenlet of a process without threads."""

    def __init__(
        self, load: Load, roles: Mapping[str, type[Process]], compile: Compile, more: Sequence[Participant], step: Step
    ) -> None:
        self.more = more
        self.step = step
        self.load = load
        self.roles = dict(roles)
        self.compile = compile
        self.running = Running(load(1))
        unserved.refuse(self.running.loaded)
        super().__init__(Application(self.running.loaded, next(iter(self.roles.values()))))
        self.service_manager = ServiceManager(os.environ)
        self.upgrade = Upgrade(self.log, self.cfg.env_orig, self.START_CTX["cwd"], step)
        self.listeners = Listeners(aside=self.upgrade.predecessor != 0)
        self.ending = Event()  # a signal that ends the master came in
        self.heard = Event()  # see `Children`
        self.signals = Signals(self._on_end)
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
            self._look_for_orphans()
            self._prepare()
        except BaseException:
            if self.ending.is_set():
                self.adoption.dismiss(wait=self.running.snapshot.drain_timeout + FORCED)
            self.listeners.close_all(unlink=not self.upgrade.predecessor and not self.adoption)
            self.pidfile.unlink()
            raise

    def _look_for_orphans(self) -> None:
        """Workers whose master was killed go on serving: take over what they have."""
        if not self.upgrade.predecessor:
            wanted = addresses(self.running.loaded)
            self.adoption.look(lambda: not self._lacking(wanted))

    def _lacking(self, wanted: list[str]) -> list[str]:
        self.listeners.adopt(self.adoption.listeners(), self.adoption.activated)
        return self.listeners.lacking(wanted)

    def _dismiss_orphans(self) -> None:
        """This master serves: the workers of the one before are needed no longer."""
        if self.adoption:
            self.listeners.promote()
            self.adoption.dismiss()
            self.predecessors.dismissed(self.running.snapshot.drain_timeout + FORCED)

    def _write_pidfile(self) -> None:
        path = self.cfg.pidfile + (".2" if self.upgrade.predecessor else "")
        runtime_directory(os.path.dirname(path))
        try:
            self.pidfile = Pidfile(path)
            self.pidfile.create(self.pid, beside="" if self.upgrade.predecessor else f"{self.cfg.pidfile}.2")
            if not self.upgrade.predecessor:
                self.pidfile.forget_dead(f"{path}.2")
        except OSError as error:
            raise StartError(f"cannot write {path}: {error.strerror}") from error

    def _prepare(self) -> None:
        """Run the first configuration, in the two phases of all later ones."""
        self.agenda = Agenda(self.log)
        self.agenda.start()
        new = Proposal(self.running.loaded, None, self.ending)
        self._make(new)
        self.service_manager.status("probing the backends")
        prepare(self.participants[_BEFORE_TABLE:], new, self.step, self.log)
        if self.ending.is_set():
            self.log.info("stopped before the first round of probes was over")
            self.service_manager.stopping()
            self._stop_participants()
            raise SystemExit(0)
        for note in new.notes:
            self.log.warning("%s", note)
        commit(self.participants, new, self.step)
        for one in self.participants:
            one.start()
        self.files.start()
        gc.collect()
        gc.freeze()
        self.log.info("listening on %s", ", ".join(addresses(new.snapshot)) or "nothing")
        if journal.takes_access_lines(new.snapshot, os.environ):
            self.log.info(
                "access lines go to systemd's journal, which may drop lines, warnings too, if there are many: `access_log` may name a file"
            )

    def _make(self, new: Proposal) -> None:
        """Make all parts of the master. The size of the table depends on the addresses of names, so these are looked up before."""
        running, log = self.running, self.log
        overrides = Overrides(new.loaded.state_dir, log, step=self.step)
        overrides.load()
        overrides.expire()
        certificates = Certificates(log, self.agenda, self._use_new_certificates)
        names = Names(log, self.agenda, self._use_new_addresses)
        first: tuple[Participant, ...] = (overrides, certificates, names)
        prepare(first, new, self.step, log)
        found = (
            shared.inherited(os.environ, self.upgrade.predecessor, self.log) if self.upgrade.predecessor else self.adoption.table()
        )
        self.service_manager.silent = bool(
            found and self.upgrade.predecessor
        )  # an older version does not tell when it gives us its names
        self.table, leases = shared.have(found, new.snapshot)
        self.leases = leases
        table = self.table
        self.predecessors = Predecessors(table, leases, log)
        view = SeatView(table)
        states = BackendStates(table, log, self.agenda)
        self.outliers = Outliers(table, states, log, self.agenda)
        self.recent_failures = RecentFailures(table)
        prober = Prober(table, log, states, self.agenda, self.outliers.checked)
        self.orders = Orders(running, overrides, states, self.agenda, log, self._refresh, self._is_upgrade)
        self.children = Children(
            self.roles,
            self.app,
            log,
            running,
            view,
            leases,
            self.listeners,
            heard=self.heard,
            wake=self.signals.wake,
            hear=self._hear,
            retired=self.outliers.retired,
            abandon=self._abandon,
        )
        self.participants: tuple[Participant, ...] = (
            *first,
            Slots(leases),
            Planner(running, self.compile, view, log),
            self.listeners,
            states,
            self.outliers,
            prober,
            self.orders,
            UnresolvedBackends(names, states.resolved),
            self.children,
            *self.more,
        )
        self.reloader = Reloader(
            running,
            self.participants,
            self.load,
            self.children,
            self.listeners,
            self.service_manager,
            self.upgrade,
            table,
            log,
            self.ending,
            self.step,
        )
        accounts = Accounts(running, overrides, states, prober, self.outliers, table)
        commands = OperatorCommands(running, overrides, self.orders, accounts, log, self._refresh)
        self.files = RuntimeFiles(
            self.pidfile,
            self.listeners,
            control_address(new.loaded),
            log,
            restored=self.children.take_sockets,
            paused=self._is_taking_over,
        )
        self.control = Control(
            running,
            self.participants,
            self.children,
            self.reloader,
            commands,
            accounts,
            states,
            self.outliers,
            self.recent_failures,
            self.upgrade,
            table,
            log,
        )

    def _refresh(self, why: str) -> Outcome:
        return self.reloader.refresh(why)

    def _use_new_addresses(self) -> bool:
        return self.reloader.refresh("names").ok

    def _is_taking_over(self) -> bool:
        return self.upgrade.is_under_way or bool(self.adoption)

    def _use_new_certificates(self) -> bool:
        return self.reloader.refresh("certificates").ok

    def _is_upgrade(self) -> bool:
        return self.upgrade.is_under_way

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
            self._dismiss_orphans()

    def _hear(self, child: Process, message: tuple[Any, ...]) -> None:
        """A message of a child that is not about its own life."""
        match message:
            case ("traffic", reports):
                self.outliers.receive(reports, child.seat)
                self.recent_failures.note({report[0] for report in reports if report[2] in FAILURES})
            case ("ask", ticket, verb, arguments):
                gevent.spawn(self.control.answer, child, ticket, verb, arguments)

    def _abandon(self, child: Process) -> None:
        """In a child: close what only the master may hold."""
        self.signals.abandon()
        for address, one in self.listeners.open.items():
            if address not in child.listeners:
                one.close()
        for participant in self.participants:
            participant.abandon()
        self.adoption.abandon()
        self.pidfile.abandon()
        os.environ.pop("NOTIFY_SOCKET", None)

    def _handle(self, number: int) -> None:
        """Do what a signal asks for. Raises HaltServer if it ends the master."""
        match number:
            case signal.SIGCHLD:
                for pid in self.children.reap():
                    if self.upgrade.ended(pid):
                        self.leases.closed = ""
                        self.pidfile.forget_dead(f"{self.cfg.pidfile}.2")
                        self.listeners.forget_successor(pid)
                        gevent.spawn(self.orders.alone)
            case signal.SIGHUP:
                self.log.info("SIGHUP: reloading")
                gevent.spawn(self.reloader.reload, "HUP")
            case signal.SIGTERM:
                snapshot = self.running.snapshot
                first = f"new connections are accepted for {snapshot.drain_delay:g} s; then " if snapshot.drain_delay else ""
                self.log.info("SIGTERM: stopping; %sopen requests get up to %g s", first, snapshot.drain_timeout)
                raise HaltServer("", 0)
            case signal.SIGINT | signal.SIGQUIT:
                self.log.info("%s: stopping at once", signal.Signals(number).name)
                self.stop(False)
                raise HaltServer("", 0)
            case signal.SIGTTIN | signal.SIGTTOU:
                workers = self.children.want(self.children.workers + (1 if number == signal.SIGTTIN else -1))
                self.log.info("%s: %d workers from now on", signal.Signals(number).name, workers)
            case signal.SIGUSR1:
                self.log.info("SIGUSR1: opening the log files again")
                self.log.reopen_files()
                self.children.kill_all(signal.SIGUSR1)
            case signal.SIGUSR2:
                self._upgrade()

    def _upgrade(self) -> None:
        """Upgrade in place: a new master with our listening sockets; we go on until TERM or QUIT comes."""
        if self.upgrade.is_under_way:
            self.log.warning("SIGUSR2 ignored: an upgrade is under way")
            return
        self.leases.closed = "an upgrade is under way; its two masters share the table"
        self.upgrade.begin(self.listeners, control_address(self.running.snapshot), self._hand_over_table)
        self.orders.upgrade()

    def _hand_over_table(self, environ: MutableMapping[str, str]) -> None:
        shared.hand_over(self.table, self.running.snapshot, environ)

    def _promote(self) -> None:
        """The master that started this one has gone: take over its names."""
        if self.service_manager.silent and self.pidfile.has_name(self.cfg.pidfile):
            self.service_manager.silent = False
            self.service_manager.ready(self.describe())
        if self.upgrade.promoted(os.environ):
            self.service_manager.silent = False
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
        sys.exit(exit_status)

    def _stop_participants(self) -> None:
        self.agenda.stop()
        for one in self.participants:
            one.stop()

    def stop(self, graceful: bool = True) -> None:
        """End all children: drained, or at once. Safe to call again."""
        if self._stopped:
            return
        self._stopped = True
        self._on_end()
        q, cells, snapshot, shared = self.table.q, self.table.master, self.running.snapshot, self.upgrade.is_under_way
        q[cells + MasterCells.SHARED] = int(shared)
        q[cells + MasterCells.STOPPING] = MasterCells.DRAIN
        if self.upgrade.successor:
            self.pidfile.give_name()
        self.service_manager.stopping(self.upgrade.successor)
        drain = Drain(self.children, self.wait_for_signals, self._handle)
        if graceful and snapshot.drain_delay and self._announced and not shared:
            q[cells + MasterCells.STOPPING] = MasterCells.DELAY
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
        if self._announced or self.ending.is_set():  # else this master could not start, and they wait for another one
            self._end_predecessors(graceful)
        if self.upgrade.successor:
            self.listeners.give_name(self.upgrade.successor)
        self.listeners.close_all(unlink=not shared)

    def _end_predecessors(self, graceful: bool) -> None:
        """Leave none of the workers behind that a master before this one left."""
        if self.upgrade.is_under_way:
            return
        limit = time.monotonic() + (self.running.snapshot.drain_timeout if graceful else 0.0) + FORCED
        number = signal.SIGTERM if graceful else signal.SIGQUIT
        sent = 0
        while self.predecessors.end(number if number != sent else 0):
            sent = number
            self.wait_for_signals(_LOOK)
            if time.monotonic() > limit:
                number = signal.SIGKILL
