"""Long work that lets others run."""

from __future__ import annotations

import time

import gevent

from terraster.net.yielding import yield_to_loop


def test_a_timer_runs_between_two_pieces_of_long_work() -> None:
    gaps: list[float] = []
    working = True

    def tick() -> None:
        last = time.monotonic()
        while working:
            gevent.sleep(0.002)
            gaps.append((now := time.monotonic()) - last)
            last = now

    ticker = gevent.spawn(tick)
    gevent.sleep(0.01)
    for _ in range(20):
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        yield_to_loop()
    working = False
    ticker.join()
    assert max(gaps) < 0.2  # the work is 0.4 s; one piece is 0.02 s, and the machine may be busy
    assert len(gaps) >= 20


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
