"""The guard of hooks: each is cut off when its time is over, and nobody else is."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import gevent
import pytest

from terraster.plugins.guard import TICK, Guard, Overrun
from terraster.state.cells import Seat

LONG = 30.0
MARK = 1 << 8


@pytest.fixture
def guard() -> Iterator[Guard]:
    one = Guard()
    yield one
    one.close()
    assert one.active == {}


def spin() -> None:
    while True:
        pass


def stubborn() -> None:
    while True:
        try:
            spin()
        except Exception:
            continue


def twice() -> None:
    """Does not even take the first one for an end."""
    try:
        spin()
    except BaseException:
        spin()


def deaf() -> str:
    try:
        spin()
    except BaseException:
        return "I decide when I end"
    return ""


def test_what_a_hook_returns_and_raises_comes_through(guard: Guard) -> None:
    assert guard.call(MARK, LONG, max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        guard.call(MARK, LONG, divmod, 1, 0)
    with pytest.raises(SystemExit):
        guard.call(MARK, LONG, exec, "raise SystemExit")


@pytest.mark.parametrize("hook", [spin, stubborn, twice], ids=lambda hook: hook.__name__)
def test_a_hook_that_runs_too_long_is_cut_off(guard: Guard, hook: object) -> None:
    with pytest.raises(Overrun) as cut:
        guard.call(MARK, 0.02, hook)  # type: ignore[arg-type]
    assert cut.value.running


def test_a_hook_that_waits_too_long_is_cut_off(guard: Guard) -> None:
    with pytest.raises(Overrun) as cut:
        guard.call(MARK, 0.02, gevent.sleep, LONG)
    assert not cut.value.running


def test_a_hook_that_sleeps_in_the_kernel_is_cut_off(guard: Guard) -> None:
    def sleep() -> None:
        time.sleep(LONG)

    with pytest.raises(Overrun):
        guard.call(MARK, 0.02, sleep)


def test_a_hook_that_takes_the_end_for_nothing_still_ends(guard: Guard) -> None:
    assert guard.call(MARK, 0.02, deaf) == "I decide when I end"


def test_nobody_else_is_cut_off(guard: Guard) -> None:
    """Bystanders run while hooks of other greenlets are overdue, and while the hub does."""
    ended = []

    def bystander(number: int) -> None:
        for _ in range(40):
            for _ in range(2000):
                pass
            gevent.sleep(0)
        ended.append(number)

    def waiting() -> None:
        for _ in range(3):
            with pytest.raises(Overrun):
                guard.call(MARK, 0.01, gevent.sleep, LONG)

    def running() -> None:
        for _ in range(3):
            with pytest.raises(Overrun):
                guard.call(MARK, 0.01, spin)
            gevent.sleep(0)

    all_ = [gevent.spawn(bystander, number) for number in range(5)] + [
        gevent.spawn(waiting),
        gevent.spawn(running),
        gevent.spawn(waiting),
    ]
    gevent.joinall(all_, raise_error=True, timeout=60)
    assert sorted(ended) == [0, 1, 2, 3, 4] and all(one.successful() for one in all_)


def test_hooks_of_several_greenlets_have_times_of_their_own(guard: Guard) -> None:
    def short() -> bool:
        try:
            guard.call(MARK, 0.02, gevent.sleep, LONG)
        except Overrun:
            return True
        return False

    def long() -> str:
        gevent.sleep(0.1)
        return "in time"

    one, other = gevent.spawn(guard.call, MARK, LONG, long), gevent.spawn(short)
    gevent.joinall([one, other], raise_error=True, timeout=60)
    assert (one.value, other.value) == ("in time", True)


def test_hooks_that_end_as_their_time_does_end_in_one_way(guard: Guard) -> None:
    """The signal may come at any moment: as the hook returns, and as the guard does. It never comes out behind the call."""

    def nearly(seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return "ended"

    ways = set()
    for step in range(30):
        try:
            ways.add(guard.call(MARK, 0.005, nearly, 0.003 + step * 0.0005))
        except Overrun:
            ways.add("cut off")
        assert guard.active == {}
        for _ in range(3000):
            pass
    assert "ended" in ways


def test_a_guard_that_is_not_used_wakes_nobody(guard: Guard) -> None:
    guard.call(MARK, LONG, max, 1, 2)
    assert guard.ticking
    end = time.monotonic() + 20
    while guard.ticking and time.monotonic() < end:
        gevent.sleep(0.05)
    assert not guard.ticking
    with pytest.raises(Overrun):
        guard.call(MARK, 0.02, spin)


@pytest.mark.parametrize(
    "meddle",
    [
        lambda: signal.setitimer(signal.ITIMER_REAL, 0),
        lambda: signal.alarm(0),
        lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
    ],
)
def test_a_hook_that_takes_the_signal_or_stops_the_timer_does_not_save_the_next_one(
    guard: Guard, meddle: Callable[[], object]
) -> None:
    def wait_a_moment() -> None:
        meddle()
        gevent.sleep(3 * TICK)  # the loop runs, as it does between two requests

    guard.call(MARK, LONG, wait_a_moment)
    alarm = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]
    assert alarm[0] not in (signal.SIG_IGN, signal.SIG_DFL) and alarm[1] == TICK
    with pytest.raises(Overrun):
        guard.call(MARK, 0.02, spin)


def test_a_child_that_a_hook_forks_ends_where_the_hook_ends(guard: Guard) -> None:
    me = os.getpid()
    child = guard.call(MARK, LONG, os.fork)
    if os.getpid() != me:
        os._exit(7)  # it came back
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert guard.call(MARK, LONG, max, 1, 2) == 2


def test_a_hook_that_takes_signals_of_the_worker_does_not_keep_them(guard: Guard) -> None:
    def take() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        gevent.sleep(3 * TICK)

    mine, wakeup = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    guard.call(MARK, LONG, take)
    assert signal.getsignal(signal.SIGINT) is mine
    found = signal.set_wakeup_fd(wakeup)
    assert found == wakeup


def test_a_hook_that_blocks_the_signal_or_bounds_the_depth_does_so_for_a_moment(guard: Guard) -> None:
    def meddle() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGALRM,))
        sys.setrecursionlimit(400)
        gevent.sleep(3 * TICK)

    depth = sys.getrecursionlimit()
    guard.call(MARK, LONG, meddle)
    assert signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()) and sys.getrecursionlimit() == depth
    with pytest.raises(Overrun):
        guard.call(MARK, 0.02, spin)


def test_the_hook_that_runs_and_those_that_wait_are_noted(guard: Guard) -> None:
    """What a master reads when the worker has died."""
    cells = memoryview(bytearray(8 * (1 + Seat.MOST_WAITING_HOOKS))).cast("Q")
    noting = Guard(cells)
    seen = []

    def wait_a_moment() -> None:
        seen.append(cells[0])
        gevent.sleep(5 * TICK)

    def run_a_moment() -> None:
        seen.append(cells[0])
        gevent.sleep(3 * TICK)
        seen.append(cells.tolist())
        end = time.monotonic() + 3 * TICK
        while time.monotonic() < end:
            pass
        seen.append(cells[0])

    one, other = 1 << 8 | 3, 2 << 8 | 1
    try:
        waiting = gevent.spawn(noting.call, one, LONG, wait_a_moment)
        running = gevent.spawn(noting.call, other, LONG, run_a_moment)
        gevent.joinall([waiting, running], raise_error=True, timeout=60)
        assert seen == [one, other, [0, one, other, 0, 0], other]
        assert cells[0] == 0
    finally:
        noting.close()
    assert cells.tolist() == [0] * len(cells)
