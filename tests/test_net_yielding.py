"""Long work that lets others run."""

from __future__ import annotations

import time

import gevent

from terraster.net.yielding import yield_to_loop


def test_a_timer_runs_between_two_pieces_of_long_work() -> None:
    pieces = 0
    ticks: list[int] = []
    working = True

    def tick() -> None:
        while working:
            gevent.sleep(0.002)
            ticks.append(pieces)

    ticker = gevent.spawn(tick)
    gevent.sleep(0.01)
    for _ in range(20):
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        pieces += 1
        yield_to_loop()
    working = False
    ticker.join()
    gaps = [later - earlier for earlier, later in zip(ticks, ticks[1:], strict=False)]
    assert max(gaps) <= 2, "pieces of work between two ticks"
    assert len(gaps) >= 19


def test_many_short_pieces_take_few_pauses() -> None:
    """A pause takes a millisecond at least."""
    gevent.sleep(0.001)
    pauses = []
    watcher = gevent.get_hub().loop.prepare()
    watcher.start(pauses.append, None)
    try:
        for _ in range(200):
            yield_to_loop()
    finally:
        watcher.stop()
        watcher.close()
    assert len(pauses) < 50
