"""A disk that has no room left."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PAGE", "fill"]

PAGE = os.sysconf("SC_PAGESIZE")


def fill(disk: Path) -> Path:
    """A file that takes all room that is left."""
    file = disk / "filler"
    with open(file, "wb", buffering=0) as stream:
        while True:
            try:
                stream.write(b"x" * PAGE)
            except OSError:
                return file
