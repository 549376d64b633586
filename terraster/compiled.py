"""Which rooms of Terraster run compiled: the log says it once, when the master starts.

A room of the request path that is compiled (setup.py) has an extension beside its `.py`, and Python imports the extension. A room that is
not compiled runs from its `.py`, with the same behaviour. `terraster.extensions` has the cases in which all of them run from their `.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .extensions import NOT_COMPILED, OFF, beside, changed, read_list, rooms_of

__all__ = ["Rooms", "rooms"]

_NAMED = 3  # rooms, where words have room for some of many


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of an installation, by their names below `terraster`, such as ``net.stream``."""

    compiled: tuple[str, ...]
    """Those that are imported from an extension. Empty if the extensions are switched off, or are not of one build and of these sources."""
    pure: tuple[str, ...]
    """Those that could be compiled and are imported from their `.py`. Only a checkout has the files that name the ones never compiled."""
    off: bool = False
    """True if ``TERRASTER_PURE`` switches the extensions off."""
    unfit: tuple[str, ...] = ()
    """Those whose extension is missing, or is not on the list of the build. With any of them, all run from their `.py`."""
    changed: tuple[str, ...] = ()
    """Those whose extension was made of another source than the one beside it. With any of them, all run from their `.py`."""
    reason: str = ""
    """Why the build went on without the compiler. Empty if it compiled, or was told not to."""

    def as_dict(self) -> dict[str, Any]:
        """``compiled pure unfit changed`` (lists of names), ``off`` and ``reason``, as the status has them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Rooms:
        """The contrary of `as_dict`. A Terraster of another version may say less or more."""
        told = ((key, found[key]) for key in cls.__slots__ if key in found)
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told}
        return cls(**values)

    @property
    def is_faulty(self) -> bool:
        """True if the remark is a warning: the extensions are not of one build, or not of these sources."""
        return bool(self.unfit or self.changed)

    @property
    def remark(self) -> str:
        """The line for the log at the start. Empty if all is as it should be."""
        if self.is_faulty:
            again = "install Terraster again" if self.unfit else "compile or install Terraster again"
            return f"{self}: complete, but slower, {again}"
        return "" if self.compiled else f"{self}: complete, but slower than with compiled rooms"

    def __str__(self) -> str:
        """``compiled: 14 of 16 rooms``, or ``pure Python``, and in words where that is not as it should be."""
        if self.compiled:
            return f"compiled: {len(self.compiled)} of {len(self.compiled) + len(self.pure)} rooms"
        if self.off:
            return "pure Python (TERRASTER_PURE)"
        if self.unfit:
            return f"pure Python (compiled rooms missing, or not of the build: {_some(self.unfit)})"
        if self.changed:
            return f"pure Python (edited since they were compiled: {_some(self.changed)})"
        return f"pure Python (not compiled: {self.reason})" if self.reason else "pure Python"


def rooms() -> Rooms:
    """The rooms as the next process would import them: reads the folders of the package, and what could have been compiled (3 ms)."""
    listed, said = read_list()
    compiled, paths = beside()
    known = rooms_of(set(listed))
    every = compiled | known | rooms_of(paths)
    unfit = () if OFF else tuple(sorted(known ^ compiled))
    edited = () if OFF or unfit else changed(listed)
    if OFF or unfit or edited or not compiled:
        reason = said.removeprefix(NOT_COMPILED) if said.startswith(NOT_COMPILED) else ""
        return Rooms((), tuple(sorted(every)), OFF, unfit, edited, reason)
    return Rooms(tuple(sorted(compiled)), tuple(sorted(every - compiled)))


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
