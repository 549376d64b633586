"""`cors`: scripts of which other origins may read the responses (Fetch standard, section 3.2).

A preflight, which is OPTIONS with Origin and Access-Control-Request-Method, is answered here, before anything asks for credentials: browsers
send none with it. Every other request goes on as it is, OPTIONS too. The fields of a backend about other origins are left out, so that only
these settings count. Every response has Vary, so that no cache gives one origin the response for another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from ..config import header_rules
from ..config.settings.base import Duration, Names
from ..config.settings.kinds import TOP, FilterSettings, Level
from ..errors import CLIENT, HttpError
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.edits import Edits
from .answer import Answer
from .contract import Counter, Filter, Place, Stage

__all__ = ["Cors", "CorsSettings"]

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\*\.)?([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_NAME = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_GO_ON = Answer(204)

_OURS = frozenset(
    (
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"access-control-max-age",
    )
)
"""Fields that a backend may send and that do not reach the client."""


def _origin(written: str) -> str:
    """An origin as browsers send it: in lower case, without the port of its scheme."""
    if written == "*":
        return written
    if written.lower() == "null":
        raise ValueError("must not name null: documents without an origin of their own, from anywhere, send it")
    match = _ORIGIN.fullmatch(written.lower())
    if match is None:
        raise ValueError(
            f"names {written!r}, which is not an origin: write it as in https://shop.example.com or http://10.0.0.1:8080"
        )
    scheme, below, host, port = match.groups()
    ending = "" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    return f"{scheme}://{below or ''}{host}{ending}"


def _origins(written: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(map(_origin, written))
    if "*" in found and len(found) > 1:
        raise ValueError("names `*`, so the other origins have no effect: keep one or the other")
    return found


def _tokens(written: tuple[str, ...]) -> tuple[str, ...]:
    for one in written:
        if not header_rules.is_token(one):
            raise ValueError(f"names {one!r}, which is neither a name nor `*`")
    return written


class CorsSettings(FilterSettings):
    """Scripts of which other origins may read the responses."""

    enabled: bool = Field(True, description="False: say nothing about other origins. `cors: off` is short for that.")
    allowed_origins: Annotated[Names, AfterValidator(_origins)] = Field(
        (),
        description="Origins, as in `https://shop.example.com`, or `https://*.example.com` for all below it, or `*` for all. Default: none.",
    )
    allowed_methods: Annotated[Names, AfterValidator(_tokens)] = Field(
        (),
        description="Methods that scripts may use beside GET, HEAD and POST, which need no permission, or `*` for all. Default: none.",
    )
    allowed_headers: Annotated[Names, AfterValidator(_tokens)] = Field(
        (), description="Request fields that scripts may set, or `*` for all but Authorization. Default: none."
    )
    exposed_headers: Annotated[Names, AfterValidator(_tokens)] = Field(
        (), description="Response fields that scripts may read, or `*` for all. Default: none beside those that need no permission."
    )
    allow_credentials: bool = Field(
        False, description="Let scripts send cookies and other credentials along; not together with `*`."
    )
    max_age: Duration | None = Field(
        None, description="How long a browser may remember the answer to a preflight, in whole seconds. Default: the browser's, 5s."
    )

    @model_validator(mode="after")
    def _no_star_with_credentials(self) -> Self:
        star = starred(self)
        if star:
            raise ValueError(f"has `*` in `{star}` with `allow_credentials`, which no browser accepts: name them")
        return self

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not self.allowed_origins:
            yield "", "names no `allowed_origins`: scripts of other origins may read nothing, as without `cors`"


def starred(settings: CorsSettings) -> str:
    """The key that has `*` although credentials are allowed; "" if none has."""
    if settings.allow_credentials:
        for key in ("allowed_origins", "allowed_methods", "allowed_headers", "exposed_headers"):
            if "*" in getattr(settings, key):
                return key
    return ""


class Cors(Filter):
    """Says what scripts of other origins may do."""

    __slots__ = ("_all", "_below", "_origins", "_preflights", "_refused", "_to_preflights", "_to_requests")

    name: ClassVar[str] = "cors"
    stage: ClassVar[Stage] = Stage.PREFLIGHTS
    settings: ClassVar[type[FilterSettings]] = CorsSettings
    shorthand: ClassVar[tuple[Level, ...]] = (TOP,)
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("preflights", "Preflights that `cors` answered."),
        Counter("refused", "Preflights that `cors` refused for their origin."),
    )

    def __init__(self, settings: CorsSettings, place: Place, view: SeatView) -> None:
        """Raises `ConfigError` for what a narrower level made of `*`."""
        star = starred(settings)
        if star:
            raise place.problem(self.name, f"has `*` in `{star}` with `allow_credentials`: name them", star, "allow_credentials")
        self._preflights, self._refused = place.tally("preflights"), place.tally("refused")
        origins = [origin.encode("ascii") for origin in settings.allowed_origins]
        self._all = b"*" in origins
        self._origins = frozenset(origin for origin in origins if b"*" not in origin)
        self._below = tuple(_below(origin) for origin in origins if b"//*." in origin)
        credentials = b"Access-Control-Allow-Credentials: true\r\n" if settings.allow_credentials else b""
        self._to_requests = credentials + _line(b"Access-Control-Expose-Headers", settings.exposed_headers)
        self._to_preflights = credentials + _line(b"Access-Control-Allow-Methods", settings.allowed_methods)
        self._to_preflights += _line(b"Access-Control-Allow-Headers", settings.allowed_headers)
        if settings.max_age is not None:
            self._to_preflights += b"Access-Control-Max-Age: %d\r\n" % settings.max_age

    def on_request(self, exchange: Exchange) -> Answer | None:
        if not _is_preflight(exchange):
            return None
        if self._may_read(exchange.field(b"origin")):
            self._preflights.count()
            return _GO_ON
        self._refused.count()
        raise HttpError("cors: scripts of this origin may not come here", status=403, reason="http_request_denied", blame=CLIENT)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        if edits.status < 200:
            return
        edits.drop |= _OURS
        edits.vary(b"Origin")
        origin = exchange.field(b"origin")
        if not self._may_read(origin):
            return
        lines = self._to_preflights if _is_preflight(exchange) else self._to_requests
        edits.extra += b"Access-Control-Allow-Origin: %b\r\n%b" % (b"*" if self._all else origin, lines)

    def _may_read(self, origin: bytes) -> bool:
        """True if scripts of this origin, b"" for a request without one, may read the response."""
        if self._all or origin in self._origins:
            return True
        for start, end in self._below:
            if origin.startswith(start) and origin.endswith(end) and _NAME.fullmatch(origin, len(start), len(origin) - len(end)):
                return True
        return False


def _is_preflight(exchange: Exchange) -> bool:
    return bool(exchange.method == b"OPTIONS" and exchange.field(b"origin") and exchange.field(b"access-control-request-method"))


def _below(origin: bytes) -> tuple[bytes, bytes]:
    """The beginning and the end of the origins below this one."""
    scheme, _, host = origin.partition(b"*")
    return scheme, host


def _line(name: bytes, values: tuple[str, ...]) -> bytes:
    return b"%b: %b\r\n" % (name, ", ".join(values).encode("ascii")) if values else b""
