"""Notes of changes that were begun: files ``begun-PID-START-NUMBER`` beside the rows.

A note is on the disk before its change has any effect, and is removed when the row of the change is. So a note whose process has ended tells
of a change whose end nobody wrote. Changes that begin at the same moment share a file, which is removed with the last of them.

    [[WHEN, FACTS], …]      or [WHEN, FACTS], as earlier versions wrote it

All calls may raise OSError.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from terraster.state.alive import began, lives

from .folder import Folder
from .row import Facts

__all__ = ["Begun", "Note"]

Note = tuple[float, Facts]
"""The moment at which a change began, and its facts."""


class Begun:
    """The notes of one log. Any thread, one call at a time."""

    def __init__(self, folder: Folder, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        self._number = 0
        self._open: dict[str, int] = {}  # file → changes of it that have not ended

    def add(self, several: Sequence[Facts]) -> list[str]:
        """Note changes that begin. Returns a token for each."""
        self._number += 1
        name = f"begun-{os.getpid()}-{began(os.getpid())}-{self._number}"
        now = self._clock()
        try:
            self._folder.make()
            self._folder.replace(name, json.dumps([[now, facts] for facts in several]).encode())
        except OSError:
            with suppress(OSError):
                os.unlink(os.path.join(self._folder.path, f"{name}.new"))
            raise
        self._open[name] = len(several)
        return [f"{name}/{at}" for at in range(len(several))]

    def end(self, token: str) -> None:
        """A change has its row. token: of `add`"""
        name = token.partition("/")[0]
        left = self._open.get(name, 1) - 1
        if left:
            self._open[name] = left
            return
        self._open.pop(name, None)
        self.remove(name)

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
        found: Any = json.loads(self._folder.read(os.path.join(self._folder.path, name), 0))
        several = [found] if isinstance(found, list) and found and not isinstance(found[0], list) else found
        return [(float(when), {**facts, "request_id": facts["request_id"], "action": facts["action"]}) for when, facts in several]
