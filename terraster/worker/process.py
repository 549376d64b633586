"""The life of every child. It is the same for a proxy worker and for the admin worker.

    fork ─▶ leave the master's hub ─▶ take its seat ─▶ start() ─▶ "ready" ─▶ apply() … ─▶ drain() ─▶ idle()? ─▶ stop() ─▶ exit

The child inherits the current plan and the listening sockets through the fork, so a respawn parses nothing. Everything later comes over
the control channel, as tuples whose first item is the message's name:

    master → child   ("change", Change without services, number of parts), then ("services", part) that many times;
                     ("seats",) a process started or ended; ("tickets", secrets) of session tickets; ("stopping",) the
                     master begins to stop; ("challenges", number, Answers) for an authority; ("answer", ticket, dict) to a
                     question
    child → master   ("ready", generation); ("applied", generation); ("failed", generation, why);
                     ("challenged", number) it gives the answers of that number;
                     ("ask", ticket, verb, arguments); ("draining",) it received TERM

A change travels in parts, so that unpickling a large change never delays requests for longer than one part takes.

The end of a child: TERM drains it. QUIT and INT end it at once. ABRT means that the master found it hung; the child then logs where it
hung. The end of the control channel means that the master is dead; the child then goes on for a bounded time (`terraster.worker.orphan`).
Signals wake the hub through `signal.set_wakeup_fd`, so none is lost between a check and a wait. The master blocks
signals around the fork. The child unblocks them when its handlers are installed.

The module is longer than 400 lines because the first half is the contract of a role, and the life that keeps it is best read beside it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket as plain_socket
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import gevent
from gevent import get_hub, monkey
from gevent.event import AsyncResult, Event
from gevent.queue import Queue
from gunicorn import util
from gunicorn.workers.base import Worker

from terraster.certs.challenges import NONE, Answers
from terraster.config.snapshot import Snapshot
from terraster.errors import Unanswered
from terraster.net.yielding import yield_to_loop
from terraster.state.alive import began
from terraster.state.cells import Seat
from terraster.state.view import SeatView

from .channel import Channel, ChannelClosed, pair
from .orphan import Orphan, facts

__all__ = ["HEARTBEAT", "ORPHAN_GRACE", "Process"]

HEARTBEAT = 1.0  # seconds between two signs of life
ORPHAN_GRACE = 1.0  # seconds that open requests get after the master died, where no new one is waited for
_POLL = 0.02  # seconds between two checks whether a draining child is idle

_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1)
_IGNORED = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)


class Process(Worker):  # type: ignore[misc]
    """One child. The master makes the object before the fork and keeps its copy to supervise the child.

    role:      `Seat.PROXY` or `Seat.ADMIN`
    name:      "proxy" or "admin", for log lines
    seat:      its seat in the shared table, chosen by the master
    view:      its view of the table; it has its seat before `start`
    snapshot:  the configuration it was forked with
    plan:      the compiled plan it was forked with
    listeners: address → plain, non-blocking, listening socket (not a gevent one), only for addresses of this role
    channel:   its end of the control channel
    reader:    in the master, the greenlet that reads it
    ticket_secrets: what the keys of session tickets are derived from
    traces:    the descriptor of its side of the channel for spans (`terraster.logs.tracer`), -1: there is none
    tails:     the same for the lines of a tail (`terraster.logs.tail`)
    before:    called first in the child; closes what only the master needs
    """

    role: ClassVar[int]
    name: ClassVar[str]

    seat: int
    view: SeatView
    snapshot: Snapshot
    plan: Any
    listeners: dict[str, plain_socket.socket]
    channel: Channel
    reader: gevent.Greenlet
    challenged: int  # the number of the newest answers to an authority that it gives, and those at the fork
    answers: Answers
    traces: int = -1
    tails: int = -1
    before: Callable[[], None]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.near, self.far = pair()  # descriptors; see `in_master` and `init_process`
        self.state = "starting"  # this and the next four: kept by the master, see `terraster.master.children`
        self.started = time.monotonic()
        self.deadline = 0.0
        self.challenged, self.answers = 0, NONE
        self.acknowledged = 0  # the newest generation that the child was forked with or has applied
        self.refused = (0, "")  # the generation that the child could not apply, and the reason
        self.draining = False
        self._exiting: Event
        self._changes: Queue
        self._questions: dict[int, AsyncResult] = {}
        self._tickets = 0
        self.ticket_secrets: Any = None
        self.activated = False  # the service manager owns the listening sockets
        self.orphaned_at = 0.0  # time.monotonic() when the master was found dead, 0.0: it lives
        self._orphan: Orphan | None = None
        self.abandoned = False  # the master is dead, and no other one came: nobody else accepts what waits on the listening sockets
        self._drain_timeout = 30.0

    # A role implements these. They are called only in the child.

    def start(self) -> None:
        """Begin to serve on this process's hub. Must return soon: heartbeats begin afterwards, and `ask` works only then."""
        raise NotImplementedError

    def apply(self, change: Any, listeners: dict[str, plain_socket.socket]) -> None:
        """Run the configuration that results from ``change``. An exception is reported to the master as the reason of a failed reload.

        listeners: address → listening socket, for the listeners that the change added
        """
        raise NotImplementedError

    def stopping(self) -> None:
        """The master begins to stop. `drain` comes later."""

    def relisten(self, listeners: dict[str, plain_socket.socket]) -> None:
        """Accept on these sockets from now on, instead of those that it has for these addresses. Must not wait."""

    def take_ticket_secrets(self, secrets: Any) -> None:
        """Use other secrets for session tickets from now on. Must not wait."""

    def challenge(self, answers: Answers) -> None:
        """Give these answers to an authority that proves names, and no others. Must not wait."""

    def tell(self, what: str, about: str) -> Any:
        """Answer a question of the master at once (`terraster.master.questions`). Must not wait."""

    def drain(self) -> None:
        """Accept no new connection and let open requests finish."""

    def farewell(self) -> float:
        """The seconds that it needs at most to end open connections in an orderly way, when the time for the drain is over. The master
        knows it (`terraster.master.children`)."""
        return 0.0

    def idle(self) -> bool:
        """True if nothing is open any longer."""
        return True

    def stop(self) -> None:
        """Write out all buffers. The last call before the exit."""

    def reopen(self) -> None:
        """Open the log files again by their names, after a rotation."""

    def publish_losses(self, wall: float) -> None:
        """Put the number of lost log lines into this process's seat. Called every second, and at the end. wall: seconds since 1970"""
        self.log.publish(self.view.q, self.view.base, wall)

    def look(self) -> None:
        """Look at everything that is open: at every sign of life, and after each change."""

    def shareable(self) -> dict[str, plain_socket.socket]:
        """The listening sockets that another master could use, by address."""
        return self.listeners

    def running(self) -> Snapshot:
        """The configuration that this process runs."""
        return self.snapshot

    def oldest(self) -> int:
        """The oldest generation that an open request still uses."""
        return self.generation

    # A role may use these.

    @property
    def generation(self) -> int:
        """The generation this process runs."""
        return int(self.view.q[self.view.base + Seat.GENERATION])

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask the master ("reload", "stop", "status", …) and wait for its answer. Any greenlet may call this.

        Raises TerrasterError if the master has gone, Unanswered if it may have done what it was asked for.
        """
        self._tickets += 1
        ticket = self._tickets
        result = self._questions[ticket] = AsyncResult()
        try:
            self.channel.send(("ask", ticket, verb, arguments))
            answer: dict[str, Any] = result.get()
            return answer
        finally:
            del self._questions[ticket]

    # The common part of all roles.

    def runs_old(self, generation: int) -> bool:
        """Called in the master: True if this child must still apply a generation. A child that leaves does not have to."""
        return self.acknowledged < generation and self.state in ("starting", "serving")

    def in_master(self) -> None:
        """Called in the master right after the fork: keep this end of the channel, and take the seat for the child.

        The child writes the same cells when it starts. The master writes them first, so that all other processes can read the new seat
        before the child accepts a connection.
        """
        os.close(self.far)
        self.channel = Channel(self.near)
        q, base = self.view.table.q, self.view.table.seat(self.seat)
        q[base + Seat.ROLE] = self.role
        q[base + Seat.HEARTBEAT] = time.monotonic_ns()
        q[base + Seat.BEGAN] = began(self.pid)
        q[base + Seat.PID] = self.pid

    def fork_failed(self) -> None:
        """Called in the master when the fork failed: close both ends of the channel."""
        os.close(self.near)
        os.close(self.far)
        self.tmp.close()

    def init_process(self) -> None:
        """Run the child until it ends. Then the caller ends the process without running finalizers."""
        self.before()
        os.close(self.near)
        get_hub().destroy(destroy_loop=True)
        get_hub().exception_stream = self.log.stream()
        self._exiting = Event()
        self._changes = Queue()
        self._watch_signals()
        util.seed()
        q, base = self.view.table.q, self.view.table.seat(self.seat)
        q[base + Seat.ROLE] = self.role
        q[base + Seat.HEARTBEAT] = time.monotonic_ns()
        q[base + Seat.OLDEST] = self.plan.generation
        q[base + Seat.BEGAN] = began(os.getpid())
        q[base + Seat.PID] = os.getpid()
        self.view.sit(self.seat)
        self._drain_timeout = self.snapshot.drain_timeout
        self.channel = Channel(self.far)
        self.start()
        self.booted = True
        q[base + Seat.GENERATION] = self.plan.generation
        gevent.spawn(self._beat)
        gevent.spawn(self._listen_to_master)
        gevent.spawn(self._apply_changes)
        gc.freeze()  # the plan stays; a full collection that walks it would delay every open request
        self._exiting.wait()
        try:
            self.stop()
        except Exception:
            self.log.exception("%s worker: an error while it stopped", self.name)
        if self._orphan is not None:
            self._orphan.close()
        self.publish_losses(time.time())

    def _watch_signals(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._signal_watcher = get_hub().loop.io(reader, 1)
        self._signal_watcher.start(self._on_signals, reader)
        for number in _SIGNALS:
            signal.signal(number, _noted)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, self._abort)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _on_signals(self, reader: int) -> None:
        """Runs on the hub, so it must not wait: it only starts greenlets."""
        for number in os.read(reader, 4096):
            if number in (signal.SIGQUIT, signal.SIGINT):
                self._exiting.set()
            elif number == signal.SIGTERM:
                gevent.spawn(self._leave, None)
            elif number == signal.SIGUSR1:
                gevent.spawn(self._reopen)

    def _abort(self, number: int, frame: Any) -> None:
        self.log.critical("%s worker hung; it was at:\n%s", self.name, "".join(traceback.format_stack(frame)))
        self.log.close()
        os._exit(1)

    def _reopen(self) -> None:
        self.log.reopen_files()
        self.reopen()

    def _leave(self, grace: float | None) -> None:
        """Drain, then exit. ``grace``: seconds for open requests, None: `drain_timeout`. A later call can only shorten the time."""
        deadline = time.monotonic() + (self._drain_timeout if grace is None else grace)
        if not self.draining:
            self.draining = True
            self.view.q[self.view.base + Seat.DRAINING] = 1
            gevent.spawn(self._report_draining)
            try:
                self.drain()
            except Exception:
                self.log.exception("%s worker: cannot drain; it leaves at once", self.name)
                self._exiting.set()
        while not self.idle() and time.monotonic() < deadline:
            gevent.sleep(_POLL)
        end = time.monotonic() + self.farewell()
        while not self.idle() and time.monotonic() < end:
            gevent.sleep(_POLL)
        if not self.idle():
            self.log.warning("%s worker: leaves although requests are still open: drain_timeout is over", self.name)
        self._exiting.set()

    def _report_draining(self) -> None:
        """Tell the master that this child drains. If the TERM came from elsewhere, the master starts a replacement at once."""
        try:
            self.channel.send(("draining",))
        except ChannelClosed:
            return  # `_listen_to_master` handles it

    def _beat(self) -> None:
        q, base = self.view.q, self.view.base
        while True:
            q[base + Seat.HEARTBEAT] = time.monotonic_ns()
            self.look()
            q[base + Seat.OLDEST] = self.oldest()
            self.view.refresh()
            self.notify()
            self.log.flush()
            self.publish_losses(time.time())
            if os.getppid() != self.ppid:
                self._orphaned()
            gevent.sleep(HEARTBEAT)

    def _orphaned(self) -> None:
        """The master is dead. Idempotent."""
        if self.orphaned_at or self._exiting.is_set():
            return
        self.orphaned_at = time.monotonic()
        gevent.spawn(self._outlive)

    def _outlive(self) -> None:
        """Serve on until a new master has taken over, or for `orphan_timeout`; then drain, and leave. A worker that drains already has
        its time to leave, which stays."""
        seconds = self.running().orphan_timeout
        if self.draining:
            return
        if not seconds:
            self.log.warning("%s worker: the master has gone; this worker leaves", self.name)
            self._leave(ORPHAN_GRACE)
            return
        try:
            table = self.view.table
            described = facts(self.seat, self.name, self.generation, self.activated, table.q[table.seat(0) + Seat.BEGAN])
            orphan = self._orphan = Orphan(self.view.table, self.running, self.shareable, described)
        except OSError as error:
            self.log.error("%s worker: the master has gone; no new one can find this worker (%s), so it leaves", self.name, error)
            self._leave(None)
            return
        self.log.warning(
            "%s worker: the master has gone; this worker serves on for %g s, or until a new master serves", self.name, seconds
        )
        why = orphan.wait(seconds)
        self.abandoned = not orphan.is_succeeded
        say = self.log.info if orphan.is_succeeded else self.log.warning
        say("%s worker: %s; this worker drains and leaves", self.name, why)
        self._leave(None)

    def _listen_to_master(self) -> None:
        try:
            while True:
                message, descriptors = self.channel.receive()
                match message:
                    case ("change", change, parts):
                        services: list[Any] = []
                        for _ in range(parts):
                            (_services, part), _none = self.channel.receive()
                            services.extend(part)
                            yield_to_loop()
                        self._changes.put((replace(change, services=tuple(services)), descriptors))
                    case ("seats",):
                        self.view.refresh()
                    case ("sockets", addresses):
                        self.relisten(dict(zip(addresses, map(listening, descriptors), strict=True)))
                    case ("tickets", secrets):
                        self.take_ticket_secrets(secrets)
                    case ("challenges", number, answers):
                        self.challenge(answers)
                        self.channel.send(("challenged", number))
                    case ("tell", number, what, about):
                        self.channel.send(("told", number, self.tell(what, about)))
                    case ("stopping",):
                        self.stopping()
                    case ("leave",):
                        gevent.spawn(self._leave, None)
                    case ("answer", ticket, answer):
                        if ticket in self._questions:
                            self._questions[ticket].set(answer)
        except ChannelClosed as closed:
            for question in self._questions.values():
                question.set_exception(Unanswered(f"the master ended before it answered, so the outcome is unknown: {closed}"))
            self._orphaned()

    def _apply_changes(self) -> None:
        """Apply changes one after the other. The channel is read meanwhile: applying may take long, but the master's death must be
        noticed at once."""
        try:
            self.channel.send(("ready", self.generation))
            while True:
                self.channel.send(self._apply_change(*self._changes.get()))
        except ChannelClosed:
            return  # `_listen_to_master` handles it

    def _apply_change(self, change: Any, descriptors: list[int]) -> tuple[Any, ...]:
        """Apply one change. Returns the message that reports the outcome to the master."""
        sockets = [listening(fd) for fd in descriptors]
        try:
            self.apply(change, dict(zip((one.address for one in change.listeners_added), sockets, strict=bool(sockets))))
        except Exception as error:
            self.log.exception("%s worker: cannot apply generation %d", self.name, change.generation)
            return "failed", change.generation, f"{type(error).__name__}: {error}"
        self._drain_timeout = change.base.drain_timeout
        self.log.set_level(change.base.log_level)
        self.log.configure(change.base.program_log)
        q, base = self.view.q, self.view.base
        q[base + Seat.GENERATION] = change.generation
        self.look()
        q[base + Seat.OLDEST] = self.oldest()
        return "applied", change.generation


def _noted(number: int, frame: Any) -> None:
    """A handler that does nothing: the signal's number is already in the wakeup pipe."""


def listening(fd: int) -> plain_socket.socket:
    """A plain socket for a listening descriptor. It is never a gevent socket, not even where `socket` is patched."""
    make: type[plain_socket.socket] = monkey.get_original("socket", "socket")
    made = make(fileno=fd)
    made.setblocking(False)
    return made
