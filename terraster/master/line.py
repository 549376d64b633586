"""Work that waits for room: items in a line, and so many greenlets at most that work on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from gevent.pool import Pool

__all__ = ["Line"]

Item = TypeVar("Item")


class Line(Generic[Item]):
    """Items are taken in the order in which they came. work: takes one item; it may wait, and raises nothing."""

    def __init__(self, most: int, work: Callable[[Item], None]) -> None:
        self._pool = Pool(most)
        self._work = work
        self._waiting: deque[Item] = deque()

    def put(self, item: Item) -> None:
        """Work on an item as soon as there is room. Never waits."""
        self._waiting.append(item)
        if self._pool.free_count():
            self._pool.spawn(self._run)

    def kill(self) -> None:
        """End all work, and drop what waits."""
        self._waiting.clear()
        self._pool.kill()

    def _run(self) -> None:
        while self._waiting:
            self._work(self._waiting.popleft())
