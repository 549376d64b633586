"""The child processes of one master: started, listened to, replaced, watched and collected.

A child's way: starting ─"ready"─▶ serving ─replaced by a newer one─▶ outgoing ─TERM─▶ leaving ─▶ collected, its seat retired.

Forks happen in the main greenlet only (`Children.manage`). A greenlet that wants a child replaced writes that into the child's state and
wakes the loop.

The module is longer than 400 lines because each step of a child's way changes the same states, and is best read beside the others.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import gevent
from gevent.event import Event
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from terraster.certs.acme_answers import kept_answers
from terraster.certs.challenges import NONE, Answers
from terraster.certs.tickets import TicketSecrets
from terraster.config.management import admin_addresses
from terraster.errors import TerrasterError
from terraster.logs.log_channel import LogChannel
from terraster.logs.program import ProgramLog
from terraster.net.tunnel import FAREWELL
from terraster.state.cells import MasterCells, Seat
from terraster.state.leases import Leases
from terraster.state.view import SeatView
from terraster.worker.process import Process

from .backoff import Backoff
from .events import Events
from .listeners import Listeners, control_address
from .participant import Participant, Proposal
from .running import Running
from .signals import ALL

__all__ = ["BOOT_ERROR", "FORCED", "HUNG", "LEAVING", "OUTGOING", "SERVING", "STARTING", "Children"]

HUNG = 30.0  # seconds without a heartbeat after which a child is killed
FORCED = 2.0  # seconds a child gets beyond its drain timeout and its farewell, or after QUIT, before it is killed
BOOT_ERROR: int = Arbiter.WORKER_BOOT_ERROR  # exit code of a child that ended before it served

STARTING, SERVING, OUTGOING, LEAVING = "starting", "serving", "outgoing", "leaving"

_BLOCKED = (*ALL, signal.SIGABRT)  # around a fork: the child unblocks them when its handlers are installed


class Children(Participant):
    """The children of one master, and how many there should be.

    roles:     "proxy" and "admin" (or only one of them) → the `Process` subclass that does it
    app:       gunicorn's application, with its configuration ``app.cfg``
    view:      the master's view of the shared table, which children inherit
    heard:     set when a child said or did something that a reload may wait for
    wake:      makes the master's loop turn now
    hear:      ``hear(child, message)``: a message that is not about the child's own life
    died:      ``died(seat, now)``: a child died that was not told to go; its cells are still there. Returns what it was in, for a log line
    retired:   called when the seat of a child that ended was emptied
    abandon:   ``abandon(child)``, in the child: close what only the master may hold

    ``by_pid``: those that have not been collected. ``workers``: proxy workers that are wanted. ``complete``: True once
    all children served. ``stopping``: no child is started any longer.
    """

    name = "children"

    def __init__(
        self,
        roles: Mapping[str, type[Process]],
        app: Any,
        log: ProgramLog,
        running: Running,
        view: SeatView,
        leases: Leases,
        listeners: Listeners,
        *,
        heard: Event,
        wake: Callable[[], None],
        hear: Callable[[Process, tuple[Any, ...]], None],
        died: Callable[[int, float], str],
        retired: Callable[[], None],
        abandon: Callable[[Process], None],
    ) -> None:
        self._roles = dict(roles)
        self._app = app
        self._log = log
        self._running = running
        self._view = view
        self._table = view.table
        self._leases = leases
        self._listeners = listeners
        self._wake = wake
        self._hear = hear
        self._died = died
        self._retired = retired
        self._abandon = abandon
        self.events = Events()
        self.by_pid: dict[int, Process] = {}
        self.workers = 1
        self.heard = heard
        self.complete = False
        self.stopping = False
        self._ticket_secrets: TicketSecrets | None = None
        self.challenged, self.answers = 0, NONE  # see `Process`
        self._gone: list[int] = []  # seats of children that ended, to be retired
        self._backoff = {role: Backoff() for role in self._roles}
        self._started = 0
        self._traces, self._tails = LogChannel(), LogChannel()

    # How many there are, and how many there should be.

    def prepare(self, new: Proposal) -> None:
        if new.old is None:  # an order that was interrupted goes on: the authority may ask the first worker
            try:
                self.answers = kept_answers(new.snapshot)
            except OSError as error:
                self._log.warning("the answers to the authority cannot be read: %s: %s", error.filename, error.strerror)

    def commit(self, new: Proposal) -> None:
        workers = new.snapshot.workers
        if new.old is None or workers != new.old.workers:
            self.want(workers)
            if self.workers < workers and new.old is not None:
                new.notes.append(f"workers: {workers} need a restart; there are seats for {self.workers}")

    def want(self, workers: int) -> int:
        """Have so many proxy workers from now on, at least one, and no more than there are seats for. Returns how many that is. Any
        greenlet."""
        seats = len(self._table.seats_of(self._table.own))
        self.workers = max(1, min(workers, seats // 2 - 1))
        if self.workers < workers:
            self._log.warning("no more than %d workers: the shared table has %d seats", self.workers, seats)
        self._table.q[self._table.master + MasterCells.WORKERS] = self.workers
        self._wake()
        return self.workers

    def _wanted(self, role: str) -> int:
        return self.workers if role == "proxy" else 1

    def serving(self) -> list[Process]:
        """Children that said that they serve and were not told to go."""
        return [child for child in self.by_pid.values() if child.state == SERVING]

    def all_serve(self) -> bool:
        """True if as many children as wanted serve, and no others are left."""
        return len(self.serving()) == len(self.by_pid) >= sum(self._wanted(role) for role in self._roles)

    def _of(self, role: str) -> list[Process]:
        return [child for child in self.by_pid.values() if child.name == role]

    def next_start(self, now: float) -> float:
        """Seconds until a child may be started that had to wait, 0.0: none waits."""
        waits = [seconds for backoff in self._backoff.values() if (seconds := backoff.remaining(now)) > 0]
        return min(waits, default=0.0)

    def manage(self) -> None:
        """Have as many children of each role as wanted: start those that are missing; send away those that are too many or were replaced.
        Main greenlet only."""
        if self.stopping:
            return
        now = time.monotonic()
        for role in self._roles:
            wanted = self._wanted(role)
            current = [child for child in self._of(role) if child.state in (STARTING, SERVING)]
            for _ in range(wanted - len(current)):
                if self._backoff[role].remaining(now) <= 0:
                    self._spawn(role)
            for child in sorted(current, key=_age)[: max(0, len(current) - wanted)]:
                self.dismiss(child)
            if sum(child.state == SERVING for child in self._of(role)) >= wanted:
                for child in self._of(role):
                    if child.state == OUTGOING:
                        self.dismiss(child)
        self.retire()

    def retire(self) -> None:
        """Add the counters of the children that ended to those of the master's seat."""
        while self._gone:
            self._table.retire(self._gone.pop(), self._leases.backend_slots(), self._leases.location_slots())
            self._retired()
            self.tell_all(("seats",))

    # Starting one.

    def _free_seat(self) -> int:
        taken = {child.seat for child in self.by_pid.values()}.union(self._gone)
        return next((seat for seat in self._table.seats_of(self._table.own) if seat not in taken), 0)

    def _spawn(self, role: str) -> None:
        """Fork one child. Main greenlet only."""
        seat = self._free_seat()
        if not seat:
            self._log.error("no seat is free for another %s worker", role)
            return
        self._started += 1
        running = self._running
        child = self._roles[role](self._started, os.getpid(), [], self._app, HUNG, self._app.cfg, self._log)
        child.seat, child.view, child.acknowledged = seat, self._view, running.snapshot.generation
        child.activated = self._listeners.activated
        child.traces, child.tails = (
            (self._traces.near, self._tails.near) if role == "proxy" else (self._traces.far, self._tails.far)
        )
        child.ticket_secrets = self._ticket_secrets
        child.snapshot, child.plan, child.listeners = running.snapshot, running.plan, self._listeners_of(role)
        child.challenged, child.answers = self.challenged, self.answers
        self._table.q[self._table.seat(seat) + Seat.OLDEST] = running.snapshot.generation
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        try:
            child.pid = os.fork()
        except OSError as error:
            self._log.error("cannot fork a %s worker: %s", role, error.strerror)
            self._backoff[role].died(time.monotonic(), 0.0)
            child.fork_failed()
            return
        finally:
            if child.pid != 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if child.pid == 0:
            self._be(child)
        child.in_master()
        self.tell_all(("seats",))
        self.by_pid[child.pid] = child
        child.reader = gevent.spawn(self._listen_to, child)
        self._log.info("%s worker %d started in seat %d", role, child.pid, seat)

    def _listeners_of(self, role: str) -> dict[str, Any]:
        """The open sockets that a role serves, by address."""
        snapshot = self._running.snapshot
        if role == "proxy":
            addresses = [listener.address for listener in snapshot.listeners]
        else:
            addresses = [*admin_addresses(snapshot), control_address(snapshot)]
        return {address: self._listeners.open[address] for address in addresses if address in self._listeners.open}

    def _be(self, child: Process) -> NoReturn:
        """In the child: its life, then the end of the process, without finalizers of what the master was doing when it forked."""
        code = 0
        self._log.forked()
        try:
            child.pid = os.getpid()
            child.before = lambda: self._let_go(child)
            util._setproctitle(f"{child.name} worker [terraster]")
            child.init_process()
        except BaseException:
            code = 1 if child.booted else BOOT_ERROR
            self._log.exception("%s worker %d failed", child.name, os.getpid())
        finally:
            self._log.close()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _let_go(self, child: Process) -> None:
        """In the child: close what only the master, or another child, may hold. An open end of a channel would hide a dead
        master."""
        for sibling in self.by_pid.values():
            sibling.channel.abandon()
            sibling.tmp.close()
        self._abandon(child)

    # Talking to them.

    def _listen_to(self, child: Process) -> None:
        """One greenlet for each child: takes its messages until its end of the channel closes."""
        try:
            while True:
                message, _descriptors = child.channel.receive()
                match message:
                    case ("ready", _generation):
                        if child.state == STARTING:
                            child.state = SERVING
                        self.tell_all(("seats",))
                        self._wake()
                    case ("applied", generation):
                        child.acknowledged = generation
                        self.heard.set()
                    case ("failed", generation, why):
                        child.refused = (generation, why)
                        self.heard.set()
                    case ("challenged", number):
                        child.challenged = number
                        self.heard.set()
                    case ("draining",):
                        if not self.stopping and child.state in (STARTING, SERVING):
                            self._log.info("%s worker %d received TERM and drains; replaced at once", child.name, child.pid)
                            self._leaves(child)
                            self._wake()
                    case _:
                        self._hear(child, message)
        except TerrasterError:
            return  # it has gone; SIGCHLD says the rest

    def tell_all(self, message: tuple[Any, ...]) -> None:
        """Send a message to every child that serves, without waiting for any of them."""
        for child in self.serving():
            gevent.spawn(_tell, child, message)

    def give_ticket_secrets(self, secrets: TicketSecrets) -> None:
        """Have all proxy workers use these secrets, those that are forked later included."""
        self._ticket_secrets = secrets
        for child in self._of("proxy"):
            gevent.spawn(_tell, child, ("tickets", secrets))

    def challenge(self, answers: Answers, patience: float) -> bool:
        """Have these answers given to an authority. True once every proxy worker that serves gives them, False if that takes longer than
        ``patience`` seconds. Any greenlet, one at a time."""
        self.challenged, self.answers = self.challenged + 1, answers
        number, deadline = self.challenged, time.monotonic() + patience
        told: set[Process] = set()
        while True:
            self.heard.clear()
            waiting = [child for child in self.serving() if child.name == "proxy" and child.challenged < number]
            for child in waiting:
                if child not in told:
                    told.add(child)
                    gevent.spawn(_tell, child, ("challenges", number, answers))
            left = deadline - time.monotonic()
            if not waiting or left <= 0:
                return not waiting
            self.heard.wait(min(left, 0.05))

    def take_sockets(self, addresses: list[str]) -> None:
        """Have children serve listening sockets that were made again: proxy workers get them, the admin worker is replaced."""
        for child in self.by_pid.values():
            mine = self._listeners_of(child.name)
            changed = [address for address in addresses if address in mine]
            if changed and child.name == "proxy" and child.state in (STARTING, SERVING):
                copies = [os.dup(mine[address].fileno()) for address in changed]
                gevent.spawn(_hand, child, ("sockets", changed), copies)
            elif changed:
                self.replace(child)

    # Sending them away.

    def replace(self, child: Process) -> None:
        """Have a child replaced: a new one first, then this one drains. Any greenlet."""
        if child.state in (STARTING, SERVING):
            child.state = OUTGOING
            self._wake()

    def dismiss(self, child: Process) -> None:
        """Tell a child to drain and leave: by signal, and by the channel, as code of a plugin may ignore signals."""
        self._leaves(child)
        _kill(child.pid, signal.SIGTERM)
        gevent.spawn(_tell, child, ("leave",))

    def _leaves(self, child: Process) -> None:
        child.state = LEAVING
        child.deadline = time.monotonic() + self._running.snapshot.drain_timeout + FAREWELL + FORCED

    def kill(self, child: Process) -> None:
        """End a child that did not leave in time."""
        self._log.error("%s worker %d did not leave in time, killed", child.name, child.pid)
        _kill(child.pid, signal.SIGKILL)

    def kill_all(self, number: int) -> None:
        """Send a signal to every child."""
        for pid in list(self.by_pid):
            _kill(pid, number)

    def end_overdue(self) -> None:
        """Kill children that hang, and those that were told to go and did not."""
        now = time.monotonic()
        for child in list(self.by_pid.values()):
            beat = self._table.q[self._table.seat(child.seat) + Seat.HEARTBEAT] / 1e9
            if child.deadline and now > child.deadline:
                self.kill(child)
                child.deadline = now + FORCED
            elif now - max(beat, child.started) > HUNG:
                self._log.critical("%s worker %d hangs: no heartbeat for %d s", child.name, child.pid, HUNG)
                _kill(child.pid, signal.SIGKILL if child.aborted else signal.SIGABRT)
                child.aborted = True

    # Collecting them.

    def reap(self) -> list[int]:
        """Collect the children that ended, and see to their succession. Returns the pids of ended processes that are none of them.

        Raises HaltServer if a child cannot start at all, and no start has succeeded yet.
        """
        others: list[int] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return others
            if not pid:
                return others
            if pid in self.by_pid:
                self._reaped(self.by_pid.pop(pid), status)
            else:
                others.append(pid)

    def _reaped(self, child: Process, status: int) -> None:
        how = _ending(status)
        child.reader.kill(block=False)
        child.channel.close()
        child.tmp.close()
        self._gone.append(child.seat)
        self.heard.set()
        if self.stopping or child.state == LEAVING:
            self._log.info("%s worker %d left (%s)", child.name, child.pid, how)
            return
        now = time.monotonic()
        place = self._died(child.seat, now)
        if not self.complete and os.WIFEXITED(status) and os.WEXITSTATUS(status) == BOOT_ERROR and not place:
            raise HaltServer(f"the {child.name} worker cannot start", 1)
        self._table.q[self._table.master + MasterCells.WORKER_RESTARTS] += 1
        delay = self._backoff[child.name].died(now, now - child.started)
        when = f"in {delay:g} s" if delay else "at once"
        where = f" in {place}" if place else ""
        self._log.error("%s worker %d in seat %d died (%s)%s; replaced %s", child.name, child.pid, child.seat, how, where, when)
        self.events.add("worker", f"{child.name} worker {child.pid} died ({how}){where}; replaced {when}")


def _age(child: Process) -> int:
    age: int = child.age
    return age


def _tell(child: Process, message: tuple[Any, ...]) -> None:
    try:
        child.channel.send(message)
    except TerrasterError:
        return  # it has gone; SIGCHLD says the rest


def _hand(child: Process, message: tuple[Any, ...], descriptors: list[int]) -> None:
    """Send a message with descriptors, which are closed here afterwards."""
    try:
        child.channel.send(message, descriptors)
    except TerrasterError:
        return  # it has gone; SIGCHLD says the rest
    finally:
        for fd in descriptors:
            os.close(fd)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # SIGCHLD is on its way


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"
