"""The event loop of one process, as the data plane uses it.

There is no timer per wait. A wait stores its deadline in its stream, and the one sweep of the process throws `TimedOut` into every greenlet
that has waited too long. So a timeout is never early and at most three sweeps late. For a timeout below `SHORT` that would be too late:
such a wait reads the clock, and one timer of the process rings at the earliest of these deadlines. It is at most `TICK` late.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, Protocol

from gevent import get_hub
from gevent.monkey import get_original
from greenlet import getcurrent, greenlet

__all__ = ["SHORT", "SWEEP", "TICK", "Reactor", "Waiter", "Wakeup"]

SWEEP = 0.1
"""Seconds between two sweeps."""

SHORT = 1.0
"""Timeouts below this many seconds are at most `TICK` late. `Stream` has it as the literal 1.0, because that costs a wait nothing."""

TICK = 0.01
"""Least seconds between two checks of short deadlines, so that many close deadlines are checked together."""

SLIM = 1.0
"""Seconds between two times at which buffers give memory back. A connection that is busy makes them grow again each time, some 10 µs."""

_SLIMMED = 256  # objects each time at most; each takes some 10 µs

# The originals, even if gevent has patched the modules: gevent's versions would wait.
_socket = get_original("socket", "socket")
_poll = get_original("select", "poll")


class Waiter(Protocol):
    """An object with a deadline."""

    def next_deadline(self) -> float:
        """Its deadline in monotonic time; ``inf`` while it does not wait."""

    def overdue(self, now: float) -> None:
        """End its waits that have exceeded their deadline. Called on the hub; must not wait."""


class Swollen(Protocol):
    """An object whose buffers have grown."""

    def slim(self) -> None:
        """Give back the memory of buffers that are empty. Called on the hub; must not wait."""


class Swept(Waiter, Protocol):
    """A waiter that the sweep checks, with a deadline for reading and one for writing."""

    read_deadline: float
    write_deadline: float


class Due(Protocol):
    """A stream whose octets have arrived, see `terraster.net.stream.Stream`."""

    closed: bool
    reader: Any
    read_deadline: float

    def wake_reader(self) -> None:
        """Switch to the greenlet that waits for them. Called on the hub."""


class Reactor:
    """The event loop of this process as the streams use it, and the list of all open streams.

    The data plane takes clock, sockets and loop only from here, so that a test can replace them.

    horizon: a monotonic time that the next sweep will not exceed; deadlines count from it, so that no wait reads a clock.
    due: streams whose octets have arrived in this turn of the loop, the earliest last. libev calls watchers in the opposite order: without this
    list the request that came first would be served last, which doubles the longest waits of a busy worker.
    hub: the greenlet that runs the loop, with that loop as its ``loop``. clock: monotonic time, seconds. socket: makes a socket of a
    family and type. poll: makes a poll object. swollen: objects that are to give memory back; each is taken out first.
    """

    __slots__ = (
        "hub",
        "loop",
        "switch",
        "clock",
        "socket",
        "poll",
        "due",
        "streams",
        "swollen",
        "horizon",
        "_alarm",
        "_after",
        "_chores",
        "_rings_at",
        "_slims_at",
        "_timer",
        "_waiters",
    )

    def __init__(
        self,
        hub: Any = None,
        clock: Callable[[], float] = monotonic,
        socket: Callable[[int, int], Any] = _socket,
        poll: Callable[[], Any] = _poll,
    ) -> None:
        """hub: None for gevent's own in this thread."""
        self.hub = get_hub() if hub is None else hub
        self.loop = self.hub.loop
        self.switch: Callable[[], Any] = greenlet.switch.__get__(self.hub)
        self.clock = clock
        self.socket = socket
        self.poll = poll
        self.due: list[Due] = []
        self.streams: set[Swept] = set()
        self.swollen: set[Swollen] = set()
        self.horizon = clock() + 2 * SWEEP
        self._chores: list[Callable[[float], None]] = []
        self._timer = self.loop.timer(SWEEP, SWEEP)
        self._waiters: set[Waiter] = set()
        self._alarm = self.loop.timer(TICK)
        self._rings_at = inf
        self._slims_at = 0.0
        self._after = self.loop.check(ref=False, priority=self.loop.MINPRI)
        self._after.start(self.run_due)

    def start(self, *chores: Callable[[float], None]) -> None:
        """Begin to sweep. Each chore is called at every sweep with the monotonic time, on the hub; it must not wait."""
        self._chores.extend(chores)
        self._timer.start(self.sweep)

    def spawn(self, run: Callable[..., None], *args: Any) -> greenlet:
        """Run a function in a greenlet of its own, at the next turn of the loop. It must not raise."""
        worker = greenlet(run, self.hub)
        self.loop.run_callback(worker.switch, *args)
        return worker

    def kill(self, worker: greenlet) -> None:
        """End a greenlet at the next turn of the loop, wherever it waits. Its ``finally`` clauses run."""
        if not worker.dead:
            self.loop.run_callback(worker.throw)

    def sleep(self, seconds: float) -> None:
        """Let other greenlets run for this many seconds. Any greenlet except the hub may call this."""
        Wakeup(self).wait(seconds)

    def deadline(self, waiter: Waiter, timeout: float) -> float:
        """The deadline of a wait that begins now and lasts less than `SHORT` seconds; 0 = no limit, ``inf``."""
        if not timeout:
            return inf
        deadline = self.clock() + timeout
        self.watch(waiter, deadline)
        return deadline

    def watch(self, waiter: Waiter, deadline: float) -> None:
        """Check a waiter at this time, which is less than `SHORT` seconds away, and not only at the next sweep."""
        self._waiters.add(waiter)
        if deadline < self._rings_at:
            self._rings_at = deadline
            self._alarm.close()
            self.loop.update_now()  # timers count from when the loop last woke
            self._alarm = self.loop.timer(max(0.0, deadline - self.clock()))
            self._alarm.start(self.ring)

    def ring(self) -> None:
        """End the short waits that are over, and set the timer for the next one."""
        now = self.clock()
        waiters, self._waiters, self._rings_at = self._waiters, set(), inf
        for waiter in waiters:
            if waiter.next_deadline() < now:
                waiter.overdue(now)
        near = [waiter for waiter in waiters if waiter.next_deadline() <= now + SHORT]
        self._waiters.update(near)
        if near:
            soonest = min([waiter.next_deadline() for waiter in near])
            self.watch(near[0], max(soonest, now + TICK))

    def run_due(self) -> None:
        """Wake the readers whose octets have arrived, in the order of their arrival. The loop calls this once a turn, after the watchers."""
        due = self.due
        try:
            while due:
                due.pop().wake_reader()
        finally:
            if due:  # a greenlet failed
                self.loop.run_callback(self.run_due)

    def sweep(self) -> None:
        now = self.clock()
        self.horizon = now + 2 * SWEEP
        for stream in [stream for stream in self.streams if stream.read_deadline < now or stream.write_deadline < now]:
            stream.overdue(now)
        if now >= self._slims_at:
            self._slims_at = now + SLIM
            for _ in range(min(len(self.swollen), _SLIMMED)):
                self.swollen.pop().slim()
        for chore in self._chores:
            chore(now)


class Wakeup:
    """A wait that another greenlet may end early. One greenlet waits at a time."""

    __slots__ = ("_call", "_reactor", "_waiter")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiter: greenlet | None = None
        self._call: Any = None

    def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, at most ``seconds``. Any greenlet except the hub may call this."""
        self._waiter = waiter = getcurrent()
        loop = self._reactor.loop
        loop.update_now()  # timers count from when the loop last woke, which may be a while ago
        timer = loop.timer(max(0.0, seconds))
        timer.start(waiter.switch)
        try:
            self._reactor.switch()
        finally:
            timer.stop()
            timer.close()
            self._waiter = None
            if self._call is not None:
                self._call.stop()
                self._call = None

    def wake(self) -> None:
        """Let the waiting greenlet continue at the next turn of the loop; no effect if none waits. Any greenlet and the hub may call this."""
        if self._waiter is not None and self._call is None:
            self._call = self._reactor.loop.run_callback(self._waiter.switch)
