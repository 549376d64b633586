"""The destination of log lines: a file, a pipe, a socket or a terminal. A write never holds up a worker.

Rules
- A sink takes blocks of whole lines and cuts them on line boundaries into slices, one ``write(2)`` each. A slice has 64 KiB for a file
  and 4096 octets (PIPE_BUF) for everything else, because the kernel takes that much in one piece. So several processes may append to
  one file or pipe without mixing their lines.
- A file is opened with O_APPEND and mode 0640; its directory must exist. A write to a regular file waits for the disk, as in every
  server. No other write waits. For a pipe or a terminal the sink opens its own file description with O_NONBLOCK, because setting the
  flag on the inherited descriptor would change it for the shell and every other process. A socket (systemd's journal) is written with
  MSG_DONTWAIT.
- Lines that a slow reader has not taken are kept, up to `BACKLOG` octets. Lines beyond that, and lines that a full disk or a broken pipe
  refuses, are dropped and counted, and one warning a minute reports them. A log must not stop the traffic that it describes.
- A closed sink still accepts a block: it opens, writes and closes again. A WebSocket may end days after its configuration was replaced.
  Its line must not be lost, and must not be written to a descriptor that now belongs to another file.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable

from gevent.monkey import get_original

from ..errors import StartError

__all__ = ["BACKLOG", "Sink"]

BACKLOG = 1 << 20  # octets kept for a slow reader
FILE_SLICE = 65536
PIPE_SLICE = 4096  # PIPE_BUF on Linux: the kernel writes it whole or not at all
WARN_EVERY = 60.0  # seconds
LAST_WAIT = 0.5  # seconds that `close` waits for a slow reader

_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK)
_STDOUT = ("-", "/dev/stdout", "/proc/self/fd/1")


class Sink:
    """One open destination. Used by one greenlet of one process at a time.

    path:     "-" = standard output, else a file
    warn:     called with one line of text when lines were lost, at most once a minute
    clock:    monotonic seconds
    must:     True: StartError if the path cannot be opened; False: lines are lost until it can be opened
    standard: the descriptor that "-" means: 1, or 2 for standard error

    ``dropped`` counts the lines lost so far.
    """

    __slots__ = (
        "path",
        "dropped",
        "_standard",
        "_warn",
        "_clock",
        "_fd",
        "_own",
        "_send",
        "_slice",
        "_pending",
        "_torn",
        "_closed",
        "_unreported",
        "_warned",
    )
    _send: Callable[[memoryview], int]

    def __init__(
        self,
        path: str,
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        must: bool = True,
        standard: int = 1,
    ) -> None:
        self.path = "-" if path in _STDOUT else path
        self.dropped = 0
        self._standard = standard
        self._warn = warn
        self._clock = clock
        self._pending = b""
        self._torn = False
        self._fd = -1
        self._own = False
        self._closed = False
        self._unreported = 0
        self._warned = clock() - WARN_EVERY
        try:
            self._open()
        except OSError as error:
            if must:
                raise StartError(f"access log {path}: {error.strerror}") from error
            warn(f"access log {path}: {error.strerror}")

    def write(self, block: bytes) -> None:
        """Write a block of whole lines. Never raises, and never waits for a reader."""
        if self._fd < 0:
            if not block:
                return
            try:
                self._open()
            except OSError as error:
                self._lose(block.count(b"\n"), error.strerror or str(error))
                return
        self._write(block)
        if self._closed:
            self._shut()

    def _write(self, block: bytes) -> None:
        pending = self._pending + block if self._pending else block
        if not pending:
            return
        if self._torn:  # a full disk cut a line off: start a new line
            pending = b"\n" + pending
            self._torn = False
        start, end = 0, len(pending)
        try:
            while start < end:
                start += self._send(memoryview(pending)[start : self._cut(pending, start)])
        except OSError as error:
            if error.errno in _BUSY:
                self._keep(pending[start:])
            else:
                self._torn = start > 0 and pending[start - 1] != 10
                self._pending = b""
                self._lose(pending.count(b"\n", start), error.strerror or str(error))
            return
        self._pending = b""

    def reopen(self) -> None:
        """Open the path again (log rotation). If that fails, the old file stays in use and a warning says so."""
        if self.path == "-" or self._closed:
            return
        old = self._fd
        try:
            self._open()
        except OSError as error:
            self._warn(f"access log {self.path}: cannot reopen, still writing to the old file: {error.strerror}")
            return
        self._torn = False
        if old >= 0:
            os.close(old)

    def close(self) -> None:
        """Write the remaining lines, waiting at most `LAST_WAIT` seconds for the reader, and close."""
        deadline = self._clock() + LAST_WAIT
        while self._pending and self._clock() < deadline and _writable(self._fd, int(LAST_WAIT * 1000)):
            self._write(b"")
        if self._pending:
            self._lose(self._pending.count(b"\n"), "the reader is too slow")
            self._pending = b""
        if self._unreported:
            self._report("at the end")
        self._closed = True
        self._shut()

    @property
    def pending(self) -> bool:
        """True if lines wait for the reader. ``write(b"")`` tries again to write them."""
        return bool(self._pending)

    def forget(self) -> None:
        """Drop the waiting lines. Called after a fork in the child, because the parent writes them."""
        self._pending = b""

    def _shut(self) -> None:
        if self._own:
            os.close(self._fd)
        self._fd, self._own = -1, False

    def _open(self) -> None:
        if self.path == "-":
            self._open_standard()
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        fd = os.open(self.path, flags, 0o640)
        self._use(fd, own=True, regular=stat.S_ISREG(os.fstat(fd).st_mode))

    def _open_standard(self) -> None:
        standard = self._standard
        mode = os.fstat(standard).st_mode
        if stat.S_ISREG(mode):
            # not opened again: all processes must share the offset, or lines of the master overwrite lines that workers appended
            self._use(standard, own=False, regular=True)
        elif stat.S_ISSOCK(mode):
            # the original class: gevent's would set O_NONBLOCK for every process that has this socket
            plain: type[socket.socket] = get_original("socket", "socket")
            sock = plain(fileno=os.dup(standard))  # the duplicate is closed with this object
            self._use(standard, own=False, regular=False)
            self._send = lambda data: sock.send(data, socket.MSG_DONTWAIT)
        else:
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
                self._use(os.open(f"/proc/self/fd/{standard}", flags), own=True, regular=False)
            except OSError:  # a process with more rights opened it, or /proc is missing
                self._use(standard, own=False, regular=False)
                self._send = lambda data: _send_if_writable(standard, data)

    def _use(self, fd: int, *, own: bool, regular: bool) -> None:
        self._fd = fd
        self._own = own
        self._slice = FILE_SLICE if regular else PIPE_SLICE
        self._send = lambda data: os.write(fd, data)

    def _cut(self, data: bytes, start: int) -> int:
        """The end of the slice that begins at ``start``: after the last line that fits. If the first line is too long, after that
        line."""
        limit = start + self._slice
        if len(data) <= limit:
            return len(data)
        return (data.rfind(b"\n", start, limit) + 1) or (data.find(b"\n", limit) + 1) or len(data)

    def _keep(self, rest: bytes) -> None:
        if len(rest) > BACKLOG:
            keep = rest.rfind(b"\n", 0, BACKLOG) + 1
            self._lose(rest.count(b"\n", keep), "the reader is too slow")
            rest = rest[:keep]
        self._pending = rest

    def _lose(self, lines: int, why: str) -> None:
        self.dropped += lines
        self._unreported += lines
        if self._clock() - self._warned >= WARN_EVERY:
            self._report(why)

    def _report(self, why: str) -> None:
        self._warned = self._clock()
        lost, self._unreported = self._unreported, 0
        name = "standard output" if self.path == "-" else self.path
        self._warn(f"access log {name}: {lost} line{'s' if lost != 1 else ''} lost: {why}")


def _writable(fd: int, milliseconds: int) -> bool:
    make: Callable[[], select.poll] = get_original("select", "poll")
    poll = make()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))


def _send_if_writable(fd: int, data: memoryview) -> int:
    """Write to a blocking descriptor without waiting: a pipe that polls as writable takes PIPE_BUF octets at once."""
    if not _writable(fd, 0):
        raise BlockingIOError(errno.EAGAIN, "the reader is too slow")
    return os.write(fd, data[:PIPE_SLICE])
