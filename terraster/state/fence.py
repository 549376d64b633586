"""A fence between a write into the shared table and reads that must come after it.

A processor may hold a write back for some tens of nanoseconds, while it reads already. The interpreter needs hundreds to get from one to the
other, so nothing is to do here. fence.pyx is the compiled twin, for compiled rooms, which are that fast.
"""

from __future__ import annotations

__all__ = ["fence"]


def fence() -> None:
    """Let the others see all that this process has written before it reads on."""
