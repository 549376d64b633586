"""Questions of the master to its proxy workers, about what only they know and no counter has.

A question goes to every worker that serves, or also to those that drain. A worker answers at once from what it has in memory. One that does
not answer in time, because it hangs or has just ended, is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import gevent
from gevent.event import Event

from terraster.errors import TerrasterError
from terraster.worker.process import Process

from .children import STARTING, Children

__all__ = ["Questions"]


class Questions:
    """The questions of one master. Any greenlet may ask; several may at the same time."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._number = 0
        self._answers: dict[int, dict[int, Any]] = {}
        self._heard = Event()

    def ask(self, what: str, about: str, patience: float) -> dict[int, Any]:
        """The answers by pid, of the workers that answer within ``patience`` seconds. what, about: see `Process.tell`"""
        return self._ask(self._children.serving(), what, about, patience)[0]

    def poll(self, what: str, about: str, patience: float) -> tuple[dict[int, Any], list[int]]:
        """The same of those that drain as well; and the pids of those that did not answer, though they have not ended."""
        return self._ask([child for child in self._children.by_pid.values() if child.state != STARTING], what, about, patience)

    def _ask(self, children: Iterable[Process], what: str, about: str, patience: float) -> tuple[dict[int, Any], list[int]]:
        self._number += 1
        number, deadline = self._number, time.monotonic() + patience
        answers: dict[int, Any] = {}
        self._answers[number] = answers
        try:
            asked = [child for child in children if child.name == "proxy"]
            for child in asked:
                gevent.spawn(_tell, child, ("tell", number, what, about))
            while True:
                self._heard.clear()
                waiting = [child for child in asked if child.pid not in answers and child.pid in self._children.by_pid]
                left = deadline - time.monotonic()
                if not waiting or left <= 0:
                    return answers, sorted([child.pid for child in waiting])
                self._heard.wait(min(left, 0.05))
        finally:
            del self._answers[number]

    def hear(self, child: Process, number: int, answer: Any) -> None:
        """A worker has answered."""
        if number in self._answers:
            self._answers[number][child.pid] = answer
            self._heard.set()


def _tell(child: Process, message: tuple[Any, ...]) -> None:
    try:
        child.channel.send(message)
    except TerrasterError:
        return  # it has gone; SIGCHLD says the rest
