"""The chunked transfer coding (RFC 9112, section 7.1): a reader for octets as they arrive, and the frames to write.

    chunked-body = *( size [ extensions ] CRLF data CRLF ) last-size [ extensions ] CRLF trailers CRLF

The reader is strict, because lenient readers made smuggling possible: a size is 1 to 15 hexadecimal digits, each line ends with CRLF, and
CRLF follows the data. Extensions are checked and dropped, as the RFC allows. They are refused if they are much longer than the data: a sender
could otherwise keep a worker busy without sending any data. Trailers that `may_trail` excludes are dropped.

For a backend's body the reader can be lenient about forms with only one meaning: a size may have any number of leading zeros, spaces and tabs
may follow it, and extensions may be malformed.
"""

from __future__ import annotations

import re

from terraster.errors import BadRequest, BadResponse

from .names import may_trail

__all__ = ["LAST_CHUNK", "ChunkedReader", "last_chunk"]

LAST_CHUNK = b"0\r\n\r\n"

_MAX_LINE = 512  # octets of a size line with its extensions
_MAX_EXTENSIONS = 16384  # octets by which extensions may be longer than the data
_MAX_TRAILERS = 16384  # octets of the trailer section

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb'|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)*'
)
_LENIENT_SIZE_LINE = re.compile(rb"0*+([0-9A-Fa-f]{0,15})(?<=[0-9A-Fa-f])[ \t]*+(?:;[\t -~\x80-\xff]*+)?")
_TRAILER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedReader:
    """Takes the octets of a chunked body and returns the payload.

    error: the class to raise for malformed input: `BadRequest` for a client's body, `BadResponse` for a backend's.
    limit: octets of payload allowed, 0 = any number; `BadRequest` 413 is raised beyond it. strict: False accepts the forms named above.

    After the last octet `done` is True. Then `trailers` has the trailer fields, and `rest` the octets behind the body.
    """

    __slots__ = (
        "done",
        "rest",
        "trailers",
        "received",
        "_error",
        "_limit",
        "_size_line",
        "_excess",
        "_held",
        "_left",
        "_state",
        "_trailer_octets",
    )

    def __init__(self, error: type[BadRequest] | type[BadResponse], limit: int = 0, strict: bool = True) -> None:
        self.done = False
        self.rest = b""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.received = 0
        self._error = error
        self._limit = limit
        self._size_line = _SIZE_LINE if strict else _LENIENT_SIZE_LINE
        self._excess = 0
        self._held = b""
        self._left = 0
        self._state = _SIZE
        self._trailer_octets = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in ``data``, as pieces in order. Not to be called once `done`."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end or self._state == _DONE:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                if end - at < 2 and data[at] == 13:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise self._error("chunk data not followed by CRLF")
                at += 2
                self._state = _SIZE
            elif self._state == _DONE:
                self.done = True
                self.rest = data[at:]
                return pieces
            else:
                line_end = data.find(b"\r\n", at)
                if line_end < 0:
                    self._check_partial(data, at)
                    break
                if self._state == _SIZE:
                    self._read_size(data[at:line_end])
                else:
                    self._read_trailer(data[at:line_end])
                at = line_end + 2
        self._held = data[at:]
        return pieces

    def _read_size(self, line: bytes) -> None:
        match = self._size_line.fullmatch(line) if len(line) <= _MAX_LINE else None
        if match is None:
            raise self._error("malformed chunk size")
        size = int(match[1] or b"0", 16)
        if len(line) > 16:  # extensions count only as far as they are longer than the data so far
            self._excess = max(self._excess + len(line) - 16 - size, 0)
            if self._excess > _MAX_EXTENSIONS:
                raise self._error("more chunk extensions than data")
        if not size:
            self._state = _TRAILERS
            return
        self.received += size
        if self._limit and self.received > self._limit:
            raise BadRequest("body larger than the limit", status=413)
        self._left = size
        self._state = _DATA

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self._state = _DONE
            return
        self._trailer_octets += len(line) + 2
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise self._error("malformed trailer")
        if self._trailer_octets > _MAX_TRAILERS:
            raise self._error("trailers too large")
        if may_trail(match[1], self._error is BadRequest):
            self.trailers.append((match[1], match[2]))

    def _check_partial(self, data: bytes, at: int) -> None:
        """Refuse an incomplete line that no further octet can make well-formed."""
        partial = data[at:]
        bound = _MAX_LINE if self._state == _SIZE else _MAX_TRAILERS
        if len(partial) > bound or b"\n" in partial or b"\r" in partial[:-1]:
            raise self._error("malformed chunk size" if self._state == _SIZE else "malformed trailer")


def last_chunk(trailers: list[tuple[bytes, bytes]], drop: frozenset[bytes] = frozenset()) -> bytes:
    """The end of a chunked body with its trailers. drop: lower-case names to leave out; a trailer that has ``_`` for the ``-`` of
    such a name is left out, too."""
    if not trailers:
        return LAST_CHUNK
    lines = []
    for name, value in trailers:
        lower = name.lower()
        if lower not in drop and lower.replace(b"_", b"-") not in drop:
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"0\r\n%b\r\n" % b"".join(lines)
