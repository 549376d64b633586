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
from terraster.wire.heads import RequestHead, ResponseHead
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
    rules = exchange.rules() if exchange.location is None else exchange.location
    if isinstance(head, ResponseHead):  # a name of its own, whose fields compiled code reads without a look-up
        theirs = head
        status, dated, location = theirs.status, theirs.dated, theirs.location
        chunked, until_close = theirs.chunked, theirs.until_close
    else:
        theirs = None
        status, dated, location, chunked, until_close = head.status, head.dated, head.location, head.chunked, head.until_close
    drop: frozenset[bytes] = _NOTHING
    edits = None
    transform: Transform | bytes | None = None
    resized = False
    if rules.on_response:
        edits = Edits(status, head.own, head)
        for hook in rules.on_response:
            try:
                hook(exchange, edits)
            except Exception:
                if not head.own:
                    raise  # the response becomes an error of ours
                plane.defect("a hook of on_response failed")
        if edits.body is not None and theirs is not None:
            transform = edits.body
            edits.set(b"Content-Length", b"%d" % len(transform))
        elif edits.transform is not None and theirs is not None and not theirs.no_body:
            transform = edits.transform
            if resizes(transform):
                resized = True
                edits.remove(b"Content-Length")
        drop = frozenset(edits.drop)
    framing = PLAIN
    left_out = drop
    if exchange.framed:
        extra = b"" if status < 200 or dated or b"date" in drop else plane.date
        if edits is not None:
            extra += edits.extra
        replace = rules.map_back(exchange, location) if location is not None else ()
        return response_block(head, drop, replace, extra), True, _FRAMES, drop, transform
    if status < 200:
        extra = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade if head.upgrade is not None else b""
    else:
        extra = b"" if dated or b"date" in drop else plane.date
        asked: RequestHead | None = exchange.head
        minor = 1 if asked is None else asked.minor
        whole = transform is not None and isinstance(transform, bytes)
        if not minor or whole:
            left_out = drop | _CODING  # HTTP/1.0 has no chunks: RFC 9112, section 6.1
        if (chunked or until_close or resized) and not whole:
            if not minor:
                keep = False  # the body ends with the connection
            else:
                framing = _CHUNKS
                if not chunked:
                    extra += b"Transfer-Encoding: chunked\r\n"
        if not keep:
            extra += b"Connection: close\r\n"
        elif not minor:
            extra += b"Connection: keep-alive\r\n"
    if edits is not None:
        extra += edits.extra
    replace = rules.map_back(exchange, location) if location is not None else ()
    octets = head.forward(left_out, replace, extra) if theirs is None else theirs.forward(left_out, replace, extra)
    return octets, keep, framing, drop, transform


def send_interim(plane: DataPlane, exchange: Exchange, head: ResponseHead) -> None:
    """Pass an interim response (1xx) on. Raises `HttpError`."""
    out, _, _, _, _ = write_head(plane, exchange, head, True)
    exchange.bytes_out += len(out)
    exchange.client.begin(out, b"", exchange.location.read_timeout)
