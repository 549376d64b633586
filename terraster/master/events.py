"""Things that happened in one master, the last of them: states of backends, reloads, generations, deaths of workers.

The admin worker takes them over and keeps them on the disk (`terraster.admin.chronicle`). So the master keeps only as many as may come until an
admin worker that died has been replaced.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from terraster.audit.row import plain

__all__ = ["Events"]


class Events:
    """A ring of events. most: that are kept; 0: none"""

    __slots__ = ("_clock", "_epoch", "_ring", "_seq")

    def __init__(self, most: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._ring: deque[dict[str, Any]] = deque(maxlen=most)
        self._clock = clock
        self._epoch = f"{os.getpid()}-{clock():.0f}"
        self._seq = 0

    def add(self, kind: str, text: str, target: str = "", generation: int | None = None, answer: str = "") -> None:
        """Something happened. target: the id of a backend or service that it is about. answer: the beginning of what a backend answered"""
        self._seq += 1
        self._ring.append(
            {
                "epoch": self._epoch,
                "seq": self._seq,
                "when": round(self._clock(), 3),
                "kind": kind,
                "target": target,
                "text": plain(text),
                "generation": generation,
                "answer": answer,
            }
        )

    def state(self, state: str, why: str, by: str, target: str, answer: str = "") -> None:
        """A backend has come to a state. by: the operator that ordered it, or "". answer: to the failed probe that decided"""
        words = f"{state}: {why}" if why else state
        self.add("backend", f"{words} (by {by})" if by else words, target, answer=answer)

    def after(self, epoch: str, seq: int) -> dict[str, Any]:
        """The answer to the question "events": those behind one that the asker knows. epoch: of that one; another one: of another master"""
        first = seq if epoch == self._epoch else 0
        return {"ok": True, "events": [one for one in self._ring if one["seq"] > first]}
