"""The files of the audit log: appended to, replaced as a whole, on the disk when a call returns, and readable by the owner only."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Folder", "Step"]

Step = Callable[[str], object]


class Folder:
    """The directory of one log. All calls raise OSError. step: see `terraster.audit.log.AuditLog`"""

    def __init__(self, path: str, step: Step) -> None:
        self.path = path
        self._step = step

    def make(self) -> None:
        """Make the directory (0700) if it is not there."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)

    def files(self) -> list[str]:
        """The names of the files with rows, the oldest first."""
        try:
            return sorted(name for name in os.listdir(self.path) if name.endswith(".jsonl"))
        except FileNotFoundError:
            return []

    @staticmethod
    def read(path: str, at: int) -> bytes:
        """The octets of a file from ``at`` on."""
        with open(path, "rb") as stream:
            stream.seek(at)
            return stream.read()

    def add(self, path: str, at: int, octets: bytes) -> None:
        """Write at the end of a file, which is at ``at``. If the disk is full, the part that was written is taken back."""
        is_new = not os.path.exists(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if is_new:
                os.fchmod(descriptor, 0o600)
            left = memoryview(octets)
            try:
                while left:
                    done = os.pwrite(descriptor, left, at + len(octets) - len(left))
                    left = left[done:]
                    self._step("part written")
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, at)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            self._sync()

    def replace(self, name: str, octets: bytes) -> None:
        """Write a file anew: it has the old or the new octets whatever happens."""
        path = os.path.join(self.path, name)
        draft = f"{path}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(octets)
            stream.flush()
            os.fsync(descriptor)
        os.rename(draft, path)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
