"""The steps at which a master may die, by name.

Each step of a reload, an upgrade and an operator's order calls `Step` with its name when it is done. In production that is `nothing`. The
tests give a function that kills the process at one step, and look at what the next start finds: the old or the new, never one half.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Step", "nothing"]

Step = Callable[[str], None]


def nothing(name: str) -> None:
    """A step in production."""
