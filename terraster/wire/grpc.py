"""gRPC as far as a proxy takes part in it: "gRPC over HTTP2", https://github.com/grpc/grpc/tree/master/doc.

A call is a POST over HTTP/2. Its outcome is `grpc-status`, which comes in the trailers, or in the head of an answer without a body
("trailers-only"). So the HTTP status of an answer is 200 even if the call failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import inf

__all__ = [
    "APART",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "OK",
    "STATUSES",
    "UNAVAILABLE",
    "UNKNOWN",
    "Call",
    "from_answer",
    "from_http",
    "is_grpc",
    "message_of",
    "named",
    "refusal",
    "status_in",
    "time_field",
    "time_in",
    "to_http",
    "trailers",
    "word_of",
]

STATUSES: tuple[str, ...] = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of the statuses; the place of a name is its number."""

APART = 1000
"""Where statuses of HTTP and of gRPC are in one list, a number of gRPC is this much higher."""

OK = 0
CANCELLED = 1
UNKNOWN = 2
DEADLINE_EXCEEDED = 4
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16

_TYPE = b"application/grpc"
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIME = re.compile(rb"([0-9]{1,8})([HMSmun])")
_MOST = 99_999_999
_STATUS = re.compile(rb"[0-9]{1,2}")
_PLAIN = re.compile(rb"[ -$&-~]*")
_LONGEST_MESSAGE = 1024

_FROM_HTTP = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
"""https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md"""

_FROM_ANSWER = _FROM_HTTP | {
    408: DEADLINE_EXCEEDED,
    413: RESOURCE_EXHAUSTED,
    499: CANCELLED,
    500: INTERNAL,
    501: UNIMPLEMENTED,
    504: DEADLINE_EXCEEDED,
}

_TO_HTTP = (200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
"""By the number of a status; https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto."""

Fields = Iterable[tuple[bytes, bytes]]


class Call:
    """The part of a request that only a call of gRPC has.

    status:  the number of the status that the client gets, -1 before it is known
    message: the words that go with it, "" for those of the HTTP status
    until:   monotonic time at which the call must be over, if the client has set a time; else inf
    bound:   True if that is the time of the client, and not a shorter one of the configuration
    open:    True if a response is under way that trailers may end
    """

    __slots__ = ("bound", "message", "open", "status", "until")

    def __init__(self) -> None:
        self.status = -1
        self.message = ""
        self.until = inf
        self.bound = self.open = False

    def learn(self, fields: Fields) -> None:
        """Take the status from a head or from trailers, if it is there."""
        status = status_in(fields)
        if status >= 0:
            self.status = status

    def fail(self, status: int, message: str) -> None:
        """An error ended the call. status: that the error has over HTTP. message: a sentence that the client may see."""
        self.status = from_answer(status)
        self.message = message

    def end(self, status: int) -> int:
        """The number of the status that the client takes for the outcome, which is the call's from now on. status: of the HTTP answer, 499 if
        the client left."""
        if self.status < 0:
            self.status = CANCELLED if status == 499 else from_http(status)
        return self.status


def named(word: str) -> int:
    """The status of a word like "grpc-unavailable", `APART` from those of HTTP. ValueError for any other word."""
    name = word.strip().upper().replace("-", "_").removeprefix("GRPC_")
    if not word.strip().lower().startswith("grpc") or name not in STATUSES or name == STATUSES[OK]:
        raise ValueError(f"{word!r} is not a status of gRPC")
    return APART + STATUSES.index(name)


def word_of(status: int) -> str:
    """The word of a status that is `APART`."""
    return "grpc-" + STATUSES[status - APART].lower().replace("_", "-")


def is_grpc(content_type: bytes) -> bool:
    """True if a request of this Content-Type is a call. gRPC-Web has types of its own, and clients that read answers in another way."""
    lower = content_type[:17].lower()
    return lower[:16] == _TYPE and lower[16:] in (b"", b"+", b";", b" ")


def time_in(value: bytes) -> float:
    """The seconds in a `grpc-timeout`, 0.0 if it is empty or malformed. A time is at least a nanosecond."""
    match = _TIME.fullmatch(value)
    return 0.0 if match is None else int(match[1]) * _UNITS[match[2]]


def time_field(seconds: float) -> bytes:
    """The value of a `grpc-timeout` that is not longer than this time, in microseconds if it fits: at least one of them."""
    for unit, size in ((b"u", 1e-6), (b"m", 1e-3), (b"S", 1.0), (b"M", 60.0)):
        count = int(seconds / size)
        if count <= _MOST:
            return b"%d%b" % (count or 1, unit)
    return b"%dH" % min(int(seconds / 3600.0), _MOST)


def status_in(fields: Fields) -> int:
    """The number in `grpc-status`, -1 without the field. Clients take any value that they do not know for `UNKNOWN`."""
    for name, value in fields:
        if name == b"grpc-status" or name.lower() == b"grpc-status":
            number = int(value) if _STATUS.fullmatch(value) is not None else UNKNOWN
            return number if number < len(STATUSES) else UNKNOWN
    return -1


def from_http(status: int) -> int:
    """The number of the status that clients take from the HTTP status of an answer without `grpc-status`."""
    return _FROM_HTTP.get(status, UNKNOWN)


def from_answer(status: int) -> int:
    """The number of the status for an answer of our own that has this HTTP status. It says what clients could not know: that a time was
    over, that a message was too large."""
    return _FROM_ANSWER.get(status, UNKNOWN)


def to_http(number: int) -> int:
    """The HTTP status that says most nearly what this status says, to judge a backend by it."""
    return _TO_HTTP[number]


def message_of(text: str) -> bytes:
    """The value of `grpc-message`: UTF-8, with what is not printable ASCII, and "%", as %XX. A long text is cut."""
    octets = text[:_LONGEST_MESSAGE].encode("utf-8", "replace")
    if _PLAIN.fullmatch(octets) is not None:
        return octets
    return b"".join([b"%c" % octet if 32 <= octet < 127 and octet != 37 else b"%%%02X" % octet for octet in octets])


def trailers(number: int, message: str) -> list[tuple[bytes, bytes]]:
    """The trailers that end a call, or the fields of an answer that is trailers-only."""
    fields = [(b"grpc-status", b"%d" % number)]
    if message:
        fields.append((b"grpc-message", message_of(message)))
    return fields


def refusal(number: int, message: str, fields: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """The fields of an answer that is trailers-only, whose HTTP status is 200. fields: of the answer over HTTP, without framing fields. Those
    about its body are left out."""
    kept = [one for one in fields if one[0].lower() not in _ABOUT_BODY]
    return ((b"Content-Type", _TYPE), *trailers(number, message), *kept)


_ABOUT_BODY = frozenset(
    (b"content-type", b"content-encoding", b"content-language", b"content-disposition", b"etag", b"last-modified")
)
