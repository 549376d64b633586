"""Tests that run in several processes, of which some want to be alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Turns"]


@dataclass(frozen=True)
class Turns:
    """Two files or directories whose locks (flock) say which tests may run: many side by side, or one alone. If a process ends, the kernel
    frees its locks.

    room: shared by all that run, or held by one alone. door: held by the test that goes in next. A test that waits to be alone waits in the
    door, so that no other test goes in before it.
    """

    room: Path
    door: Path

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Wait for the turn of a test, and hold it."""
        door = _lock(self.door, fcntl.LOCK_EX)
        try:
            room = _lock(self.room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            os.close(door)
        try:
            yield
        finally:
            os.close(room)


def _lock(place: Path, how: int) -> int:
    """The descriptor that holds a lock; to close it is to give the lock back."""
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, how)
    return descriptor
