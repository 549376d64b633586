"""Kinds of middleware that the language has and Terraster does not: none now. Such a kind is checked and kept, and earns a warning. A filter
of the same name takes its place (`terraster.filters.registry`)."""

from __future__ import annotations

from typing import NamedTuple

from .kinds import LAY_OVER, SERVICE, TOP, FilterSettings, Inherit, Level

__all__ = ["ANNOUNCED", "Announced"]


class Announced(NamedTuple):
    """A kind without a filter; see `terraster.config.settings.kinds.Kind`."""

    name: str
    settings: type[FilterSettings]
    levels: tuple[Level, ...] = (TOP, SERVICE)
    shorthand: tuple[Level, ...] = (TOP,)
    inherit: Inherit = LAY_OVER
    answers: bool = False


ANNOUNCED: tuple[Announced, ...] = ()
