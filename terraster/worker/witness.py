"""The questions about single requests that a worker answers: which are open, which came to a bad end, and, for a tail, all that are over."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from terraster.logs.tail import Tail, Wanted
from terraster.net.connection import Connection
from terraster.phases.data_plane import DataPlane

from .open_requests import open_requests

__all__ = ["QUESTIONS", "Witness"]

QUESTIONS = "requests", "failures", "tail"
"""The questions, each with what it is about as JSON: the arguments of `open_requests` but the first two, and of
`terraster.logs.failures.Failures.told`, by name; for a tail a list of `Wanted.values`."""


class Witness:
    """That of one worker.

    channel: see `Tail`
    """

    __slots__ = ("_connections", "_plane", "_tail")

    def __init__(self, plane: DataPlane, connections: Iterable[Connection], channel: int) -> None:
        self._plane = plane
        self._connections = connections
        self._tail = Tail(channel)

    def tell(self, what: str, about: str) -> Any:
        """The answer to one of `QUESTIONS`, None if there is a defect. It waits only so that others can go on."""
        try:
            return self._answer(what, json.loads(about))
        except Exception:
            self._plane.defect(f"cannot answer the question for {what}")
            return None

    def _answer(self, what: str, asked: Any) -> Any:
        if what == "requests":
            return open_requests(self._plane, self._connections, **asked)
        if what == "failures":
            return self._plane.failures.told(**asked)
        lost = self._tail.ask([Wanted(*one) for one in asked], self._plane.clock())
        self._plane.tail = self._tail.take if asked else None
        return lost

    def sweep(self, now: float) -> None:
        """Send what the tail has, and end one that nobody wants any longer. Called a few times a second, on the hub."""
        if self._plane.tail is not None:
            self._tail.flush()
            if not self._tail.listens(now):
                self._plane.tail = None
