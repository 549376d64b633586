"""Work that would hold up the event loop, in a thread of its own: one at a time, and with a bound on how many wait.

`Direct` does the same at once, for a command that has no event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .faults import Busy

__all__ = ["Aside", "Direct", "Threaded"]

_T = TypeVar("_T")


class Aside(Protocol):
    """Runs functions one after the other."""

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Its result, or its exception. Raises Busy."""
        ...


class Direct:
    """Runs each function in the caller."""

    __slots__ = ()

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Its result, or its exception."""
        return function(*arguments)


class Threaded:
    """Runs each function in one thread of this process, made when it is first needed and so after the fork. Any greenlet may call it.

    most: how many may wait or be under way. words: what the caller is told beyond that
    """

    __slots__ = ("_most", "_pending", "_pool", "_words")

    def __init__(self, most: int, words: str) -> None:
        self._most = most
        self._words = words
        self._pending = 0
        self._pool: Any = None

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Its result, or its exception. Raises Busy."""
        if self._pending >= self._most:
            raise Busy(self._words)
        if self._pool is None:
            from gevent.threadpool import ThreadPool  # only here: terrasterctl does without gevent

            self._pool = ThreadPool(1)
        self._pending += 1
        try:
            result, error = self._pool.apply(_outcome, (function, arguments))
        finally:
            self._pending -= 1
        if error is not None:
            raise error
        made: _T = result
        return made


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """The result or the exception. A pool of gevent prints the traceback of what is raised in its thread, also if the caller handles it."""
    try:
        return function(*arguments), None
    except Exception as error:
        return None, error
