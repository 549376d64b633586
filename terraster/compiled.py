"""Which rooms of Terraster run compiled: the log says it once, when the master starts.

A room of the request path that is compiled (setup.py) has an extension beside its `.py`, and Python imports the extension. A room that is
not compiled runs from its `.py`, with the same behaviour. ``TERRASTER_PURE=1`` in the environment switches all extensions off.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import Any

from . import PURE

__all__ = ["Rooms", "import_sources", "rooms"]

_PACKAGE = os.path.dirname(__file__)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of an installation, by their names below `terraster`, such as ``net.stream``."""

    compiled: tuple[str, ...]
    """Those that are imported from an extension. Empty if the extensions are switched off."""
    pure: tuple[str, ...]
    """Those that could be compiled and are imported from their `.py`. Only a checkout has the files that name the ones never compiled."""
    off: bool
    """True if ``TERRASTER_PURE`` switches the extensions off."""

    def as_dict(self) -> dict[str, Any]:
        """``compiled pure`` (lists of names) and ``off``, as the status has them."""
        return {"compiled": list(self.compiled), "pure": list(self.pure), "off": self.off}

    def __str__(self) -> str:
        """``compiled: 14 of 16 rooms``, ``pure Python``, or ``pure Python (TERRASTER_PURE)``."""
        if self.compiled:
            return f"compiled: {len(self.compiled)} of {len(self.compiled) + len(self.pure)} rooms"
        return "pure Python (TERRASTER_PURE)" if self.off else "pure Python"


def rooms() -> Rooms:
    """The rooms as the next process would import them: reads the folders of the package."""
    compiled: set[str] = set()
    typed: set[str] = set()
    for folder, _, names in os.walk(_PACKAGE):
        inside = os.path.relpath(folder, _PACKAGE)
        for name in names:
            stem, dot, rest = name.partition(".")
            room = stem if inside == "." else f"{inside}.{stem}".replace(os.sep, ".")
            if dot + rest in EXTENSION_SUFFIXES:
                compiled.add(room)
            elif rest == "pyx" or (rest == "pxd" and f"{stem}.py" in names):
                typed.add(room)
    if PURE:
        return Rooms((), tuple(sorted(compiled | typed)), off=True)
    return Rooms(tuple(sorted(compiled)), tuple(sorted(typed - compiled)), off=False)


def import_sources() -> None:
    """Let Python import every module of Terraster from its `.py`. Called once, before the first of them is imported."""
    sys.path_hooks.insert(0, _sources)
    sys.path_importer_cache.pop(_PACKAGE, None)  # this module was found by a finder that knows extensions


def _sources(path: str) -> FileFinder:
    """A hook of `sys.path_hooks`, which takes the folders of Terraster and no others."""
    if path != _PACKAGE and not path.startswith(_PACKAGE + os.sep):
        raise ImportError(f"{path} is not a folder of Terraster", path=path)
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))
