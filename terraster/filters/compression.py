"""`compression`: responses of backends are compressed for the clients that ask for it. Our own answers and errors stay as they are.

These responses are left alone:

    1xx, 204, 205, 206, 304, Content-Range   no body, or a part of one, whose place counts in the octets that the backend knows
    requests with Range                      a client that goes on with a part must get the octets of which it has the first ones
    Content-Encoding                         the body is encoded already
    Cache-Control: no-transform              of the request or the response: RFC 9111, sections 5.2.1.6 and 5.2.2.6
    X-Accel-Buffering: no                    the backend says that nothing may be held back
    text/event-stream                        likewise, unless `types` names it
    HTTP/1.0                                 the length is not known beforehand, and there are no chunks

A compressed response is another representation. So a strong ETag becomes a weak one (RFC 9110, section 8.8.3.3), and the length, the digests
and Accept-Ranges are taken out. Vary is right for caches on every response that other clients get compressed. HEAD has the fields of GET.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import translate
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from ..config.settings.base import Names, Size, Whole
from ..config.settings.kinds import LOCATION, SERVICE, TOP, FilterSettings, Level
from ..exchange import Exchange
from ..policy.pace import Pace
from ..state.view import SeatView
from ..wire.accept_encoding import Choice
from ..wire.edits import Edits
from ..wire.http1 import RequestHead, ResponseHead
from ..wire.transform import Payload
from .contract import Counter, Filter, Place, Tally

if TYPE_CHECKING:
    from ..wire.encoders import Encoder

__all__ = ["Compressed", "Compression", "CompressionSettings"]

_TYPES = (
    "text/*",
    "application/javascript",
    "application/json",
    "application/*+json",
    "application/manifest+json",
    "application/wasm",
    "application/xml",
    "application/*+xml",
    "application/x-ndjson",
    "font/ttf",
    "font/otf",
    "image/svg+xml",
    "image/bmp",
)
"""Media types whose bodies get clearly smaller."""

_LEVELS: Mapping[bytes, int] = {b"zstd": 2, b"br": 3, b"gzip": 1}
"""On texts the next level costs 10 to 50 per cent more, and makes them 1 to 3 per cent smaller."""

_PIECE = 8192  # octets of the first call at a location; the pace follows from there

_EVENTS = b"text/event-stream"
_LEFT_ALONE = frozenset((204, 205, 206))
_ASKED = frozenset((b"accept-encoding", b"cache-control", b"if-none-match", b"range"))
_FIELDS = frozenset(
    (
        b"accept-ranges",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"etag",
        b"set-cookie",
        b"x-accel-buffering",
    )
)
_GONE = (b"accept-ranges", b"content-length", b"content-md5", b"digest", b"content-digest", b"repr-digest")
"""Fields that are about the octets before. Trailers of these names go, too."""

_NO_TRANSFORM = re.compile(rb"(?:^|,)[ \t]*no-transform[ \t]*(?:,|$)", re.IGNORECASE)


def _codings(names: tuple[str, ...]) -> tuple[str, ...]:
    known = [name.decode("ascii") for name in _LEVELS]
    for name in names:
        if name not in known:
            raise ValueError(f"has `{name}`, which is not one of {', '.join(known)}")
    if not names or len(set(names)) < len(names):
        raise ValueError("must name at least one algorithm, and each only once")
    return names


def _counters(coding: str) -> tuple[Counter, ...]:
    """The counters of one coding, in the order of `Compressed.over`."""
    return (
        Counter(f"responses_{coding}", f"Responses that were compressed with {coding}."),
        Counter(f"bytes_in_{coding}", f"Octets of these responses before compression with {coding}."),
        Counter(f"bytes_out_{coding}", f"Octets of these responses after compression with {coding}."),
    )


class CompressionSettings(FilterSettings):
    """Responses of backends are compressed for clients that accept it."""

    enabled: bool = Field(True, description="False: responses are not compressed. `compression: off` is short for that.")
    algorithms: Annotated[Names, AfterValidator(_codings)] = Field(
        ("zstd", "br", "gzip"),
        description="Codings that may be used. A client that likes several of them the same gets the first.",
    )
    level: Annotated[Whole, Field(ge=1, le=7)] | None = Field(
        None,
        description="Level of every algorithm, 1 (fast) to 7 (small). Default: zstd 2, br 3, gzip 1.",
    )
    min_size: Size = Field(1024, description="Responses whose Content-Length is below this many octets are not compressed.")
    types: Names = Field(
        _TYPES,
        description="Media types that are compressed; `*` is any number of characters. `text/event-stream` only if it is named itself.",
    )
    set_cookie: bool = Field(
        True,
        description="False: responses with Set-Cookie are not compressed. The size of a compressed page can tell an attacker a secret in it "
        "if the page also repeats what the attacker sends (BREACH).",
    )

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not self.types:
            yield "types", "is empty, so nothing is compressed; `compression: off` says so"


class Compression(Filter):
    """Compresses. It comes after the rules for headers, because it depends on the fields that are sent."""

    __slots__ = ("_choice", "_cookies", "_encoder", "_events", "_levels", "_min_size", "_paces", "_tallies", "_types")

    name: ClassVar[str] = "compression"
    settings: ClassVar[type[FilterSettings]] = CompressionSettings
    levels: ClassVar[tuple[Level, ...]] = (TOP, SERVICE, LOCATION)
    shorthand: ClassVar[tuple[Level, ...]] = (TOP, SERVICE, LOCATION)
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("responses", "Responses that were compressed."),
        Counter("bytes_in", "Octets of these responses before compression."),
        Counter("bytes_out", "Octets of these responses after compression."),
        *_counters("gzip"),
        *_counters("br"),
        *_counters("zstd"),
    )

    def __init__(self, settings: CompressionSettings, place: Place, view: SeatView) -> None:
        from ..wire.encoders import encoder  # here, as its libraries take 1 MiB and few configurations need them

        self._encoder = encoder
        codings = [name.encode("ascii") for name in settings.algorithms]
        self._choice = Choice(codings)
        self._levels = {coding: settings.level or _LEVELS[coding] for coding in codings}
        self._paces = {coding: Pace(_PIECE) for coding in codings}
        self._min_size = max(settings.min_size, 1)
        self._cookies = settings.set_cookie
        names = [name.lower() for name in settings.types]
        self._types = re.compile("|".join([translate(name) for name in names]).encode("latin-1"))
        self._events = _EVENTS.decode() in names
        whole = self.counters[:3]
        self._tallies = {
            coding: tuple([place.tally(counter.name) for counter in (*whole, *_counters(coding.decode("ascii")))])
            for coding in codings
        }

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        head = edits.head
        if edits.status < 200 or not isinstance(head, ResponseHead) or edits.transform is not None or edits.body is not None:
            return
        if edits.status in _LEFT_ALONE or 0 <= head.content_length < self._min_size:
            return
        request: RequestHead = exchange.head
        asked = _asked(request)
        fields = edits.values(_FIELDS)
        if edits.status == 304:
            _renewed(asked, fields, edits)
        elif self._may_compress(asked, fields) and (not head.no_body or self._long_enough(fields)):
            edits.vary(b"Accept-Encoding")
            if request.minor and b"range" not in asked:
                coding = self._choice.of(asked.get(b"accept-encoding", b""))
                if coding:
                    self._compress(fields.get(b"etag", b""), edits, coding)
                    if not head.no_body:
                        made = self._encoder(coding, self._levels[coding])
                        edits.transform = Compressed(made, self._paces[coding], self._tallies[coding])

    def explained(self, exchange: Exchange, answered: bool) -> str:
        request: RequestHead = exchange.head
        asked = _asked(request)
        coding = self._choice.of(asked.get(b"accept-encoding", b""))
        if not coding:
            return "compresses no answer, because the client accepts no coding that may be used (Accept-Encoding)"
        if b"range" in asked or not request.minor:
            return "compresses no answer to HTTP/1.0 or to a request with Range"
        return f"compresses the answer with {coding.decode()} if its type is one of `types` and it has at least {self._min_size} octets"

    def _may_compress(self, asked: Mapping[bytes, bytes], fields: Mapping[bytes, bytes]) -> bool:
        """True if the response is compressed for clients that accept it."""
        kind = fields.get(b"content-type", b"").partition(b";")[0].strip(b" \t").lower()
        return (
            self._types.match(kind) is not None
            and (kind != _EVENTS or self._events)
            and b"content-encoding" not in fields
            and b"content-range" not in fields
            and (self._cookies or b"set-cookie" not in fields)
            and fields.get(b"x-accel-buffering", b"").lower() != b"no"
            and _NO_TRANSFORM.search(fields.get(b"cache-control", b"")) is None
            and _NO_TRANSFORM.search(asked.get(b"cache-control", b"")) is None
        )

    def _long_enough(self, fields: Mapping[bytes, bytes]) -> bool:
        """True if the response to HEAD says no length, or one that would be compressed for GET."""
        length = fields.get(b"content-length", b"")
        return not length.isdigit() or int(length) >= self._min_size

    def _compress(self, etag: bytes, edits: Edits, coding: bytes) -> None:
        """Make the head that of the compressed response."""
        for name in _GONE:
            edits.remove(name)
        edits.set(b"Content-Encoding", coding)
        if etag.startswith(b'"'):
            edits.set(b"ETag", b"W/" + etag)


def _renewed(asked: Mapping[bytes, bytes], fields: Mapping[bytes, bytes], edits: Edits) -> None:
    """Give a 304 the validator of the response that the client has. If that was compressed, the client knows it by the weak ETag, and a cache
    would find nothing to renew under the strong one (RFC 9111, section 4.3.4)."""
    etag = fields.get(b"etag", b"")
    if etag.startswith(b'"') and b"W/" + etag in asked.get(b"if-none-match", b""):
        edits.set(b"ETag", b"W/" + etag)
        edits.vary(b"Accept-Encoding")


def _asked(head: RequestHead) -> dict[bytes, bytes]:
    """The fields of the request that count here. Several of one name are joined by commas."""
    found: dict[bytes, bytes] = {}
    for name, value in head.fields:
        lower = name.lower()
        if lower in _ASKED:
            found[lower] = found[lower] + b", " + value if lower in found else value
    return found


class Compressed:
    """The transform of one response (`terraster.wire.transform.Transform`)."""

    __slots__ = ("_encoder", "_in", "_out", "_pace", "_tallies")

    def __init__(self, encoder: Encoder, pace: Pace, tallies: Sequence[Tally]) -> None:
        """pace: of all calls of this kind. tallies: of responses, and of octets before and after; then those of the coding."""
        self._encoder = encoder
        self._in = self._out = 0
        self._pace = pace
        self._tallies = tallies

    @property
    def piece(self) -> int:
        return self._pace.piece

    def feed(self, payload: Payload) -> bytes:
        out = self._encoder.feed(payload)
        self._in += len(payload)
        self._out += len(out)
        return out

    def flush(self) -> bytes:
        out = self._encoder.flush()
        self._out += len(out)
        return out

    def end(self, payload: Payload) -> bytes:
        out = self._encoder.end(payload)
        self._in += len(payload)
        self._out += len(out)
        return out

    def took(self, octets: int, seconds: float) -> None:
        self._pace.took(octets, seconds)

    def over(self) -> None:
        for at in range(0, len(self._tallies), 3):
            responses, octets_in, octets_out = self._tallies[at : at + 3]
            responses.count()
            octets_in.count(self._in)
            octets_out.count(self._out)
