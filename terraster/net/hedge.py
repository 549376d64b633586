"""A second attempt that may overtake the first. It begins in its own greenlet when the first takes too long, and the result of the one that
ends first is used."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from greenlet import getcurrent, greenlet

from .reactor import Reactor

__all__ = ["Overtaken", "Race"]

_T = TypeVar("_T")


class Overtaken(Exception):
    """Thrown into the greenlet that waits for the first attempt, because the second one has succeeded."""


class Runner(Protocol[_T]):
    """The functions that run the second attempt."""

    def second(self) -> _T | None:
        """Make the second attempt and return its result, or None if it failed. Must not raise. It may be killed while it waits."""

    def give_up(self, second: _T) -> None:
        """Discard the result of the second attempt."""


class Race(Generic[_T]):
    """The race of two attempts. The greenlet of the first attempt makes it."""

    __slots__ = ("_main", "_over", "_reactor", "_result", "_runner", "_timer", "_worker")

    def __init__(self, reactor: Reactor, delay: float, runner: Runner[_T]) -> None:
        """delay: seconds after which the second attempt begins, unless `end` was called."""
        self._reactor = reactor
        self._runner = runner
        self._main = getcurrent()
        self._over = False
        self._result: _T | None = None
        self._worker: greenlet | None = None
        self._timer: Any = reactor.loop.timer(delay)
        self._timer.start(self._begin)

    def _begin(self) -> None:
        if not self._over:
            self._worker = self._reactor.spawn(self._run)

    def _run(self) -> None:
        result = None if self._over else self._runner.second()
        if result is None:
            return
        if self._over:  # a killed greenlet dies a turn later, and this one ended before that
            self._runner.give_up(result)
            return
        self._result = result
        self._reactor.loop.run_callback(self._win)

    def _win(self) -> None:
        if not self._over:
            self._over = True
            self._main.throw(Overtaken)

    def won(self) -> _T:
        """The result of the second attempt, which the caller owns from now on. Called once, after `Overtaken`."""
        assert self._result is not None
        result, self._result = self._result, None
        return result

    def end(self) -> None:
        """The first attempt is over: end the second one, and discard its result unless `won` was called."""
        self._over = True
        self._timer.stop()
        self._timer.close()
        if self._result is not None:
            self._runner.give_up(self._result)
        elif self._worker is not None:
            self._reactor.kill(self._worker)
