"""The collector of garbage during a start. Most of what is made then stays, and a look through it again and again costs two fifths of the CPU.

Without any look a start would take a few MiB more, as there is some garbage among what is made.
"""

from __future__ import annotations

import gc

__all__ = ["rest", "work"]

_USUAL = gc.get_threshold()
_SELDOM = (20_000, 50, 50)


def rest() -> None:
    """Look for garbage seldom, until `work`. Called before the imports of a command."""
    gc.set_threshold(*_SELDOM)


def work() -> None:
    """Look for garbage as usual. Called before the first fork, as children inherit it, and once what stays is frozen."""
    gc.set_threshold(*_USUAL)
