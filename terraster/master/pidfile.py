"""The pid file, and the lock on it that shows a running master: the pid may belong to another process by now, but a lock ends with its process.

`Pidfile` takes an exclusive flock(2) on the file and keeps it for life; a process that can take it knows that no master runs. gunicorn's
arbiter calls `create`, `rename` (a second master is promoted after USR2: ``terraster.pid.2`` becomes ``terraster.pid``, lock and
all) and `unlink`. A forked child calls `abandon` at once, as the lock lasts until the last copy of the descriptor is closed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress

from terraster.errors import StartError

__all__ = ["Pidfile", "remove_directories", "runtime_directory"]

_TRIES = 25  # a process that tries the lock holds it for a moment
_PAUSE = 0.02  # seconds


def runtime_directory(path: str) -> list[str]:
    """Make the directory of the pid file and the control socket, or see that nobody else can put anything in its place. Returns the
    directories that were made, the outermost first.

    Raises StartError. Under /tmp another user may have made it before us.
    """
    path = os.path.normpath(path)
    made = _missing(path)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
    except FileExistsError:
        raise StartError(f"the runtime directory {path} is not a directory") from None
    except OSError as error:
        raise StartError(f"cannot make the runtime directory {path}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise StartError(f"the runtime directory {path} is not a directory")
    if status.st_uid != os.geteuid():
        raise StartError(f"the runtime directory {path} belongs to user {status.st_uid}, not to user {os.geteuid()}, who runs this")
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise StartError(f"the runtime directory {path} may be written to by others (mode {mode:o}); chmod go-w {path}")
    return made


def _missing(path: str) -> list[str]:
    """The directory and those above it, as far as they are not there."""
    found: list[str] = []
    while path and not os.path.lexists(path):
        found.insert(0, path)
        path = os.path.dirname(path)
    return found


def remove_directories(made: list[str]) -> None:
    """Take back what `runtime_directory` made, as far as nothing is in it by now."""
    with suppress(OSError):
        for path in reversed(made):
            os.rmdir(path)


class Pidfile:
    """One locked file. fname: its path. Master only."""

    def __init__(self, fname: str) -> None:
        self.fname = fname
        self._fd = -1

    def create(self, pid: int, beside: str = "") -> None:
        """Take the lock and write the pid. Raises StartError if another process holds it, OSError when the file cannot be had.

        beside: another pid file, whose lock nobody may hold either
        """
        if beside and os.path.exists(beside) and (other := self._holder(beside)):
            raise StartError(f"Already running on PID {other}: it holds the lock on {beside}")
        for _ in range(_TRIES):
            fd = os.open(self.fname, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            if self._lock(fd):
                self._fd = fd
                os.fchmod(fd, 0o644)
                os.ftruncate(fd, 0)
                os.pwrite(fd, b"%d\n" % pid, 0)
                return
            other = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            time.sleep(_PAUSE)
        raise StartError(f"Already running on PID {other}: it holds the lock on {self.fname}")

    @staticmethod
    def _holder(path: str) -> str:
        """The pid in a file whose lock a process holds, else ""."""
        with open(path, "rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return stream.read(32).decode("ascii", "replace").strip()
        return ""

    def _lock(self, fd: int) -> bool:
        """True if we have the lock, and on the file that has the name now: its last owner removes it when it ends."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(fd), os.stat(self.fname))
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.ENOENT):
                return False
            raise

    def rename(self, path: str) -> None:
        """Take another name, and keep the lock all the while. If the file was removed, only the name changes; see `is_there`."""
        with suppress(FileNotFoundError):
            os.replace(self.fname, path)
        self.fname = path

    def give_name(self) -> None:
        """Let a successor's file, which has this name with ".2" behind it, take the place of ours."""
        with suppress(FileNotFoundError):
            os.replace(f"{self.fname}.2", self.fname)

    def has_name(self, path: str) -> bool:
        """True if the file with the lock has another name by now, which the predecessor gave it."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(path))
        except OSError:
            return False

    def is_there(self) -> bool:
        """True if the name still leads to the file that has the lock."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.fname))
        except OSError:
            return False

    def restore(self, pid: int) -> None:
        """Make the file again, after it was removed. Raises as `create` does; the old lock is kept then."""
        before = self._fd
        self.create(pid)
        os.close(before)

    def forget_dead(self, path: str) -> None:
        """Remove the pid file of another master that died and left it."""
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(fd)

    def unlink(self) -> None:
        """Remove the file, if it is still ours, and give the lock back."""
        if self._fd < 0:
            return
        try:
            if os.path.samestat(os.fstat(self._fd), os.stat(self.fname)):
                os.unlink(self.fname)
        except FileNotFoundError:
            pass
        self.abandon()

    def abandon(self) -> None:
        """Close our copy of the descriptor, and leave lock and file to the process that has another one."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
