"""`respond`: a fixed answer to every request of a location or a service, without a backend. Use it for maintenance, for a health check of
Terraster itself, or for a file of one line."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ..config.settings.base import HeaderName, HeaderValue, Whole
from ..config.settings.kinds import LOCATION, REPLACE, SERVICE, FilterSettings, Inherit, Level
from ..exchange import Exchange
from ..state.view import SeatView
from ..wire.answers import BODILESS
from .answer import Answer
from .contract import Counter, Filter, Place
from .variables import Template

__all__ = ["Respond", "RespondSettings"]

_BODILESS = BODILESS | {205}  # RFC 9110, section 15.3.6: it has a length, which is 0
_PLAIN_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")


class RespondSettings(FilterSettings):
    """A fixed answer to every request, without a backend."""

    enabled: bool = Field(True, description="False: no fixed answer. `respond: off` is short for that.")
    status: Annotated[Whole, Field(ge=200, le=599)] = Field(200, description="Status of the answer, 200 to 599.")
    body: str = Field("", description="Text of the answer, sent as UTF-8. Default: none.")
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="Fields of the answer; values may hold the variables of [headers](#headers). A body without a Content-Type is "
        "`text/plain; charset=utf-8`.",
    )

    @model_validator(mode="after")
    def _may_have_a_body(self) -> Self:
        if self.body and self.status in _BODILESS:
            raise ValueError(f"has a `body`, which an answer with `status` {self.status} cannot have")
        return self


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
        typed = any(name.lower() == "content-type" for name in settings.headers)
        self._answer = Answer(settings.status, () if typed or not settings.body else (_PLAIN_TEXT,), settings.body.encode("utf-8"))

    def on_request(self, exchange: Exchange) -> Answer:
        self._answers.count()
        fixed = self._answer
        if not self._fields:
            return fixed
        fields = tuple([(name, value.render(exchange, fixed.status)) for name, value in self._fields])
        return Answer(fixed.status, fixed.headers + fields, fixed.body)
