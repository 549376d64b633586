"""`respond`: a fixed answer to every request of a location or a service, without a backend. Use it for maintenance, for a health check of
Terraster itself, or for a single small file, such as robots.txt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, Field, model_validator

from ..config.settings import LocationSettings
from ..config.settings.base import FilePath, HeaderName, HeaderValue, Whole
from ..config.settings.kinds import LOCATION, REPLACE, SERVICE, FilterSettings, Inherit, Level, Source
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.answers import BODILESS
from .answer import Answer
from .contract import Counter, Filter, Place
from .media_type import media_type
from .variables import Template

__all__ = ["Respond", "RespondSettings"]

_BODILESS = BODILESS | {205}  # RFC 9110, section 15.3.6: it has a length, which is 0
_PLAIN_TEXT = b"text/plain; charset=utf-8"

_NEEDED = {
    206: "Content-Range",
    301: "Location",
    302: "Location",
    303: "Location",
    307: "Location",
    308: "Location",
    401: "WWW-Authenticate",
    405: "Allow",
}
"""Fields without which a status means nothing to clients: RFC 9110, section 15."""


def _any_octets(octets: bytes) -> bytes:
    return octets


class RespondSettings(FilterSettings):
    """A fixed answer to every request, without a backend."""

    enabled: bool = Field(True, description="False: no fixed answer. `respond: off` is short for that.")
    status: Annotated[Whole, Field(ge=200, le=599)] = Field(200, description="Status of the answer, 200 to 599.")
    body: str = Field("", description="Text of the answer, sent as UTF-8. Default: none.")
    file: FilePath | None = Field(
        None, description="File with the body, in place of `body`; at most 1 MiB, read again when it changes. Default: none."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="Fields of the answer; values may hold the variables of [headers](#headers). Without a Content-Type a `file` has the "
        "type of its name's ending, and a `body` is `text/plain; charset=utf-8`.",
    )

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if self.body and self.file:
            raise ValueError("has both `body` and `file`: keep one")
        if (self.body or self.file) and self.status in _BODILESS:
            key = "file" if self.file else "body"
            raise ValueError(f"has a `{key}`, which an answer with `status` {self.status} cannot have")
        return self

    def sources(self) -> tuple[Source, ...]:
        return (Source("file", self.file, _any_octets),) if self.file else ()

    def doubts(self, level: BaseModel | None) -> Iterator[tuple[str, str]]:
        needed = _NEEDED.get(self.status, "")
        if needed and not any(name.lower() == needed.lower() for name in self.headers):
            yield "status", f"`status` {self.status} needs the field `{needed}` in `headers`, or clients do not know what to do"
        if isinstance(level, LocationSettings):
            if level.forwards:
                backends = "`backends` get" if level.backends else "`split` gets"
                yield "", f"`respond` answers every request of {level.path}: the {backends} none"
            elif level.redirect:
                yield "", f"`respond` has no effect in {level.path}: `redirect` comes first"


class Respond(Filter):
    """Answers every request."""

    __slots__ = ("_answer", "_answers", "_fields")

    name: ClassVar[str] = "respond"
    settings: ClassVar[type[FilterSettings]] = RespondSettings
    levels: ClassVar[tuple[Level, ...]] = (SERVICE, LOCATION)
    shorthand: ClassVar[tuple[Level, ...]] = (SERVICE, LOCATION)
    inherit: ClassVar[Inherit] = REPLACE
    answers: ClassVar[bool] = True
    counters: ClassVar[tuple[Counter, ...]] = (Counter("answers", "Requests answered by `respond`."),)

    def __init__(self, settings: RespondSettings, place: Place, view: SeatView) -> None:
        self._answers = place.tally("answers")
        self._fields = tuple((name.encode("ascii"), Template(value)) for name, value in settings.headers.items())
        body, kind = settings.body.encode("utf-8"), _PLAIN_TEXT
        if settings.file:
            body, kind = settings.contents.get(settings.file, b""), media_type(settings.file)
        typed = any(name.lower() == "content-type" for name in settings.headers)
        self._answer = Answer(settings.status, () if typed or not body else ((b"Content-Type", kind),), body)

    def on_request(self, exchange: Exchange) -> Answer:
        self._answers.count()
        fixed = self._answer
        if not self._fields:
            return fixed
        fields = tuple([(name, value.render(exchange, fixed.status)) for name, value in self._fields])
        return Answer(fixed.status, fixed.headers + fields, fixed.body)
