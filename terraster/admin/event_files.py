"""The files of events: one for each day, JSON lines.

    STATE_DIR/history/2026-11-28.events

A line is an event as the master has it (`terraster.master.events`), or of the admin worker itself. A file takes no more than `MOST` octets, and
two days are kept. Every call blocks its thread; all raise OSError.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

__all__ = ["MOST", "EventFiles"]

MOST = 16 * 1024 * 1024
_DAY = "%Y-%m-%d"
_KEPT = 2


class EventFiles:
    """The files of one state directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def add(self, events: Sequence[dict[str, Any]]) -> None:
        """Write events; they are on the disk when this returns. Those beyond the bound of a day are left out."""
        by_day: dict[str, list[bytes]] = {}
        for event in events:
            day = time.strftime(_DAY, time.gmtime(event["when"]))
            by_day.setdefault(day, []).append(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        for day, lines in by_day.items():
            path = os.path.join(self.directory, f"{day}.events")
            is_new = not os.path.exists(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "r+b") as stream:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    lines.insert(0, b"\n")  # a killed writer left half a line
                try:
                    stream.seek(0, os.SEEK_END)
                    stream.write(b"".join(lines)[: max(0, MOST - size)])
                    stream.flush()
                    os.fsync(descriptor)
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(descriptor, size)
                    raise
            if is_new:
                for name in self._files()[:-_KEPT]:
                    os.unlink(os.path.join(self.directory, name))

    def since(self, moment: float) -> Iterator[dict[str, Any]]:
        """The events from a moment on, in the order in which they were written. Lines that cannot be read are left out."""
        first = time.strftime(_DAY, time.gmtime(moment))
        for name in self._files():
            if name < first:
                continue
            with open(os.path.join(self.directory, name), "rb") as stream:
                for line in stream:
                    with suppress(ValueError, KeyError, TypeError):
                        event = json.loads(line)
                        if event["when"] >= moment:
                            yield event

    def last(self) -> dict[str, int]:
        """The number of the last event that is kept, by epoch."""
        found: dict[str, int] = {}
        for event in self.since(0.0):
            epoch = event.get("epoch", "")
            found[epoch] = max(found.get(epoch, 0), event.get("seq", 0))
        return found

    def _files(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.directory) if name.endswith(".events"))
        except FileNotFoundError:
            return []
