"""What a head may consist of (RFC 9112, sections 2 to 5; RFC 9110, section 5), and what is wrong with one that does not.

The patterns take a head that is plainly in order, and are written for speed: possessive, so that they never try again, and without a
branch a line. A head that they do not take is read again here, line by line, by functions that find the reason. These also look at heads
that are not complete yet, since some of them never will be: a client that ends its lines with a bare LF would otherwise wait for its
answer until a timeout.
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
"""Octets of a method. The longest registered one has 17 (UPDATEREDIRECTREF); any other token is some backend's own."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TARGET = rb"[!-~\x80-\xff]++"

REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,%d}+) (" % MAX_METHOD + _TARGET + rb")(?= HTTP/1\.[0-9]\r\n)")
"""Method and target; the match ends before the space in front of the version."""

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*+)?(?=\r\n)")
"""Minor version and status; the match ends before the CRLF."""

FIELDS = re.compile(rb"\n([^:]++): ?+(?! )([^\r]*+)(?<! )\r(?=\n)")
"""For `findall`: names and values, if the lines are in order. They are if two more things hold. Each name is a token, which
`terraster.wire.names.Names` says. What `PLAIN` leaves of the lines is CRLF after CRLF, two more than there are fields: then each field found
begins at one LF and ends at the CR of the next, so that n fields leave nothing between n + 2 line ends, the last two of which are the end
of the head. Taken apart like this the check costs two thirds of one pattern that holds it all (15 fields, 751 octets: 2.7 microseconds
against 3.7)."""

PLAIN = bytes(octet for octet in range(256) if octet >= 32 and octet != 127)
"""Octets that may stand anywhere in a value. So may a tab, but who sends one can wait for `read_lines`."""

NAME = re.compile(_TOKEN + rb"++")

_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"++):[ \t]*+([\t -~\x80-\xff]*+)")
_PART = re.compile(rb"[\t -~\x80-\xff]*+\r?")
_ANY_VERSION = re.compile(rb"(" + _TOKEN + rb"++) " + _TARGET + rb" HTTP/([0-9])\.[0-9]")
_LINE_END = re.compile(rb"\n\r?\n")

_Error = type[BadRequest] | type[BadResponse]


def wrong_request_line(line: bytes) -> BadRequest:
    """What is wrong with a line (with its end) that `REQUEST_LINE` does not take: 400, 501 or 505."""
    if not line.endswith(b"\r\n"):
        return BadRequest("line ended by a bare LF")
    match = _ANY_VERSION.fullmatch(line[:-2])
    if match is None:
        return BadRequest("malformed request line")
    if match[2] != b"1":
        return BadRequest("unsupported HTTP version", status=505)
    if len(match[1]) > MAX_METHOD:
        return BadRequest("unknown method", status=501)
    return BadRequest("malformed request line")


def read_lines(block: bytes, error: _Error) -> list[tuple[bytes, bytes]]:
    """The fields of a block that is not plainly in order: with white space around values, or wrong. Raises ``error`` if it is wrong.

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
    """Raise ``error`` if a head that is not complete yet cannot become one.

    seen: octets that were checked before. lenient: lines may end with a bare LF.
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


def unify_line_ends(data: bytes) -> tuple[bytes, int] | None:
    """The head at the start of ``data`` with CRLF for each bare LF, and how many octets of ``data`` it takes; None if it has no end yet.

    RFC 9112, section 2.2, lets a recipient take a bare LF for the end of a line. A CR anywhere else is left where it is.
    """
    match = _LINE_END.search(data)
    if match is None:
        return None
    size = match.end()
    return data[:size].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), size
