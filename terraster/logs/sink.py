"""Whole log lines to one destination. A write never holds up a worker, and never mixes lines.

Rules
- A sink takes blocks of whole lines and cuts them on line boundaries into slices, one ``write(2)`` each. A slice has 64 KiB for a file
  and 4096 octets (PIPE_BUF) for everything else, because the kernel takes that much in one piece. So several processes may append to
  one file or pipe without mixing their lines. A single line above 4096 octets may be mixed with others in a pipe.
- A write to a regular file waits for the disk, as in every server. No other write waits (`terraster.logs.target`).
- Lines that a slow reader has not taken are kept, up to `BACKLOG` octets. Lines beyond that, and lines that a full disk or a broken pipe
  refuses, are lost. A log must not stop the traffic that it describes.
- A line that a full disk cut off is ended where it is, so the next line of any process is a line of its own. So is the first line after
  one that a power failure cut off.
- A process that is killed (SIGKILL) within a write of more than a page leaves a half line: the kernel looks for such signals between two pages.
  The next process that writes ends it where it is, and counts it as lost (`Target.parted`). If none writes to the file again, it stays a half
  line at its end until a process opens the file.
- Lost lines are counted. A warning says so when the first is lost, once a minute while more are lost, and when lines are written again.
  Each has the number of lines since the first one.
- A file that was removed or renamed without a word (USR1) is opened again by its name within about two seconds.
- A closed sink still accepts a block: it opens, writes and closes again. A WebSocket may end days after its configuration was replaced.
  Its line must not be lost, and must not be written to a descriptor that now belongs to another file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from gevent.monkey import get_original

from ..config import descriptors
from ..errors import StartError
from .losses import Losses
from .target import Target, open_target, writable

__all__ = ["BACKLOG", "CALM", "WARN_EVERY", "Sink"]

BACKLOG = 1 << 20  # octets kept for a slow reader
WARN_EVERY = 60.0  # seconds
CALM = 5.0  # seconds without a loss after which lines count as being written again
LOOK_EVERY = 1.0  # seconds between two checks whether the file still has its name
LAST_WAIT = 0.5  # seconds that `close` waits for a slow reader

_SLOW = "the reader is too slow"
_KILLED = "the process that wrote it was killed meanwhile"

_LOOKS = 100
"""How often the end of a file is looked at before a half line there is believed: some 0.1 ms, longer than a write of another process."""

_PAUSES = 50
"""Milliseconds for which it is looked at after that, if it was met when the file was opened: on a busy machine a process may lose its core
in the middle of a write. A line that a full disk cut off is believed at once, because it is our own."""


class Sink:
    """One destination. Used by one greenlet of one process at a time.

    path:   a descriptor (`terraster.config.descriptors`), or a file
    warn:   called with one line of text about lost lines
    clock:  monotonic seconds
    must:   True: StartError if the path cannot be opened; False: lines are lost until it can be opened
    losses: counts the lost lines, those of other sinks too if they share it
    """

    __slots__ = (
        "path",
        "losses",
        "_name",
        "_warn",
        "_clock",
        "_target",
        "_waiting",
        "_torn",
        "_met",
        "_closed",
        "_lost",
        "_reported",
        "_began",
        "_last_loss",
        "_warned",
        "_written",
        "_looked",
        "_strayed",
    )

    def __init__(
        self,
        path: str,
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        must: bool = True,
        losses: Losses | None = None,
    ) -> None:
        self.path = path
        self.losses = Losses() if losses is None else losses
        self._name = descriptors.described(path)
        self._warn = warn
        self._clock = clock
        self._target: Target | None = None
        self._waiting = bytearray()  # lines for a slow reader; the first one may have been begun
        self._torn = False  # the file seemed to end within a line
        self._met = False  # it did so when it was opened
        self._closed = False
        self._lost = 0  # lines lost since the trouble began; 0 = there is none
        self._reported = 0  # of these, those that a warning told
        self._began = self._last_loss = self._looked = 0.0
        self._warned = clock() - WARN_EVERY
        self._written = False  # something was written since the last loss
        self._strayed = False  # the last look found another file, or none, under the name
        try:
            self._open()
        except OSError as error:
            if must:
                raise StartError(f"access log {path}: {_reason(error)}") from error
            warn(f"access log {self._name}: {_reason(error)}")

    @property
    def pending(self) -> bool:
        """True if lines wait for the reader. ``write(b"")`` tries again to write them."""
        return bool(self._waiting)

    @property
    def troubled(self) -> bool:
        """True if lines were lost and nothing was written since."""
        return self._lost > 0 and not self._written

    def write(self, block: bytes) -> None:
        """Write a block of whole lines. Never raises, and never waits for a reader."""
        if self._target is None:
            if not block:
                return
            try:
                self._open()
            except OSError as error:
                self._lose(block.count(b"\n"), error.errno or errno.EIO, _reason(error))
                return
        if self._waiting:
            sent = self._push(self._waiting)
            del self._waiting[:sent]
        if self._waiting:
            self._keep(block)
        elif block:
            sent = self._push(block)
            if sent < len(block):
                self._keep(block[sent:])
        if self._closed:
            self._let_go()
            self._shut()

    def tend(self, now: float) -> None:
        """The work of a few times a second: write what waits, report losses, find a file that lost its name. now: monotonic seconds"""
        if self._waiting:
            self.write(b"")
        if self._lost:
            if self._written and now - self._last_loss >= CALM:
                self._report(f"lines are written again; {_lines(self._lost)} lost in {self._last_loss - self._began:.0f} s")
                self._lost = self._reported = 0
            elif self._lost > self._reported and now - self._warned >= WARN_EVERY:
                self._report(f"{_lines(self._lost)} lost so far: {self._why()}")
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look()

    def reopen(self) -> None:
        """Open the path again (log rotation). If that fails, the old file stays in use and a warning says so, unless it has no name any
        longer: then lines are lost until the path can be opened."""
        if not self._closed and descriptors.behind(self.path) is None:
            why = self._reopen()
            if why:
                self._warn(f"access log {self._name}: {why}")

    def close(self) -> None:
        """Write the remaining lines, waiting at most `LAST_WAIT` seconds for the reader, and close."""
        deadline = self._clock() + LAST_WAIT
        while self._waiting and self._target is not None and self._clock() < deadline:
            if not writable(self._target.fd, int(LAST_WAIT * 1000)):
                break
            self.write(b"")
        self._let_go()
        if self._lost > self._reported:
            self._report(f"{_lines(self._lost)} lost: {self._why()}")
        self._closed = True
        self._shut()

    def forget(self) -> None:
        """Drop the waiting lines. Called after a fork in the child, because the parent writes them."""
        self._waiting.clear()

    def _open(self) -> None:
        self._target = open_target(self.path)
        self._torn = self._met = self._target.unterminated() is True
        self._strayed = False

    def _reopen(self) -> str:
        """Open the path again. Returns why that failed, or ""."""
        old = self._target
        try:
            self._open()
        except OSError as error:
            if old is None or not old.removed():
                return f"cannot reopen, still writing to the old file: {_reason(error)}"
            self._shut()
            return f"it was removed and cannot be made again, so lines are lost: {_reason(error)}"
        if old is not None:
            old.close()
        return ""

    def _let_go(self) -> None:
        """Give up the lines that a slow reader has not taken."""
        if self._waiting:
            self._lose(self._waiting.count(b"\n"), 0, _SLOW)
            self._waiting.clear()

    def _shut(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None

    def _push(self, data: bytes | bytearray) -> int:
        """Write slices until all of ``data`` is written or the reader is too slow. Returns the number of octets that are done with:
        written, or lost to an error."""
        target = self._target
        assert target is not None
        start, end = 0, len(data)
        with memoryview(data) as view:
            try:
                if self._torn:
                    self._begin_a_line(target)
                while start < end:
                    written = target.send(view[start : _cut(data, start, target.slice)])
                    if target.place is not None and target.parted(view[start : start + written]):
                        self._lose(1, errno.EOWNERDEAD, _KILLED)
                    start += written
            except BlockingIOError:
                if start:
                    self._written = True
                return start
            except OSError as error:
                if start:
                    part = bytes(view[data.rfind(b"\n", 0, start) + 1 : start])
                    self._torn = bool(part) and not target.terminate(part)
                self._lose(data.count(b"\n", start), error.errno or errno.EIO, _reason(error))
                return end
        self._written = True
        return end

    def _begin_a_line(self, target: Target) -> None:
        """End the half line at the end of the file, if it is still there: the first look may have met a write of another process, and so
        may the next ones, for as long as a write takes."""
        sleep: Callable[[float], None] = get_original("time", "sleep")
        looks = _LOOKS + self._met * _PAUSES
        self._met = False
        for count in range(looks):
            if target.unterminated() is False:
                break
            if count >= _LOOKS:
                sleep(0.001)
        else:
            target.send(memoryview(b"\n"))
        self._torn = False

    def _keep(self, rest: bytes) -> None:
        """Keep lines for a slow reader, as far as there is room."""
        room = BACKLOG - len(self._waiting)
        if len(rest) > room:
            kept = rest.rfind(b"\n", 0, max(room, 0)) + 1
            self._waiting += rest[:kept]
            self._lose(rest.count(b"\n", kept), 0, _SLOW)
        else:
            self._waiting += rest

    def _look(self) -> None:
        """Open the path again if it has named another file, or none, at two looks in a row. At the first look a rotation may be under
        way, which makes the new file itself."""
        place = None if self._target is None else self._target.place
        if place is None or self._closed:
            return
        try:
            status = os.stat(self.path)
            strayed = (status.st_dev, status.st_ino) != place
        except OSError:
            strayed = True
        again = strayed and self._strayed
        self._strayed = strayed
        if again:
            why = self._reopen()
            if why and self._clock() - self._warned >= WARN_EVERY:
                self._report(why)

    def _lose(self, lines: int, number: int, why: str) -> None:
        """number: errno, 0 for a slow reader"""
        if not lines:
            return
        now = self._clock()
        self.losses.add(lines, number)
        if not self._lost:
            self._began = now
        self._lost += lines
        self._last_loss = now
        self._written = False
        if now - self._warned >= WARN_EVERY:
            self._report(f"{_lines(self._lost)} lost so far: {why}")

    def _why(self) -> str:
        return os.strerror(self.losses.why) if self.losses.why else _SLOW

    def _report(self, text: str) -> None:
        self._warned = self._clock()
        self._reported = self._lost
        self._warn(f"access log {self._name}: {text}")


def _cut(data: bytes | bytearray, start: int, size: int) -> int:
    """The end of the slice that begins at ``start``: after the last line that fits. If the first line is too long, after that line."""
    limit = start + size
    if len(data) <= limit:
        return len(data)
    return (data.rfind(b"\n", start, limit) + 1) or (data.find(b"\n", limit) + 1) or len(data)


def _lines(count: int) -> str:
    return f"{count} line{'s' if count != 1 else ''}"


def _reason(error: OSError) -> str:
    if error.errno == errno.ENXIO:
        return "no process reads this pipe"
    return error.strerror or str(error)
