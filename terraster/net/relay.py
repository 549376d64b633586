"""Bodies on their way through: read here, written there, as they come, with nothing held back.

A relay reads only when what it read before has left, so a slow reader stops a fast writer through TCP itself. What a worker holds for one
slow connection is what one short `send` left over: at most `BUFFER` octets the first time, `READ_SIZE` afterwards.
"""

from __future__ import annotations

from terraster.errors import BadRequest, BadResponse, ClientGone, ConnectionLost
from terraster.exchange import Exchange
from terraster.wire.chunked import LAST_CHUNK, ChunkedReader, last_chunk

from .downstream import Downstream
from .stream import READ_SIZE, Stream
from .upstream import Upstream

__all__ = ["BUFFER", "Buffer", "RequestBody", "relay_chunked", "relay_known", "relay_request", "relay_until_close"]

BUFFER = 1 << 18


class Buffer:
    """The memory that long bodies pass through, one per worker: whoever fills it empties it before anybody else runs."""

    __slots__ = ("view", "small")

    def __init__(self) -> None:
        self.view = memoryview(bytearray(BUFFER))
        self.small = self.view[:READ_SIZE]


def relay_known(
    exchange: Exchange, upstream: Upstream, client: Downstream, left: int, read: float, write: float, buffer: Buffer
) -> None:
    """Relay exactly ``left`` octets of a response body. ``read`` and ``write``: idle timeouts, seconds."""
    view = buffer.view
    upstream.quick_ack()
    while left > 0:
        part = view if left >= len(view) else view[:left]
        got = upstream.recv_into(part, read)
        if not got:
            raise ConnectionLost("the backend closed the connection within a response")
        left -= got
        exchange.bytes_out += got
        if client.send(view[:got], write):
            view = buffer.small


def relay_until_close(
    exchange: Exchange, upstream: Upstream, client: Downstream, ready: bytes, chunked: bool, read: float, write: float
) -> None:
    """Relay a body that ends with the backend's connection, as chunks if asked. ``ready``, the head, goes first."""
    upstream.quick_ack()
    while True:
        exchange.bytes_out += len(ready)
        client.send(ready, write)
        data = upstream.recv(read)
        if not data:
            break
        ready = frame([data], chunked)
    if chunked:
        exchange.bytes_out += len(LAST_CHUNK)
        client.send(LAST_CHUNK, write)


def relay_chunked(
    exchange: Exchange,
    upstream: Upstream,
    client: Downstream,
    reader: ChunkedReader,
    ready: bytes,
    chunked: bool,
    read: float,
    write: float,
) -> None:
    """Relay a chunked body, as chunks if asked. ``ready``, the head and what ``reader`` has given already, goes first."""
    if not reader.done:
        upstream.quick_ack()
    while not reader.done:
        if ready:
            exchange.bytes_out += len(ready)
            client.send(ready, write)
        data = upstream.recv(read)
        if not data:
            raise ConnectionLost("the backend closed the connection within a response")
        ready = frame(reader.feed(data), chunked)
    if chunked:
        ready += last_chunk(reader.trailers)
    if ready:
        exchange.bytes_out += len(ready)
        client.send(ready, write)


def frame(pieces: list[bytes], chunked: bool) -> bytes:
    """Payload as it is written: one chunk for all pieces, or the bare octets."""
    if not pieces:
        return b""
    payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return b"%x\r\n%b\r\n" % (len(payload), payload) if chunked else payload


def relay_request(client: Downstream, upstream: Stream, body: RequestBody, wait: float, write: float) -> None:
    """Relay a request body from the client; what another backend was sent of it already goes first.

    wait, write: idle timeouts, seconds. What the client sent beyond the body stays in ``client.held``. Raises `ClientGone`,
    `BadRequest` (400, 413), `TimedOut`, or what the upstream raises.
    """
    if body.kept:
        upstream.send(bytes(body.kept), write)
    if body.done:  # what is held came behind it
        return
    data, client.held = client.held, b""
    client.quick_ack()
    while not body.done:
        if data:
            ready = body.take(data)
            if body.done:
                client.held = body.rest
            if ready:
                upstream.send(ready, write)
        if not body.done:
            data = client.recv(wait)
            if not data:
                raise ClientGone("the client left within its request")


class RequestBody:
    """A request body as it passes through: how much of it has come, and, as long as it is little, all of it, to be sent again.

    octets: read from the client. done: all of it has come. rest: what came behind it. kept: what was taken, as it is sent. whole: kept is
    all of that.
    """

    __slots__ = ("done", "kept", "octets", "rest", "whole", "_drop", "_left", "_reader", "_room")

    def __init__(self, length: int, limit: int, room: int, drop: frozenset[bytes] = frozenset()) -> None:
        """length: octets, negative: chunks. limit: octets a chunked body may have, 0 = any. room: octets that are kept. drop: names of
        trailers that do not go on (`last_chunk`)."""
        self.octets = 0
        self.done = length == 0
        self.rest = b""
        self.kept = bytearray()
        self.whole = True
        self._left = length
        self._reader = ChunkedReader(BadRequest, limit) if length < 0 else None
        self._room = room
        self._drop = drop

    def take(self, data: bytes) -> bytes:
        """What to send for octets that came from the client. Raises `BadRequest` (400, 413)."""
        reader = self._reader
        if reader is None:
            ready = data
            if len(data) > self._left:
                ready, self.rest = data[: self._left], data[self._left :]
            self._left -= len(ready)
            self.done = not self._left
        else:
            ready = frame(reader.feed(data), True)
            if reader.done:
                ready += last_chunk(reader.trailers, self._drop)
                self.done, self.rest = True, reader.rest
        self.octets += len(data) - len(self.rest)
        if self.whole:
            if len(self.kept) + len(ready) <= self._room:
                self.kept += ready
            else:
                self.whole = False
                self.kept = bytearray()
        return ready


def response_reader(strict: bool) -> ChunkedReader:
    """A reader for a backend's chunked body."""
    return ChunkedReader(BadResponse, 0, strict)
