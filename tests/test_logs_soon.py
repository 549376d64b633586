"""An action that follows a while after a wish: not at once, and not for each."""

from __future__ import annotations

import time

import gevent
from gevent.event import Event

from terraster.logs.soon import Soon

SECONDS = 0.05


def test_each_time_the_action_waits_and_serves_all_wishes() -> None:
    called, done = [], Event()

    def action() -> None:
        called.append(time.monotonic())
        done.set()

    soon = Soon(gevent.get_hub().loop, SECONDS, action)
    for turn in range(1, 4):
        done.clear()
        gevent.sleep(0)  # the loop looks at the clock
        began = time.monotonic()
        for _ in range(5):
            soon.wish()
        assert done.wait(30)
        assert len(called) == turn and called[-1] - began > SECONDS * 0.7


def test_a_wish_of_the_action_itself_waits_as_well() -> None:
    called, done = [], Event()

    def action() -> None:
        called.append(time.monotonic())
        if len(called) < 3:
            soon.wish()
        else:
            done.set()

    soon = Soon(gevent.get_hub().loop, SECONDS, action)
    soon.wish()
    assert done.wait(30)
    assert called[2] - called[0] > SECONDS * 1.4
