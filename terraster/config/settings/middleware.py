"""Kinds of middleware that the language has and Terraster does not: rate limit, compression. They are checked and
kept, and earn a warning. A filter of the same name takes the place of one of them (`terraster.filters.registry`)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

from .base import Whole
from .kinds import LAY_OVER, SERVICE, TOP, FilterSettings, Inherit, Level

__all__ = ["ANNOUNCED", "Announced", "RateLimit"]


class RateLimit(FilterSettings):
    """How many requests one client may send."""

    requests_per_second: Annotated[float, Field(gt=0)] = Field(description="Requests per second, lasting.")
    burst: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="Requests at once above that. Default: one second's worth."
    )


class Compression(FilterSettings):
    """Compressed answers."""

    enabled: bool = Field(True, description="Compress answers.")


class Announced(NamedTuple):
    """A kind without a filter; see `terraster.config.settings.kinds.Kind`."""

    name: str
    settings: type[FilterSettings]
    levels: tuple[Level, ...] = (TOP, SERVICE)
    shorthand: tuple[Level, ...] = (TOP,)
    inherit: Inherit = LAY_OVER
    answers: bool = False


ANNOUNCED = (
    Announced("rate_limit", RateLimit),
    Announced("compression", Compression),
)
