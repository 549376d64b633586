"""HTTP/1.1 message heads: octets in, a few facts out, and one method that writes the head to forward.

A head is refused if two readers might disagree about where its message ends or which host it is for (RFC 9112, sections 2.2, 3, 5 and 6):
such a disagreement is how requests are smuggled. `parse_response` also accepts some malformed responses, if all readers agree on their
meaning; the head for the client is well-formed again. A field stays a pair of bytes objects unless its name means something to a proxy.

`forward` works on the octets that came in. It copies the block of field lines, cuts out the lines that end here, and appends new ones. So
the fields of a client reach the backend in their order and spelling.

No head keeps state of a connection, so a compiled twin can replace both parsers.

The module is longer than 400 lines because requests and responses share their rules and are best read side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

from terraster.errors import BadRequest, BadResponse

from .block import BLOCKS, KEEP, NOTHING, ROUTING, USUAL_OPTIONS, Block, connection_options, cut_line, length_of, only_chunked
from .grammar import FIELDS, PLAIN, REQUEST_LINE, STATUS_LINE, check_part, read_lines, unify_line_ends, wrong_request_line
from .memory import Memory
from .names import CONNECTION, CONTENT_LENGTH, DATE, LOCATION, NO_NAME, TRANSFER_ENCODING, UPGRADE, response_names

__all__ = ["MAX_INTERIM", "RequestHead", "ResponseHead", "parse_request", "parse_response"]

MAX_INTERIM = 32
"""Number of interim responses (1xx) that a backend may send to one request."""

_NAMES = response_names()

_CODING = frozenset((b"transfer-encoding",))
_MAX_FORWARDS = frozenset((b"max-forwards",))
_COUNTED = (b"OPTIONS", b"TRACE")


class RequestHead:
    """A request head that passed every framing rule.

    method, target: as received.
    minor: 0 or 1; a later minor version counts as 1 (RFC 9110, section 2.5).
    fields: (name, value) pairs in order, values without surrounding white space. Other heads may share them, so they must not be changed.
    host: the value of Host, b"" if there is none (HTTP/1.0 only).
    content_length: octets, -1 without the field.
    chunked: True if the body comes in chunks.
    keep_alive: True if the client wants to use the connection again.
    expect: True if the client waits for 100 (Continue).
    upgrade: the protocols that the client asks for, or None.
    size: octets of the head, with empty lines in front of it.
    special: the fields that mean something to a proxy and do not simply travel, as (kind, name, value); kinds are in
        `terraster.wire.names`. None if there are none.
    dropped: lower-case names that Connection removes, None if there are none.
    max_forwards: how many more proxies an OPTIONS or TRACE request may pass, -1 without a limit (RFC 9110, section 7.6.2).
    major: 1, or 2 for a request that came in HTTP/2; ``minor`` is 1 then.
    protocol: what an extended CONNECT asks for (RFC 8441); None for every other request.
    """

    __slots__ = (
        "method",
        "target",
        "minor",
        "fields",
        "host",
        "content_length",
        "chunked",
        "keep_alive",
        "expect",
        "upgrade",
        "size",
        "special",
        "dropped",
        "max_forwards",
        "protocol",
        "_block",
    )

    method: bytes
    target: bytes
    minor: int
    fields: Sequence[tuple[bytes, bytes]]
    host: bytes
    content_length: int
    chunked: bool
    keep_alive: bool
    expect: bool
    upgrade: bytes | None
    size: int
    special: Sequence[tuple[int, bytes, bytes]] | None
    dropped: frozenset[bytes] | None
    max_forwards: int
    major = 1
    protocol: bytes | None
    _block: Block

    def forward(self, target: bytes, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> bytes:
        """The head to send to a backend.

        target: for the request line. keep: kinds of special fields that travel. drop: lower-case names that a rule removes. Names that
        differ from them only by ``_`` for ``-`` are removed, too, unless ``keep`` has `TWIN` (`with_dashes` prepares ``drop`` for this).
        extra: field lines to append, each with its CRLF.
        """
        if self.max_forwards > 0:
            drop = drop | _MAX_FORWARDS
            extra = b"Max-Forwards: %d\r\n%b" % (self.max_forwards - 1, extra)
        block = self._block
        if (block.keep is keep or block.keep == keep) and (block.drop is drop or block.drop == drop):
            lines = block.lines
        else:
            lines = block.cut(keep, drop)
        return b"%b %b HTTP/1.1%b%b\r\n" % (self.method, target, lines, extra)

    def lines(self, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> tuple[bytes, bytes]:
        """The two parts of `forward` behind the target: the lines of the client, from the CRLF of the request line to that of the last field,
        and those that follow. `forward` repeats these lines, because it is called for each request and a call is not free."""
        if self.max_forwards > 0:
            drop = drop | _MAX_FORWARDS
            extra = b"Max-Forwards: %d\r\n%b" % (self.max_forwards - 1, extra)
        block = self._block
        if (block.keep is keep or block.keep == keep) and (block.drop is drop or block.drop == drop):
            return block.lines, extra
        return block.cut(keep, drop), extra

    def names(self) -> frozenset[bytes]:
        """The names of all fields, in lower case and with ``-`` for ``_``."""
        return frozenset([name.lower().replace(b"_", b"-") for name, _ in self.fields])


class ResponseHead:
    """A response head that passed every framing rule. Other responses may share it, so its facts must not be changed.

    status, minor, fields, size: as in `RequestHead`.
    content_length: octets, -1 if not given or if there is no body.
    chunked: True if the body comes in chunks.
    until_close: True if the body ends with the connection.
    no_body: True if there is no body, whatever the fields say.
    keep_alive: True if the backend will use the connection again.
    own: False, as the head is a backend's.
    upgrade: the protocol that the backend switches to (101 only).
    location: the Location and Content-Location fields, for mapping them back; None if there are none.
    dated: True if it has a Date.
    special: fields that end here, as (name, value). dropped: lower-case names that end here.
    block, block_for: what `terraster.wire.http2.fields.response_block` made of the head last, and for which names to drop.
    """

    __slots__ = (
        "status",
        "minor",
        "fields",
        "content_length",
        "chunked",
        "until_close",
        "no_body",
        "keep_alive",
        "upgrade",
        "size",
        "location",
        "dated",
        "special",
        "dropped",
        "block",
        "block_for",
        "_raw",
        "_cut_for",
        "_lines",
    )

    status: int
    minor: int
    fields: Sequence[tuple[bytes, bytes]]
    content_length: int
    chunked: bool
    until_close: bool
    no_body: bool
    keep_alive: bool
    upgrade: bytes | None
    size: int
    location: list[tuple[bytes, bytes]] | None
    dated: bool
    special: list[tuple[bytes, bytes]] | None
    dropped: frozenset[bytes] | None
    own = False
    block: bytes
    block_for: frozenset[bytes] | None
    _raw: bytes
    _cut_for: frozenset[bytes] | None
    _lines: bytes

    def forward(self, drop: frozenset[bytes], replace: Sequence[tuple[bytes, bytes, bytes]], extra: bytes) -> bytes:
        """The head to send to the client, with HTTP/1.1 and CRLF whatever the backend sent.

        drop: lower-case names that a rule removes. replace: (name, old value, new value) triples. extra: field lines to append, each
        with its CRLF.
        """
        head = self._lines if self._cut_for is drop or self._cut_for == drop else self._cut(drop)
        for name, value, new in replace:
            lower = name.lower()
            if lower not in drop and (self.dropped is None or lower not in self.dropped):
                head = cut_line(head, name, value) + b"%b: %b\r\n" % (name, new)
        return b"%b%b\r\n" % (head, extra)

    def _cut(self, drop: frozenset[bytes]) -> bytes:
        """The head without the lines that end here and without the empty line. The result is kept until the next call."""
        head = self._raw
        if not self.minor:
            head = b"HTTP/1.1" + head[8:]
        if self.special is not None:
            for name, value in self.special:
                head = cut_line(head, name, value)
        gone = drop if self.dropped is None else drop | self.dropped
        if gone:
            for name, value in self.fields:
                if name.lower() in gone:
                    head = cut_line(head, name, value)
        self._cut_for, self._lines = drop, head
        return head


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
