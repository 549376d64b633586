"""`forward_auth`: another server decides about each request.

It gets a GET without the body, with the client's fields and what the request is about in X-Forwarded-*. An answer 2xx lets the request in, and
fields of it go to the backend. Every other answer goes to the client. If there is no answer, the request is refused with 503.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from ..config import addresses
from ..config.settings.base import HeaderName, SomeTime, Text
from ..config.settings.kinds import CALLED, Call, FilterSettings
from ..errors import US, HttpError
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import ENDS, Edits, without
from ..wire.names import OURS
from .answer import Answer
from .contract import Counter, Filter, Place, Stage
from .credentials import authorization, spellings
from .runtime import Reply

__all__ = ["ForwardAuth", "ForwardAuthSettings"]

_TARGET = re.compile(r"/[!-\"$-~]*")
_PROXY_STATUS = b'terraster; error=http_request_denied; details="forward_auth: the server answered %d"'

_NOT_ASKED = frozenset(
    (
        # of the connection, and of a body that is not sent
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"expect",
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-digest",
        b"max-forwards",
        # what would have a 2xx become a 206, 304 or 412
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
        b"range",
        # what servers take for the URL or the method that is asked about
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
    )
)
_CREDENTIALS = frozenset((b"authorization",))
"""Fields that the server may answer, and that it must get from the client to decide."""

_NEVER_ASKED = (b"x-forwarded-", b"x-original-", b"sec-websocket-")
"""Beginnings of names that are not sent either: only we say what is asked about."""


def _url(value: str) -> str:
    _parts(value)
    return value


def _parts(value: str) -> tuple[addresses.Url, bytes]:
    """The server of a URL, and the path and query to ask for. ValueError if it is not a URL that can be asked."""
    parts = urlsplit(value)
    if not parts.netloc or parts.fragment or "#" in value:
        raise ValueError("must be a URL like http://10.0.0.1:9091/verify")
    server = addresses.url(f"{parts.scheme}://{parts.netloc}")
    if server.srv:
        raise ValueError("must start with http:// or https://")
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    if not _TARGET.fullmatch(target):
        raise ValueError("has a path with characters that must be encoded")
    return server, target.encode("ascii")


def _not_ours(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        lower = name.lower().replace("_", "-")
        if lower.encode("ascii") in OURS or lower.startswith("x-forwarded-") or lower in ("host", "cookie"):
            raise ValueError(f"names {name}, which no other server may set")
        spellings(name)
    return names


class ForwardAuthSettings(FilterSettings):
    """Another server decides about each request."""

    enabled: bool = Field(True, description="False: no server is asked. `forward_auth: off` is short for that.")
    url: Annotated[Text, AfterValidator(_url)] | None = Field(
        None, description="The URL that is asked: http, https or http+unix. TLS is spoken as with the backends of the service."
    )
    request_headers: tuple[HeaderName, ...] = Field(
        (),
        description="Fields of the client that the server gets. Default: all but those about the connection, the body, ranges and conditions.",
    )
    response_headers: Annotated[tuple[HeaderName, ...], AfterValidator(_not_ours)] = Field(
        (), description="Fields of an answer 2xx that the backend gets. The client's own fields of these names are removed."
    )
    user_header: HeaderName | None = Field(None, description="The field of an answer 2xx with the user's name, for the access log.")
    timeout: SomeTime = Field(5.0, description="Time for a whole answer.")

    def calls(self) -> tuple[Call, ...]:
        if not self.url:
            return ()
        server, _ = _parts(self.url)
        return (Call(f"{CALLED}{server.text}", (server,), self.timeout),)


class ForwardAuth(Filter):
    """Asks about each request."""

    __slots__ = (
        "_allowed",
        "_drop",
        "_listed",
        "_listed_dashed",
        "_path",
        "_refused",
        "_runtime",
        "_target",
        "_taken",
        "_unavailable",
        "_untold",
        "_user",
    )

    name: ClassVar[str] = "forward_auth"
    stage: ClassVar[Stage] = Stage.AUTHENTICATION
    guards: ClassVar[bool] = True
    settings: ClassVar[type[FilterSettings]] = ForwardAuthSettings
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("allowed", "Requests that the server let in."),
        Counter("refused", "Requests that the server refused; its answer went to the client."),
        Counter("unavailable", "Requests refused with 503 because the server gave no answer."),
    )

    def __init__(self, settings: ForwardAuthSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` if no level names a URL."""
        if not settings.url:
            raise place.problem(self.name, "needs a `url`")
        self._allowed, self._refused, self._unavailable = (place.tally(counter.name) for counter in self.counters)
        self._runtime = place.runtime
        self._path = settings.calls()[0].path
        _, self._target = _parts(settings.url)
        self._listed = frozenset(name.lower().encode("ascii") for name in settings.request_headers)
        self._listed_dashed = frozenset(name.replace(b"_", b"-") for name in self._listed)
        self._taken = frozenset(name.lower().encode("ascii") for name in settings.response_headers)
        self._drop: frozenset[bytes] = frozenset().union(*map(spellings, settings.response_headers))
        self._untold = self._drop - _CREDENTIALS
        self._user = (settings.user_header or "").lower().encode("ascii")

    def needs(self, hook: str) -> bool:
        return hook != "on_upstream" or bool(self._drop)

    def on_request(self, exchange: Exchange) -> Answer | None:
        authorization(exchange)  # the server and the backend must not read two different ones
        try:
            reply = self._runtime.subrequests.get(exchange, self._path, self._target, self._asked_with(exchange), about(exchange))
        except HttpError as error:
            if error.status == 499:
                raise
            self._unavailable.count()
            exchange.note(error.detail)
            raise HttpError(
                "forward_auth: the server that decides gave no answer",
                status=503,
                reason="destination_unavailable",
                blame=US,
                retry_after=1,
            ) from error
        if not 200 <= reply.status < 300:
            return self._answer(exchange, reply)
        self._allowed.count()
        lines = b""
        for name, value in reply.fields:
            lower = name.lower()
            if lower in self._taken:
                lines += b"%b: %b\r\n" % (name, value.translate(None, ENDS))
            if lower == self._user:
                exchange.user = value.decode("utf-8", "replace")
        exchange.granted += lines
        return None

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        if edits.extra:
            edits.extra = without(edits.extra, self._drop)
        edits.drop |= self._drop
        edits.extra += exchange.granted

    def _asked_with(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """The fields of the client that the server gets."""
        options: set[bytes] = set()
        fields = []
        for name, value in exchange.head.fields:
            lower = name.lower()
            if lower == b"connection":
                options.update([option.strip(b" \t") for option in value.lower().split(b",")])
            dashed = lower.replace(b"_", b"-")
            if dashed in _NOT_ASKED or dashed.startswith(_NEVER_ASKED):
                continue
            if not self._is_told(lower, dashed):
                continue
            fields.append((bytes(name), bytes(value)))
        if options:
            fields = [field for field in fields if field[0].lower() not in options]
        return fields

    def _is_told(self, lower: bytes, dashed: bytes) -> bool:
        """True if the server gets a field of this name. Of a listed name it gets all spellings that the backend gets, too."""
        if not self._listed:
            return lower not in self._untold
        return lower in self._listed or (dashed in self._listed_dashed and lower not in self._drop)

    def _answer(self, exchange: Exchange, reply: Reply) -> Answer:
        """The server's answer, as it is."""
        self._refused.count()
        exchange.error = "http_request_denied"
        exchange.note(f"forward_auth: the server answered {reply.status}")
        return Answer(reply.status, (*reply.fields, (b"Proxy-Status", _PROXY_STATUS % reply.status)), reply.body)


def about(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """The fields that say what the request is about."""
    uri = b"%b?%b" % (exchange.path, exchange.query) if exchange.query else exchange.path
    fields = [
        (b"X-Forwarded-Method", exchange.method),
        (b"X-Forwarded-Proto", exchange.scheme.encode("ascii")),
        (b"X-Forwarded-Host", exchange.host),
        (b"X-Forwarded-Uri", uri),
    ]
    if exchange.client_ip != "unix":
        ip = exchange.client_ip.encode("ascii")
        fields += [(b"X-Forwarded-For", ip), (b"X-Real-IP", ip)]
    return fields
