"""`error_pages`: files in place of the text of errors.

Errors of Terraster's own keep their status and the fields about them: Proxy-Status, Retry-After, WWW-Authenticate. With `intercept: true`,
error responses of backends get a page too; they keep their status and all fields that are not about the body. A client of gRPC gets no page:
it reads grpc-status, and no body.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from ..config.settings.base import FileOrOff
from ..config.settings.kinds import FilterSettings, Source
from ..errors import HttpError
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.answers import error_answer
from ..wire.edits import Edits
from .answer import Answer
from .contract import Counter, Filter, Place
from .media_type import media_type

__all__ = ["ErrorPages", "ErrorPagesSettings"]

_LARGEST = 256 << 10
"""Octets of a page. Every process keeps each page, and every error sends one."""

_ONE = re.compile(r"([45])xx|([45][0-9][0-9])(?:\s*-\s*([45][0-9][0-9]))?", re.IGNORECASE)

_ABOUT_BODY = frozenset(
    (
        b"accept-ranges",
        b"content-digest",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-location",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"digest",
        b"etag",
        b"last-modified",
        b"repr-digest",
        b"trailer",
    )
)
"""Fields about a body, which are wrong once it is another one."""


def _ranges(key: str) -> list[tuple[int, int]]:
    """The statuses of a key, as ranges with both ends. ValueError else."""
    found = []
    for part in key.split(","):
        match = _ONE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"names `{key}`, which is not an error status: write 404, 4xx, 502-504, or several with commas")
        low = int(match[1]) * 100 if match[1] else int(match[2])
        high = low + 99 if match[1] else int(match[3] or low)
        if low > high:
            raise ValueError(f"has a range that runs backwards: {key}")
        found.append((low, high))
    return found


def _statuses(key: object) -> str:
    name = str(key).strip().lower()
    _ranges(name)
    return name


def _page(octets: bytes) -> bytes:
    if len(octets) > _LARGEST:
        raise ValueError(f"is larger than {_LARGEST >> 10} KiB, too much for a page that every error sends")
    return octets


class ErrorPagesSettings(FilterSettings):
    """Files in place of the text of errors."""

    enabled: bool = Field(True, description="False: no pages. `error_pages: off` is short for that.")
    pages: dict[Annotated[str, BeforeValidator(_statuses)], FileOrOff] = Field(
        default_factory=dict,
        description="Files by status: `404`, `4xx`, `502-504`, `500, 503`. The narrowest counts; `off`: none. The statuses may also be in "
        "`error_pages` itself.",
    )
    intercept: bool = Field(False, description="Also in place of the bodies of backends' error responses.")

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, value: Any) -> Any:
        """Put the statuses that are beside the other keys into `pages`."""
        if not isinstance(value, dict):
            return value
        beside = {key: file for key, file in value.items() if str(key)[:1].isdigit()}
        pages = value.get("pages", {})
        if not beside or not isinstance(pages, dict):
            return value
        for key in beside:
            _statuses(key)
        return {**{key: one for key, one in value.items() if key not in beside}, "pages": {**pages, **beside}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        made = super().__get_pydantic_json_schema__(core, handler)
        inner = handler.resolve_ref_schema(made)
        inner["patternProperties"] = {"^[45]": inner["properties"]["pages"]["additionalProperties"]}
        return made

    def idle(self, beside: Collection[str]) -> Iterator[tuple[str, str]]:
        if not self.pages:
            yield "", "names no page, so errors stay as they are"

    def sources(self) -> tuple[Source, ...]:
        return tuple(Source(key, file, _page) for key, file in self.pages.items() if file)


class _Page(NamedTuple):
    kind: bytes
    octets: bytes


class ErrorPages(Filter):
    """Answers errors with pages."""

    __slots__ = ("_intercept", "_intercepted", "_pages", "_sent")

    name: ClassVar[str] = "error_pages"
    settings: ClassVar[type[FilterSettings]] = ErrorPagesSettings
    counters: ClassVar[tuple[Counter, ...]] = (
        Counter("sent", "Errors of Terraster's own that were answered with a page."),
        Counter("intercepted", "Error responses of backends that were answered with a page."),
    )

    def __init__(self, settings: ErrorPagesSettings, place: Place, view: SeatView) -> None:
        self._sent, self._intercepted = place.tally("sent"), place.tally("intercepted")
        self._intercept = settings.intercept
        self._pages: dict[int, _Page] = {}
        spans = [(high - low, low, high, file) for key, file in settings.pages.items() for low, high in _ranges(key)]
        for _, low, high, file in sorted(spans, reverse=True):  # a narrower range is laid over a wider one
            for status in range(low, high + 1):
                self._pages.pop(status, None)
                if file:
                    self._pages[status] = _Page(media_type(file), settings.contents.get(file, b""))

    def needs(self, hook: str) -> bool:
        return bool(self._pages) and (self._intercept or hook != "on_response")

    def on_error(self, exchange: Exchange, error: HttpError) -> Answer | None:
        page = self._pages.get(error.status)
        if page is None or exchange.grpc is not None:
            return None
        self._sent.count()
        fields, _ = error_answer(error.status, error.proxy_status, error.detail, b"", exchange.request_id, error.retry_after)
        fields = tuple([(name, page.kind if name == b"Content-Type" else value) for name, value in fields])
        return Answer(error.status, fields + error.fields, page.octets)

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        page = self._pages.get(edits.status)
        if page is None or edits.own or exchange.grpc is not None:
            return
        self._intercepted.count()
        edits.drop |= _ABOUT_BODY
        edits.add(b"Content-Type", page.kind)
        edits.body = page.octets
