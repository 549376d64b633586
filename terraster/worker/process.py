"""The life of every child: what is the same for a proxy worker and for the admin worker.

    fork ─▶ leave the master's hub ─▶ sit down ─▶ start() ─▶ "ready" ─▶ apply() … ─▶ drain() ─▶ idle()? ─▶ stop() ─▶ exit

The child inherits the current plan and the listening sockets through the fork, so a respawn costs no parsing. Everything after that
comes over the control channel, as tuples whose first item is the message's name:

    master → child   ("change", Change without services, number of parts), then ("services", part) that many times;
                     ("seats",) a process came or went; ("answer", ticket, dict) to a question
    child → master   ("ready", generation); ("applied", generation); ("failed", generation, why);
                     ("ask", ticket, verb, arguments); ("draining",) it was told to leave

A change travels in parts so that unpickling a large one never keeps requests waiting for longer than one part takes.

Who ends a child: TERM drains it, QUIT and INT end it at once, ABRT (the master found it hung) leaves a trace of where it hung,
and the end of the control channel says that the master is dead: then it leaves within about a second, as somebody else may take
its ports. Signals wake the hub through `signal.set_wakeup_fd`: nothing is lost between a check and a wait. The master blocks
signals around the fork, and they are unblocked here only when the handlers stand.
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

from terraster.config.snapshot import Snapshot
from terraster.errors import TerrasterError
from terraster.net.turn import breathe
from terraster.state.table import Seat
from terraster.state.view import SeatView

from .channel import Channel, ChannelClosed, pair

__all__ = ["HEARTBEAT", "ORPHAN_GRACE", "Process"]

HEARTBEAT = 1.0  # seconds between two signs of life
ORPHAN_GRACE = 1.0  # seconds that open requests get when the master has died
_POLL = 0.02  # seconds between two looks at whether a draining child is idle

_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1)
_IGNORED = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH)


class Process(Worker):  # type: ignore[misc]
    """One child. The object is made in the master before the fork and lives on both sides: the master keeps it to supervise the
    child.

    role:      `Seat.PROXY` or `Seat.ADMIN`
    name:      "proxy" or "admin", for log lines
    seat:      its seat in the shared table, chosen by the master
    view:      its view of the table, seated before `start`
    snapshot:  the configuration it was forked with
    plan:      the compiled plan it was forked with
    listeners: address → plain, non-blocking, listening socket (not a gevent one); those of this role only
    channel:   its end of the control channel
    before:    called first of all in the child: lets go of what only the master needs
    """

    role: ClassVar[int]
    name: ClassVar[str]

    seat: int
    view: SeatView
    snapshot: Snapshot
    plan: Any
    listeners: dict[str, plain_socket.socket]
    channel: Channel
    before: Callable[[], None]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.near, self.far = pair()  # descriptors; see `in_master` and `init_process`
        self.state = "starting"  # the master's view of it, with what follows; see `terraster.master.arbiter`
        self.started = time.monotonic()
        self.deadline = 0.0
        self.acknowledged = 0  # the newest generation that it was forked with or acknowledged
        self.refused = (0, "")  # the generation that it could not apply, and why
        self.draining = False
        self._exiting: Event
        self._changes: Queue
        self._questions: dict[int, AsyncResult] = {}
        self._tickets = 0
        self._drain_timeout = 30.0

    # What a role does. Called in the child only.

    def start(self) -> None:
        """Begin to serve on this process's hub; must return, soon: heartbeats begin afterwards, and so does what `ask` needs."""
        raise NotImplementedError

    def apply(self, change: Any, listeners: dict[str, plain_socket.socket]) -> None:
        """Run the configuration that `change` leads to; ``listeners`` are those it added, by address. Whatever it raises is
        reported."""
        raise NotImplementedError

    def drain(self) -> None:
        """Accept nothing new; let what is open come to its end."""

    def idle(self) -> bool:
        """Whether nothing is open any more."""
        return True

    def stop(self) -> None:
        """The last call before the exit: write out what is buffered."""

    def reopen(self) -> None:
        """Open log files again by their names: somebody rotated them."""

    def oldest(self) -> int:
        """The oldest generation that an open request still uses."""
        return self.generation

    # What a role may use.

    @property
    def generation(self) -> int:
        """The generation this process runs."""
        return int(self.view.q[self.view.base + Seat.GENERATION])

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask the master ("reload", "stop", "status") and wait for its answer; any greenlet. Raises TerrasterError if it is
        away."""
        self._tickets += 1
        ticket = self._tickets
        result = self._questions[ticket] = AsyncResult()
        try:
            self.channel.send(("ask", ticket, verb, arguments))
            answer: dict[str, Any] = result.get()
            return answer
        finally:
            del self._questions[ticket]

    # The machinery.

    def runs_old(self, generation: int) -> bool:
        """In the master: whether this child has yet to acknowledge a generation. Who is on its way out has not."""
        return self.acknowledged < generation and self.state in ("starting", "serving")

    def in_master(self) -> None:
        """The master's side, right after the fork: keep one end of the channel. The child has its seat from now on, not only when it
        has come to take it itself, with the same words: so the others can be told to count there before it accepts anything."""
        os.close(self.far)
        self.channel = Channel(self.near)
        q, base = self.view.table.q, self.view.table.seat(self.seat)
        q[base + Seat.ROLE] = self.role
        q[base + Seat.HEARTBEAT] = time.monotonic_ns()
        q[base + Seat.PID] = self.pid

    def fork_failed(self) -> None:
        """The master's side when the fork failed."""
        os.close(self.near)
        os.close(self.far)
        self.tmp.close()

    def init_process(self) -> None:
        """The child's whole life. Returns when it is over; the caller ends the process without running finalizers."""
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
        gc.freeze()  # the plan is for good; a full collection that walks it costs every open request its time
        self._exiting.wait()
        try:
            self.stop()
        except Exception:
            self.log.exception("%s worker: its last work failed", self.name)

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
        """Runs in the hub, so it only starts greenlets."""
        for number in os.read(reader, 4096):
            if number in (signal.SIGQUIT, signal.SIGINT):
                self._exiting.set()
            elif number == signal.SIGTERM:
                gevent.spawn(self._leave, None)
            elif number == signal.SIGUSR1:
                gevent.spawn(self._reopen)

    def _abort(self, number: int, frame: Any) -> None:
        self.log.critical("%s worker hung; it was here:\n%s", self.name, "".join(traceback.format_stack(frame)))
        self.log.close()
        os._exit(1)

    def _reopen(self) -> None:
        self.log.reopen_files()
        self.reopen()

    def _leave(self, grace: float | None) -> None:
        """Drain, then exit. ``grace``: seconds for open requests, None: as configured. Later calls only shorten it."""
        deadline = time.monotonic() + (self._drain_timeout if grace is None else grace)
        if not self.draining:
            self.draining = True
            self.view.q[self.view.base + Seat.DRAINING] = 1
            gevent.spawn(self._say_that_it_drains)
            try:
                self.drain()
            except Exception:
                self.log.exception("%s worker: cannot drain, leaving at once", self.name)
                self._exiting.set()
        while not self.idle() and time.monotonic() < deadline:
            gevent.sleep(_POLL)
        if not self.idle():
            self.log.warning("%s worker: leaves with requests still open, the drain timeout is over", self.name)
        self._exiting.set()

    def _say_that_it_drains(self) -> None:
        """The TERM may be somebody else's: the master starts another at once, and does not wait for this one's end."""
        try:
            self.channel.send(("draining",))
        except ChannelClosed:
            return  # `_listen_to_master` knows

    def _beat(self) -> None:
        q, base = self.view.q, self.view.base
        while True:
            q[base + Seat.HEARTBEAT] = time.monotonic_ns()
            q[base + Seat.OLDEST] = self.oldest()
            self.view.refresh()
            self.notify()
            self.log.flush()
            if os.getppid() != self.ppid:
                self._orphaned()
            gevent.sleep(HEARTBEAT)

    def _orphaned(self) -> None:
        if not self._exiting.is_set():
            self.log.warning("%s worker: the master is gone, leaving", self.name)
            gevent.spawn(self._leave, ORPHAN_GRACE)

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
                            breathe()
                        self._changes.put((replace(change, services=tuple(services)), descriptors))
                    case ("seats",):
                        self.view.refresh()
                    case ("answer", ticket, answer):
                        if ticket in self._questions:
                            self._questions[ticket].set(answer)
        except ChannelClosed as closed:
            for question in self._questions.values():
                question.set_exception(TerrasterError(f"the master is away: {closed}"))
            self._orphaned()

    def _apply_changes(self) -> None:
        """One change after the other, while the channel is read on: applying may take its time, the master's death may not."""
        try:
            self.channel.send(("ready", self.generation))
            while True:
                self.channel.send(self._apply_change(*self._changes.get()))
        except ChannelClosed:
            return  # `_listen_to_master` knows

    def _apply_change(self, change: Any, descriptors: list[int]) -> tuple[Any, ...]:
        """What to tell the master."""
        sockets = [listening(fd) for fd in descriptors]
        try:
            self.apply(change, dict(zip((one.address for one in change.listeners_added), sockets, strict=bool(sockets))))
        except Exception as error:
            self.log.exception("%s worker: cannot apply generation %d", self.name, change.generation)
            return "failed", change.generation, f"{type(error).__name__}: {error}"
        self._drain_timeout = change.base.drain_timeout
        self.log.set_level(change.base.log_level)
        q, base = self.view.q, self.view.base
        q[base + Seat.GENERATION] = change.generation
        q[base + Seat.OLDEST] = self.oldest()
        return "applied", change.generation


def _noted(number: int, frame: Any) -> None:
    """The signal's number is already in the wakeup pipe."""


def listening(fd: int) -> plain_socket.socket:
    """A plain socket (never a gevent one, also where `socket` is patched) for a listening descriptor."""
    make: type[plain_socket.socket] = monkey.get_original("socket", "socket")
    made = make(fileno=fd)
    made.setblocking(False)
    return made
