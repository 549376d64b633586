"""The reader of HTTP/1.1 message heads: octets in, a few facts out (`terraster.wire.heads`).

A head is refused if two readers might disagree about where its message ends or which host it is for (RFC 9112, sections 2.2, 3, 5 and 6):
such a disagreement is how requests are smuggled. `parse_response` also accepts some malformed responses, if all readers agree on their
meaning; the head for the client is well-formed again. A field stays a pair of bytes objects unless its name means something to a proxy.

No head keeps state of a connection. So a compiled reader can take the heads that are plainly in order; this one reads all others, and
every rule and every refusal is here (`terraster.wire.http1`).
"""

from __future__ import annotations

from terraster.errors import BadRequest, BadResponse

from .block import BLOCKS, KEEP, NOTHING, ROUTING, USUAL_OPTIONS, Block, connection_options, length_of, only_chunked
from .grammar import FIELDS, PLAIN, REQUEST_LINE, STATUS_LINE, check_part, read_lines, unify_line_ends, wrong_request_line
from .heads import RequestHead, ResponseHead
from .memory import Memory
from .names import CONNECTION, CONTENT_LENGTH, DATE, LOCATION, NO_NAME, TRANSFER_ENCODING, UPGRADE, response_names

__all__ = ["parse_request", "parse_response"]

_NAMES = response_names()

_CODING = frozenset((b"transfer-encoding",))
_COUNTED = (b"OPTIONS", b"TRACE")


_HEADS: Memory[bytes, ResponseHead] = Memory(256, 1 << 17)
"""Response heads that passed every rule, by their octets; none that answers HEAD. A known head with 8 fields is read in 0.5 microseconds
instead of 5, and backends repeat heads within each second of their Date."""


def parse_request(data: bytes, header_size: int, header_count: int, seen: int = 0) -> RequestHead | None:
    """The request head at the start of ``data``, or None if it is incomplete.

    header_size: limit in octets, request line included. header_count: limit of fields. seen: octets of ``data`` that an earlier call
    found incomplete; only the rest is checked again. Raises `BadRequest` (400, 414, 417, 431, 501, 505).
    """
    match = REQUEST_LINE.match(data)
    if match is None:
        return _unusual_start(data, header_size, header_count, seen)
    at = match.end()
    block = None
    raw = b""
    size = len(data)
    if data.endswith(b"\r\n\r\n"):  # a known block that equals all the rest is the rest of this head
        raw = data[at:]
        block = BLOCKS.get(raw)
    if block is None:
        end = data.find(b"\r\n\r\n", at if seen < at + 3 else seen - 3)
        if end < 0:
            _check_incomplete(data, header_size, seen)
            return None
        if end + 4 != size or not raw:
            size = end + 4
            raw = data[at:size]
            block = BLOCKS.get(raw)
        if size > header_size:
            raise _too_large(data, header_size)
        if block is None:
            block = Block(raw)
            BLOCKS.learn(raw, block, len(raw))
    if size > header_size:
        raise _too_large(data, header_size)
    fields = block.fields
    if len(fields) > header_count:
        raise BadRequest("too many fields", status=431)
    head = RequestHead()
    head.method, head.target = match.groups()
    head.minor = block.minor
    head.fields = fields
    head.host = block.host
    head.content_length = block.content_length
    head.chunked = block.chunked
    head.keep_alive = block.keep_alive
    head.expect = block.expect
    head.upgrade = block.upgrade
    head.size = size
    head.special = block.special
    head.dropped = block.dropped
    head.protocol = None
    head.max_forwards = -1
    if block.max_forwards >= 0 and head.method in _COUNTED:
        head.max_forwards = block.max_forwards
    head._block = block
    return head


def _check_incomplete(data: bytes, header_size: int, seen: int) -> None:
    """Refuse an incomplete head that is malformed or too large already."""
    check_part(data, seen, BadRequest, False)
    if len(data) >= header_size:
        raise _too_large(data, header_size)


def _unusual_start(data: bytes, header_size: int, header_count: int, seen: int) -> RequestHead | None:
    """A head without a well-formed request line at its start: incomplete, malformed, or with empty lines in front of it."""
    blank = 0
    while data.startswith(b"\r\n", blank):  # RFC 9112, section 2.2: ignore empty lines before the request line
        blank += 2
    if blank:
        if blank >= header_size:
            raise BadRequest("empty lines in place of a request")
        head = parse_request(data[blank:], header_size, header_count, seen - blank if seen > blank else 0)
        if head is not None:
            head.size += blank
        return head
    end = data.find(b"\n")
    if end < 0:
        _check_incomplete(data, header_size, seen)
        return None
    if end > header_size:
        raise _too_large(data, header_size)
    raise wrong_request_line(data[: end + 1])


def _too_large(data: bytes, header_size: int) -> BadRequest:
    line = data.find(b"\r\n")
    if line < 0 or line >= header_size:
        return BadRequest("request line too long", status=414)
    return BadRequest("request head too large", status=431)


def parse_response(
    data: bytes, method: bytes, header_size: int, header_count: int, seen: int = 0, strict: bool = True
) -> ResponseHead | None:
    """The response head at the start of ``data``, or None if it is incomplete.

    method: of the request. header_size, header_count, seen: as in `parse_request`. strict: refuse every malformed response. Otherwise
    lines may end with a bare LF, Content-Length may be repeated if the values are equal, HTTP/1.0 may have Transfer-Encoding, and the
    status may be 600 to 999: all readers agree on the meaning of these. Raises `BadResponse` (502).
    """
    end = data.find(b"\r\n\r\n", seen - 3 if seen > 3 else 0)
    size = end + 4
    raw = data[:size] if end >= 0 else b""
    known = _HEADS.get(raw)
    if known is not None and method != b"HEAD" and size <= header_size and len(known.fields) <= header_count:
        return known
    match = STATUS_LINE.match(raw)
    fields = FIELDS.findall(raw)
    plain = True
    text = raw
    if match is None or raw.translate(None, PLAIN) != b"\r\n" * (len(fields) + 2):
        if not strict:
            text, size = unify_line_ends(data)
            plain = text == raw
        if not text:
            check_part(data, seen, BadResponse, not strict)
            if len(data) >= header_size:
                raise BadResponse("response head too large")
            return None
        match = STATUS_LINE.match(text)
        if match is None:
            raise BadResponse("malformed status line")
        fields = read_lines(text[match.end() :], BadResponse)
    if size > header_size:
        raise BadResponse("response head too large")
    if len(fields) > header_count:
        raise BadResponse("too many fields in the response")
    head = ResponseHead()
    head.size = size
    head.status = status = int(match[2])
    head.minor = minor = 0 if match[1] == b"0" else 1
    head.fields = fields
    head._raw = text[:-2]
    head._cut_for = head.block_for = None
    if status > 599:
        plain = False
        if strict:
            raise BadResponse("status above 599")
    head.upgrade = None
    head.location = None
    head.dated = False
    head.dropped = None
    keep_alive = minor == 1
    closing = False
    coding = upgrade = special = None
    length = -1
    kinds = _NAMES
    for name, value in fields:
        kind = kinds[name]
        if not kind:  # PASS
            continue
        if kind == CONTENT_LENGTH:
            octets = length_of(value, BadResponse)
            if length >= 0:
                plain = False
                if strict or length != octets:
                    raise BadResponse("several Content-Length fields")
            if status < 200 or status == 204 or length >= 0:  # RFC 9110, section 8.6: must not be there; or one of them is enough
                special = [(name, value)] if special is None else [*special, (name, value)]
            length = octets
        elif kind == DATE:
            head.dated = True
        elif kind == LOCATION:
            if head.location is None:
                head.location = []
            head.location.append((name, value))
        elif kind == TRANSFER_ENCODING:
            if coding is not None:
                raise BadResponse("several Transfer-Encoding fields")
            coding = value
        else:
            if special is None:
                special = []
            special.append((name, value))
            if kind == CONNECTION:
                options = connection_options(value)
                if options is KEEP:
                    keep_alive = True
                    continue
                closing = closing or b"close" in options
                keep_alive = keep_alive or b"keep-alive" in options
                if not options <= USUAL_OPTIONS:
                    head.dropped = (options - USUAL_OPTIONS - ROUTING) | (head.dropped or NOTHING)
            elif kind == UPGRADE:
                upgrade = value
            elif kind == NO_NAME:
                read_lines(text[match.end() :], BadResponse)  # says what is wrong with it
                raise BadResponse("malformed field line")
    head.special = special
    if coding is not None:
        if length >= 0:
            raise BadResponse("both Content-Length and Transfer-Encoding")
        if not minor:
            plain = False
            if strict:
                raise BadResponse("Transfer-Encoding in HTTP/1.0")
            closing = True  # RFC 9112, section 6.1: who sends this may have been misled about where the message ends
        only_chunked(coding, BadResponse)
    head.keep_alive = keep_alive and not closing
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        if coding is not None:  # RFC 9112, section 6.1: must not be in 1xx and 204, nor go to HTTP/1.0; elsewhere it says little
            head.dropped = _CODING | (head.dropped or NOTHING)
        head.no_body = True
        head.chunked = head.until_close = False
        head.content_length = -1
        if status == 101:
            head.upgrade = upgrade or b""
    else:
        head.no_body = False
        head.content_length = length
        head.chunked = coding is not None
        head.until_close = length < 0 and coding is None
    if plain and method != b"HEAD":
        _HEADS.learn(raw, head, size)
    return head
