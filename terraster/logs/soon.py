"""An action that follows a while after the first of several wishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Soon"]


class Soon:
    """Calls ``action`` on the hub, ``seconds`` after the first `wish` since it was called last. loop: of the hub

    The timer repeats and is stopped when it has fired. libev counts the seconds of one that fires once down for good: started again, it fires
    at the next turn of the loop, and lines were written one by one.
    """

    __slots__ = ("_action", "_timer")

    def __init__(self, loop: Any, seconds: float, action: Callable[[], object]) -> None:
        self._timer = loop.timer(seconds, seconds)
        self._action = action

    def wish(self) -> None:
        """See to it that the action is called."""
        if not self._timer.active:
            self._timer.again(self._due)

    def _due(self) -> None:
        self._timer.stop()
        self._action()
