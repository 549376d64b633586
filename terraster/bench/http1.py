"""A client that speaks HTTP/1.1: one greenlet, one request at a time."""

from __future__ import annotations

from math import inf

from greenlet import greenlet

from terraster.errors import BadResponse, ConnectionLost, HttpError
from terraster.wire.chunked import ChunkedReader
from terraster.wire.http1 import ResponseHead, parse_response

from .connection import Connection
from .run import Run

__all__ = ["Http1Client"]

_HEAD_SIZE = 65536
_HEAD_COUNT = 250
_LEAST_WAIT = 0.001  # seconds
_SLICE = 1 << 17  # octets that are sent before a look at the clock: each octet that a stream sends begins its timeout anew
_LONGEST_PAUSE = 0.01
"""Seconds until another connection is tried, after some that failed: a closed port would be asked 20,000 times a second otherwise."""


class Http1Client:
    """See `terraster.bench.run.Client`."""

    __slots__ = ("_connection", "_due", "_greenlet", "_method", "_octets", "_pauses", "_run", "_timeout")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._connection: Connection | None = None
        self._due = 0.0
        self._greenlet: greenlet
        self._method = run.load.method.encode("ascii")
        self._octets = run.load.http1_request()
        self._pauses = 0
        self._timeout = run.load.timeout

    def prepare(self) -> None:
        """See `Client.prepare`. A failure is left to the first request, which tries again."""
        if self._run.load.keepalive:
            try:
                self._connection = self._run.connect(self._timeout)
            except HttpError:
                self._connection = None

    def begin(self) -> None:
        """See `Client.begin`."""
        self._greenlet = self._run.reactor.spawn(self._serve)

    def proceed(self, due: float) -> None:
        """See `Client.proceed`."""
        self._due = due
        self._greenlet.switch()

    def _serve(self) -> None:
        run = self._run
        due = now = run.clock()
        is_parked = run.load.rate > 0.0  # the first requests are late if they are, and wait for no connection
        while True:
            if not is_parked:
                due = run.take(now)
            if is_parked or due > now:
                if due == inf:
                    break
                is_parked = False
                run.park(self, due)
                run.reactor.switch()
                due = self._due
                now = run.clock()
            try:
                now = self._exchange(due, now + self._timeout)
            except HttpError as error:
                now = run.clock()
                run.failed(due, now, error)
                self._close()
                if error.unconnected:
                    run.reactor.sleep(min(_LONGEST_PAUSE, 0.001 * 2**self._pauses))
                    self._pauses = min(self._pauses + 1, 10)
                    now = run.clock()
        self._close()

    def _exchange(self, due: float, until: float) -> float:
        """Send the request and read its answer. until: monotonic time. Returns the monotonic time of its end. Raises `HttpError`."""
        run = self._run
        connection = self._connection
        if connection is None or connection.ended:
            self._close()
            connection = self._connection = run.connect(self._timeout)
            self._pauses = 0
        octets = self._octets
        if len(octets) <= _SLICE:
            connection.send(octets, max(until - run.clock(), _LEAST_WAIT))
        else:
            for at in range(0, len(octets), _SLICE):
                connection.send(octets[at : at + _SLICE], self._left(connection, until, True))
        run.record.sent += len(octets)
        data = connection.recv(max(until - run.clock(), _LEAST_WAIT))
        received = len(data)
        head = parse_response(data, self._method, _HEAD_SIZE, _HEAD_COUNT, 0, False)
        if head is None or head.size + head.content_length != received or head.status < 200:
            head, received = self._rest(connection, data, head, until)
        now = run.clock()
        run.answered(due, now, head.status, received)
        if not (head.keep_alive and run.load.keepalive):
            self._close()
        return now

    def _rest(self, connection: Connection, data: bytes, head: ResponseHead | None, until: float) -> tuple[ResponseHead, int]:
        """Read an answer that has not come in one piece. until: monotonic time. Returns its head, and the octets of the answer. Raises
        `HttpError`."""
        received = len(data)
        while head is None or head.status < 200:
            if head is not None:
                if head.status == 101:
                    raise BadResponse("a switch of protocols that nobody asked for")
                data = data[head.size :]
            elif more := self._read(connection, until):
                received += len(more)
                data += more
            else:
                raise ConnectionLost("the server closed the connection before the answer" if not data else "... within the head")
            head = parse_response(data, self._method, _HEAD_SIZE, _HEAD_COUNT, 0, False)
        if head.no_body:
            left = head.size - len(data)
        elif head.chunked:
            return head, received + self._chunks(connection, data[head.size :], until)
        elif head.until_close:
            while more := self._read(connection, until):
                received += len(more)
            connection.ended = True
            return head, received
        else:
            left = head.size + head.content_length - len(data)
        while left > 0:
            more = self._read(connection, until)
            if not more:
                raise ConnectionLost("the server closed the connection within the answer")
            received += len(more)
            left -= len(more)
        if left < 0:
            raise BadResponse("more octets than the answer has by its Content-Length")
        return head, received

    def _chunks(self, connection: Connection, data: bytes, until: float) -> int:
        """Read a body in chunks to its end. data: its first octets. Returns the octets behind them."""
        reader = ChunkedReader(BadResponse, 0, False)
        received = 0
        if data:
            reader.feed(data)
        while not reader.done:
            data = self._read(connection, until)
            if not data:
                raise ConnectionLost("the server closed the connection within the answer")
            received += len(data)
            reader.feed(data)
        if reader.rest:
            raise BadResponse("more octets than the answer has")
        return received

    def _read(self, connection: Connection, until: float) -> bytes:
        """The next octets, b"" at the end. until: monotonic time. Raises `HttpError`."""
        return connection.recv(self._left(connection, until, False))

    def _left(self, connection: Connection, until: float, writing: bool) -> float:
        """Seconds until a monotonic time. Raises `HttpError` if there are none."""
        left = until - self._run.clock()
        if left <= 0.0:
            raise connection.timed_out(writing)
        return left

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
