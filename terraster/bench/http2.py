"""A client that speaks HTTP/2: callbacks on the hub, several requests at a time on one connection.

A request that a GOAWAY names as not worked on is sent again on the next connection (RFC 9113, section 8.7), and counts once. Its timeout
counts from when it was sent first, or from when a connection was looked for.
"""

from __future__ import annotations

from collections import deque
from math import inf

from terraster.errors import BadResponse, ConnectionLost, HttpError
from terraster.net.stream import Stream as Socket
from terraster.net.tls import TlsStream
from terraster.wire.http2.client import ClientSession
from terraster.wire.http2.events import DATA, END, FAILED, RESET, RESPONSE, ROOM, Event
from terraster.wire.http2.frames import CANCEL, ERRORS, NO_ERROR, REFUSED_STREAM
from terraster.wire.http2.hpack.writer import encode
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.streams import Stream

from .failures import STREAM_REFUSED, STREAM_RESET, TIMEOUT
from .run import Run

__all__ = ["Http2Client"]

_WINDOW = 1 << 20
_PAUSE = 0.01  # seconds until another connection is tried
_LEAST_WAIT = 0.001  # seconds
_IN_VAIN = "no stream of HTTP/2 for the request in time"
_LOOK = 0.25  # seconds between two looks at the clock, at most


class _Call(Stream):
    """A request. due, until: monotonic times when it was due, and when it is a timeout. status: of the answer, 0 before its head. rest: octets
    of the body that are to be sent"""

    __slots__ = ("due", "rest", "status", "until")

    def __init__(self, number: int, window: int) -> None:
        super().__init__(number, window)
        self.due = self.until = 0.0
        self.rest: memoryview | None = None
        self.status = 0


class Http2Client:
    """See `terraster.bench.run.Client`. read_deadline, write_deadline: as in `terraster.net.reactor.Swept`"""

    __slots__ = (
        "read_deadline",
        "write_deadline",
        "_again",
        "_block",
        "_body",
        "_calls",
        "_codec",
        "_full",
        "_has_answered",
        "_has_begun",
        "_is_barren",
        "_is_connecting",
        "_is_parked",
        "_limits",
        "_method",
        "_run",
        "_stream",
    )

    def __init__(self, run: Run) -> None:
        load = run.load
        self.read_deadline = self.write_deadline = inf
        self._again: deque[tuple[float, float]] = deque()  # requests that wait for a connection or a stream: when due, until when
        self._block = encode(load.http2_fields())
        self._body = load.body
        self._calls: dict[_Call, None] = {}
        self._codec: ClientSession
        self._full = False  # True while the socket takes no octets
        self._has_answered = False
        self._has_begun = False
        self._is_barren = False  # True if the last connection was ended without an answer to its requests
        self._is_parked = False
        self._limits = Limits(
            max_streams=load.streams,
            resets_per_second=1e9,
            window=_WINDOW,
            connection_window=_WINDOW * 16,
            buffered_octets=_WINDOW * 64,
            header_count=250,
        )
        self._method = load.method.encode("ascii")
        self._run = run
        self._stream: Socket | TlsStream | None = None
        self._is_connecting = False
        self._look_later()
        run.reactor.streams.add(self)

    def prepare(self) -> None:
        """See `Client.prepare`. A failure is left to the first request, which tries again."""
        try:
            self._open(self._run.load.timeout)
        except HttpError:
            self._stream = None

    def begin(self) -> None:
        """See `Client.begin`."""
        self._has_begun = True
        if self._run.load.rate:
            self._wait(self._run.clock())
        else:
            self._fill()

    def proceed(self, due: float) -> None:
        """See `Client.proceed`."""
        self._is_parked = False
        until = self._run.clock() + self._run.load.timeout
        if self._stream is None:
            self._connect_for(due, until)
        elif self._codec.room:
            self._call(due, until)
            self._fill()
        else:
            self._again.append((due, until))
            self._fill()

    # ------------------------------------------------------------------------------------------------------------- connections

    def _open(self, timeout: float) -> None:
        """Connect, in a greenlet. Raises `HttpError`."""
        run = self._run
        connection = run.connect(timeout)
        self._codec = ClientSession(_Call, self._limits)
        self._codec.feed(b"", run.clock())
        self._full = self._has_answered = False
        self._stream = stream = connection.stream
        stream.attend(self._readable)
        run.reactor.loop.run_callback(self._readable)  # TLS may hold octets that came behind the handshake

    def _connect_for(self, due: float, until: float) -> None:
        """Connect for a request, or let it wait for the connection that is being made. due, until: as in `_Call`"""
        if self._is_connecting:
            self._again.append((due, until))
        else:
            self._is_connecting = True
            self._run.reactor.spawn(self._reopen, due, until)

    def _reopen(self, due: float, until: float) -> None:
        """Connect for a request, in a greenlet. Each failure is one of a request. due, until: of the first, as in `_Call`"""
        run = self._run
        if self._is_barren:
            run.reactor.sleep(_PAUSE)
        while True:
            try:
                self._open(max(until - run.clock(), _LEAST_WAIT))
                break
            except HttpError as error:
                run.failed(due, run.clock(), error)
                run.reactor.sleep(_PAUSE)
            now = run.clock()
            due, until = self._next(now)
            if due > now:
                self._is_connecting = False
                self._wait(due)
                return
        self._is_connecting = False
        self._call(due, until)
        self._fill()

    def _end(self, error: HttpError | None) -> None:
        """The connection is over. error: of the requests under way"""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        run = self._run
        stream.close()
        self._is_barren = self._codec.last > 0 and not self._has_answered
        calls, self._calls = self._calls, {}
        self._codec.forget()
        if error is not None:
            now = run.clock()
            for call in calls:
                run.failed(call.due, now, error)
        self._fill()

    # ---------------------------------------------------------------------------------------------------------------- requests

    def _fill(self) -> None:
        """Send requests as far as there are turns, and room for them."""
        run = self._run
        while self._has_begun and not self._is_connecting:
            now = run.clock()
            if self._stream is None or self._codec.room:
                due, until = self._next(now)
                if due > now:
                    self._wait(due)
                    break
                if self._stream is None:
                    self._connect_for(due, until)
                    return
                self._call(due, until)
            elif self._codec.going and not self._calls:
                self._end(None)
                return
            else:
                if not self._calls:
                    self._hold(now)
                break
        self._flush()

    def _next(self, now: float) -> tuple[float, float]:
        """Take a turn: when its request was due, and until when it may take. A time after ``now``: as `Turns.take` returns it"""
        run = self._run
        while self._again:
            due, until = self._again.popleft()
            if now < until:
                return due, until
            run.lost(due, now, TIMEOUT, _IN_VAIN)
        return run.take(now), now + run.load.timeout

    def _hold(self, now: float) -> None:
        """The server allows no stream at all: as many requests as would be under way wait, as they would for answers."""
        run = self._run
        while len(self._again) < run.load.streams:
            due = run.take(now)
            if due > now:
                self._wait(due)
                break
            self._again.append((due, now + run.load.timeout))

    def _wait(self, due: float) -> None:
        if due < inf and not self._is_parked:
            self._is_parked = True
            self._run.park(self, due)

    def _call(self, due: float, until: float) -> None:
        body = self._body
        call = self._codec.open(self._block, self._method, not body)
        assert isinstance(call, _Call)
        call.due = due
        call.until = until
        self._calls[call] = None
        if body:
            call.rest = memoryview(body)
            self._send_body(call)

    def _send_body(self, call: _Call) -> None:
        rest = call.rest
        if rest is not None:
            sent = self._codec.data(call, rest, True)
            call.rest = rest[sent:] if sent < len(rest) and call.sending else None

    def _flush(self) -> None:
        """Send what there is. Octets that the socket does not take wait for it, and all that follow."""
        stream = self._stream
        if stream is None or self._full or not self._codec.out:
            return
        data = b"".join(self._codec.out)
        self._codec.out.clear()
        self._run.record.sent += len(data)
        try:
            if stream.send_now(data):
                self._full = True
                stream.on_writable(self._writable)
        except HttpError as error:
            self._end(error)

    def _writable(self) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            if stream.send_now(b""):
                return
        except HttpError as error:
            self._end(error)
            return
        self._full = False
        stream.on_writable(None)
        self._flush()

    # ----------------------------------------------------------------------------------------------------------------- answers

    def _readable(self) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            data = stream.recv_now()
        except HttpError as error:
            self._end(error)
            return
        if data:
            now = self._run.clock()
            if not self._codec.settled and data[:5] == b"HTTP/":
                self._end(BadResponse("the server speaks HTTP/1.1, and not HTTP/2"))
                return
            self._run.record.received += len(data)
            if self._handle(self._codec.feed(data, now), now):
                self._fill()
        elif data is not None:
            self._end(ConnectionLost("the server closed the connection"))

    def _handle(self, events: list[Event], now: float) -> bool:
        """Read events. False if the connection has ended."""
        calls, codec = self._calls, self._codec
        call: _Call
        headed: list[_Call] = []  # calls without a body, or with one that came at the same time
        for kind, stream, value in events:
            if kind == FAILED:
                self._flush()
                self._end(BadResponse(f"the server broke a rule of HTTP/2: {value[1]}"))
                return False
            if stream is None:
                if kind == ROOM:
                    for call in list(calls):
                        self._send_body(call)
                continue
            call = stream  # type: ignore[assignment]
            if call not in calls:
                continue
            if kind == RESPONSE:
                if isinstance(value, BadResponse):
                    self._over(call)
                    self._run.failed(call.due, now, value)
                    continue
                call.status = value.status
                if not call.receiving:
                    headed.append(call)
            elif kind == DATA:
                codec.consumed(call, len(value))
            elif kind == END:
                self._has_answered = True
                self._over(call)
                self._run.answered(call.due, now, call.status, 0)
            elif kind == ROOM:
                self._send_body(call)
            elif kind == RESET:
                self._was_reset(call, value, now)
        for call in headed:
            if call in calls:
                self._has_answered = True
                self._over(call)
                self._run.answered(call.due, now, call.status, 0)
        return True

    def _over(self, call: _Call, code: int = NO_ERROR) -> None:
        del self._calls[call]
        self._codec.done(call, code)

    def _was_reset(self, call: _Call, code: int, now: float) -> None:
        refused = code == REFUSED_STREAM and not call.status
        name = ERRORS[code] if code < len(ERRORS) else f"error {code}"
        is_fault = self._codec.broke(call) and not refused
        self._over(call)
        if refused and self._codec.going:
            self._again.append((call.due, call.until))
        elif is_fault:
            self._run.failed(call.due, now, BadResponse(f"the server broke a rule of HTTP/2 in its answer ({name})"))
        else:
            kind = STREAM_REFUSED if refused else STREAM_RESET
            self._run.lost(call.due, now, kind, f"the server ended the stream of the request ({name})")

    # ----------------------------------------------------------------------------------------- as `terraster.net.reactor.Swept`

    def _look_later(self) -> None:
        self.read_deadline = self._run.clock() + min(_LOOK, self._run.load.timeout / 4)

    def next_deadline(self) -> float:
        """See `terraster.net.reactor.Waiter`."""
        return self.read_deadline

    def overdue(self, now: float) -> None:
        """See `terraster.net.reactor.Waiter`: end requests that have taken too long, and see whether the server accepts our settings."""
        run = self._run
        self._look_later()
        if self._again:
            waiting, self._again = self._again, deque()
            for due, until in waiting:
                if now < until:
                    self._again.append((due, until))
                else:
                    run.lost(due, now, TIMEOUT, _IN_VAIN)
        if self._stream is None:
            return
        for call in list(self._calls):
            if now >= call.until:
                self._over(call, CANCEL)
                run.lost(call.due, now, TIMEOUT, "no complete answer in time")
        if self._handle(self._codec.sweep(now), now):
            self._fill()
