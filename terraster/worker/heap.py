"""Memory that the C library keeps free, given back to the kernel once many connections have fallen silent.

The stacks of their greenlets and the buffers of their handshakes leave holes between what they keep, which the C library gives back only at the
end of its heap. With 4,000 idle connections that is 2 KiB for each of them (2026-11-29, `python bench/idle.py --connections 4000`).
"""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["CALM", "MANY", "Heap"]

MANY = 500
"""Connections that were parked since memory was given back last. For fewer of them it is not worth the time: some 0.3 ms a MiB."""

CALM = 10
"""Sweeps without another one, so that no burst of requests is under way."""


class Heap:
    """The memory of one worker."""

    __slots__ = ("_calm", "_parked", "_trim")

    def __init__(self) -> None:
        self._parked = self._calm = 0
        self._trim: Any = None

    def swept(self, parked: int) -> None:
        """Called by every sweep. parked: connections that it has parked"""
        if parked:
            self._parked += parked
            self._calm = 0
        elif self._parked >= MANY:
            self._calm += 1
            if self._calm >= CALM:
                self._parked = 0
                self._give_back()

    def _give_back(self) -> None:
        if self._trim is None:
            try:
                self._trim = ctypes.CDLL(None).malloc_trim
            except (OSError, AttributeError):  # that of musl has none
                self._trim = int
        self._trim(0)
