"""Notes of changes that were begun: files ``begun-PID-START-NUMBER`` beside the rows.

A note is on the disk before its change has any effect, and its file is removed when the rows of all its changes are there. So a note whose
process has ended is of a change whose end is not known. Changes that begin together share a file, and so do those that begin while a
change of it is under way: to add a line to a file waits for the disk once, to make one twice.

    [WHEN, FACTS]      a line for each

All calls may raise OSError.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gevent import monkey

from terraster.state.alive import began, lives

from .folder import Folder
from .row import Facts

__all__ = ["Begun", "Note"]

Note = tuple[float, Facts]
"""The moment at which a change began, and its facts."""


_FULL = 256 * 1024  # octets from which on a file takes no more notes
_LOCK: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")


class Begun:
    """The notes of one log. Any thread; `add` one call at a time, and `end` as well."""

    def __init__(self, folder: Folder, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        self._number = 0
        self._lock = _LOCK()
        self._open: dict[str, int] = {}  # file → changes of it that have not ended
        self._last, self._size = "", 0  # the file that was written last, and its octets

    def add(self, several: Sequence[Facts]) -> list[str]:
        """Note changes that begin. Returns a token for each: a file, as often as it has changes."""
        now = self._clock()
        octets = b"".join(json.dumps([now, facts]).encode() + b"\n" for facts in several)
        with self._lock:
            name = self._last if self._last in self._open and self._size < _FULL else ""
            if name:
                self._open[name] += len(several)  # so that it is not removed meanwhile
        if name:
            try:
                self._folder.add(os.path.join(self._folder.path, name), self._size, octets)
            except OSError:
                for _ in several:
                    self.end(name)
                raise
            self._size += len(octets)
        else:
            name = self._new(octets)
            with self._lock:
                self._open[name] = len(several)
            self._last, self._size = name, len(octets)
        return [name] * len(several)

    def _new(self, octets: bytes) -> str:
        self._number += 1
        name = f"begun-{os.getpid()}-{began(os.getpid())}-{self._number}"
        try:
            self._folder.make()
            self._folder.replace(name, octets)
        except OSError:
            with suppress(OSError):
                os.unlink(os.path.join(self._folder.path, f"{name}.new"))
            raise
        return name

    def end(self, token: str) -> None:
        """A change has its row. token: of `add`"""
        with self._lock:
            left = self._open.get(token, 1) - 1
            if left:
                self._open[token] = left
                return
            self._open.pop(token, None)
        self.remove(token)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(OSError):
            os.unlink(os.path.join(self._folder.path, name))

    def orphans(self) -> list[str]:
        """The files of processes that have ended."""
        found = []
        for name in sorted(os.listdir(self._folder.path)):
            parts = name.split("-")
            if parts[0] != "begun" or len(parts) != 4 or not (parts[1].isdecimal() and parts[2].isdecimal()):
                continue
            if lives(int(parts[1]), int(parts[2])):
                continue
            if parts[3].isdecimal():
                found.append(name)
            else:  # a draft: its changes had not begun
                self.remove(name)
        return found

    def read(self, name: str) -> list[Note]:
        """The notes of a file. Raises FileNotFoundError; ValueError, TypeError or KeyError if it has none."""
        lines = self._folder.read(os.path.join(self._folder.path, name), 0).splitlines(keepends=True)
        if len(lines) > 1 and not lines[-1].endswith(b"\n"):
            lines.pop()  # its writer was killed within it: these changes had not begun
        found = []
        for line in lines:
            when, facts = json.loads(line)
            found.append((float(when), {**facts, "request_id": facts["request_id"], "action": facts["action"]}))
        if not found:
            raise ValueError("it is empty")
        return found
