"""Bodies: a source gives payload, and a sink frames and sends it as it arrives. Nothing is held back.

A source reads only when its earlier payload has left. So a slow reader stops a fast writer through TCP. A sink says how much it takes before a
source reads. For one slow connection a worker holds only the rest of one short `send`: at most `BUFFER` octets the first time, `READ_SIZE`
afterwards.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any, Protocol

from greenlet import greenlet

from terraster.errors import BadRequest, BadResponse, ClientGone, ConnectionLost
from terraster.exchange import Exchange
from terraster.wire.chunked import ChunkedReader, last_chunk
from terraster.wire.transform import Payload

from .spool import Spool, send_all
from .stream import READ_SIZE
from .upstream import Upstream

__all__ = [
    "BUFFER",
    "CUT",
    "Buffer",
    "Carrier",
    "ChunkSink",
    "ChunkedSource",
    "Inlet",
    "Payload",
    "PlainSink",
    "RequestBody",
    "Source",
    "UntilCloseSource",
    "arrived",
    "chunk",
    "relay_body",
    "send_request_body",
    "whole",
]

BUFFER = 1 << 18


CUT = "the backend closed the connection within a response"


class Buffer:
    """The memory for long bodies, one per worker. A source fills it, and its sink empties it before another greenlet runs.

    It is mapped, so that the kernel gives its pages when a body first needs them.
    """

    __slots__ = ("view",)

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class Source:
    """The payload of a response body.

    done:     True as soon as the end is known, with the last payload
    trailers: fields after the body, known when ``done``
    reusable: True when ``done`` if no octet follows the body, so that the connection may carry another response
    quiet:    True when ``done`` if the last read would have taken more octets, but there were none
    """

    __slots__ = ("done", "quiet", "reusable", "trailers", "_timeout", "_upstream")

    def __init__(self, upstream: Any, timeout: float) -> None:
        """upstream: the connection. timeout: seconds between two octets, 0 = no limit."""
        self.done = self.quiet = self.reusable = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self._upstream = upstream
        self._timeout = timeout

    def here(self) -> Payload:
        """The payload that arrived with the head; it may be empty. Called once, before `read`; never waits."""
        return b""

    def read(self, room: int) -> Payload:
        """The next payload, about ``room`` octets at most; it may be empty. Not called when ``done``. Raises `HttpError`."""
        raise NotImplementedError

    def _receive(self, room: int) -> bytes:
        size = min(room, READ_SIZE)
        data: bytes = self._upstream.recv(self._timeout, size)
        self.quiet = len(data) < size
        return data


class ChunkedSource(Source):
    """A chunked body. ``rest``: octets that arrived with the head."""

    __slots__ = ("_reader", "_rest")

    def __init__(self, upstream: Upstream, rest: bytes, timeout: float, strict: bool) -> None:
        """strict: True: refuse a form that is unusual but clear"""
        super().__init__(upstream, timeout)
        self._reader = ChunkedReader(BadResponse, 0, strict)
        self._rest = rest

    def here(self) -> Payload:
        rest, self._rest = self._rest, b""
        payload = self._feed(rest) if rest else b""
        if not self.done:
            self._upstream.quick_ack()
        return payload

    def read(self, room: int) -> Payload:
        data = self._receive(room)
        if not data:
            raise ConnectionLost(CUT)
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        reader = self._reader
        pieces = reader.feed(data)
        if reader.done:
            self.done = True
            self.reusable = not reader.rest
            self.trailers = reader.trailers
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces)


class UntilCloseSource(Source):
    """A body that ends with the backend's connection. ``rest``: octets that arrived with the head."""

    __slots__ = ("_rest",)

    def __init__(self, upstream: Upstream, rest: bytes, timeout: float) -> None:
        super().__init__(upstream, timeout)
        self._rest = rest
        upstream.quick_ack()

    def here(self) -> Payload:
        return self._rest

    def read(self, room: int) -> Payload:
        data = self._receive(room)
        self.done = not data
        return data


class PlainSink:
    """Sends payload unchanged. ``ready``: the head, which is sent with the first payload."""

    __slots__ = ("_drop", "_exchange", "_ready", "_room", "_timeout")

    def __init__(self, exchange: Exchange, timeout: float, ready: bytes, drop: frozenset[bytes]) -> None:
        """timeout: seconds between two sent octets, 0 = no limit. drop: lower-case names of trailers to drop."""
        self._drop = drop
        self._exchange = exchange
        self._ready = ready
        self._room = BUFFER
        self._timeout = timeout

    def room(self) -> int:
        """The number of payload octets for the next `write`."""
        return self._room

    def write(self, payload: Payload) -> None:
        """Send payload. Without payload, the head is sent alone. Raises `HttpError`."""
        self._send(payload)

    def end(self, payload: Payload, trailers: list[tuple[bytes, bytes]]) -> None:
        """Send the last payload, which may be empty. Trailers are dropped, because only chunks have a place for them. Raises `HttpError`."""
        self._send(payload)

    def _send(self, data: Payload) -> None:
        if self._ready:
            data, self._ready = self._ready + data, b""
        if data:
            exchange = self._exchange
            exchange.bytes_out += len(data)
            if exchange.client.send(data, self._timeout):
                self._room = READ_SIZE


class ChunkSink(PlainSink):
    """Sends payload in chunks."""

    __slots__ = ()

    def write(self, payload: Payload) -> None:
        self._send(chunk(payload))

    def end(self, payload: Payload, trailers: list[tuple[bytes, bytes]]) -> None:
        self._send(chunk(payload) + last_chunk(trailers, self._drop))


def chunk(payload: Payload) -> bytes:
    """The payload as one chunk. Empty payload gives no octets, because an empty chunk would be the last one."""
    return b"".join((b"%x\r\n" % len(payload), payload, b"\r\n")) if payload else b""


def relay_body(source: Source, sink: PlainSink) -> None:
    """Relay a response body to its end. Raises `HttpError`."""
    payload = source.here()
    while not source.done:
        sink.write(payload)
        payload = source.read(sink.room())
    sink.end(payload, source.trailers)


def whole(upstream: Upstream, left: int, timeout: float) -> bytes:
    """The rest of a short response, read before any of it is sent, so that another backend can be asked if it breaks off. Raises
    `HttpError`."""
    parts = []
    upstream.quick_ack()
    while left > 0:
        data = upstream.recv(timeout, left)
        if not data:
            raise ConnectionLost(CUT)
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


class Inlet(Protocol):
    """The client's side of a request body: `terraster.net.connection.Connection`, or a stream of HTTP/2.

    held: octets that were read but not used yet
    recv: as `terraster.net.stream.Stream.recv`; b"" at the end
    """

    held: bytes
    recv: Callable[[float], bytes]

    def quick_ack(self) -> None:
        """See `terraster.net.stream.Stream.quick_ack`."""

    def abandon(self, reader: greenlet) -> None:
        """See `terraster.net.stream.Stream.abandon`."""


class Carrier(Protocol):
    """The backend's side of a request body: `terraster.net.upstream.Upstream`, or a stream of HTTP/2."""

    phase: str

    @property
    def stream(self) -> Any:
        """Has `wait_no_longer_than` of `terraster.net.stream.Stream`."""

    def send_body(self, body: RequestBody, payload: bytes, timeout: float) -> None:
        """Send the next payload, and the end of the body if it is ``done``. timeout: seconds between two sent octets, 0 = no limit. Raises
        `HttpError`."""


class RequestBody:
    """A request body under way: the progress, and, while the body is small, its payload, to be sent again.

    octets: number of octets read from the client. done: True if the whole body has arrived. rest: octets after the body. kept: the payload
    so far. whole: True if ``kept`` has all of it. chunked: True if the length is not known. trailers: the fields after the body, as (name,
    value). drop: lower-case names of trailers to drop. spool: has the payload in place of ``kept``, if a filter wants it read ahead.
    ahead: True while it is read ahead, before a backend is picked.
    """

    __slots__ = (
        "ahead",
        "chunked",
        "done",
        "drop",
        "kept",
        "octets",
        "rest",
        "spool",
        "trailers",
        "whole",
        "_left",
        "_reader",
        "_room",
    )

    def __init__(self, length: int, limit: int, room: int) -> None:
        """length: octets; negative: chunks. limit: most octets of a chunked body, 0 = no limit. room: most octets to keep."""
        self.ahead = False
        self.chunked = length < 0
        self.spool: Spool | None = None
        self.octets = 0
        self.done = length == 0
        self.drop: frozenset[bytes] = frozenset()
        self.rest = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.kept = bytearray()
        self.whole = True
        self._left = length
        self._reader = ChunkedReader(BadRequest, limit) if length < 0 else None
        self._room = room

    def take(self, data: bytes) -> bytes:
        """The payload in octets of the client; b"" is the client's end. Raises `BadRequest` (400, 413) and `ClientGone`."""
        if not data:
            raise ClientGone("the client left within its request")
        reader = self._reader
        if reader is None:
            ready = data
            if len(data) > self._left:
                ready, self.rest = data[: self._left], data[self._left :]
            self._left -= len(ready)
            self.done = not self._left
        else:
            ready = b"".join(reader.feed(data))
            if reader.done:
                self.done, self.rest, self.trailers = True, reader.rest, reader.trailers
        self.octets += len(data) - len(self.rest)
        self._keep(ready)
        return ready

    def _keep(self, ready: bytes) -> None:
        """Keep payload to be sent again, as long as there is room for all."""
        if self.whole:
            if self.spool is not None:
                if self.ahead:
                    self.spool.put(ready)
                else:
                    self.whole = False
                    self.spool.close()
            elif len(self.kept) + len(ready) <= self._room:
                self.kept += ready
            else:
                self.whole = False
                self.kept = bytearray()

    def keep(self, room: int) -> None:
        """Keep all of the payload in ``kept`` if it has at most so many octets. To be called before the first octet is read."""
        self._room = max(self._room, room)

    def again(self, upstream: Carrier, write: float) -> None:
        """Send the payload that was read before. Raises `HttpError`."""
        if self.spool is not None:
            send_all(self.spool, self, upstream, write)
        elif self.kept or self.done:
            upstream.send_body(self, bytes(self.kept), write)

    def framed(self, payload: bytes) -> bytes:
        """The octets that carry the next payload over HTTP/1.1. With the last payload come the end and the trailers."""
        if not self.chunked:
            return payload
        return chunk(payload) + last_chunk(self.trailers, self.drop) if self.done else chunk(payload)


def arrived(content: bytes) -> RequestBody:
    """A body of which all octets have arrived, to be sent."""
    body = RequestBody(0, 0, 0)
    body.kept += content
    return body


def send_request_body(inlet: Inlet, upstream: Carrier, body: RequestBody, wait: float, write: float) -> None:
    """Relay a request body from the client. The part that another backend was already sent goes first.

    wait, write: idle timeouts, seconds

    Octets after the body stay in ``inlet.held``. Raises `ClientGone`, `BadRequest` (400, 413), `TimedOut`, or an error of the upstream.
    """
    body.again(upstream, write)
    if body.done:  # the held octets follow the body
        return
    data, inlet.held = inlet.held, b""
    inlet.quick_ack()
    while not body.done:
        ready = body.take(data or inlet.recv(wait))
        data = b""
        if body.done:
            inlet.held = body.rest
        if ready or body.done:
            upstream.send_body(body, ready, write)
