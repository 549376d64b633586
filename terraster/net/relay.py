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

__all__ = ["BUFFER", "Buffer", "relay_chunked", "relay_known", "relay_request", "relay_until_close"]

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


def relay_request(client: Downstream, upstream: Stream, length: int, limit: int, wait: float, write: float) -> int:
    """Relay a request body from the client: ``length`` octets, or chunks if it is negative. Returns octets read.

    limit: octets a chunked body may have, 0 = any. wait, write: idle timeouts, seconds. What the client sent beyond the body stays in
    ``client.held``. Raises `ClientGone`, `BadRequest` (400, 413), `TimedOut`, or what the upstream raises.
    """
    data, client.held = client.held, b""
    if length >= 0:
        left = length
        while left > 0:
            if not data:
                data = client.recv(wait)
                if not data:
                    raise ClientGone("the client left within its request")
            if len(data) > left:
                data, client.held = data[:left], data[left:]
            left -= len(data)
            upstream.send(data, write)
            data = b""
        client.held = client.held or data
        return length
    reader = ChunkedReader(BadRequest, limit)
    total = 0
    while True:
        if data:
            total += len(data)
            ready = frame(reader.feed(data), True)
            if reader.done:
                client.held = reader.rest
                upstream.send(ready + last_chunk(reader.trailers), write)
                return total - len(reader.rest)
            if ready:
                upstream.send(ready, write)
        data = client.recv(wait)
        if not data:
            raise ClientGone("the client left within its request")


def response_reader() -> ChunkedReader:
    """A reader for a backend's chunked body."""
    return ChunkedReader(BadResponse)
