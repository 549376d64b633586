"""The meaning of a field name to a proxy: a small number for each name that is not simply passed on.

Field names arrive in every spelling, so the maps learn: a known spelling takes one dictionary look-up. The maps are bounded, because clients
choose the names. CGI and WSGI make no difference between ``_`` and ``-``. So an application would read a client's ``X_Forwarded_For`` as our
``X-Forwarded-For``. A request field whose name differs from one of these only by ``_`` is therefore a `TWIN`, which is dropped by default
(nginx drops all names with ``_`` for this reason). A twin of the fields of RFC 9440 is always dropped, because they say who the client is.
"""

from __future__ import annotations

from .grammar import NAME

__all__ = [
    "CLIENT_CERT",
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
    "MAX_FORWARDS",
    "NO_NAME",
    "OURS",
    "PASS",
    "REAL_IP",
    "REQUEST_ID",
    "TE",
    "TRANSFER_ENCODING",
    "TWIN",
    "UPGRADE",
    "may_trail",
    "request_names",
    "response_names",
    "with_dashes",
    "Names",
]

PASS = 0
HOST = 1
CONTENT_LENGTH = 2
TRANSFER_ENCODING = 3
CONNECTION = 4
EXPECT = 5
UPGRADE = 6
DROP = 7  # hop-by-hop whatever Connection says: Keep-Alive, Proxy-Connection, HTTP2-Settings
FORWARDED_FOR = 8
FORWARDED_PROTO = 9
FORWARDED_HOST = 10
FORWARDED_PORT = 11
FORWARDED = 12  # Forwarded and every other X-Forwarded-*: passed on only from trusted peers
REQUEST_ID = 13
REAL_IP = 14  # never passed on: Terraster writes its own
LOCATION = 15
DATE = 16
NO_NAME = 17  # not a token, so the line is not a field
TWIN = 18  # differs from one of these names only by "_" for "-"
MAX_FORWARDS = 19
TE = 21  # hop-by-hop too; a hop of HTTP/2 may know from it that trailers are read
CLIENT_CERT = 20  # Client-Cert, Client-Cert-Chain (RFC 9440) in every spelling: never passed on, Terraster writes its own

_HOP = {b"connection": CONNECTION, b"keep-alive": DROP, b"proxy-connection": DROP, b"te": TE, b"upgrade": UPGRADE}

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
    b"max-forwards": MAX_FORWARDS,
    b"client-cert": CLIENT_CERT,
    b"client-cert-chain": CLIENT_CERT,
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
        b"client-cert",
        b"client-cert-chain",
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
"""Fields that proxies write about the client and the route of a request, besides all other X-Forwarded-*."""

FORBIDDEN_IN_TRAILERS = OURS | frozenset(
    (
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"trailer",
        b"te",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
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
"""Fields for framing, routing and authorisation, and fields about the sender. RFC 9110, section 6.5.1, excludes them from trailers."""

_FORBIDDEN_IN_REQUEST_TRAILERS = FORBIDDEN_IN_TRAILERS | frozenset(
    (
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cf-connecting-ip",
        b"client-ip",
        b"content-disposition",
        b"content-location",
        b"cookie2",
        b"fastly-client-ip",
        b"from",
        b"http2-settings",
        b"idempotency-key",
        b"origin",
        b"pragma",
        b"range",
        b"referer",
        b"remote-user",
        b"true-client-ip",
        b"user-agent",
        b"x-api-key",
        b"x-csrf-token",
        b"x-forwarded",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-requested-with",
        b"x-rewrite-url",
    )
)
_FORBIDDEN_PREFIXES = (
    b"access-control-",
    b"if-",
    b"proxy-",
    b"sec-",
    b"ssl-",
    b"x-auth-",
    b"x-client-",
    b"x-forwarded-",
    b"x-original-",
    b"x-real-",
    b"x-remote-",
    b"x-ssl-",
)


def may_trail(name: bytes, is_request: bool) -> bool:
    """True if a trailer of this name is passed on.

    Servers merge trailers into the fields of the head. Proxies check the head, but not the trailers. So a request's trailer is passed on
    only if no server has a reason to trust it: a checksum, a signature, a count. A name with ``_`` is never passed on in a request.
    """
    lower = name.lower()
    if not is_request:
        return lower not in FORBIDDEN_IN_TRAILERS
    return not (lower in _FORBIDDEN_IN_REQUEST_TRAILERS or b"_" in lower or lower.startswith(_FORBIDDEN_PREFIXES))


class Names(dict[bytes, int]):
    """Field name, in any spelling → its number. An unknown name is `PASS`, and a name that is not a token is `NO_NAME`.

    ``Names[name]`` never fails. The map learns up to ``bound`` spellings: 4,096 take about 0.5 MB, and honest clients use fewer.
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
            if dashed.startswith(b"x-forwarded-"):
                kind = FORWARDED
            if dashed != lower and (kind == FORWARDED or dashed in OURS or dashed in self.canonical):
                kind = CLIENT_CERT if self.canonical.get(dashed) == CLIENT_CERT else TWIN
        if len(self) < self.bound:
            self[name] = kind
        return kind


def with_dashes(names: frozenset[bytes]) -> frozenset[bytes]:
    """The names, and the same names with ``-`` for ``_``. `RequestHead.forward` needs both to drop names together with their twins."""
    return names | frozenset([name.replace(b"_", b"-") for name in names])


def request_names() -> Names:
    """A new map for request fields."""
    return Names(_REQUEST, requests=True)


def response_names() -> Names:
    """A new map for response fields."""
    return Names(_RESPONSE, requests=False)
