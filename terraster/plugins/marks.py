"""Marks in the shared table: the hook that a worker is in, for the master, which reads them when the worker has died.

A mark is one cell: the slot of the plugin, and the number of the hook. 0: none.
"""

from __future__ import annotations

from ..config.snapshot import Plugin
from .loading import HOOKS

__all__ = ["mark", "marked"]

_PLACES = ("", *HOOKS, "setup", "cleanup", "its loading")
_NUMBERS = {place: number for number, place in enumerate(_PLACES)}


def mark(plugin: Plugin, place: str) -> int:
    """The mark of a hook. place: a hook, "setup", "cleanup" or "its loading" """
    return plugin.slot + 1 << 8 | _NUMBERS[place]


def marked(cell: int) -> tuple[int, str]:
    """The slot of the plugin, and the place, of a mark; -1 and "" for 0."""
    place = cell & 0xFF
    return (cell >> 8) - 1, _PLACES[place] if place < len(_PLACES) else ""
