"""HTTP/1.1 message heads: octets in, the few facts that every exchange needs out, and one call that writes the head to forward.

Whatever leaves a doubt about where a message ends or whom it is for is refused (RFC 9112, sections 2.2, 3, 5 and 6): a doubt that two
parties resolve differently is how requests are smuggled. Of a backend's response, `parse_response` also takes what is not in order but
means the same to every reader; what is written to the client is in order again. A field becomes nothing more than a pair of bytes objects
unless its name means something to a proxy.

Writing works on the octets as they came: the block of field lines is copied whole, the lines that must not travel are cut out of it, and
new ones are put behind it. So what a client sent reaches the backend in its order and spelling.

Clients send the same fields with request after request, so the facts of a block of fields are remembered, up to a bound, by its octets.
With 15 fields, reading costs 1.2 microseconds where the fields were met before and 8 where not, and writing 0.5 and 1.3 (`bench/heads.py`,
2026-11-27, CPython 3.11).

Both directions hand out a head and keep no state of a connection, so a compiled twin can take their place.
"""

from __future__ import annotations

from collections.abc import Sequence

from terraster.errors import BadRequest, BadResponse

from .grammar import FIELDS, PLAIN, REQUEST_LINE, STATUS_LINE, check_part, read_lines, unify_line_ends, wrong_request_line
from .names import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    EXPECT,
    HOST,
    LOCATION,
    MAX_FORWARDS,
    NO_NAME,
    OURS,
    TRANSFER_ENCODING,
    TWIN,
    UPGRADE,
    request_names,
    response_names,
)

__all__ = ["MAX_INTERIM", "RequestHead", "ResponseHead", "parse_request", "parse_response"]

MAX_INTERIM = 32
"""Interim responses (1xx) that a backend may send to one request."""

_REQUEST_NAMES = request_names()
_RESPONSE_NAMES = response_names()

_MAX_LENGTH_DIGITS = 18  # 999 petabytes; more digits are an overflow somebody is trying out

_CLOSE = frozenset((b"close",))
_KEEP = frozenset((b"keep-alive",))
_CODING = frozenset((b"transfer-encoding",))
_OPTIONS = {b"close": _CLOSE, b"Close": _CLOSE, b"keep-alive": _KEEP, b"Keep-Alive": _KEEP}
_ROUTING = frozenset((b"host", b"content-length"))
_NOTHING: frozenset[bytes] = frozenset()
_MAX_FORWARDS = frozenset((b"max-forwards",))
_COUNTED = (b"OPTIONS", b"TRACE")


class _Block:
    """The field lines of a request, with the version in front of them, and what they say. The facts are those of `RequestHead`.

    lines: what is left of them when special fields that are not in ``keep`` and names that are in ``drop`` are cut out, from the CRLF of
    the request line on.
    """

    __slots__ = (
        "minor",
        "fields",
        "host",
        "content_length",
        "chunked",
        "keep_alive",
        "expect",
        "upgrade",
        "special",
        "dropped",
        "max_forwards",
        "keep",
        "drop",
        "lines",
        "_raw",
    )

    def __init__(self, raw: bytes) -> None:
        """raw: from the space in front of the version to the end of the head. Raises `BadRequest`."""
        fields = FIELDS.findall(raw)
        if raw.translate(None, PLAIN) != b"\r\n" * (len(fields) + 2):
            fields = read_lines(raw[9:], BadRequest)
        self.fields: list[tuple[bytes, bytes]] = fields
        self.minor = minor = 0 if raw[8] == 48 else 1  # "0"; RFC 9110, section 2.5: a later minor version is read like 1.1
        self.host = b""
        self.content_length = -1
        self.chunked = False
        self.keep_alive = minor == 1
        self.expect = False
        self.upgrade: bytes | None = None
        self.special: list[tuple[int, bytes, bytes]] | None = None
        self.dropped: frozenset[bytes] | None = None
        self.max_forwards = -1
        self.keep: frozenset[int] | None = None
        self.drop: frozenset[bytes] | None = None
        self.lines = b""
        self._raw = raw
        hosts = 0
        kinds = _REQUEST_NAMES
        special = None
        for name, value in fields:
            kind = kinds[name]
            if not kind:  # PASS
                continue
            if kind == HOST:
                hosts += 1
                self.host = value
            elif kind == NO_NAME:
                read_lines(raw[9:], BadRequest)  # says what is wrong with it
                raise BadRequest("malformed field line")
            elif special is None:
                special = [(kind, name, value)]
            else:
                special.append((kind, name, value))
        if hosts != 1 and (minor or hosts):
            raise BadRequest("several Host fields" if hosts else "no Host field")
        if hosts and not self.host:
            raise BadRequest("empty Host field")
        if special is not None:
            self._read_special(special)

    def _read_special(self, special: list[tuple[int, bytes, bytes]]) -> None:
        """Draw the facts from the fields that mean something to a proxy; refuse what is ambiguous."""
        coding = upgrade = None
        options: frozenset[bytes] = _NOTHING
        travelling = []
        for item in special:
            kind, name, value = item
            if kind == CONTENT_LENGTH:
                if self.content_length >= 0:
                    raise BadRequest("several Content-Length fields")
                if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
                    raise BadRequest("malformed Content-Length")
                self.content_length = int(value)
                continue  # it travels as it is
            if kind == TRANSFER_ENCODING:
                if coding is not None:
                    raise BadRequest("several Transfer-Encoding fields")
                coding = value
                continue  # it travels: exactly "chunked", or it is refused below
            if kind == CONNECTION:
                options |= connection_options(value)
            elif kind == EXPECT:
                if value.lower() != b"100-continue":
                    raise BadRequest("unknown expectation", status=417)
                if self.minor:
                    self.expect = True
                    continue  # it travels: the backend decides
            elif kind == UPGRADE and value:
                upgrade = value if upgrade is None else upgrade + b", " + value
            elif kind == MAX_FORWARDS:
                if value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS:
                    self.max_forwards = int(value)
                continue  # it travels as it is, but for two methods: see `RequestHead.forward`
            travelling.append(item)
        self.special = travelling or None
        if coding is not None:
            if self.content_length >= 0:
                raise BadRequest("both Content-Length and Transfer-Encoding")
            if not self.minor:
                raise BadRequest("Transfer-Encoding in HTTP/1.0")
            _only_chunked(coding, BadRequest)
            self.chunked = True
        if options:
            if b"close" in options:
                self.keep_alive = False
            elif b"keep-alive" in options:
                self.keep_alive = True
            if upgrade is not None and b"upgrade" in options and self.minor and b"h2c" not in upgrade.lower():
                self.upgrade = upgrade
            if not options <= _USUAL_OPTIONS:
                named = options - _USUAL_OPTIONS
                if named & _ROUTING:
                    raise BadRequest("Connection names a field that is not hop-by-hop")
                self.dropped = _without_ours(named)

    def cut(self, keep: frozenset[int], drop: frozenset[bytes]) -> bytes:
        """The lines that travel, without the empty one, for this ``keep`` and ``drop``; remembered until either is another one."""
        lines = self._raw[9:-2]
        if self.special is not None:
            for kind, name, value in self.special:
                if kind not in keep:
                    lines = _cut(lines, name, value)
        gone = drop if self.dropped is None else drop | self.dropped
        if gone:
            twins = TWIN not in keep
            for name, value in self.fields:
                lower = name.lower()
                if lower in gone or (twins and b"_" in lower and lower.replace(b"_", b"-") in drop):
                    lines = _cut(lines, name, value)
        self.keep, self.drop, self.lines = keep, drop, lines
        return lines


class _Blocks(dict[bytes, _Block]):
    """Blocks by their octets, as many as fit: with 512 of them, or 256 KiB, it begins anew.

    Only blocks that passed every rule come in, only short ones, and only those that were met before: most blocks with a field that
    differs in each request are met once. With what they say they take 2 MB at most.
    """

    __slots__ = ("octets", "met")

    def __init__(self) -> None:
        super().__init__()
        self.octets = 0
        self.met: set[int] = set()

    def learn(self, raw: bytes, block: _Block) -> None:
        """Remember a block, if it is met for the second time."""
        if len(raw) > _BLOCK_SIZE:
            return
        known = hash(raw)
        if known not in self.met:
            if len(self.met) >= _BLOCK_MET:
                self.met.clear()
            self.met.add(known)
            return
        self.octets += len(raw)
        if self.octets > _BLOCK_OCTETS or len(self) >= _BLOCK_COUNT:
            self.clear()
            self.octets = len(raw)
        self[raw] = block


_BLOCK_SIZE = 4096
_BLOCK_COUNT = 512
_BLOCK_OCTETS = 1 << 18
_BLOCK_MET = 4096

_BLOCKS = _Blocks()


class RequestHead:
    """A request head that passed every framing rule.

    method, target: as received. minor: 0 or 1. fields: (name, value) pairs in order, values without the spaces around them; other heads
    may share them, so they are never changed. host: the value of Host, b"" if there is none (HTTP/1.0 only). content_length: octets, -1
    without the field. chunked: the body comes in chunks. keep_alive: the client would use the connection again. expect: it waits for 100
    (Continue). upgrade: the protocol it asks for, or None. size: octets of the head. special: the fields that do not simply travel, as
    (kind, name, value), kinds from `terraster.wire.names`. dropped: lower-case names that Connection took out. max_forwards: how many
    more proxies an OPTIONS or TRACE may pass, -1 if it does not say so (RFC 9110, section 7.6.2).
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
    _block: _Block

    def forward(self, target: bytes, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> bytes:
        """The head to send to a backend.

        target: what goes into the request line. keep: kinds of special fields that travel all the same. drop: lower-case names that a
        rule takes out; where ``keep`` is without `TWIN`, also what differs from them by ``_`` for ``-`` only (`with_dashes` prepares them).
        extra: field lines to put at the end, each with its CRLF.
        """
        if self.max_forwards > 0:
            drop = drop | _MAX_FORWARDS
            extra = b"Max-Forwards: %d\r\n%b" % (self.max_forwards - 1, extra)
        block = self._block
        lines = block.lines if block.keep is keep and block.drop is drop else block.cut(keep, drop)
        return b"%b %b HTTP/1.1%b%b\r\n" % (self.method, target, lines, extra)

    def names(self) -> frozenset[bytes]:
        """The names of all fields, in lower case and with ``-`` for ``_``. Not made unless asked for."""
        return frozenset([name.lower().replace(b"_", b"-") for name, _ in self.fields])


class ResponseHead:
    """A response head that passed every framing rule.

    status, minor, fields, size: as with `RequestHead`. content_length: octets, -1 if not given or if there is no body.
    chunked: the body comes in chunks. until_close: the body ends with the connection. no_body: there is none, whatever the fields say.
    keep_alive: the backend will use the connection again. upgrade: the protocol it switches to (101 only). location: the fields that
    point somewhere (Location, Content-Location), for mapping back. dated: it has a Date.
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
        "_raw",
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
    _raw: bytes

    def forward(self, drop: frozenset[bytes], replace: Sequence[tuple[bytes, bytes, bytes]], extra: bytes) -> bytes:
        """The head to send to the client.

        drop: lower-case names that a rule takes out. replace: (name, old value, new value) triples. extra: field lines to put at the
        end, each with its CRLF.
        """
        head = self._raw
        if not self.minor:
            head = b"HTTP/1.1" + head[8:]
        if self.special is not None:
            for name, value in self.special:
                head = _cut(head, name, value)
        if self.dropped is not None:
            drop = drop | self.dropped
        if drop:
            for name, value in self.fields:
                if name.lower() in drop:
                    head = _cut(head, name, value)
        for name, value, new in replace:
            if name.lower() in drop:
                continue
            head = _cut(head, name, value) + b"%b: %b\r\n" % (name, new)
        return b"%b%b\r\n" % (head, extra)


def _cut(head: bytes, name: bytes, value: bytes) -> bytes:
    """``head`` without the first field line of this name and value."""
    shorter = head.replace(b"\r\n%b: %b\r\n" % (name, value), b"\r\n", 1)
    if len(shorter) == len(head):  # unusual white space around the value, or a second spelling: look line by line
        lines = head.split(b"\r\n")
        for at in range(1, len(lines)):
            spelled, _, rest = lines[at].partition(b":")
            if spelled == name and rest.strip(b" \t") == value:
                del lines[at]
                break
        shorter = b"\r\n".join(lines)
    return shorter


def parse_request(data: bytes, header_size: int, header_count: int, seen: int = 0) -> RequestHead | None:
    """The request head at the start of ``data``; None if it is not complete yet.

    header_size: octets a head may have, request line included. header_count: fields it may have. seen: how many octets of ``data`` an
    earlier call had already found incomplete (then only their end is looked at again). Raises `BadRequest` (400, 414, 417, 431, 501,
    505).
    """
    match = REQUEST_LINE.match(data)
    if match is None:
        return _unusual_start(data, header_size, header_count, seen)
    at = match.end()
    block = None
    raw = b""
    size = len(data)
    if data.endswith(b"\r\n\r\n"):  # mostly the end of this head: a block that is known ends where its octets end
        raw = data[at:]
        block = _BLOCKS.get(raw)
    if block is None:
        end = data.find(b"\r\n\r\n", at if seen < at + 3 else seen - 3)
        if end < 0:
            _check_incomplete(data, header_size, seen)
            return None
        if end + 4 != size or not raw:
            size = end + 4
            raw = data[at:size]
            block = _BLOCKS.get(raw)
        if size > header_size:
            raise _too_large(data, header_size)
        if block is None:
            block = _Block(raw)
            _BLOCKS.learn(raw, block)
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
    head.max_forwards = -1
    if block.max_forwards >= 0 and head.method in _COUNTED:
        head.max_forwards = block.max_forwards
    head._block = block
    return head


def _check_incomplete(data: bytes, header_size: int, seen: int) -> None:
    """Refuse a head that cannot become one, or that is too large already."""
    check_part(data, seen, BadRequest, False)
    if len(data) >= header_size:
        raise _too_large(data, header_size)


def _unusual_start(data: bytes, header_size: int, header_count: int, seen: int) -> RequestHead | None:
    """A head that does not begin with a request line in order: a part of one, empty lines in front of it, or no head at all."""
    blank = 0
    while data.startswith(b"\r\n", blank):  # RFC 9112, section 2.2: empty lines before the request line are overlooked
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


_USUAL_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"transfer-encoding", b""))


def _without_ours(named: frozenset[bytes]) -> frozenset[bytes] | None:
    """Of the names in Connection those that end here: nobody can have what proxies say about the client taken out of the head."""
    ends = [name for name in named if name not in OURS and not name.startswith(b"x-forwarded-")]
    return frozenset(ends) or None


def connection_options(value: bytes) -> frozenset[bytes]:
    """The options of a Connection field, in lower case."""
    known = _OPTIONS.get(value)
    if known is not None:
        return known
    lower = value.lower()
    return frozenset(option.strip(b" \t") for option in lower.split(b","))


def _only_chunked(coding: bytes, error: type[BadRequest] | type[BadResponse]) -> None:
    """Pass if the transfer codings are exactly ``chunked``; RFC 9112, section 6.1."""
    codings = [part.strip(b" \t") for part in coding.lower().split(b",")]
    if codings == [b"chunked"]:
        return
    if codings[-1:] != [b"chunked"] or codings.count(b"chunked") > 1 or b"" in codings:
        if error is BadRequest and b"chunked" not in codings and b"" not in codings:
            raise BadRequest("unknown transfer coding", status=501)
        raise error("malformed Transfer-Encoding")
    if error is BadRequest:
        raise BadRequest("unknown transfer coding", status=501)
    raise error("unknown transfer coding")


def parse_response(
    data: bytes, method: bytes, header_size: int, header_count: int, seen: int = 0, strict: bool = True
) -> ResponseHead | None:
    """The response head at the start of ``data``, which answers a request of ``method``; None if it is not complete yet.

    Limits and ``seen`` as with `parse_request`. Raises `BadResponse` (502). strict: refuse what is not in order. Otherwise a response is
    also taken with lines that end with a bare LF, several Content-Length fields that are equal, Transfer-Encoding in HTTP/1.0, and a
    status of 600 to 999: all readers agree on what these mean.
    """
    text = data
    end = data.find(b"\r\n\r\n", seen - 3 if seen > 3 else 0)
    size = end + 4
    match = STATUS_LINE.match(data)
    if not strict and (end < 0 or match is None or data.count(b"\n", 0, size) != data.count(b"\r", 0, size)):
        unified = unify_line_ends(data)
        if unified is None:
            end = -1
        else:
            text, size = unified
            end = len(text) - 4
            match = STATUS_LINE.match(text)
    if end < 0:
        check_part(data, seen, BadResponse, not strict)
        if len(data) >= header_size:
            raise BadResponse("response head too large")
        return None
    if size > header_size:
        raise BadResponse("response head too large")
    if match is None:
        raise BadResponse("malformed status line")
    block = text[match.end() : end + 4]
    fields = FIELDS.findall(block)
    if block.translate(None, PLAIN) != b"\r\n" * (len(fields) + 2):
        fields = read_lines(block, BadResponse)
    if len(fields) > header_count:
        raise BadResponse("too many fields in the response")
    head = ResponseHead()
    head.size = size
    head.status = status = int(match[2])
    head.minor = minor = 0 if match[1] == b"0" else 1
    head.fields = fields
    head._raw = text[: end + 2]
    if status > 599 and strict:
        raise BadResponse("status above 599")
    head.upgrade = None
    head.location = None
    head.dated = False
    head.dropped = None
    keep_alive = minor == 1
    closing = False
    coding = upgrade = special = None
    length = -1
    kinds = _RESPONSE_NAMES
    for name, value in fields:
        kind = kinds[name]
        if not kind:  # PASS
            continue
        if kind == CONTENT_LENGTH:
            if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
                raise BadResponse("malformed Content-Length")
            if length >= 0 and (strict or length != int(value)):
                raise BadResponse("several Content-Length fields")
            if status < 200 or status == 204 or length >= 0:  # RFC 9110, section 8.6: must not be there; or one of them is enough
                special = [(name, value)] if special is None else [*special, (name, value)]
            length = int(value)
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
                if options is _KEEP:
                    keep_alive = True
                    continue
                closing = closing or b"close" in options
                keep_alive = keep_alive or b"keep-alive" in options
                if not options <= _USUAL_OPTIONS:
                    head.dropped = (options - _USUAL_OPTIONS - _ROUTING) | (head.dropped or _NOTHING)
            elif kind == UPGRADE:
                upgrade = value
            elif kind == NO_NAME:
                read_lines(block, BadResponse)  # says what is wrong with it
                raise BadResponse("malformed field line")
    head.special = special
    if coding is not None:
        if length >= 0:
            raise BadResponse("both Content-Length and Transfer-Encoding")
        if not minor:
            if strict:
                raise BadResponse("Transfer-Encoding in HTTP/1.0")
            closing = True  # RFC 9112, section 6.1: who sends this may have been misled about where the message ends
        _only_chunked(coding, BadResponse)
    head.keep_alive = keep_alive and not closing
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        if coding is not None:  # RFC 9112, section 6.1: must not be in 1xx and 204, nor go to HTTP/1.0; elsewhere it says little
            head.dropped = _CODING | (head.dropped or _NOTHING)
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
    return head
