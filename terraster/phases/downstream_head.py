"""The head for a client. There is one writer for every head: interim responses, 101, responses of backends, our own answers, errors.

The hooks of `on_response` are applied here and nowhere else. The framing is chosen after them.
"""

from __future__ import annotations

from typing import Any

from terraster.exchange import Exchange
from terraster.net.body import ChunkSink, PlainSink
from terraster.net.http2.request import FrameSink
from terraster.wire.answers import OwnHead
from terraster.wire.edits import Edits
from terraster.wire.http1 import ResponseHead
from terraster.wire.http2.fields import response_block
from terraster.wire.transform import Transform, resizes

from .data_plane import DataPlane

__all__ = ["PLAIN", "SINKS", "send_interim", "write_head"]

PLAIN, _CHUNKS, _FRAMES = range(3)
SINKS = (PlainSink, ChunkSink, FrameSink)
"""The classes that write the body after the head, by its framing."""

_NOTHING: frozenset[Any] = frozenset()
_CODING = frozenset((b"transfer-encoding",))


def write_head(
    plane: DataPlane, exchange: Exchange, head: ResponseHead | OwnHead, keep: bool
) -> tuple[bytes, bool, int, frozenset[bytes], Transform | bytes | None]:
    """The octets of a response head: lines of HTTP/1.1, or a block of fields of HTTP/2.

    keep: True if the connection could carry another request

    Returns the octets; True if the connection can carry another request with this framing; the framing of the body, an index of `SINKS`;
    the lower-case names that rules remove, trailers included; and what changes the body: a transform, the octets in place of it, or None.
    """
    rules = exchange.location or exchange.rules()
    drop: frozenset[bytes] = _NOTHING
    edits = None
    transform: Transform | bytes | None = None
    resized = False
    if rules.on_response:
        edits = Edits(head.status, head.own, head)
        for hook in rules.on_response:
            try:
                hook(exchange, edits)
            except Exception:
                if not head.own:
                    raise  # the response becomes an error of ours
                plane.defect("a hook of on_response failed")
        if edits.body is not None and isinstance(head, ResponseHead):
            transform = edits.body
            edits.set(b"Content-Length", b"%d" % len(transform))
        elif edits.transform is not None and isinstance(head, ResponseHead) and not head.no_body:
            transform = edits.transform
            if resizes(transform):
                resized = True
                edits.remove(b"Content-Length")
        drop = frozenset(edits.drop)
    framing = PLAIN
    left_out = drop
    if exchange.client.framed:
        extra = b"" if head.status < 200 or head.dated or b"date" in drop else plane.date
        if edits is not None:
            extra += edits.extra
        replace = rules.map_back(exchange, head.location) if head.location is not None else ()
        return response_block(head, drop, replace, extra), True, _FRAMES, drop, transform
    if head.status < 200:
        extra = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade if head.upgrade is not None else b""
    else:
        extra = b"" if head.dated or b"date" in drop else plane.date
        minor = 1 if exchange.head is None else exchange.head.minor
        whole = transform is not None and isinstance(transform, bytes)
        if not minor or whole:
            left_out = drop | _CODING  # HTTP/1.0 has no chunks: RFC 9112, section 6.1
        if (head.chunked or head.until_close or resized) and not whole:
            if not minor:
                keep = False  # the body ends with the connection
            else:
                framing = _CHUNKS
                if not head.chunked:
                    extra += b"Transfer-Encoding: chunked\r\n"
        if not keep:
            extra += b"Connection: close\r\n"
        elif not minor:
            extra += b"Connection: keep-alive\r\n"
    if edits is not None:
        extra += edits.extra
    replace = rules.map_back(exchange, head.location) if head.location is not None else ()
    return head.forward(left_out, replace, extra), keep, framing, drop, transform


def send_interim(plane: DataPlane, exchange: Exchange, head: ResponseHead) -> None:
    """Pass an interim response (1xx) on. Raises `HttpError`."""
    out, _, _, _, _ = write_head(plane, exchange, head, True)
    exchange.bytes_out += len(out)
    exchange.client.begin(out, b"", exchange.location.timeouts.read)
