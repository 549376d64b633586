"""The client of one request over HTTP/2: a stream of its connection, with the calls of `terraster.net.downstream.Downstream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from terraster.errors import BadRequest, ClientGone, HttpError
from terraster.exchange import Exchange
from terraster.net.body import Payload, PlainSink, RequestBody
from terraster.net.connection import Connection
from terraster.wire.http2.fields import Http2Head, trailer_block
from terraster.wire.http2.frames import CANCEL, INTERNAL_ERROR

from .channel import Channel

if TYPE_CHECKING:
    from .session import Session

__all__ = ["FrameSink", "Request"]

_LARGE_HEAD = 4096  # octets


class Request(Channel):
    """One request, as its client.

    connection, exchange, inlet, worker: as in `Downstream`
    head:   its head, or the error to answer
    code:   the error code if the stream has to be broken off at the end
    gone:   True if the client has no more interest in it
    trailers: field lines
    """

    __slots__ = ("code", "connection", "exchange", "head", "worker")

    framed = True

    def __init__(self, session: Session, number: int, window: int) -> None:
        super().__init__(session, number, window)
        self.connection: Connection = session.connection
        self.exchange: Exchange | None = None
        self.worker: greenlet | None = None
        self.head: Any = None
        self.code = CANCEL

    # ------------------------------------------------------------------------------------------------------- as `Downstream`

    @property
    def inlet(self) -> Request:
        """The side that a body comes from. A field would refer to the request itself, and keep its memory until the collector runs."""
        return self

    def begin(self, head: bytes, payload: bytes, timeout: float) -> None:
        """See `Downstream.begin`. head: a block of fields."""
        if self.gone:
            raise self.lost(False)
        self.session.codec.head(self, head, False)
        if payload:
            self.write(payload, False, timeout)
        else:
            self.session.touch()

    def answer(self, head: bytes, body: bytes, timeout: float, keep: bool) -> None:
        """See `Downstream.answer`. The connection is not ended by it."""
        if self.gone:
            raise self.lost(False)
        self.release()
        self.session.codec.head(self, head, not body)
        if body:
            self.write(body, True, timeout)
        else:
            self.session.touch()

    def release(self) -> None:
        """The answer begins, so no backend is asked any more. A client may leave many answers waiting, so nothing large may wait with them."""
        head = self.head
        self.head = None
        if self.head_size > _LARGE_HEAD and isinstance(head, Http2Head):
            head.release()

    def body(self, length: int, limit: int, room: int) -> RequestBody:
        """See `Downstream.body`."""
        return RequestBody(length, limit, room) if length >= 0 else _FramedBody(self, limit, room)

    def arrived(self, limit: int) -> bool:
        """True if all of the body is in `held`, without trailers behind it. limit: most octets of it, 0 = no limit."""
        return self._ended and not self.trailers and not 0 < limit < len(self.held)

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

    def leave(self) -> None:
        """The client is gone, or has no more interest in the answer."""
        if self.gone:
            return
        self.gone = True
        error = self.lost(False)
        if self.exchange is not None and self.exchange.location is not None and not self.exchange.location.ignore_client_abort:
            self.interrupt(error)
        for waiting in (self.reader, self.writer):
            if waiting is not None:
                waiting.throw(error)

    def lost(self, reading: bool) -> HttpError:
        """See `Channel.lost`."""
        if self.session.codec.broke(self):
            return ClientGone("the client broke a rule of HTTP/2 within its request", reason="http_request_error")
        return ClientGone("the client left within its request" if reading else "the client left")

    def timed_out(self, writing: bool) -> HttpError:
        """See `Channel.timed_out`."""
        return self.connection.timed_out(writing)


class _FramedBody(RequestBody):
    """A body whose length is not known."""

    __slots__ = ("_limit", "_request")

    def __init__(self, request: Request, limit: int, room: int) -> None:
        super().__init__(-1, limit, room)
        self._limit = limit
        self._request = request

    def take(self, data: bytes) -> bytes:
        self.octets += len(data)
        if self._limit and self.octets > self._limit:
            raise BadRequest("body larger than the limit", status=413)
        if not data:
            self.done = True
            self.trailers = _pairs(self._request.trailers)
        self._keep(data)
        return data


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
            client.release()
            client.begin(self._ready, b"", self._timeout)
            self._ready = b""
