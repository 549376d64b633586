"""A connection as a greenlet sees it: straight-line `recv` and `send` over a non-blocking socket.

One read watcher per socket lives as long as the socket; its callback switches straight into the greenlet that waits. gevent.socket, which
arms epoll anew for every wait, cost 30 µs a proxied request where this cost 18 (docs/principles.md).

The watcher is level-triggered. When it fires with nobody waiting, it is stopped and `ready` is remembered; the next `recv` starts it again.
That same event has a meaning of its own, which `unexpected` receives: an idle pooled connection that becomes readable is dead, and a client
that becomes readable at its end while its backend works has gone.

There is no timer per wait: a wait leaves its deadline on the stream, and the one sweeper of the process (`Reactor.sweep`) throws
`TimedOut` into whoever overstayed. A timeout is never early and up to three sweeps late. That would be much for a timeout below `SHORT`:
such a wait reads the clock, and one timer of the process rings at the earliest of these deadlines, so it is late by `TICK` at most.

Every callback here runs on the hub, so switching or throwing into a waiting greenlet is safe: it cannot be running.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from socket import AF_UNIX, IPPROTO_TCP, MSG_PEEK, SHUT_WR, SO_LINGER, SOL_SOCKET, TCP_QUICKACK
from struct import pack
from time import monotonic
from typing import Any, Protocol

from gevent import get_hub
from gevent.monkey import get_original
from greenlet import getcurrent, greenlet

from terraster.errors import HttpError

__all__ = ["READ_SIZE", "SHORT", "TICK", "Owner", "Reactor", "Stream", "Waiter", "Wakeup"]

READ_SIZE = 65536
"""Octets a `recv` asks for. Above the allocator's threshold (128 KiB) each read would become an mmap and a munmap."""

SWEEP = 0.1
"""Seconds between two sweeps."""

SHORT = 1.0
"""Seconds below which a timeout is kept to within `TICK`. `Stream` says 1.0, as a constant costs a wait nothing."""

TICK = 0.01
"""Seconds between two looks at short deadlines, at the least: many that end one after the other are looked at together."""

# The originals, also where gevent has patched the modules: its own wait by themselves.
_socket = get_original("socket", "socket")
_poll = get_original("select", "poll")


class Waiter(Protocol):
    """Something that waits until a moment at the most."""

    def next_deadline(self) -> float:
        """The monotonic time when it will have waited too long; ``inf`` while it does not wait."""

    def overdue(self, now: float) -> None:
        """End what has waited too long. On the hub; must not wait."""


class Reactor:
    """The event loop of this process as the streams use it, and the list of all open streams.

    Everything that the data plane takes from the world outside goes through here, so that a test can give it another world.

    horizon: a monotonic moment that no sweep will be later than; deadlines are counted from it, so that no wait reads a clock.
    hub: the greenlet that runs the loop, with that loop as its ``loop``. clock: monotonic time, seconds. socket: makes a socket of a
    family and type. poll: makes a poll object.
    """

    __slots__ = (
        "hub",
        "loop",
        "switch",
        "clock",
        "socket",
        "poll",
        "streams",
        "horizon",
        "_alarm",
        "_chores",
        "_rings_at",
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
        self.streams: set[Stream] = set()
        self.horizon = clock() + 2 * SWEEP
        self._chores: list[Callable[[float], None]] = []
        self._timer = self.loop.timer(SWEEP, SWEEP)
        self._waiters: set[Waiter] = set()
        self._alarm = self.loop.timer(TICK)
        self._rings_at = inf

    def start(self, *chores: Callable[[float], None]) -> None:
        """Begin to sweep; each chore is called with the monotonic time on every sweep, on the hub: it must not wait."""
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
        """Let everybody else run for so many seconds. Any greenlet but the hub."""
        Wakeup(self).wait(seconds)

    def deadline(self, waiter: Waiter, timeout: float) -> float:
        """The deadline of a wait that begins now and lasts less than `SHORT` seconds; 0 = ``inf``, for ever."""
        if not timeout:
            return inf
        deadline = self.clock() + timeout
        self.watch(waiter, deadline)
        return deadline

    def watch(self, waiter: Waiter, deadline: float) -> None:
        """Look at a waiter at this moment, which is less than `SHORT` seconds away, rather than at the sweep that follows it."""
        self._waiters.add(waiter)
        if deadline < self._rings_at:
            self._rings_at = deadline
            self._alarm.close()
            self.loop.update_now()  # timers count from when the loop last woke
            self._alarm = self.loop.timer(max(0.0, deadline - self.clock()))
            self._alarm.start(self.ring)

    def ring(self) -> None:
        """End short waits that are over, and look again when the next one will be."""
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

    def sweep(self) -> None:
        now = self.clock()
        self.horizon = now + 2 * SWEEP
        for stream in [stream for stream in self.streams if stream.read_deadline < now or stream.write_deadline < now]:
            stream.overdue(now)
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
        """Wait until `wake` is called, ``seconds`` at most. Any greenlet but the hub."""
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
        """Let the one who waits go on at the next turn of the loop; nothing if nobody waits. Any greenlet, and the hub."""
        if self._waiter is not None and self._call is None:
            self._call = self._reactor.loop.run_callback(self._waiter.switch)


class Owner(Protocol):
    """What a stream asks of the connection that it belongs to."""

    def unexpected(self) -> None:
        """The socket became readable while nobody was reading. On the hub; must not wait."""

    def timed_out(self, writing: bool) -> HttpError:
        """The error for a wait that lasted too long."""

    def lost(self) -> HttpError:
        """The error for a socket that failed."""


class Stream:
    """One connected, non-blocking stream socket.

    At most one greenlet reads and one writes at a time. ``read_deadline`` and ``write_deadline`` are monotonic times, ``inf`` while nobody
    waits. ``owner``, set by the connection that has the stream, says whose fault it is when the socket fails or a wait lasts too long.
    ``buffers``: False, as it holds no octets that the socket no longer has (`terraster.net.tls.TlsStream` does).
    """

    __slots__ = (
        "reactor",
        "sock",
        "owner",
        "buffers",
        "ready",
        "reader",
        "writer",
        "read_deadline",
        "write_deadline",
        "closed",
        "_is_tcp",
        "_recv",
        "_send",
        "_switch",
        "_watcher",
        "_write_watcher",
        "__weakref__",
    )

    def __init__(self, reactor: Reactor, sock: Any) -> None:
        self.reactor = reactor
        self.sock = sock
        self.owner: Owner
        self.buffers = False
        self.ready = False
        self.reader: greenlet | None = None
        self.writer: greenlet | None = None
        self.read_deadline = inf
        self.write_deadline = inf
        self.closed = False
        self._recv = sock.recv
        self._send = sock.send
        self._is_tcp = sock.family != AF_UNIX
        self._switch = reactor.switch
        self._watcher = reactor.loop.io(sock.fileno(), 1)
        self._write_watcher: Any = None
        reactor.streams.add(self)

    def listen(self) -> None:
        """Start watching. Called once the socket is connected."""
        self._watcher.start(self._readable)

    def _readable(self) -> None:
        reader = self.reader
        if reader is None:
            self.ready = True
            self._watcher.stop()
            self.owner.unexpected()
        else:
            self.reader = None
            self.read_deadline = inf
            reader.switch()

    def rearm(self) -> None:
        """Watch again, after `Owner.unexpected` found nothing that matters."""
        self.ready = False
        self._watcher.start(self._readable)

    def peek(self) -> bytes | None:
        """One octet of what has arrived, without taking it; b"" if the connection has ended; None if nothing has arrived."""
        try:
            return self.sock.recv(1, MSG_PEEK)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def recv(self, timeout: float, size: int = READ_SIZE) -> bytes:
        """Up to ``size`` octets, at least one; b"" at the end. Waits ``timeout`` seconds at most (0: for ever)."""
        while True:
            if self.ready:
                self.ready = False
                self._watcher.start(self._readable)
            else:
                self.read_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)
                reader = self.reader = getcurrent()
                try:
                    self._switch()
                except BaseException:
                    self._stop_reading(reader)
                    raise
            try:
                return self._recv(size)  # type: ignore[no-any-return]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.owner.lost() from error

    def recv_into(self, buffer: memoryview, timeout: float) -> int:
        """Like `recv`, into a buffer that several streams may share as long as nobody waits while it holds something."""
        while True:
            if self.ready:
                self.ready = False
                self._watcher.start(self._readable)
            else:
                self.read_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)
                reader = self.reader = getcurrent()
                try:
                    self._switch()
                except BaseException:
                    self._stop_reading(reader)
                    raise
            try:
                return self.sock.recv_into(buffer)  # type: ignore[no-any-return]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.owner.lost() from error

    def quick_ack(self) -> None:
        """Acknowledge at once what has come and what comes until the next `send`. For a message that is here in part.

        A sender with Nagle's algorithm on (RFC 9293, section 3.7.4) holds the second part of a message back until the first is
        acknowledged, and Linux delays acknowledgements by 40 ms on a connection where one side asks and the other answers. Call it once
        for each message that is incomplete: the call costs 0.55 µs and adds no segment, the kernel sends the same acknowledgement earlier.
        """
        if self._is_tcp:
            self.sock.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)

    def _stop_reading(self, reader: greenlet) -> None:
        """The wait was broken off. Somebody else may be waiting in this one's place by now: a killed greenlet dies a turn later."""
        if self.reader is None or self.reader is reader:
            self.reader = None
            self.read_deadline = inf

    def send(self, data: bytes | memoryview, timeout: float) -> bool:
        """Send all of it. ``timeout`` seconds may pass between two octets that leave (0: for ever). True if it had to wait."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            lost = self.owner.lost()
            lost.unsent = True
            raise lost from error
        if sent == len(data):
            return False
        self._send_rest(bytes(memoryview(data)[sent:]), timeout)
        return True

    def _send_rest(self, data: bytes, timeout: float) -> None:
        rest = memoryview(data)
        while rest:
            self.wait_writable(timeout)
            try:
                rest = rest[self._send(rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.owner.lost() from error

    def wait_writable(self, timeout: float) -> None:
        """Wait until the socket takes octets again."""
        watcher = self._write_watcher
        if watcher is None:
            watcher = self._write_watcher = self.reactor.loop.io(self.sock.fileno(), 2)
        self.write_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)
        self.writer = getcurrent()
        watcher.start(self.writer.switch)
        try:
            self._switch()
        finally:
            if not self.closed:  # whoever closed it meanwhile has stopped and freed the watcher
                watcher.stop()
            self.writer = None
            self.write_deadline = inf

    def next_deadline(self) -> float:
        """The earlier of the two deadlines."""
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, now: float) -> None:
        """Throw `TimedOut` into whoever waited too long. Called by the sweeper, on the hub."""
        if self.read_deadline < now and self.reader is not None:
            self.read_deadline = inf
            reader, self.reader = self.reader, None
            reader.throw(self.owner.timed_out(False))
        if self.write_deadline < now and self.writer is not None:
            self.write_deadline = inf
            self.writer.throw(self.owner.timed_out(True))

    def wait_no_longer_than(self, timeout: float) -> None:
        """Bound the wait of the greenlet that reads here now, counted from now. Seconds, 0 = for ever."""
        if self.reader is not None and timeout:
            self.read_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)

    def reset_on_close(self) -> None:
        """Let `close` end the connection with a reset, so that what was sent is not taken for complete."""
        self.sock.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))

    def shutdown(self) -> None:
        """Say that nothing more will be sent."""
        try:
            self.sock.shutdown(SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """End the connection and give everything back. Idempotent; whoever still waits must be woken by the caller."""
        if self.closed:
            return
        self.closed = True
        self.reactor.streams.discard(self)
        self._watcher.stop()
        self._watcher.close()
        if self._write_watcher is not None:
            self._write_watcher.stop()
            self._write_watcher.close()
            self._write_watcher = None
        self.sock.close()
