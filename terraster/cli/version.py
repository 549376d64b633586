"""`terraster --version`: the version, and which rooms are compiled."""

from __future__ import annotations

import json

from terraster import __version__
from terraster.compiled import rooms

__all__ = ["show"]


def show(as_json: bool) -> int:
    """Print them: ``terraster 0.1.0 (compiled: 16 of 16 rooms)``, or JSON with the names of the rooms. Returns the exit code."""
    found = rooms()
    print(json.dumps({"version": __version__, "rooms": found.as_dict()}) if as_json else f"terraster {__version__} ({found})")
    return 0
