"""A client's HTTP/2 connection: it reads for the codec, and begins its requests.

A callback on the hub reads the octets and takes the frames apart, not a greenlet: a greenlet that starts others is not switched back to when
they wait. Each request has a greenlet from the worker's pool, and so has the end of the connection. Nothing of the connection waits in a
greenlet: an idle one would keep its stacks.

Nothing is read from the client while the socket takes nothing and too much waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

from greenlet import getcurrent, greenlet

from terraster.errors import HttpError, TimedOut
from terraster.net.connection import Connection
from terraster.wire.http2.events import DATA, END, FAILED, PONG, REQUEST, RESET, ROOM, Event
from terraster.wire.http2.frames import INTERNAL_ERROR, MOST, NO_ERROR
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession

from .outlet import Outlet
from .request import Request

__all__ = ["Session"]

_MOST_QUEUED = 1 << 18
"""Octets of heads and the like, which need no window, behind those that the socket has not taken; beyond that nothing is read."""
_NOTSENT_LOWAT = 1 << 17
"""Octets that the kernel keeps for a connection before they are sent. It halves the latency of small answers beside large ones: they wait
behind fewer octets (tcp(7), TCP_NOTSENT_LOWAT)."""
_TCP_NOTSENT_LOWAT = 25
_ASKED = b"drained?"  # the PING behind the first GOAWAY of a drain
_MOMENT = 2.0  # seconds that its answer is waited for
_LAST_WORDS = 2.0  # seconds for the last octets of a connection


class Session(Outlet):
    """A client's HTTP/2 connection. It is the reader and the writer of its socket (`terraster.net.stream.Stream`), in place of a greenlet.

    connection: with its socket
    """

    __slots__ = (
        "connection",
        "_clock",
        "_closer",
        "_draining",
        "_error",
        "_finish",
        "_head_time",
        "_patience",
        "_paused",
        "_rests",
        "_start",
        "_tell",
        "_timer",
    )

    codec: ServerSession

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        timeout: float,
        start: Callable[[Request], None],
        tell: Callable[[Connection, str, str], None],
        finish: Callable[[Session], None],
    ) -> None:
        """timeout: seconds between two octets that the client takes, 0 = no limit. start: begins to serve a request in a greenlet of its
        own, called on the hub. tell: called with the name of the bound that the client exceeded, "" if it broke another rule, and with the
        rule. finish: begins to `close` the session in a greenlet of its own, once it is over; called on the hub."""
        super().__init__(connection.stream, connection.plain, ServerSession(self._make, limits), timeout)
        self.connection = connection
        self._clock = self.reactor.clock
        self._closer: greenlet | None = None
        self._draining = self._paused = False
        self._error: Exception | None = None  # by which it is over
        self._finish = finish
        self._head_time = inf  # seconds that a head may take
        self._patience = _LAST_WORDS
        self._rests = 0.0  # seconds that the next request may take while none is under way, 0 = no limit
        self._start = start
        self._tell = tell
        self._timer: Any = None

    def _make(self, number: int, window: int) -> Request:
        return Request(self, number, window)

    def begin(self, data: bytes, timeout: float) -> None:
        """Serve the connection from now on. data: octets that were read. timeout: seconds for the first request, and for each head from its
        first octet to its last; 0 = no limit."""
        connection, plain = self.connection, self.connection.plain
        connection.session = self
        with suppress(OSError):  # it may have been closed by now
            plain.set_tcp_option(_TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
        self._rests = timeout
        self._head_time = timeout or inf
        self._rest()
        plain.ignore()  # until `_begin`, which may be more than one turn away: octets that come meanwhile would be taken for the end
        plain.reader = self
        self._run_callback(self._begin, data)

    def switch(self) -> None:
        """See `terraster.net.stream.Stream`: the connection is over. On the hub."""
        if not self._ended:
            self._ended = True
            self._finish(self)

    def throw(self, error: Exception) -> None:
        """See `terraster.net.stream.Stream`: it is over by an error, that of a deadline or a defect. On the hub."""
        self._error = self._error or error
        self.switch()

    def close(self) -> None:
        """End all requests, and send the last octets. The caller closes the connection. Raises nothing but a defect."""
        stream, plain, error = self._stream, self.connection.plain, self._error
        self._closer = getcurrent()
        plain.reader = plain.writer = None
        plain.read_deadline = plain.write_deadline = inf
        if isinstance(error, HttpError):  # silent for too long, or its room is wanted for others
            self.connection.lingering = isinstance(error, TimedOut)  # a request may be on its way, and must not reset the GOAWAY
            self.codec.goaway(NO_ERROR, self.codec.last)
            self.flush()
        elif error is not None:
            self.codec.fail(INTERNAL_ERROR, "internal error")
            self.flush()
        if self._timer is not None:
            self._timer.close()
        self._drop_hold()
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
        self._error = self._closer = None
        if error is not None and not isinstance(error, HttpError):
            raise error

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
        self.switch()

    def _break(self, defect: Exception) -> None:
        """End the connection by a defect, which its end reports. On the hub."""
        if self._ended:
            raise defect
        self.throw(defect)

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
            if self.blocked and self._waiting > _MOST_QUEUED:
                self._paused = True
                self._stream.ignore()
        if codec.lingering or codec.awaiting < inf or codec.heading < inf:
            self._watch()

    def _handle(self, events: list[Event]) -> None:
        started = []
        fed: dict[Request, None] = {}
        room = drained = False
        request: Any
        for kind, request, value in events:
            if kind == REQUEST:
                request.head = value
                started.append(request)
            elif kind == DATA:
                request.took(value)
                fed[request] = None
            elif kind == ROOM:
                if request is None:
                    room = True
                elif request.writer is not None and request not in self.line and request.window > 0:
                    request.writer.switch()
            elif kind == END:
                request.took_all(value)
                fed[request] = None
            elif kind == RESET:
                request.leave()
            elif kind == PONG:
                drained = drained or value == _ASKED
            elif kind == FAILED:
                self._fail()
                return
        for request in fed:  # only now, because one send of several payloads costs less than one of each
            request.wake()
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
        self.opened(request)
        self._start(request)

    def _sweep(self, now: float) -> None:
        codec = self.codec
        if now - codec.heading > self._head_time:
            self.throw(self.connection.timed_out(False))
            return
        self._handle(codec.sweep(now))
        if codec.out:
            self.touch()
        if codec.lingering or codec.awaiting < inf or codec.heading < inf:
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
            if not self.requests and self._closer is not None:
                self._run_callback(self._closer.switch)
            return
        if codec.out or self.line:
            self.touch()
        if codec.lingering:
            self._watch()
        if not self.requests:
            if codec.going:
                self._run_callback(self._depart)
            self._rests = self.connection.keepalive
            if not self.blocked:
                self._rest()

    def _stalled(self) -> None:
        if not self.requests:
            self._busy()
        self.plain.writer = self
        self.plain.write_deadline = self.reactor.horizon + self._timeout

    def _flows(self) -> None:
        if self._paused:
            self._paused = False
            self._stream.attend(self._readable)
        if not (self.requests or self.blocked):
            self._rest()
