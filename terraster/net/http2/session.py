"""A client's HTTP/2 connection: it reads for the codec, sends for it, and begins its requests.

A callback on the hub reads the octets and takes the frames apart, not a greenlet: a greenlet that starts others is not switched back to when
they wait. Each request has a greenlet from the worker's pool. The greenlet that accepted the connection only waits until it is over.

The octets to be sent gather in the codec, and leave once a turn of the loop, or at once if they are many. While the socket takes none, the
requests with a body to send wait in a line, and nothing is read from the client once too much waits for it.

The module is longer than 400 lines because reading, sending and the end of a connection look at the same few facts, and a defect in one of them
is a defect in all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from socket import AF_UNIX, IPPROTO_TCP
from typing import Any

from greenlet import getcurrent, greenlet

from terraster.errors import HttpError, TimedOut
from terraster.net.connection import Connection
from terraster.wire.http2.events import DATA, END, FAILED, PONG, REQUEST, RESET, ROOM, Event
from terraster.wire.http2.frames import INTERNAL_ERROR, MOST, NO_ERROR
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession

from .request import Request

__all__ = ["Session"]

_AT_ONCE = 65536  # octets that do not wait for the end of the turn
_MOST_QUEUED = 1 << 18
"""Octets of heads and the like, which need no window, behind those that the socket has not taken; beyond that nothing is read."""
_NOTSENT_LOWAT = 1 << 17
"""Octets that the kernel keeps for a connection before they are sent. It halves the latency of small answers beside large ones: they wait
behind fewer octets (tcp(7), TCP_NOTSENT_LOWAT)."""
_TCP_NOTSENT_LOWAT = 25
_ASKED = b"drained?"  # the PING behind the first GOAWAY of a drain
_MOMENT = 2.0  # seconds that its answer is waited for
_SWEEP = 1.0  # seconds between two looks at what the codec waits for
_LAST_WORDS = 2.0  # seconds for the last octets of a connection


class Session:
    """A client's HTTP/2 connection.

    connection, reactor: the connection, and its reactor
    codec:    its frames
    requests: those under way
    line:     those that wait for the socket or for the window of the connection, in order
    blocked:  True while the socket takes no octets
    read_deadline: when the codec wants to look at the clock; write_deadline: when those in line have waited too long for the window of the
        connection (`terraster.net.reactor.Swept`)
    """

    __slots__ = (
        "blocked",
        "codec",
        "connection",
        "line",
        "reactor",
        "read_deadline",
        "requests",
        "write_deadline",
        "_clock",
        "_draining",
        "_ended",
        "_owner",
        "_patience",
        "_paused",
        "_payload",
        "_queued",
        "_rests",
        "_run_callback",
        "_start",
        "_stream",
        "_tell",
        "_timeout",
        "_timer",
        "_touched",
    )

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        timeout: float,
        start: Callable[[Request], None],
        tell: Callable[[Connection, str, str], None],
    ) -> None:
        """timeout: seconds between two octets that the client takes, 0 = no limit. start: begins to serve a request in a greenlet of its
        own, called on the hub. tell: called with the name of the bound that the client exceeded, "" if it broke another rule, and with the
        rule."""
        self.connection = connection
        self.reactor = connection.plain.reactor
        self.requests: set[Request] = set()
        self.line: dict[Request, None] = {}
        self.blocked = False
        self.read_deadline = self.write_deadline = inf
        self.codec = ServerSession(self._make, limits)
        self._clock = self.reactor.clock
        self._draining = self._ended = self._paused = self._touched = False
        self._owner: greenlet = getcurrent()
        self._patience = _LAST_WORDS
        self._payload = 0  # octets of bodies in the codec
        self._queued = 0
        self._rests = 0.0  # seconds that the next request may take while none is under way, 0 = no limit
        self._run_callback = self.reactor.loop.run_callback
        self._start = start
        self._stream = connection.stream
        self._tell = tell
        self._timeout = timeout or inf
        self._timer: Any = None

    def _make(self, number: int, window: int) -> Request:
        return Request(self, number, window)

    def serve(self, data: bytes, timeout: float) -> None:
        """Serve the connection until it is over. data: octets that were read. timeout: seconds for the first request, 0 = no limit. The
        caller closes the connection. Raises nothing but a defect."""
        connection, plain = self.connection, self.connection.plain
        connection.session = self
        if plain.sock.family != AF_UNIX:
            with suppress(OSError):  # it may have been closed by now
                plain.sock.setsockopt(IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
        self._rests = timeout
        self._rest()
        self._run_callback(self._begin, data)
        try:
            self._wait()
        except HttpError as error:  # silent for too long, or its room is wanted for others
            connection.lingering = isinstance(error, TimedOut)  # a request may be on its way, and must not reset the GOAWAY
            self.codec.goaway(NO_ERROR, self.codec.last)
            self.flush()
            self._close()
        except Exception:
            self.codec.fail(INTERNAL_ERROR, "internal error")
            self.flush()
            self._close()
            raise
        else:
            self._close()

    def _wait(self) -> None:
        """Wait for the end. The stream throws an error in here if a deadline is over."""
        plain = self.connection.plain
        plain.reader = self._owner
        try:
            while not self._ended:
                self.reactor.switch()
        finally:
            plain.reader = plain.writer = None
            plain.read_deadline = plain.write_deadline = inf

    def _close(self) -> None:
        """End all requests, and send the last octets."""
        self._ended = True
        stream, plain = self._stream, self.connection.plain
        if self._timer is not None:
            self._timer.close()
        self.reactor.streams.discard(self)
        stream.ignore()
        stream.on_writable(None)
        self._run_callback(self._abandon)
        while self.requests:
            self.reactor.switch()
        data = b"".join(self.codec.out)
        self.codec.out.clear()
        with suppress(HttpError):
            while stream.send_now(data):
                plain.wait_writable(self._patience)
                data = b""
        stream.attend(None)
        self.codec.forget()

    def _abandon(self) -> None:
        """End all requests, as their client has gone. On the hub."""
        for request in list(self.requests):
            request.leave()

    def _rest(self) -> None:
        """No request is under way, and the client has taken the last answer: the time for the next request begins."""
        connection, horizon = self.connection, self.reactor.horizon
        connection.idle_since = horizon
        connection.plain.read_deadline = horizon + self._rests if self._rests else inf

    def _busy(self) -> None:
        """A request is under way, or the client has not taken the last answer."""
        self.connection.idle_since = 0.0
        self.connection.plain.read_deadline = inf

    def drain(self) -> None:
        """Take no new requests after a moment, and end with the last answer (RFC 9113, section 6.8). Idempotent."""
        if self._draining or self._ended:
            return
        self._draining = True
        self.codec.goaway(NO_ERROR, MOST)
        self.codec.ping(_ASKED)
        self.touch()
        self._timer = self.reactor.loop.timer(_MOMENT)
        self._timer.start(self._take_no_more)

    def _take_no_more(self) -> None:
        codec = self.codec
        if not (codec.going or self._ended):
            codec.goaway(NO_ERROR, codec.last)
            self.flush()
            if not self.requests:
                self._depart()

    def _depart(self) -> None:
        """All requests are answered, and no more are taken. The client may take its time for the rest of the last answer. On the hub."""
        self.connection.lingering = True
        self._patience = self._timeout
        self._over()

    def _over(self) -> None:
        """The connection is over. On the hub."""
        if not self._ended:
            self._ended = True
            self._owner.switch()

    def _break(self, defect: Exception) -> None:
        """End the connection by a defect, which its greenlet reports. On the hub."""
        if self._ended:
            raise defect
        self._ended = True
        self._owner.throw(defect)

    def _begin(self, data: bytes) -> None:
        if self._ended:
            return
        if data:
            self._take(data)
        self._readable()
        if not self._ended:
            self.touch()
            if not self._paused:
                self._stream.attend(self._readable)

    def _readable(self) -> None:
        try:
            data = self._stream.recv_now()
        except HttpError:
            data = b""
        if data:
            self._take(data)
        elif data is not None:
            self._over()

    def _take(self, data: bytes) -> None:
        codec = self.codec
        try:
            self._handle(codec.feed(data, self._clock()))
        except Exception as defect:
            self._break(defect)
            return
        if self._ended:
            return
        if codec.out:
            self.touch()
            if self.blocked and sum(map(len, codec.out)) - self._payload > _MOST_QUEUED:
                self._paused = True
                self._stream.ignore()
        if codec.lingering or codec.awaiting < inf:
            self._watch()

    def _handle(self, events: list[Event]) -> None:
        started = []
        room = drained = False
        request: Any
        for kind, request, value in events:
            if kind == REQUEST:
                request.head = value
                started.append(request)
            elif kind == DATA:
                request.took(value)
            elif kind == ROOM:
                if request is None:
                    room = True
                elif request.writer is not None and request not in self.line and request.window > 0:
                    request.writer.switch()
            elif kind == END:
                request.took_all(value)
            elif kind == RESET:
                request.leave()
            elif kind == PONG:
                drained = drained or value == _ASKED
            elif kind == FAILED:
                self._fail()
                return
        for request in started:  # only now, because a small body has often come along with its head
            if request.sending:
                self._open(request)
            else:  # the client has reset it by now
                self.codec.done(request, NO_ERROR)
        if room and self.line:
            self._next()
        if drained:
            self._take_no_more()

    def _open(self, request: Request) -> None:
        self.connection.requests += 1
        if not self.requests:
            self._busy()
        self.requests.add(request)
        self._start(request)

    def _watch(self) -> None:
        if self.read_deadline == inf and not self._ended:
            self.read_deadline = self.reactor.horizon + _SWEEP
            self.reactor.streams.add(self)

    def next_deadline(self) -> float:
        """See `terraster.net.reactor.Waiter`."""
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, now: float) -> None:
        """See `terraster.net.reactor.Waiter`."""
        if self._ended:
            return
        if self.write_deadline < now:
            self.write_deadline = inf
            self._lose_patience()
        if self.read_deadline < now:
            self.read_deadline = inf
            self._sweep(now)
        if self.read_deadline == self.write_deadline == inf:
            self.reactor.streams.discard(self)

    def _lose_patience(self) -> None:
        """End the requests in line, because the client gives the connection no window."""
        if not self.blocked and self.codec.window <= 0:
            for request in list(self.line):
                if request.writer is not None:
                    request.writer.throw(self.connection.timed_out(True))

    def _sweep(self, now: float) -> None:
        codec = self.codec
        self._handle(codec.sweep(now))
        if codec.out:
            self.touch()
        if codec.lingering or codec.awaiting < inf:
            self._watch()

    def _fail(self) -> None:
        codec = self.codec
        self._tell(self.connection, codec.exceeded, codec.fault)
        self.connection.lingering = True
        self.flush()
        self._over()

    def finished(self, request: Request) -> None:
        """A request is over. Its greenlet calls this last."""
        codec = self.codec
        self.requests.discard(request)
        codec.done(request, request.code)
        if self._ended:
            if not self.requests:
                self._run_callback(self._owner.switch)
            return
        if codec.out:
            self.touch()
        if codec.lingering:
            self._watch()
        if not self.requests:
            if codec.going:
                self._run_callback(self._depart)
            self._rests = self.connection.keepalive
            if not self.blocked:
                self._rest()

    def touch(self) -> None:
        """Send at the end of this turn of the loop."""
        if not self._touched:
            self._touched = True
            self._run_callback(self._turn)

    def wrote(self, octets: int, at_once: bool) -> None:
        """A request has so many more octets in the codec. at_once: they lie in memory that is used again."""
        self._queued += octets
        self._payload += octets
        if at_once or self._queued >= _AT_ONCE:
            self.flush()
        else:
            self.touch()

    def _turn(self) -> None:
        self._touched = False
        self.flush()
        if self.line and not self.blocked and self.codec.window > 0:
            self._next()

    def queue(self, request: Request) -> None:
        """A request begins to wait in line."""
        self.line[request] = None
        self._expect_window()

    def _expect_window(self) -> None:
        """Those in line wait for the window of the connection, if not for the socket. One deadline is for all of them: a client that gives
        window may use it for the more urgent ones as long as it likes."""
        if self.write_deadline == inf and not self.blocked and self._timeout < inf:
            self.write_deadline = self.reactor.horizon + self._timeout
            self.reactor.streams.add(self)

    def _next(self) -> None:
        """Let those in line write, each once, the most urgent first. On the hub."""
        line, codec = self.line, self.codec
        self.write_deadline = inf
        for _ in range(len(line)):
            if not line or self.blocked or codec.window <= 0:
                break
            request = min(line, key=_urgency)
            del line[request]
            if request.writer is not None:
                request.writer.switch()
        if line and codec.window <= 0:
            self._expect_window()

    def flush(self) -> None:
        """Send what there is, without waiting."""
        out = self.codec.out
        if not out:
            return
        if self.blocked:
            for at, piece in enumerate(out):
                if type(piece) is memoryview:
                    out[at] = bytes(piece)
            return
        data = b"".join(out)
        out.clear()
        self._payload = 0
        if self.connection.plain.closed:
            return
        try:
            self._queued = self._stream.send_now(data)
        except HttpError:
            self._queued = 0
            self._run_callback(self._over)
            return
        if self._queued and not self._ended:
            self.blocked = True
            if not self.requests:
                self._busy()
            plain = self.connection.plain
            plain.writer = self._owner
            plain.write_deadline = self.reactor.horizon + self._timeout
            self._stream.on_writable(self._writable)

    def _writable(self) -> None:
        plain = self.connection.plain
        try:
            self._queued = self._stream.send_now(b"")
        except HttpError:
            self._over()
            return
        if self._queued:
            plain.write_deadline = self.reactor.horizon + self._timeout
            return
        self.blocked = False
        plain.writer = None
        plain.write_deadline = inf
        self._stream.on_writable(None)
        self._queued = sum(map(len, self.codec.out))
        self.flush()
        if self.line and not self.blocked:
            self._next()
            self.flush()
        if self._ended:
            return
        if self._paused:
            self._paused = False
            self._stream.attend(self._readable)
        if not (self.requests or self.blocked):
            self._rest()


def _urgency(request: Request) -> int:
    return request.urgency
