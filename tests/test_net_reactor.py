"""Short timeouts: never early, late by one look at the most, and no timer for each of them."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

import pytest

from terraster.net.reactor import SHORT, TICK, Reactor


class Clock:
    """A clock that stands still, and the timers of a loop that are started on it. Like a real loop's they count from its last turn."""

    def __init__(self) -> None:
        self.now = self.turned = 1000.0
        self.made = 0
        self.due: list[tuple[float, int, Callable[[], None]]] = []

    def update_now(self) -> None:
        self.turned = self.now

    def timer(self, after: float, _repeat: float = 0.0) -> Any:
        self.made += 1
        return Timer(self, after, self.made)

    def run_until(self, end: float) -> None:
        """Let the time pass."""
        while self.due and min(self.due)[0] <= end:
            one = min(self.due)
            self.due.remove(one)
            self.now = self.turned = max(self.now, one[0])
            one[2]()
        self.now = end


class Timer:
    def __init__(self, clock: Clock, after: float, number: int) -> None:
        self.clock = clock
        self.after = after
        self.number = number

    def start(self, callback: Callable[[], None]) -> None:
        self.clock.due.append((self.clock.turned + self.after, self.number, callback))

    def close(self) -> None:
        self.clock.due = [one for one in self.clock.due if one[1] != self.number]


class Wait:
    """Something that waits, as a stream does."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.deadline = inf
        self.ended = 0.0

    def next_deadline(self) -> float:
        return self.deadline

    def overdue(self, now: float) -> None:
        assert now > self.deadline
        self.deadline = inf
        self.ended = now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reactor(clock: Clock) -> Reactor:
    reactor = Reactor(clock=lambda: clock.now)
    reactor.loop = clock
    return reactor


def begin(reactor: Reactor, clock: Clock, timeout: float) -> Wait:
    wait = Wait(clock)
    wait.deadline = reactor.deadline(wait, timeout)
    return wait


@pytest.mark.parametrize("timeouts", [[0.001], [0.3], [0.999], [0.3, 0.1, 0.2], [0.1, 0.104, 0.108, 0.9], [0.5] * 100])
def test_a_short_wait_ends_within_a_tick(reactor: Reactor, clock: Clock, timeouts: list[float]) -> None:
    began = clock.now
    waits = [begin(reactor, clock, timeout) for timeout in timeouts]
    clock.run_until(began + 2)
    for wait, timeout in zip(waits, timeouts, strict=True):
        assert timeout < wait.ended - began <= timeout + 2 * TICK


def test_waits_that_begin_and_end_at_random(reactor: Reactor, clock: Clock) -> None:
    """Most are over in time, as requests are; those that are not end when they must."""
    chance = Random(7)
    late = []
    for _ in range(300):
        timeout = chance.uniform(0.01, SHORT)
        wait, began = begin(reactor, clock, timeout), clock.now
        if chance.random() < 0.8:
            clock.run_until(began + timeout * chance.random())
            wait.deadline = inf  # it is over
        else:
            clock.run_until(began + timeout + 0.05)
            late.append(wait.ended - began - timeout)
    assert len(late) > 30 and all(0 < one <= 2 * TICK for one in late)


def test_a_wait_that_lasts_for_ever(reactor: Reactor, clock: Clock) -> None:
    assert begin(reactor, clock, 0.0).deadline == inf
    assert not clock.due


def test_there_is_no_timer_for_each_wait(reactor: Reactor, clock: Clock) -> None:
    """10,000 requests in a second, each with 300 ms for its answer, which comes after one."""
    waits = [begin(reactor, clock, 0.3) for _ in range(10)]
    for number in range(10_000):
        clock.run_until(clock.now + 0.0001)
        wait = waits[number % 10]
        wait.deadline = reactor.deadline(wait, 0.3)
    assert clock.made < 10
    assert len(clock.due) == 1


def test_it_sleeps_when_nobody_waits(reactor: Reactor, clock: Clock) -> None:
    wait = begin(reactor, clock, 0.3)
    wait.deadline = inf
    clock.run_until(clock.now + 1)
    assert not clock.due


def test_a_longer_wait_of_the_same_waiter_is_left_to_the_sweep(reactor: Reactor, clock: Clock) -> None:
    wait = begin(reactor, clock, 0.3)
    wait.deadline = clock.now + 30
    clock.run_until(clock.now + 60)
    assert wait.ended == 0.0 and not clock.due


def test_who_is_ended_may_begin_another_wait(reactor: Reactor, clock: Clock) -> None:
    """A request that timed out is tried elsewhere, with the same timeout, before the first look is over."""
    first, second = begin(reactor, clock, 0.2), Wait(clock)
    began = clock.now

    def overdue(now: float) -> None:
        Wait.overdue(first, now)
        second.deadline = reactor.deadline(second, 0.2)

    first.overdue = overdue  # type: ignore[method-assign]
    clock.run_until(began + 1)
    assert 0.2 < first.ended - began <= 0.2 + 2 * TICK
    assert 0.4 < second.ended - began <= 0.4 + 4 * TICK


class Big:
    """Something whose buffers have grown. slimmed: how often it was asked"""

    def __init__(self, reactor: Reactor, busy: bool = False) -> None:
        self.reactor = reactor
        self.busy = busy
        self.slimmed = 0

    def slim(self) -> None:
        self.slimmed += 1
        if self.busy:
            self.reactor.swollen.add(self)


def test_buffers_that_have_grown_are_asked_once_a_second_and_not_all_at_once(reactor: Reactor, clock: Clock) -> None:
    ones, busy = [Big(reactor) for _ in range(600)], Big(reactor, busy=True)
    reactor.swollen.update(ones)
    asked = []
    for _ in range(6):
        reactor.sweep()
        asked.append(sum(one.slimmed for one in ones))
        clock.now += 0.51
    assert asked[0] == asked[1] and 0 < asked[0] < asked[2] < asked[4] == 600
    assert not reactor.swollen and max(one.slimmed for one in ones) == 1
    reactor.swollen.add(busy)
    clock.now += 1.1
    reactor.sweep()
    assert busy.slimmed >= 1 and busy in reactor.swollen
