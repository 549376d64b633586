"""Kinds of middleware that the language has and Terraster does not: rate limit, compression. They are checked and
kept, and earn a warning. A filter of the same name takes the place of one of them (`terraster.filters.registry`)."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from .kinds import LAY_OVER, SERVICE, TOP, FilterSettings, Inherit, Level

__all__ = ["ANNOUNCED", "Announced"]


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


ANNOUNCED = (Announced("compression", Compression),)
