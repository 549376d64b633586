"""The grammar of a head (RFC 9112, sections 2 to 5; RFC 9110, section 5), and the reasons why a malformed one is refused.

The patterns match a well-formed head. They are written for speed: possessive, so that they never backtrack, and without a Python loop over
lines. A head that does not match is read again here, line by line, and the functions name the reason. They also check incomplete heads,
because some of them can never become complete: a client that ends its lines with a bare LF would wait for a timeout instead of an answer.
"""

from __future__ import annotations

import re

from terraster.errors import BadRequest, BadResponse

__all__ = [
    "FIELDS",
    "NAME",
    "PLAIN",
    "REQUEST_LINE",
    "STATUS_LINE",
    "check_part",
    "read_lines",
    "unify_line_ends",
    "wrong_request_line",
]

MAX_METHOD = 32
"""Limit of octets in a method. The longest registered method has 17 (UPDATEREDIRECTREF)."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TARGET = rb"[!-~\x80-\xff]++"

REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,%d}+) (" % MAX_METHOD + _TARGET + rb")(?= HTTP/1\.[0-9]\r\n)")
"""Method and target. The match ends before the space in front of the version."""

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*+)?(?=\r\n)")
"""Minor version and status. The match ends before the CRLF."""

FIELDS = re.compile(rb"\n([^:]++): ?+(?! )([^\r]*+)(?<! )\r(?=\n)")
"""For `findall`: names and values of well-formed lines. The lines are well-formed if two more conditions are true.

1. Each name is a token (`terraster.wire.names.Names` checks it).
2. Without the octets in `PLAIN`, the lines are a sequence of CRLF, two more than there are fields. Each field found starts at one LF and
   ends at the CR of the next CRLF. So n fields leave no octet between n + 2 line ends, and the last two of these end the head.

One pattern for all of it takes a third longer (15 fields, 751 octets: 3.7 microseconds instead of 2.7)."""

PLAIN = bytes([octet for octet in range(256) if octet >= 32 and octet != 127])
"""Octets that a field value may contain. A tab is also allowed, but it is rare, so `read_lines` handles it."""

NAME = re.compile(_TOKEN + rb"++")

_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"++):[ \t]*+([\t -~\x80-\xff]*+)")
_PART = re.compile(rb"[\t -~\x80-\xff]*+\r?")
_ANY_VERSION = re.compile(rb"(" + _TOKEN + rb"++) " + _TARGET + rb" HTTP/([0-9])\.[0-9]")
_LINE_END = re.compile(rb"\n\r?\n")
_PREFACE = b"PRI * HTTP/2.0\r\n"  # RFC 9113, section 3.4
_HTTP2 = "HTTP/2 is not spoken here: in clear `http2: true` switches it on, over TLS a client asks for h2 by ALPN"

_Error = type[BadRequest] | type[BadResponse]


def wrong_request_line(line: bytes) -> BadRequest:
    """The error for a line (with its end) that does not match `REQUEST_LINE`: 400, 501 or 505."""
    if not line.endswith(b"\r\n"):
        return BadRequest("line ended by a bare LF")
    match = _ANY_VERSION.fullmatch(line[:-2])
    if match is None:
        return BadRequest("malformed request line")
    if line == _PREFACE:
        return BadRequest(_HTTP2, status=505)
    if match[2] != b"1":
        return BadRequest("unsupported HTTP version", status=505)
    if len(match[1]) > MAX_METHOD:
        return BadRequest("unknown method", status=501)
    return BadRequest("malformed request line")


def read_lines(block: bytes, error: _Error) -> list[tuple[bytes, bytes]]:
    """The fields of a block that may have white space around values. Raises ``error`` if it is malformed.

    block: from the CRLF that ends the first line to the CRLF of the empty line.
    """
    fields = []
    for line in block[2:-4].split(b"\r\n"):
        if line or len(block) > 4:
            fields.append(_read_line(line, error))
    return fields


def _read_line(line: bytes, error: _Error) -> tuple[bytes, bytes]:
    """Name and value of a field line without its end."""
    match = _FIELD_LINE.fullmatch(line)
    if match is not None:
        return match[1], match[2].rstrip(b" \t")
    if line[:1] in (b" ", b"\t"):
        raise error("folded field line")
    if b"\n" in line:
        raise error("line ended by a bare LF")
    if b"\r" in line:
        raise error("bare CR in a field line")
    raise error("malformed field line")


def check_part(data: bytes, seen: int, error: _Error, lenient: bool) -> None:
    """Raise ``error`` if an incomplete head can never become a well-formed one.

    seen: octets that were checked before. lenient: True if lines may end with a bare LF.
    """
    at = data.rfind(b"\n", 0, seen) + 1
    while (end := data.find(b"\n", at)) >= 0:
        line = data[at : end + 1]
        if lenient and not line.endswith(b"\r\n"):
            line = line[:-1] + b"\r\n"
        if at:
            if not line.endswith(b"\r\n"):
                raise error("line ended by a bare LF")
            _read_line(line[:-2], error)
        elif error is BadRequest:
            if REQUEST_LINE.match(line) is None:
                raise wrong_request_line(line)
        elif STATUS_LINE.match(line) is None:
            raise BadResponse("malformed status line")
        at = end + 1
    begin = max(at, seen - 1)
    if _PART.fullmatch(data, begin) is None:
        raise error("control character in the head")
    if begin == at and data[at : at + 1] in (b" ", b"\t"):
        raise error("folded field line" if at else "malformed request line")
    if not at and error is BadResponse and data[:7] != b"HTTP/1."[: len(data)]:
        raise BadResponse("malformed status line")


def unify_line_ends(data: bytes) -> tuple[bytes, int]:
    """The head at the start of ``data`` with CRLF for each bare LF, and its size in ``data``; b"" and 0 if it is incomplete.

    RFC 9112, section 2.2, allows a recipient to accept a bare LF as the end of a line. Any other CR is kept, so that it is refused later.
    """
    match = _LINE_END.search(data)
    if match is None:
        return b"", 0
    size = match.end()
    return data[:size].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), size
