"""The field lists of HTTP/2 (RFC 9113, section 8) towards a backend: heads of requests as field blocks, and responses as the heads that HTTP/1
gives.

A response becomes the head that an HTTP/1.1 backend would have sent, and `terraster.wire.http1.parse_response` reads it. So its rules hold
for both protocols.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from terraster.errors import BadResponse
from terraster.wire.heads import RequestHead, ResponseHead
from terraster.wire.http1 import parse_response
from terraster.wire.memory import Memory
from terraster.wire.names import TE, may_trail

from .fields import FIELD_LINES, Malformed, lines_block
from .hpack.static_table import Field
from .hpack.writer import encode, field

__all__ = ["request_block", "response_head", "response_trailers"]

_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_HOST_LINE = re.compile(rb"(?i:\r\nHost):[ \t]*([^\r\n]*)(?=\r\n)")
_NO_BODY = frozenset((204, 304))
_NO_LENGTH = (b"HEAD", b"CONNECT")
_STATUS_LINES = {b"%d" % status: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode("ascii")) for status in HTTPStatus}

_ID = b"X-Request-ID: "
_FIXED: Memory[bytes, tuple[bytes, bytes]] = Memory(256, 1 << 16)
"""The lines that Terraster adds for all requests of a client to a host → the same two. With what they lead to they take at most some 150 KB."""

_CUT: Memory[bytes, tuple[bytes, bytes]] = Memory(512, 1 << 18)
"""Lines of a client's head as they go on to a backend → the value of Host, and the block of the others. With what they lead to they take at
most some 1 MB."""


def request_block(
    head: RequestHead, target: bytes, scheme: bytes, keep: frozenset[int], drop: frozenset[bytes], extra: bytes
) -> bytes:
    """The field block of a request: what `RequestHead.forward` writes, without the fields about the connection. The Host line, of the client or
    in ``extra``, becomes :authority. TE goes on if the client reads trailers.

    scheme: of the connection to the backend. The other arguments are those of `RequestHead.forward`. The request must not ask for an upgrade.
    """
    lines, extra = head.lines(keep, drop, extra)
    known = _CUT.get(lines)
    if known is None:
        known = _without_host(lines)
        _CUT.learn(lines, known, len(lines))
    host, block = known
    at = extra.find(_ID)  # the lines from here on differ from request to request
    if at < 0:
        at = len(extra)
    fixed = extra[:at]
    known = _FIXED.get(fixed)
    if known is None:
        known = _without_host(b"\r\n" + fixed)
        _FIXED.learn(fixed, known, at)
    first, start_of_more = known
    other, rest = _without_host(b"\r\n" + extra[at:])
    host = other or first or host
    more = start_of_more + rest
    start = encode(((b":method", head.method), (b":scheme", scheme), (b":path", target)))
    if host:
        start += field(b":authority", host)
    if head.special is not None:
        for kind, _, value in head.special:
            if kind == TE and b"trailers" in [option.strip(b" \t") for option in value.lower().split(b",")]:
                return start + block + more + field(b"te", b"trailers")
    return start + block + more


def _without_host(lines: bytes) -> tuple[bytes, bytes]:
    """(value of Host or b"", block of the other lines). lines: from the CRLF of the request line to that of the last field."""
    match = _HOST_LINE.search(lines)
    if match is None:
        return b"", lines_block(lines)
    return match[1].rstrip(b" \t"), lines_block(lines[: match.start()] + lines[match.end() :])


def response_head(fields: Sequence[Field], method: bytes, end_stream: bool, header_count: int, header_size: int) -> ResponseHead:
    """The head of a response, interim ones included. Others may share it, so it must not be changed.

    fields: the whole list, as (name, value, size). method: of the request. end_stream: True if nothing follows. header_count, header_size: as
    in `terraster.wire.http2.fields.request_head`. A body of unknown length is told as one in chunks. Raises `BadResponse` (502).
    """
    if not fields or fields[0][0] != b":status" or _STATUS.fullmatch(fields[0][1]) is None:
        raise BadResponse("no :status, or a malformed one")
    status = fields[0][1]
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %b \r\n" % status]
    length = -1
    for one in fields[1:]:
        line = _line(one)
        lines.append(line)
        if one[0] == b"content-length":
            length = int(one[1])
    interim = status[0] == 49  # "1"
    if interim and (end_stream or status == b"101"):
        raise BadResponse("an interim response that ends the stream, or 101")
    if not interim and method not in _NO_LENGTH and int(status) not in _NO_BODY:
        if end_stream:
            if length > 0:
                raise BadResponse("no body of this Content-Length")
            if length < 0:
                lines.append(b"content-length: 0\r\n")
        elif length < 0:
            lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n")
    head = parse_response(b"".join(lines), method, header_size, header_count)
    assert head is not None
    return head


def _line(one: Field) -> bytes:
    """The line of a field."""
    try:
        line = FIELD_LINES[one]
    except Malformed as error:
        raise BadResponse(f"{error} in a response") from None
    return line or b"%b: %b\r\n" % (one[0], one[1])


def response_trailers(fields: Sequence[Field]) -> list[tuple[bytes, bytes]]:
    """The trailers of a response as (name, value), those that `may_trail` lets pass. Raises `BadResponse`."""
    trailers = []
    for one in fields:
        _line(one)
        if may_trail(one[0], False):
            trailers.append((one[0], one[1]))
    return trailers
