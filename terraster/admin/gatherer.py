"""A greenlet of the admin worker that fetches from servers: its turns, the files that the master takes, and those that are no longer needed.

A file is written only if it changes. The master is told after a turn that wrote one, and again after the next turn if it has not taken it. So
all workers have the same content, a restart has it at once, and no other greenlet waits for a server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, ClassVar

from gevent.event import Event

from ..certs.acme_store import write
from ..config.snapshot import Snapshot
from ..errors import TerrasterError

__all__ = ["LEAST", "LONGEST", "Ask", "Gatherer"]

LONGEST = 60.0
"""Seconds between two turns at most: the clock may be set."""

LEAST = 0.05
"""Seconds between two turns at least."""

_KEPT = 7 * 86400.0  # seconds for which a file stays that is not needed

Ask = Callable[..., dict[str, Any]]


class Gatherer:
    """Fetches something for the running configuration, again and again.

    running: the configuration
    tell:    puts a question to the master; raises TerrasterError if it has gone
    log:     the program's log
    wall:    time.time

    ``problems``: why something could not be fetched, or nothing newer
    """

    verb: ClassVar[str]
    """The question that has the master look at the files."""
    word: ClassVar[str]
    """One of the things, in a message."""
    most: ClassVar[int]
    """Octets of a file that are compared with new ones."""

    def __init__(self, running: Callable[[], Snapshot], tell: Ask, log: Any, wall: Callable[[], float] = time.time) -> None:
        self._running = running
        self._tell = tell
        self._log = log
        self._wall = wall
        self._wake = Event()
        self._news = False  # the master has not taken what was written
        self._tidied: tuple[str, frozenset[str]] | None = None
        self.problems: dict[str, str] = {}

    def changed(self) -> None:
        """Another configuration runs."""
        self._wake.set()

    def run(self) -> None:
        """Runs in a greenlet of its own, and does not end."""
        while True:
            self._wake.clear()
            try:
                seconds = self.turn()
            except Exception:
                self._log.exception(f"{self.word}s cannot be fetched now")
                seconds = LONGEST
            self._wake.wait(min(max(seconds, LEAST), LONGEST))

    def turn(self) -> float:
        """Fetch what is due. Returns the seconds until the next turn. Waits for servers."""
        raise NotImplementedError

    def _give(self) -> bool:
        """Tell the master of new files, if there are any. False if there is no master now; the next one reads the files."""
        if self._news:
            try:
                self._news = not self._tell(self.verb)["ok"]
            except TerrasterError:
                return False
        return True

    def _keep(self, file: str, octets: bytes) -> None:
        """Replace a file, if its content changes. Raises OSError."""
        if self._kept(file) != octets:
            write(file, octets)
            self._news = True

    def _kept(self, file: str) -> bytes:
        """The octets of a file, b"" if it is not there. Raises OSError."""
        try:
            with open(file, "rb") as stream:
                return stream.read(self.most + 1)
        except FileNotFoundError:
            return b""

    def _tidy(self, folder: str, files: frozenset[str]) -> None:
        """Remove the files of this folder that have not been needed for long, when others are needed than before. files: those that are needed
        now, whose suffix others share"""
        if self._tidied == (folder, files):
            return
        self._tidied = folder, files
        suffix = os.path.splitext(next(iter(files)))[1]
        try:
            for entry in os.scandir(folder):
                if entry.name.endswith(suffix) and entry.path not in files and entry.stat().st_mtime < self._wall() - _KEPT:
                    os.unlink(entry.path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._log.warning("cannot remove an old %s: %s: %s", self.word, error.filename, error.strerror)
