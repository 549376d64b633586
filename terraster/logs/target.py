"""Where log lines go: an open file, pipe, socket or terminal. One ``send`` is one system call, and it waits for nobody but a disk.

A file is opened with O_APPEND and mode 0640; its directory must exist. For a pipe or a terminal that was inherited, the target opens its own
file description with O_NONBLOCK, because setting the flag on the inherited one would change it for the shell and every other process. A
socket (systemd's journal) is written with MSG_DONTWAIT. An inherited file is not opened again: all processes must share its offset, or lines
of one would overwrite those of another.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import stat
from collections.abc import Callable

from gevent.monkey import get_original

from ..config import descriptors

__all__ = ["FILE_SLICE", "PIPE_SLICE", "Target", "open_target", "writable"]

FILE_SLICE = 65536
PIPE_SLICE = 4096  # PIPE_BUF on Linux: the kernel writes it whole or not at all

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o640


class Target:
    """An open destination.

    fd:     its descriptor
    own:    True if `close` closes the descriptor
    slice:  octets that `send` writes in one piece
    place:  (device, inode) of a file that was opened by its name, else None
    """

    __slots__ = ("fd", "own", "slice", "place", "_end")

    def __init__(self, fd: int, own: bool, regular: bool, named: bool) -> None:
        self.fd = fd
        self.own = own
        self.slice = FILE_SLICE if regular else PIPE_SLICE
        self.place: tuple[int, int] | None = None
        self._end = -1  # of the file, when `parted` looked last
        if regular and named:
            status = os.fstat(fd)
            self.place = status.st_dev, status.st_ino

    def send(self, data: memoryview) -> int:
        """Write octets with one system call. Returns the number that was written. Raises OSError; BlockingIOError: the reader is slow."""
        return os.write(self.fd, data)

    def close(self) -> None:
        """Give the descriptor back. An inherited one stays open."""
        if self.own:
            os.close(self.fd)

    def removed(self) -> bool:
        """True if the file has no name any longer, so that nobody will read what is written to it."""
        return self.place is not None and os.fstat(self.fd).st_nlink == 0

    def unterminated(self) -> bool | None:
        """True if the file ends within a line; None if that cannot be seen. Another process may be in the middle of a write."""
        if self.slice != FILE_SLICE:
            return None
        try:
            reader = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            size = os.fstat(reader).st_size
            return size > 0 and os.pread(reader, 1, size - 1) != b"\n"
        except OSError:
            return None
        finally:
            os.close(reader)

    def parted(self, data: memoryview) -> bool:
        """End the half line in front of ``data``, which `send` has just written. Returns False if there is none, as always.

        The kernel lets one process at a time append to a file. So the process that wrote a half line there was killed while it did so, and its
        last octet tells nothing: it becomes the newline. Thus the line of ``data`` begins on a line of its own. If no other process has
        written since the last call, this costs one system call.
        """
        if self.place is None:
            return False
        end = os.lseek(self.fd, 0, os.SEEK_CUR)
        begin, before, self._end = end - len(data), self._end, end
        if begin in (0, before):
            return False
        try:
            again = os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        try:  # the comparison: processes that share the descriptor, as of the program's log, share its position too
            octets = os.pread(again, 1 + len(data), begin - 1)
            return octets[1:] == data and octets[:1] != b"\n" and os.pwrite(again, b"\n", begin - 1) == 1
        except OSError:
            return False
        finally:
            os.close(again)

    def terminate(self, part: bytes) -> bool:
        """End the half line ``part``, which `send` has just written and could not finish. Returns False if that is not possible.

        A full disk has no room for a newline, so the newline takes the place of the last octet. Thus the next line of any process begins
        on a line of its own.
        """
        if self.slice != FILE_SLICE:
            return False
        try:
            end = os.lseek(self.fd, 0, os.SEEK_CUR)
            again = os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            return os.pread(again, len(part), end - len(part)) == part and os.pwrite(again, b"\n", end - 1) == 1
        except OSError:
            return False
        finally:
            os.close(again)


class _Socket(Target):
    """An inherited socket."""

    __slots__ = ("_socket",)

    def __init__(self, fd: int) -> None:
        self._socket = _socket.socket(fileno=os.dup(fd))
        super().__init__(fd, own=False, regular=False, named=False)

    def send(self, data: memoryview) -> int:
        return self._socket.send(data, _socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


class _Shared(Target):
    """An inherited pipe or terminal that cannot be opened again: another user owns it, or /proc is missing."""

    __slots__ = ()

    def __init__(self, fd: int) -> None:
        super().__init__(fd, own=False, regular=False, named=False)

    def send(self, data: memoryview) -> int:
        """A blocking pipe that polls as writable takes PIPE_BUF octets at once."""
        if not writable(self.fd, 0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(self.fd, data[:PIPE_SLICE])


def open_target(path: str) -> Target:
    """Open a destination: a descriptor as `terraster.config.descriptors` spells it, a link to one, or a file. Raises OSError."""
    descriptor = descriptors.behind(path)
    if descriptor is not None:
        return _inherited(descriptor)
    fd = os.open(path, _FLAGS, _MODE)
    return Target(fd, own=True, regular=stat.S_ISREG(os.fstat(fd).st_mode), named=True)


def _inherited(fd: int) -> Target:
    why = descriptors.unusable(fd)
    if why:
        raise OSError(errno.EBADF, why)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return Target(fd, own=False, regular=True, named=False)
    if stat.S_ISSOCK(mode):
        return _Socket(fd)
    try:
        own = os.open(f"/proc/self/fd/{fd}", _FLAGS & ~os.O_CREAT)
    except OSError:
        return _Shared(fd)
    return Target(own, own=True, regular=False, named=False)


def writable(fd: int, milliseconds: int) -> bool:
    """True if a descriptor takes octets within this time. Waits without letting other greenlets run."""
    make: Callable[[], select.poll] = get_original("select", "poll")
    poll = make()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))
