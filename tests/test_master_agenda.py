"""The agenda: in time, in order, cancelled, and not ended by an action that fails."""

from __future__ import annotations

import random
from typing import Any

import gevent
import pytest
from gevent.event import Event

from terraster.master.agenda import Agenda
from tests.harness.ward import Lines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def agenda(clock: Any, log: Any = None) -> Agenda:
    return Agenda(log or Lines(), clock)


def test_in_the_order_of_the_moments_and_of_the_calls(clock: Clock) -> None:
    one, seen = agenda(clock), []
    for name, when in (("c", 103.0), ("a", 101.0), ("d", 103.0), ("b", 102.0)):
        one.at(when, seen.append, name)
    assert one.turn() == 1.0 and seen == []
    clock.now = 102.5
    assert one.turn() == 0.5 and seen == ["a", "b"]
    clock.now = 103.0
    assert one.turn() is None and seen == ["a", "b", "c", "d"]


def test_a_cancelled_entry_does_not_run(clock: Clock) -> None:
    one, seen = agenda(clock), []
    first, second = one.after(1.0, seen.append, 1), one.after(2.0, seen.append, 2)
    first.cancel()
    clock.now += 5
    one.turn()
    second.cancel()
    first.cancel()
    assert seen == [2] and one.turn() is None


def test_an_action_may_plan_and_cancel_others(clock: Clock) -> None:
    one, seen = agenda(clock), []
    late = one.after(1.0, seen.append, "late")

    def act() -> None:
        late.cancel()
        one.after(0.0, seen.append, "at once")
        one.after(3.0, seen.append, "later")

    one.at(100.5, act)
    clock.now += 2
    assert one.turn() == 3.0 and seen == ["at once"]


def test_an_action_that_fails_is_told_and_the_others_run(clock: Clock) -> None:
    log = Lines()
    log.strict = False
    one, seen = agenda(clock, log), []
    one.after(1.0, seen.index, "nothing")
    one.after(1.0, seen.append, "next")
    clock.now += 1
    assert one.turn() is None and seen == ["next"]
    assert log.take() == ["error list.index failed; the master goes on"]


def test_a_thousand_in_any_order(clock: Clock) -> None:
    one, seen = agenda(clock), []
    moments = [random.Random(7).uniform(100, 200) for _ in range(1000)]
    for moment in moments:
        one.at(moment, seen.append, moment)
    while (wait := one.turn()) is not None:
        clock.now += wait
    assert seen == sorted(moments)


def test_an_earlier_entry_wakes_the_greenlet_that_waits_for_a_later_one() -> None:
    import time

    one, ran = agenda(time.monotonic), Event()
    one.after(600.0, pytest.fail, "too early")
    one.start()
    try:
        gevent.sleep(0)  # it waits now
        one.after(0.01, ran.set)
        assert ran.wait(30)
    finally:
        one.stop()


def test_after_its_end_nothing_runs() -> None:
    import time

    one, ran = agenda(time.monotonic), []
    one.start()
    one.after(0.0, ran.append, 1)
    one.stop()
    gevent.sleep(0.01)
    assert ran == []
