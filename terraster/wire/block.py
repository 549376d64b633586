"""The block of field lines in a request head: its facts, and its lines as they go on to a backend.

A client sends the same fields with request after request, so `BLOCKS` keeps the facts of a block. With 15 fields, reading a head takes 1.3
microseconds if its block is known and 8 if it is new; forwarding it takes 0.5 or 1.5 more (`bench/heads.py`, 2026-11-27, CPython 3.11).
"""

from __future__ import annotations

from terraster.errors import BadRequest, BadResponse

from .grammar import FIELDS, PLAIN, read_lines
from .memory import Memory
from .names import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    MAX_FORWARDS,
    NO_NAME,
    OURS,
    TRANSFER_ENCODING,
    TWIN,
    UPGRADE,
    request_names,
)

__all__ = [
    "BLOCKS",
    "KEEP",
    "NOTHING",
    "ROUTING",
    "USUAL_OPTIONS",
    "Block",
    "connection_options",
    "cut_line",
    "length_of",
    "only_chunked",
]

_NAMES = request_names()

_LONGEST_KEPT = 4096  # octets of lines; those of a longer block are used once, as `BLOCKS` does not keep it
_MAX_LENGTH_DIGITS = 18  # 999 petabytes; a longer number is an attempt to overflow a reader

_CLOSE = frozenset((b"close",))
KEEP = frozenset((b"keep-alive",))
_OPTIONS = {b"close": _CLOSE, b"Close": _CLOSE, b"keep-alive": KEEP, b"Keep-Alive": KEEP}
ROUTING = frozenset((b"host", b"content-length"))
"""Fields that decide the recipient and the end of a message. A Connection field must not name them."""
NOTHING: frozenset[bytes] = frozenset()


class Block:
    """The field lines of a request, with the version in front of them. The facts are those of `terraster.wire.heads.RequestHead`.

    lines: the result of the last `cut` that was kept; it was for ``keep`` and ``drop``.
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
        """raw: the head from the space in front of the version to its end. Raises `BadRequest` (400, 417, 501)."""
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
        kinds = _NAMES
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
        """Set the facts from the fields that mean something to a proxy. Raises `BadRequest` if they are ambiguous."""
        coding = upgrade = None
        options: frozenset[bytes] = NOTHING
        travelling = []
        for item in special:
            kind, name, value = item
            if kind == CONTENT_LENGTH:
                if self.content_length >= 0:
                    raise BadRequest("several Content-Length fields")
                self.content_length = length_of(value, BadRequest)
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
            only_chunked(coding, BadRequest)
            self.chunked = True
        if options:
            if b"close" in options:
                self.keep_alive = False
            elif b"keep-alive" in options:
                self.keep_alive = True
            if upgrade is not None and b"upgrade" in options and self.minor and b"h2c" not in upgrade.lower():
                self.upgrade = upgrade
            if not options <= USUAL_OPTIONS:
                named = options - USUAL_OPTIONS
                if named & ROUTING:
                    raise BadRequest("Connection names a field that is not hop-by-hop")
                self.dropped = _without_ours(named)

    def cut(self, keep: frozenset[int], drop: frozenset[bytes]) -> bytes:
        """The lines that go on to a backend, from the CRLF of the request line to that of the last field.

        keep, drop: as in `RequestHead.forward`. The result is kept until the next call, unless it is long.
        """
        lines = self._raw[9:-2]
        if self.special is not None:
            for kind, name, value in self.special:
                if kind not in keep:
                    lines = cut_line(lines, name, value)
        gone = drop if self.dropped is None else drop | self.dropped
        if gone:
            twins = TWIN not in keep
            for name, value in self.fields:
                lower = name.lower()
                if lower in gone or (twins and b"_" in lower and lower.replace(b"_", b"-") in drop):
                    lines = cut_line(lines, name, value)
        if len(lines) <= _LONGEST_KEPT:
            self.keep, self.drop, self.lines = keep, drop, lines
        return lines


BLOCKS: Memory[bytes, Block] = Memory(512, 1 << 18)
"""Blocks that passed every rule, by their octets. With their facts they take at most some 2 MB."""


def cut_line(head: bytes, name: bytes, value: bytes) -> bytes:
    """``head`` without the first field line of this name and value."""
    shorter = head.replace(b"\r\n%b: %b\r\n" % (name, value), b"\r\n", 1)
    if len(shorter) == len(head):  # unusual white space around the value, or a second spelling: compare line by line
        lines = head.split(b"\r\n")
        for at in range(1, len(lines)):
            spelled, _, rest = lines[at].partition(b":")
            if spelled == name and rest.strip(b" \t") == value:
                del lines[at]
                break
        shorter = b"\r\n".join(lines)
    return shorter


def length_of(value: bytes, error: type[BadRequest] | type[BadResponse]) -> int:
    """The number in a Content-Length field. Raises ``error`` if it is malformed."""
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise error("malformed Content-Length")
    return int(value)


USUAL_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"transfer-encoding", b""))


def _without_ours(named: frozenset[bytes]) -> frozenset[bytes] | None:
    """The names in Connection that end here, None if there are none. A client cannot remove fields that proxies write about it."""
    ends = [name for name in named if name not in OURS and not name.startswith(b"x-forwarded-")]
    return frozenset(ends) or None


def connection_options(value: bytes) -> frozenset[bytes]:
    """The options of a Connection field, in lower case."""
    known = _OPTIONS.get(value)
    if known is not None:
        return known
    lower = value.lower()
    return frozenset([option.strip(b" \t") for option in lower.split(b",")])


def only_chunked(coding: bytes, error: type[BadRequest] | type[BadResponse]) -> None:
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
