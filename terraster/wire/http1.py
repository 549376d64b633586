"""HTTP/1.1 message heads: octets in, the few facts that every exchange needs out, and one call that writes the head to forward.

`parse_request` and `parse_response` scan with gunicorn_h1c (picohttpparser) and then check what it lets pass. Whatever leaves a doubt
about where a message ends or whom it is for is refused (RFC 9112, sections 2.2, 3, 5 and 6): a doubt that two parties resolve differently
is how requests are smuggled. A field becomes nothing more than a pair of bytes objects unless its name means something to a proxy.

Writing works on the octets as they came: the block of field lines is copied whole, the lines that must not travel are cut out of it, and
new ones are put behind it. So what a client sent reaches the backend in its order and spelling.

Both directions hand out a head and keep no state, so a compiled twin can take their place.
"""

from __future__ import annotations

from collections.abc import Sequence

from gunicorn_h1c import InvalidHTTPVersion, LimitRequestHeaders, LimitRequestLine, ParseError, parse_request_fast
from gunicorn_h1c import parse_response as _scan_response
from gunicorn_h1c._parser import IncompleteError as _ResponseIncomplete
from gunicorn_h1c._parser_fast import IncompleteError as _RequestIncomplete
from gunicorn_h1c._parser_fast import ParseError as _FastParseError  # the two scanners share names, not classes

from terraster.errors import BadRequest, BadResponse

from .names import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    EXPECT,
    FOLDED,
    HOST,
    LOCATION,
    PASS,
    TRANSFER_ENCODING,
    UPGRADE,
    request_names,
    response_names,
)

__all__ = ["RequestHead", "ResponseHead", "parse_request", "parse_response"]

_REQUEST_NAMES = request_names()
_RESPONSE_NAMES = response_names()

_MAX_LENGTH_DIGITS = 18  # 999 petabytes; more digits are an overflow somebody is trying out

_CLOSE = frozenset((b"close",))
_KEEP = frozenset((b"keep-alive",))
_CODING = frozenset((b"transfer-encoding",))
_OPTIONS = {b"close": _CLOSE, b"Close": _CLOSE, b"keep-alive": _KEEP, b"Keep-Alive": _KEEP}
_ROUTING = frozenset((b"host", b"content-length"))


class RequestHead:
    """A request head that passed every framing rule.

    method, target: as received. minor: 0 or 1. fields: (name, value) pairs in order, values without the spaces around them.
    host: the value of Host, b"" if there is none (HTTP/1.0 only). content_length: octets, -1 without the field.
    chunked: the body comes in chunks. keep_alive: the client would use the connection again. expect: it waits for 100 (Continue).
    upgrade: the protocol it asks for, or None. size: octets of the head. special: the fields that do not simply travel, as
    (kind, name, value), kinds from `terraster.wire.names`. dropped: lower-case names that Connection took out.
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
        "_raw",
        "_line",
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
    special: list[tuple[int, bytes, bytes]] | None
    dropped: frozenset[bytes] | None
    _raw: bytes
    _line: int

    def forward(self, target: bytes, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> bytes:
        """The head to send to a backend.

        target: what goes into the request line. keep: kinds of special fields that travel all the same. drop: lower-case names that a
        rule takes out. extra: field lines to put at the end, each with its CRLF.
        """
        if self.minor and target == self.target:
            head = self._raw[: self.size - 2]
        else:
            head = b"%b %b HTTP/1.1%b" % (self.method, target, self._raw[self._line : self.size - 2])
        if self.special is not None:
            for kind, name, value in self.special:
                if kind not in keep:
                    head = _cut(head, name, value)
        if self.dropped is not None:
            drop = drop | self.dropped
        if drop:
            for name, value in self.fields:
                if name.lower() in drop:
                    head = _cut(head, name, value)
        return b"%b%b\r\n" % (head, extra)


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
        head = self._raw[: self.size - 2]
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

    header_size: octets a head may have, request line included. header_count: fields it may have (256 at most). seen: how many octets of
    ``data`` an earlier call had already found incomplete (then only their end is looked at again). Raises `BadRequest` (400, 414, 417,
    431, 501, 505).
    """
    try:
        scan = parse_request_fast(data, seen, header_size, header_count, header_size)
    except _RequestIncomplete:
        if len(data) >= header_size:
            raise _too_large(data, header_size) from None
        return None
    except (ParseError, _FastParseError) as error:
        raise _refusal(error) from None
    size = scan.consumed
    if size > header_size:
        raise _too_large(data, header_size)
    if data[0] < 32:  # RFC 9112, section 2.2: an empty line before the request line is overlooked
        return _after_empty_line(data, header_size, header_count)
    head = RequestHead()
    head.method = method = scan.method
    head.target = target = scan.path
    head.minor = minor = scan.minor_version
    head.fields = fields = scan.headers
    head.size = size
    head._raw = data
    line = data.find(b"\r\n")
    if line != len(method) + len(target) + 10:
        raise BadRequest("malformed request line")
    head._line = line
    if data.count(b"\r", 0, size) != len(fields) + 2:  # picohttpparser lets no bare CR pass, so fewer CRs mean a bare LF
        raise BadRequest("line ended by a bare LF")
    head.host = b""
    head.content_length = -1
    head.chunked = False
    head.keep_alive = minor == 1
    head.expect = False
    head.upgrade = None
    head.special = None
    head.dropped = None
    hosts = 0
    kinds = _REQUEST_NAMES
    for name, value in fields:
        kind = kinds[name]
        if kind == PASS:
            continue
        if kind == HOST:
            hosts += 1
            head.host = value
        else:
            if head.special is None:
                head.special = []
            head.special.append((kind, name, value))
    if hosts != 1 and (minor or hosts):
        raise BadRequest("several Host fields" if hosts else "no Host field")
    if hosts and not head.host:
        raise BadRequest("empty Host field")
    if head.special is not None:
        _read_special(head)
    return head


def _read_special(head: RequestHead) -> None:
    """Draw the facts from the fields that mean something to a proxy; refuse what is ambiguous."""
    assert head.special is not None
    coding = upgrade = None
    options: frozenset[bytes] = frozenset()
    travelling = []
    for item in head.special:
        kind, name, value = item
        if kind == CONTENT_LENGTH:
            if head.content_length >= 0:
                raise BadRequest("several Content-Length fields")
            if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
                raise BadRequest("malformed Content-Length")
            head.content_length = int(value)
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
            if head.minor:
                head.expect = True
                continue  # it travels: the backend decides
        elif kind == UPGRADE:
            upgrade = value if upgrade is None else upgrade + b", " + value
        travelling.append(item)
    head.special = travelling or None
    if coding is not None:
        if head.content_length >= 0:
            raise BadRequest("both Content-Length and Transfer-Encoding")
        if not head.minor:
            raise BadRequest("Transfer-Encoding in HTTP/1.0")
        _only_chunked(coding, BadRequest)
        head.chunked = True
    if options:
        if b"close" in options:
            head.keep_alive = False
        elif b"keep-alive" in options:
            head.keep_alive = True
        if upgrade is not None and b"upgrade" in options and head.minor and b"h2c" not in upgrade.lower():
            head.upgrade = upgrade
        if not options <= _USUAL_OPTIONS:
            named = options - _USUAL_OPTIONS
            if named & _ROUTING:
                raise BadRequest("Connection names a field that is not hop-by-hop")
            head.dropped = named


_USUAL_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"transfer-encoding", b""))


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


def _refusal(error: Exception) -> BadRequest:
    if isinstance(error, InvalidHTTPVersion):
        return BadRequest("unsupported HTTP version", status=505)
    if isinstance(error, LimitRequestLine):
        return BadRequest("request line too long", status=414)
    if isinstance(error, LimitRequestHeaders):
        return BadRequest("too many or too large fields", status=431)
    return BadRequest(f"malformed request head ({type(error).__name__})")


def _too_large(data: bytes, header_size: int) -> BadRequest:
    line = data.find(b"\r\n", 2)  # 2: past an empty line in front
    if line < 0 or line >= header_size:
        return BadRequest("request line too long", status=414)
    return BadRequest("request head too large", status=431)


def _after_empty_line(data: bytes, header_size: int, header_count: int) -> RequestHead | None:
    if not data.startswith(b"\r\n"):
        raise BadRequest("line ended by a bare LF")
    if data[2] < 32:
        raise BadRequest("several empty lines before the request line")
    head = parse_request(data[2:], header_size, header_count)
    if head is not None:
        head._raw = data[2 : head.size]  # without the empty line before and the one after: `forward` cuts at size - 2
        head.size += 2
    return head


def parse_response(data: bytes, method: bytes, header_size: int, header_count: int, seen: int = 0) -> ResponseHead | None:
    """The response head at the start of ``data``, which answers a request of ``method``; None if it is not complete yet.

    Limits and ``seen`` as with `parse_request`. Raises `BadResponse` (502).
    """
    try:
        scan = _scan_response(data, seen)
    except _ResponseIncomplete:
        if len(data) >= header_size:
            raise BadResponse("response head too large") from None
        return None
    except ParseError:
        raise BadResponse("malformed response head") from None
    head = ResponseHead()
    head.size = size = scan["consumed"]
    head.status = status = scan["status"]
    head.minor = minor = scan["minor_version"]
    head.fields = fields = scan["headers"]
    if size > header_size or len(fields) > header_count:
        raise BadResponse("response head too large")
    if data.count(b"\r", 0, size) != len(fields) + 2 or data[9] == 32 or not 100 <= status <= 599 or minor > 1:
        raise BadResponse("malformed response head")
    head._raw = data
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
            if length >= 0:
                raise BadResponse("several Content-Length fields")
            if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
                raise BadResponse("malformed Content-Length")
            length = int(value)
            if status < 200 or status == 204:  # RFC 9110, section 8.6: must not be there
                special = [(name, value)] if special is None else [*special, (name, value)]
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
                    head.dropped = (options - _USUAL_OPTIONS - _ROUTING) | (head.dropped or frozenset())
            elif kind == UPGRADE:
                upgrade = value
            elif kind == FOLDED:
                raise BadResponse("folded field line")
    head.special = special
    if coding is not None:
        if length >= 0:
            raise BadResponse("both Content-Length and Transfer-Encoding")
        if not minor:
            raise BadResponse("Transfer-Encoding in HTTP/1.0")
        _only_chunked(coding, BadResponse)
    head.keep_alive = keep_alive and not closing
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        if coding is not None and (status < 200 or status == 204):  # RFC 9112, section 6.1: must not be there
            head.dropped = _CODING | (head.dropped or frozenset())
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
