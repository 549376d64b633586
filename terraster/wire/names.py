"""What a field name means to a proxy: a small number for each name that is not simply passed on.

Field names come in every spelling, so the maps learn: a spelling that was met once is found by one dictionary look-up afterwards.
What they may learn is bounded, since names come from strangers. Spellings with ``_`` count like those with ``-`` where a name is one
that we vouch for: CGI and WSGI make no difference between the two, so ``X_Forwarded_For`` would otherwise reach an application as the
client's word for ours (nginx drops such names for the same reason).
"""

from __future__ import annotations

from .grammar import NAME

__all__ = [
    "CONNECTION",
    "CONTENT_LENGTH",
    "DATE",
    "DROP",
    "EXPECT",
    "FORWARDED",
    "FORWARDED_FOR",
    "FORWARDED_HOST",
    "FORWARDED_PORT",
    "FORWARDED_PROTO",
    "FORBIDDEN_IN_TRAILERS",
    "HOST",
    "LOCATION",
    "NO_NAME",
    "OURS",
    "PASS",
    "REAL_IP",
    "REQUEST_ID",
    "TRANSFER_ENCODING",
    "UPGRADE",
    "request_names",
    "response_names",
    "Names",
]

PASS = 0
HOST = 1
CONTENT_LENGTH = 2
TRANSFER_ENCODING = 3
CONNECTION = 4
EXPECT = 5
UPGRADE = 6
DROP = 7  # hop-by-hop whatever Connection says: Keep-Alive, Proxy-Connection, TE, HTTP2-Settings
FORWARDED_FOR = 8
FORWARDED_PROTO = 9
FORWARDED_HOST = 10
FORWARDED_PORT = 11
FORWARDED = 12  # Forwarded and every other X-Forwarded-*: passed on only from trusted peers
REQUEST_ID = 13
REAL_IP = 14  # never passed on: we say who the client is
LOCATION = 15
DATE = 16
NO_NAME = 17  # not a token, so that the line is not a field

_HOP = {b"connection": CONNECTION, b"keep-alive": DROP, b"proxy-connection": DROP, b"te": DROP, b"upgrade": UPGRADE}

_REQUEST = {
    **_HOP,
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"expect": EXPECT,
    b"http2-settings": DROP,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-forwarded-port": FORWARDED_PORT,
    b"forwarded": FORWARDED,
    b"x-real-ip": REAL_IP,
    b"x-request-id": REQUEST_ID,
}

_RESPONSE = {
    **_HOP,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"location": LOCATION,
    b"content-location": LOCATION,
    b"date": DATE,
}

OURS = frozenset(
    (
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-real-ip",
        b"x-request-id",
        b"forwarded",
    )
)
"""Fields that proxies write about the client and the way a request took; others are all X-Forwarded-*."""

FORBIDDEN_IN_TRAILERS = OURS | frozenset(
    (
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"trailer",
        b"te",
        b"connection",
        b"upgrade",
        b"expect",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"cache-control",
        b"max-forwards",
    )
)
"""Fields that say how a message is framed, routed or authorised, or whom it is from; RFC 9110, section 6.5.1, keeps them out of trailers."""


class Names(dict[bytes, int]):
    """Field name, in any spelling → its number. Unknown names are `PASS`; learns up to ``bound`` spellings.

    ``Names[name]`` never fails; what is not a token is `NO_NAME`. 4,096 spellings are about 0.5 MB and more than honest clients use.
    """

    __slots__ = ("bound", "canonical", "requests")

    def __init__(self, canonical: dict[bytes, int], *, requests: bool, bound: int = 4096) -> None:
        super().__init__(canonical)
        for name, kind in canonical.items():
            self[name.title()] = kind
        self.canonical = canonical
        self.requests = requests
        self.bound = bound

    def __missing__(self, name: bytes) -> int:
        if NAME.fullmatch(name) is None:
            return NO_NAME
        lower = name.lower()
        kind = self.canonical.get(lower, PASS)
        if kind == PASS and self.requests:
            dashed = lower.replace(b"_", b"-")
            if (dashed != lower and dashed in OURS) or (dashed.startswith(b"x-forwarded-")):
                kind = FORWARDED if dashed == lower else DROP
        if len(self) < self.bound:
            self[name] = kind
        return kind


def request_names() -> Names:
    """A new map for request fields."""
    return Names(_REQUEST, requests=True)


def response_names() -> Names:
    """A new map for response fields."""
    return Names(_RESPONSE, requests=False)
