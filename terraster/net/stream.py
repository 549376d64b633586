"""A connection for one greenlet: straight-line `recv` and `send` on a non-blocking socket.

Each socket has one read watcher, which lives as long as the socket. It puts the stream on the reactor's list of those whose octets have
arrived, and the reactor switches to the greenlets that wait for them, the earliest first. A greenlet that begins to wait switches to the
next of them itself: a switch by way of the hub costs twice as much. gevent.socket arms epoll again for every wait, which costs more
(docs/principles.md).

The watcher is level-triggered. If octets arrive while no greenlet waits, it is stopped and `ready` is set; the next `recv` starts it again.
`unexpected` is called then, because such an event has a meaning: an idle pooled connection that becomes readable is dead, and a client
whose connection ends while its backend works has gone.

A callable in a slot gets a local name before it is called. CPython 3.11 looks up ``self._send(data)`` at every call, which takes 0.04 µs more,
and a small request has some fifteen such calls.

There is no timer per wait. A wait stores its deadline on the stream, and the reactor ends a wait that exceeds it (`terraster.net.reactor`).

Every callback runs on the hub. So it may switch or throw into a waiting greenlet, which cannot be running at the same time.

The module is longer than 400 lines because the waits of both directions, and all that may end them, share the state of one socket.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from select import POLLIN
from socket import AF_UNIX, IPPROTO_TCP, MSG_MORE, MSG_PEEK, SHUT_WR, SO_LINGER, SOL_SOCKET, TCP_QUICKACK
from struct import pack
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from terraster.errors import HttpError

from .duplex import Duplex
from .reactor import Reactor

__all__ = ["READ_SIZE", "Owner", "Stream", "getcurrent"]

READ_SIZE = 65536
"""Octets that a `recv` asks for. Above the allocator's threshold (128 KiB) each read would need an mmap and a munmap."""


class Owner(Protocol):
    """The callbacks of a stream into the connection that owns it."""

    def unexpected(self) -> None:
        """The socket became readable while no greenlet was reading. Called on the hub; must not wait."""

    def timed_out(self, writing: bool) -> HttpError:
        """The error for a wait that exceeded its timeout."""

    def lost(self) -> HttpError:
        """The error for a socket that failed."""

    def waits_for_head(self) -> bool:
        """True if the next octets begin or continue a head, for which the time is limited as a whole."""


class Stream(Duplex):
    """One connected, non-blocking stream socket.

    At most one greenlet reads and one writes at a time.

    reader:  the greenlet that waits to read, or what waits in its place and has its ``switch`` and ``throw``; else None
    read_deadline, write_deadline: monotonic times; ``inf`` while no greenlet waits
    owner:   the connection that has the stream; it makes the error when the socket fails or a wait exceeds its timeout
    buffers: False, because the stream keeps no octets that have left the socket (`terraster.net.tls.TlsStream` does)
    """

    __slots__ = (
        "reactor",
        "sock",
        "owner",
        "ready",
        "reader",
        "writer",
        "read_deadline",
        "write_deadline",
        "closed",
        "_due",
        "_is_tcp",
        "_recv",
        "_send",
        "_switch",
        "_unsent",
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
        self.reader: Any = None
        self.writer: greenlet | None = None
        self.read_deadline = inf
        self.write_deadline = inf
        self.closed = False
        self._unsent = b""
        self._recv = sock.recv
        self._send = sock.send
        self._is_tcp = sock.family != AF_UNIX
        self._switch = reactor.switch
        self._due = reactor.due
        self._watcher = reactor.loop.io(sock.fileno(), 1)
        self._write_watcher: Any = None
        reactor.streams.add(self)

    def listen(self) -> None:
        """Start watching. Called once the socket is connected."""
        self._watcher.start(self._due.append, self)

    def wake_reader(self) -> None:
        """Switch to the greenlet that reads; stop watching and tell the owner if none does. The reactor calls this on the hub."""
        reader = self.reader
        if self.closed:
            return
        if reader is None:
            self.ready = True
            self._watcher.stop()
            self.owner.unexpected()
        else:
            self.reader = None
            self.read_deadline = inf
            reader.switch()

    def rearm(self) -> None:
        """Watch again, after an event that `Owner.unexpected` found irrelevant."""
        self.ready = False
        self._watcher.start(self._due.append, self)

    def peek(self) -> bytes | None:
        """One octet of what has arrived, without taking it; b"" if the connection has ended; None if nothing has arrived."""
        if self.closed:
            return b""
        asked = self.reactor.poll()
        asked.register(self.sock.fileno(), POLLIN)
        if not asked.poll(0):  # half the price of a `recv` that raises BlockingIOError
            return None
        try:
            return self.sock.recv(1, MSG_PEEK)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def recv(self, timeout: float, size: int = READ_SIZE) -> bytes:
        """Up to ``size`` octets, at least one; b"" at the end. Waits ``timeout`` seconds at most (0: no limit)."""
        while True:
            if self.ready:
                self.ready = False
                self._watcher.start(self._due.append, self)
            else:
                self.read_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)
                reader = self.reader = getcurrent()
                switch = self._next() if self._due else self._switch
                try:
                    switch()
                except BaseException:
                    self._stop_reading(reader)
                    raise
            receive = self._recv
            try:
                return receive(size)  # type: ignore[no-any-return]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.owner.lost() from error

    def recv_into(self, buffer: memoryview, timeout: float) -> int:
        """Like `recv`, into a buffer that several streams may share, as long as no greenlet waits while the buffer has content.

        Both methods contain the wait. A third method for it makes a `recv` and a `send` 0.4 µs slower (6.6 instead of 6.2 µs).
        """
        while True:
            if self.ready:
                self.ready = False
                self._watcher.start(self._due.append, self)
            else:
                self.read_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)
                reader = self.reader = getcurrent()
                switch = self._next() if self._due else self._switch
                try:
                    switch()
                except BaseException:
                    self._stop_reading(reader)
                    raise
            try:
                return self.sock.recv_into(buffer)  # type: ignore[no-any-return]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.owner.lost() from error

    def attend(self, callback: Callable[[], None] | None) -> None:
        """Call this on the hub whenever octets arrive, in place of waking a reader; None: wake a reader again."""
        self._watcher.stop()
        self.ready = False
        self._withdraw()
        if callback is None:
            self._watcher.start(self._due.append, self)
        else:
            self._watcher.start(callback)

    def ignore(self) -> None:
        """Watch no longer, until `attend`."""
        self._watcher.stop()
        self._withdraw()

    def _withdraw(self) -> None:
        """Forget that octets have arrived in this turn of the loop."""
        if self in self._due:
            self._due.remove(self)

    def _next(self) -> Callable[[], Any]:
        """Switches to the next greenlet whose octets have arrived, which saves the way over the hub; else to the hub."""
        stream = self._due[-1]
        reader = stream.reader
        if type(reader) is not greenlet or stream.closed:
            return self._switch
        self._due.pop()
        stream.reader = None
        stream.read_deadline = inf
        return reader.switch  # type: ignore[no-any-return]

    def recv_now(self) -> bytes | None:
        """The octets that have arrived; b"" at the end; None if there are none. Never waits. Raises the owner's error."""
        try:
            return self._recv(READ_SIZE)  # type: ignore[no-any-return]
        except BlockingIOError:
            return None
        except OSError as error:
            raise self.owner.lost() from error

    def send_now(self, data: bytes) -> int:
        """Send what the socket takes, and keep the rest for the next call, which may be without data. Returns the octets that are kept.
        Never waits. Raises the owner's error."""
        data, self._unsent = self._unsent + data if self._unsent else data, b""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self.owner.lost() from error
        if sent < len(data):
            self._unsent = data[sent:]
        return len(self._unsent)

    @property
    def unsent(self) -> int:
        """Octets that `send_now` keeps."""
        return len(self._unsent)

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        """Call this on the hub while the socket takes octets; None: no longer. No greenlet may send meanwhile."""
        watcher = self._write_watcher
        if watcher is None:
            if callback is None:
                return
            watcher = self._write_watcher = self.reactor.loop.io(self.sock.fileno(), 2)
        watcher.stop()
        if callback is not None:
            watcher.start(callback)

    def offer(self, data: bytes) -> int:
        """Send what the socket takes, which never waits. Returns the number of these octets. Raises OSError."""
        try:
            return self._send(data)  # type: ignore[no-any-return]
        except BlockingIOError:
            return 0

    def set_tcp_option(self, name: int, value: int) -> None:
        """Set an option of TCP; no effect on a unix socket. Raises OSError."""
        if self._is_tcp:
            self.sock.setsockopt(IPPROTO_TCP, name, value)

    def quick_ack(self) -> None:
        """Acknowledge received octets at once until the next `send`. For a message that has arrived only in part.

        A sender with Nagle's algorithm on (RFC 9293, section 3.7.4) holds the second part of a message back until the first is
        acknowledged, and Linux delays acknowledgements by 40 ms on a connection where one side asks and the other answers. Call this
        once for each incomplete message. The call costs 0.55 µs and adds no segment; the kernel sends the same acknowledgement earlier.
        """
        if self._is_tcp:
            self.sock.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)

    def hasten(self, seconds: float) -> None:
        """Let the wait of the reading greenlet end in this many seconds at the latest, if one waits."""
        if self.reader is not None:
            self.read_deadline = min(self.read_deadline, self.reactor.horizon + seconds)

    def end_wait(self, error: Exception) -> bool:
        """Throw an error into the reading greenlet. False if none waits. Called on the hub."""
        reader = self.reader
        if reader is None:
            return False
        self.reader = None
        self.read_deadline = inf
        reader.throw(error)
        return True

    def abandon(self, reader: greenlet) -> None:
        """Forget a reading greenlet: it is about to be killed, and octets that come until then are not for it."""
        if self.reader is reader:
            self.reader = None
            self.read_deadline = inf

    def _stop_reading(self, reader: greenlet) -> None:
        """Clean up after an interrupted wait. Another greenlet may already wait here, because a killed greenlet dies a turn later."""
        if self.reader is None or self.reader is reader:
            self.reader = None
            self.read_deadline = inf

    def send(self, data: bytes | memoryview, timeout: float, more: bytes = b"") -> bool:
        """Send all octets, then those of ``more``, if any; ``data`` is bytes then. ``timeout``: seconds that may pass between two sent octets
        (0: no limit). True if it had to wait."""
        if more:
            data = data + more  # type: ignore[operator]
        send = self._send
        try:
            sent = send(data)
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

    def send_last(self, data: bytes, timeout: float) -> bool:
        """Like `send`, for the last octets of a connection that `shutdown` or `close` ends at once: the end leaves in the same packet."""
        try:
            sent = self._send(data, MSG_MORE)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self.owner.lost() from error
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
            if not self.closed:  # a greenlet that closed the stream meanwhile has freed the watcher
                watcher.stop()
            self.writer = None
            self.write_deadline = inf

    @property
    def writes(self) -> bool:
        """True while a greenlet waits to send the rest of its octets."""
        return self.writer is not None

    def next_deadline(self) -> float:
        """The earlier of the two deadlines."""
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, now: float) -> None:
        """Throw `TimedOut` into a greenlet that has waited too long. The sweep calls this on the hub."""
        if self.read_deadline < now and self.reader is not None:
            self.read_deadline = inf
            reader, self.reader = self.reader, None
            reader.throw(self.owner.timed_out(False))
        if self.write_deadline < now and self.writer is not None:
            self.write_deadline = inf
            self.writer.throw(self.owner.timed_out(True))

    def wait_no_longer_than(self, timeout: float) -> None:
        """Bound the current wait of the reading greenlet. seconds: from now on, 0 = no limit"""
        if self.reader is not None and timeout:
            self.read_deadline = self.reactor.horizon + timeout if timeout >= 1.0 else self.reactor.deadline(self, timeout)

    def reset_on_close(self) -> None:
        """Let `close` end the connection with a reset, so that the peer does not take the sent octets for a complete message."""
        self.sock.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))

    def shutdown(self) -> None:
        """Tell the peer that no more octets follow."""
        try:
            self.sock.shutdown(SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """End the connection and free its resources. Idempotent. The caller must wake a greenlet that still waits."""
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
