"""A client that speaks HTTP/2: callbacks on the hub, several requests at a time on one connection.

A request that a GOAWAY names as not worked on is sent again on the next connection (RFC 9113, section 8.7), and counts once.
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
_LOOK = 0.25  # seconds between two looks at the clock, at most


class _Call(Stream):
    """A request. due: monotonic time. status: of the answer, 0 before its head. rest: octets of the body that are to be sent"""

    __slots__ = ("due", "rest", "status")

    def __init__(self, number: int, window: int) -> None:
        super().__init__(number, window)
        self.due = 0.0
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
        "_has_begun",
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
        self._again: deque[float] = deque()  # when requests were due that are to be sent again
        self._block = encode(load.http2_fields())
        self._body = load.body
        self._calls: dict[_Call, None] = {}
        self._codec: ClientSession
        self._full = False  # True while the socket takes no octets
        self._has_begun = False
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

    def prepare(self) -> None:
        """See `Client.prepare`. A failure is left to the first request, which tries again."""
        try:
            self._open()
        except HttpError:
            self._stream = None

    def begin(self) -> None:
        """See `Client.begin`."""
        self._has_begun = True
        self._fill()

    def proceed(self, due: float) -> None:
        """See `Client.proceed`."""
        self._is_parked = False
        if self._stream is None:
            self._connect_for(due)
        elif self._codec.room:
            self._call(due)
            self._fill()
        else:
            self._again.append(due)
            self._fill()

    # ------------------------------------------------------------------------------------------------------------- connections

    def _open(self) -> None:
        """Connect, in a greenlet. Raises `HttpError`."""
        run = self._run
        connection = run.connect(run.load.timeout)
        self._codec = ClientSession(_Call, self._limits)
        self._codec.feed(b"", run.clock())
        self._full = False
        self._stream = stream = connection.stream
        stream.attend(self._readable)
        run.reactor.loop.run_callback(self._readable)  # TLS may hold octets that came behind the handshake
        run.reactor.streams.add(self)
        self._look_later()

    def _connect_for(self, due: float) -> None:
        """Connect for a request, or let it wait for the connection that is being made. due: as in `Client.proceed`"""
        if self._is_connecting:
            self._again.append(due)
        else:
            self._is_connecting = True
            self._run.reactor.spawn(self._reopen, due)

    def _reopen(self, due: float) -> None:
        """Connect for a request, in a greenlet. Each failure is one of a request; due: of the first"""
        run = self._run
        while True:
            try:
                self._open()
                break
            except HttpError as error:
                run.failed(due, run.clock(), error)
                run.reactor.sleep(_PAUSE)
            now = run.clock()
            due = self._again.popleft() if self._again else run.take(now)
            if due > now:
                self._is_connecting = False
                self._wait(due)
                return
        self._is_connecting = False
        self._call(due)
        self._fill()

    def _end(self, error: HttpError | None) -> None:
        """The connection is over. error: of the requests under way"""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        run = self._run
        run.reactor.streams.discard(self)
        stream.close()
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
            if self._stream is None or self._codec.room:
                now = run.clock()
                due = self._again.popleft() if self._again else run.take(now)
                if due > now:
                    self._wait(due)
                    break
                if self._stream is None:
                    self._connect_for(due)
                    return
                self._call(due)
            elif self._codec.going and not self._calls:
                self._end(None)
                return
            else:
                break
        self._flush()

    def _wait(self, due: float) -> None:
        if due < inf and not self._is_parked:
            self._is_parked = True
            self._run.park(self, due)

    def _call(self, due: float) -> None:
        body = self._body
        call = self._codec.open(self._block, self._method, not body)
        assert isinstance(call, _Call)
        call.due = due
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
                self._over(call)
                self._run.answered(call.due, now, call.status, 0)
            elif kind == ROOM:
                self._send_body(call)
            elif kind == RESET:
                self._was_reset(call, value, now)
        for call in headed:
            if call in calls:
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
            self._again.append(call.due)
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
        if self._stream is None:
            return
        run = self._run
        self._look_later()
        for call in list(self._calls):
            if now - call.due < run.load.timeout:
                break  # those behind it were sent later
            self._over(call, CANCEL)
            run.lost(call.due, now, TIMEOUT, "no complete answer in time")
        if self._handle(self._codec.sweep(now), now):
            self._fill()
