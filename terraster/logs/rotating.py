"""A log file that begins anew when it is large enough, written by several processes at once.

    access.log                           the file that is written
    access.log-20250131T120000.123Z      a backup: it was renamed at this moment (UTC)
    access.log-20250131T120000.123Z.gz   the same, compressed (`terraster.logs.backups`)

Rules
- A process that has written the line with which the file reaches its size renames the file and makes the new one, under a lock on the
  directory (``flock``), so only one does it. No process waits for the lock: if another holds it, the file is looked at again at the next write.
- Before each write a process looks whether its file still has its name, and opens the new one if not: one system call. A write that was
  under way at that moment still goes to the backup, whole. So each line is in one file, once.
- Each process holds a shared lock on the file that it has open. A process that gets the exclusive lock knows that nobody writes there any
  more; one that was killed holds nothing. Only then is a backup compressed.
- A file is larger than its size by what all processes write until one of them has renamed it, which is a block of each at most.
- A file that cannot be renamed, because the directory cannot be written, grows on. A warning says so once a minute.
- A rotation by another program (logrotate with USR1) still works.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable

from ..config.loggers import Rotation
from .losses import Losses
from .sink import WARN_EVERY, Sink

__all__ = ["RotatingSink", "backup_name"]

_TRIES = 100  # to open a file that others rename meanwhile


class RotatingSink(Sink):
    """A `Sink` for a file with a rotation. wall: seconds since 1970; the other arguments as for `Sink`."""

    __slots__ = ("_refused", "_size", "_wall")

    def __init__(
        self,
        path: str,
        rotation: Rotation,
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        must: bool = True,
        losses: Losses | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._size = rotation.size
        self._wall = wall
        self._refused = clock() - WARN_EVERY
        super().__init__(path, warn, clock, must=must, losses=losses)

    def write(self, block: bytes) -> None:
        """Write a block of whole lines, where the lines of now go. Never raises, and never waits for a reader."""
        if block and self._target is not None and not self._is_current():
            self._reopen()
        super().write(block)
        target = self._target
        if block and target is not None and target.place is not None and os.lseek(target.fd, 0, os.SEEK_CUR) >= self._size:
            self._rotate()

    def _open(self) -> None:
        """Open the file and take the shared lock, while it has its name: nobody compresses a file that has it. Raises OSError, and the
        target is the one before then."""
        before = self._target
        try:
            for _ in range(_TRIES):
                super()._open()
                target = self._target
                assert target is not None
                if target.place is None:
                    return
                _lock(target.fd, fcntl.LOCK_SH)
                if self._is_current():
                    return
                target.close()
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        except OSError:
            self._target = before
            raise

    def _is_current(self) -> bool:
        assert self._target is not None
        place = self._target.place
        if place is None:  # a pipe, or a descriptor
            return True
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == place

    def _rotate(self) -> None:
        """Rename the file and open a new one, unless another process does it at this moment."""
        try:
            folder = os.open(os.path.dirname(os.path.realpath(self.path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._refuse(error)
            return
        try:
            if not _lock(folder, fcntl.LOCK_EX) or not self._is_current():
                return
            path = os.path.realpath(self.path)
            os.rename(path, backup_name(path, self._wall()))
            why = self._reopen()
            if why:
                self._warn(f"log {self._name}: {why}")
        except OSError as error:
            self._refuse(error)
        finally:
            os.close(folder)

    def _refuse(self, error: OSError) -> None:
        now = self._clock()
        if now - self._refused >= WARN_EVERY:
            self._refused = now
            self._warn(f"log {self._name}: it cannot be rotated and grows on: {error.strerror or error}")


def backup_name(path: str, wall: float) -> str:
    """The name of a backup that is made at this moment (seconds since 1970); one that is not taken."""
    while True:
        name = f"{path}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(wall))}.{int(wall % 1 * 1000):03d}Z"
        if not os.path.lexists(name) and not os.path.lexists(f"{name}.gz"):
            return name
        wall += 0.001


def _lock(fd: int, kind: int) -> bool:
    """True if the lock is held now. False: another holds one, or the file system has none."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
