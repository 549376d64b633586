"""The entry points of the two commands, as small as can be: what was inherited is set right before the imports, which take a moment."""

from __future__ import annotations

from ..master.collector import rest, work
from .inherited import clean

__all__ = ["terraster", "terrasterctl"]


def terraster() -> int:
    """Run `terraster`. Returns the exit code. A master calls `work` when its configuration is there."""
    clean()
    rest()
    from .main import main

    return main()


def terrasterctl() -> int:
    """Run `terrasterctl`. Returns the exit code."""
    clean()
    rest()
    from .ctl import main

    work()
    return main()
