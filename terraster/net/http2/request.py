"""The client of one request over HTTP/2: a stream of its connection, with the calls of `terraster.net.downstream.Downstream`."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from terraster.errors import BadRequest, ClientGone, HttpError
from terraster.exchange import Exchange
from terraster.net.body import BUFFER, Payload, PlainSink, RequestBody, chunk
from terraster.net.connection import Connection
from terraster.wire.chunked import last_chunk
from terraster.wire.http2.fields import trailer_block
from terraster.wire.http2.frames import CANCEL, INTERNAL_ERROR
from terraster.wire.http2.streams import Stream

if TYPE_CHECKING:
    from .session import Session

__all__ = ["FrameSink", "Request"]

_LEAST = BUFFER // 4
"""Octets of a body that are worth a read, however many requests share a connection."""


class Request(Stream):
    """One request, and the codec's record of its stream: one object, because a second one would cost as much as the frame.

    connection, exchange, inlet, worker: as in `Downstream`
    head:   its head, or the error to answer
    code:   the error code if the stream has to be broken off at the end
    gone:   True if the client has no more interest in it
    reader, writer: the greenlets that wait for the client
    read_deadline, write_deadline: as in `terraster.net.stream.Stream`
    """

    __slots__ = (
        "code",
        "connection",
        "exchange",
        "gone",
        "head",
        "read_deadline",
        "reader",
        "session",
        "trailers",
        "worker",
        "write_deadline",
        "writer",
        "_ended",
        "_held",
        "__weakref__",
    )

    framed = True

    def __init__(self, session: Session, number: int, window: int) -> None:
        super().__init__(number, window)
        self.session = session
        self.connection: Connection = session.connection
        self.exchange: Exchange | None = None
        self.worker: greenlet | None = None
        self.head: Any = None
        self.code = CANCEL
        self.gone = False
        self.reader: greenlet | None = None
        self.writer: greenlet | None = None
        self.read_deadline = self.write_deadline = inf
        self.trailers = b""
        self._ended = False
        self._held = b""

    # ------------------------------------------------------------------------------------------------------- as `Downstream`

    @property
    def inlet(self) -> Request:
        """The side that a body comes from. A field would refer to the request itself, and keep its memory until the collector runs."""
        return self

    def begin(self, head: bytes, payload: bytes, timeout: float) -> None:
        """See `Downstream.begin`. head: a block of fields."""
        if self.gone:
            raise ClientGone("the client left")
        self.session.codec.head(self, head, False)
        if payload:
            self.write(payload, False, timeout)
        else:
            self.session.touch()

    def answer(self, head: bytes, body: bytes, timeout: float) -> None:
        """See `Downstream.answer`."""
        if self.gone:
            raise ClientGone("the client left")
        self.session.codec.head(self, head, not body)
        if body:
            self.write(body, True, timeout)
        else:
            self.session.touch()

    def body(self, length: int, limit: int, room: int) -> RequestBody:
        """See `Downstream.body`."""
        return RequestBody(length, limit, room) if length >= 0 else _FramedBody(self, limit, room)

    def watch(self) -> None:
        """See `Downstream.watch`."""
        self.worker = getcurrent()

    def unwatch(self) -> None:
        """See `Downstream.unwatch`."""
        self.worker = None

    def interrupt(self, error: HttpError) -> None:
        """See `Downstream.interrupt`."""
        worker = self.worker
        if worker is not None:
            self.worker = None
            worker.throw(error)

    def end(self) -> None:
        """See `Downstream.end`."""
        self.exchange = self.worker = None

    def abort(self) -> None:
        """See `Downstream.abort`."""
        self.code = INTERNAL_ERROR
        self.exchange = None

    # ------------------------------------------------------------------------------------------------ told by the session, on the hub

    def took(self, payload: bytes) -> None:
        """Octets of the body have come."""
        self._held = self._held + payload if self._held else payload
        self._wake()

    def took_all(self, trailers: bytes) -> None:
        """The body has come to its end."""
        self.trailers = trailers
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        reader = self.reader
        if reader is not None:
            self.reader = None
            reader.switch()

    def leave(self) -> None:
        """The client is gone, or has no more interest in the answer."""
        if self.gone:
            return
        self.gone = True
        error = ClientGone("the client left")
        if self.exchange is not None and self.exchange.location is not None and not self.exchange.location.ignore_client_abort:
            self.interrupt(error)
        for waiting in (self.reader, self.writer):
            if waiting is not None:
                waiting.throw(error)

    # -------------------------------------------------------------------------------------------------- as `terraster.net.body.Inlet`

    @property
    def held(self) -> bytes:
        """The octets of the body that have come and are not used yet. Those that are taken out give the client room for more."""
        return self._held

    @held.setter
    def held(self, rest: bytes) -> None:
        used = len(self._held) - len(rest)
        self._held = rest
        if used > 0:
            self.session.codec.consumed(self, used)
            if self.session.codec.out:
                self.session.touch()

    def recv(self, timeout: float) -> bytes:
        """See `terraster.net.body.Inlet`."""
        while not self._held:
            if self.gone:
                raise ClientGone("the client left within its request")
            if self._ended:
                return b""
            self.read_deadline = self._deadline(timeout)
            reader = self.reader = getcurrent()
            try:
                self.session.reactor.switch()
            finally:
                if self.reader is None or self.reader is reader:
                    self.reader = None
                    self.read_deadline = inf
                    self._rest()
        data, self.held = self._held, b""
        return data

    def quick_ack(self) -> None:
        """See `terraster.net.body.Inlet`: nothing is to be acknowledged."""

    def abandon(self, reader: greenlet) -> None:
        """See `terraster.net.body.Inlet`."""
        if self.reader is reader:
            self.reader = None
            self.read_deadline = inf

    # ------------------------------------------------------------------------------------------------------------------ the answer

    def room(self, timeout: float) -> int:
        """Wait until the client and the socket take octets of the body, and return how many. timeout: seconds, 0 = no limit. Raises
        `ClientGone`."""
        session = self.session
        while True:
            if self.gone:
                raise ClientGone("the client left")
            if self.window <= 0:
                self._wait_for_room(timeout)
            elif session.blocked or session.codec.window <= 0:
                session.queue(self)
                self._wait_for_room(0.0)  # the session has the deadlines for the socket and for its own window
            else:
                share = BUFFER // (len(session.requests) or 1)
                return min(self.window, session.codec.window, share if share > _LEAST else _LEAST)

    def _wait_for_room(self, timeout: float) -> None:
        self.write_deadline = self._deadline(timeout)
        self.writer = getcurrent()
        try:
            self.session.reactor.switch()
        finally:
            self.writer = None
            self.write_deadline = inf
            self.session.line.pop(self, None)
            self._rest()

    def write(self, payload: Payload, end: bool, timeout: float) -> None:
        """Send octets of the body. end: they are the last ones. Raises `ClientGone`."""
        session = self.session
        codec = session.codec
        sent = 0
        if not session.blocked:  # it may be by now; those that are more urgent go first then
            sent = codec.data(self, payload, end)
            session.wrote(sent, type(payload) is memoryview)
        if sent < len(payload):
            rest = bytes(payload[sent:])
            while rest:
                self.room(timeout)
                sent = codec.data(self, rest, end)
                session.wrote(sent, False)
                rest = rest[sent:]

    def send(self, data: bytes, timeout: float) -> None:
        """Send octets of a tunnel, as `terraster.net.stream.Stream.send`."""
        self.room(timeout)
        self.write(data, False, timeout)

    @property
    def stream(self) -> Request:
        """This end of a tunnel, with the calls of `terraster.net.stream.Stream` that a tunnel makes."""
        return self

    @property
    def writes(self) -> bool:
        """See `terraster.net.stream.Stream.writes`."""
        return self.writer is not None

    def peek(self) -> bytes | None:
        """See `terraster.net.stream.Stream.peek`."""
        return self._held[:1] or (b"" if self._ended or self.gone else None)

    def shutdown(self) -> None:
        """See `terraster.net.stream.Stream.shutdown`."""
        if not self.gone and self.sending:
            self.finish(b"")

    def finish(self, block: bytes) -> None:
        """End the answer, with a block of trailers or with nothing."""
        codec = self.session.codec
        if block:
            codec.head(self, block, True)
        else:
            codec.data(self, b"", True)
        self.session.touch()

    # ---------------------------------------------------------------------------------------------- as `terraster.net.reactor.Swept`

    def _deadline(self, timeout: float) -> float:
        reactor = self.session.reactor
        reactor.streams.add(self)
        return reactor.horizon + timeout if timeout >= 1.0 else reactor.deadline(self, timeout)

    def _rest(self) -> None:
        if self.read_deadline == self.write_deadline == inf:
            self.session.reactor.streams.discard(self)

    def next_deadline(self) -> float:
        """See `terraster.net.reactor.Waiter`."""
        return min(self.read_deadline, self.write_deadline)

    def overdue(self, now: float) -> None:
        """See `terraster.net.reactor.Waiter`."""
        if self.read_deadline < now and self.reader is not None:
            reader, self.reader = self.reader, None
            reader.throw(self.connection.timed_out(False))
        if self.write_deadline < now and self.writer is not None:
            self.writer.throw(self.connection.timed_out(True))


class _FramedBody(RequestBody):
    """A body whose length is not known. It goes on to the backend in chunks."""

    __slots__ = ("_limit", "_request")

    def __init__(self, request: Request, limit: int, room: int) -> None:
        super().__init__(1, limit, room)
        self._limit = limit
        self._request = request

    def take(self, data: bytes) -> bytes:
        self.octets += len(data)
        if self._limit and self.octets > self._limit:
            raise BadRequest("body larger than the limit", status=413)
        self.done = not data
        ready = chunk(data) if data else last_chunk(_pairs(self._request.trailers), self.drop)
        self._keep(ready)
        return ready


def _pairs(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Field lines as pairs of name and value."""
    parts = [line.partition(b":") for line in lines.splitlines()]
    return [(name, value.strip()) for name, _, value in parts]


class FrameSink(PlainSink):
    """Sends payload in frames of a stream. ``ready`` is a block of fields."""

    __slots__ = ()

    def room(self) -> int:
        client: Request = self._exchange.client
        return client.room(self._timeout)

    def write(self, payload: Payload) -> None:
        client: Request = self._exchange.client
        self._head(client)
        if payload:
            self._exchange.bytes_out += len(payload)
            client.write(payload, False, self._timeout)

    def end(self, payload: Payload, trailers: list[tuple[bytes, bytes]]) -> None:
        client: Request = self._exchange.client
        block = trailer_block(trailers, self._drop)
        if self._exchange.grpc is not None:
            self._exchange.grpc.learn(trailers)
        self._head(client)
        if payload:
            self._exchange.bytes_out += len(payload)
            client.write(payload, not block, self._timeout)
            if not block:
                return
        self._exchange.bytes_out += len(block)
        client.finish(block)

    def _head(self, client: Request) -> None:
        if self._ready:
            self._exchange.bytes_out += len(self._ready)
            client.begin(self._ready, b"", self._timeout)
            self._ready = b""
