"""`maintenance`: every request is answered with 503. It is written in the configuration, or switched on and off by `terrasterctl maintenance`,
which uses the page and the other keys that are written for the service."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field

from ..config.settings.base import Duration, FilePath
from ..config.settings.kinds import FilterSettings, Source
from ..errors import US, HttpError
from ..exchange import Exchange
from ..policy.networks import Networks
from ..state.view import SeatView
from ..wire.answers import error_answer
from .answer import Answer
from .contract import Counter, Filter, Place, Stage
from .ip_access import Entry

__all__ = ["Maintenance", "MaintenanceSettings"]

_KINDS: Mapping[str, bytes] = {
    ".html": b"text/html; charset=utf-8",
    ".htm": b"text/html; charset=utf-8",
    ".json": b"application/json",
    ".xml": b"application/xml",
}
"""Types of pages by the ends of their files' names. All others are plain text."""


class MaintenanceSettings(FilterSettings):
    """Every request is answered with 503: a service under maintenance."""

    kept_when_off: ClassVar[bool] = True

    enabled: bool = Field(
        True,
        description="False: requests are served, until `terrasterctl maintenance on` says otherwise; the other keys count then. "
        "`maintenance: off` is short for that.",
    )
    page: FilePath | None = Field(
        None,
        description="A file with the page that clients get: `.html`, `.json`, `.xml`, else plain text. It is read again when it changes. "
        "Default: the error page.",
    )
    retry_after: Duration = Field(60.0, description="When clients may try again (`Retry-After`); 0: nothing is said.")
    bypass: Entry = Field((), description="Addresses and networks of clients that are served all the same; `unix`.")

    def sources(self) -> tuple[Source, ...]:
        return (Source("page", self.page, len),) if self.page else ()

    def switched_on(self) -> Self:
        """The same by an operator's order."""
        return self.model_copy(update={"enabled": True})


class Maintenance(Filter):
    """Answers in place of the backends."""

    __slots__ = ("_answers", "_bypass", "_is_on", "_kind", "_page", "_retry_after")

    name: ClassVar[str] = "maintenance"
    stage: ClassVar[Stage] = Stage.MAINTENANCE
    settings: ClassVar[type[FilterSettings]] = MaintenanceSettings
    counters: ClassVar[tuple[Counter, ...]] = (Counter("answers", "Requests answered because of maintenance."),)

    def __init__(self, settings: MaintenanceSettings, place: Place, view: SeatView) -> None:
        self._is_on = settings.enabled
        self._answers = place.tally("answers")
        self._bypass = Networks(settings.bypass)
        self._retry_after = math.ceil(settings.retry_after)
        self._page = settings.contents.get(settings.page, b"") if settings.page else b""
        self._kind = _KINDS.get(os.path.splitext(settings.page or "")[1].lower(), b"text/plain; charset=utf-8")

    def needs(self, hook: str) -> bool:
        return self._is_on and (hook != "on_error" or bool(self._page))

    def on_request(self, exchange: Exchange) -> Answer | None:
        if exchange.client_ip in self._bypass:
            return None
        self._answers.count()
        raise UnderMaintenance(self._retry_after)

    def explained(self, exchange: Exchange, answered: bool) -> str:
        return "" if answered else f"lets it pass, because {exchange.client_ip} is in `bypass`"

    def on_error(self, exchange: Exchange, error: HttpError) -> Answer | None:
        """The page in place of the error page."""
        if type(error) is not UnderMaintenance:
            return None
        fields, _ = error_answer(error.status, error.proxy_status, error.detail, b"", exchange.request_id, error.retry_after)
        return Answer(
            error.status, ((b"Content-Type", self._kind), *(one for one in fields if one[0] != b"Content-Type")), self._page
        )


class UnderMaintenance(HttpError):
    """The answer of a service under maintenance."""

    status = 503
    blame = US
    reason = "destination_unavailable"

    def __init__(self, retry_after: int) -> None:
        super().__init__("maintenance: the service is under maintenance", retry_after=retry_after)
