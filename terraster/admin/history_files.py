"""The files of the history: one for each hour and process that wrote it.

    STATE_DIR/history/2026-11-28T17-PID.minutes   records of `terraster.policy.minutes`
    STATE_DIR/history/lock                        held (flock) by the admin worker that writes

Files that are older than a day are removed, and the oldest of the rest while all take more than `MOST` octets. Every call blocks its thread;
all raise OSError.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from ..policy.minutes import Minute, Names, merged, recorded, records

__all__ = ["DAY", "MOST", "HistoryFiles"]

DAY = 86_400.0
MOST = 64 * 1024 * 1024
_HOUR = "%Y-%m-%dT%H"


class HistoryFiles:
    """The files of one state directory. One call at a time."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._lock: int | None = None
        self._names = Names()
        self._path = ""

    def take(self) -> bool:
        """Become the process that writes. False if another one is: the admin worker before, or of another master."""
        if self._lock is None:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            descriptor = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError:
                os.close(descriptor)
                raise
            self._lock = descriptor
        return True

    def leave(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def add(self, minute: Minute) -> None:
        """Write a minute; it is on the disk when this returns."""
        if self._lock is not None and not os.path.exists(os.path.join(self.directory, "lock")):  # an operator removed the directory
            self.leave()
            self.take()
            self._path = ""
        path = os.path.join(self.directory, f"{time.strftime(_HOUR, time.gmtime(minute.when))}-{os.getpid()}.minutes")
        if path != self._path:
            self._path, self._names = path, Names()
            self._tidy(minute.when)
            if os.path.exists(path):  # a clock that went back, or the pid of a process before: its numbers are not known here
                os.rename(path, f"{path.removesuffix('.minutes')}-{time.monotonic_ns()}.minutes")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write(descriptor, recorded(minute, self._names))
                os.fsync(descriptor)
            except OSError:
                self._path = ""  # numbers may have been explained in what was lost
                with suppress(OSError):
                    if size:
                        os.ftruncate(descriptor, size)
                    else:
                        os.unlink(path)
                raise
        finally:
            os.close(descriptor)

    def minutes(self, since: float, wanted: Callable[[str], bool] = bool) -> Iterator[Minute]:
        """The minutes from then on, the oldest first. wanted: see `records`"""
        first = time.strftime(_HOUR, time.gmtime(since))
        found: dict[int, Minute] = {}
        hour = ""
        for name in self._files():
            if name[: len(first)] < first:
                continue
            if name[: len(first)] != hour:
                yield from (found[when] for when in sorted(found))
                found, hour = {}, name[: len(first)]
            try:
                with open(os.path.join(self.directory, name), "rb") as stream:
                    octets = stream.read()
            except FileNotFoundError:
                continue  # it has just become too old
            for minute in records(octets, wanted):
                if minute.when >= since - 60:
                    known = found.get(minute.when)
                    found[minute.when] = minute if known is None else merged(known, minute)
        yield from (found[when] for when in sorted(found))

    def _tidy(self, now: float) -> None:
        oldest = time.strftime(_HOUR, time.gmtime(now - DAY - 3600))
        left = []
        for name in self._files():
            path = os.path.join(self.directory, name)
            if name[: len(oldest)] < oldest:
                os.unlink(path)
            else:
                left.append((path, os.stat(path).st_size))
        total = sum(size for _, size in left)
        for path, size in left:
            if total <= MOST:
                break
            os.unlink(path)
            total -= size

    def _files(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.directory) if name.endswith(".minutes"))
        except FileNotFoundError:
            return []


def _write(descriptor: int, octets: bytes) -> None:
    """Not with a buffer: that would write what is left of a failed write when it is closed, behind the end that was cut."""
    while octets:
        octets = octets[os.write(descriptor, octets) :]
