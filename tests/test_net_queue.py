"""Requests that wait for room, in the order in which they came, over all workers: real tables, one view for each worker."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.config.snapshot import Queue
from terraster.errors import HttpError
from terraster.exchange import QUEUE_TIME
from terraster.net.queue import Queue as WaitingQueue
from terraster.net.reactor import Reactor
from terraster.state.cells import Seat, SeatLocation
from terraster.state.table import Table

from .harness.seats import seated
from .harness.waiting import wait_until

OFFSET = 2 * SeatLocation.CELLS


def lines(count: int, size: int = 10, timeout: float = 5.0) -> list[WaitingQueue]:
    """The lines of one location in so many workers."""
    table = Table(1, 4, count + 1)
    views = seated(table, count)
    for view in views:
        table.q[table.seat(view.seat) + Seat.HEARTBEAT] = time.monotonic_ns() + 3600 * 10**9  # alive as long as the test
    return [WaitingQueue(Queue(size, timeout), view, OFFSET) for view in views]


def cell(line: WaitingQueue, which: int) -> int:
    return int(line._view.q[line._view.locations + OFFSET + which])


class Waiting:
    """A request, as far as a queue needs it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def spent(self, what: str, seconds: float) -> None:
        assert what == QUEUE_TIME
        self.seconds.append(seconds)


class Room:
    """So much room, and who got it, in order."""

    def __init__(self, places: int = 0) -> None:
        self.places = places
        self.served: list[object] = []

    def look(self, who: object) -> Callable[[], object]:
        def look() -> object:
            if not self.places:
                return None
            self.places -= 1
            self.served.append(who)
            return who

        return look

    def wait(self, line: WaitingQueue, who: object) -> gevent.Greenlet:
        """``who`` waits in a line; returns when it has taken its place."""
        before = cell(line, SeatLocation.QUEUED)
        waiter = gevent.spawn(line.wait, self.look(who), Reactor(), Waiting())
        wait_until(lambda: cell(line, SeatLocation.QUEUED) > before or waiter.dead, pause=gevent.sleep)
        return waiter


def finish(*waiters: gevent.Greenlet) -> None:
    gevent.joinall(waiters, timeout=5, raise_error=True)
    assert all(waiter.dead for waiter in waiters)


def test_who_finds_room_does_not_wait() -> None:
    (line,) = lines(1)
    assert line.wait(Room(1).look("one"), Reactor(), Waiting()) == "one"
    assert not line.is_busy()
    assert cell(line, SeatLocation.QUEUED) == cell(line, SeatLocation.QUEUE_HEAD) == 0


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_first_come_first_served(workers: int) -> None:
    """Over all workers, whichever makes the room and whichever looks first."""
    all_lines, room = lines(workers), Room()
    waiters = [room.wait(all_lines[number % workers], number) for number in range(9)]
    for line in all_lines:
        assert line.is_busy()
    for count in range(1, 10):
        room.places = 1
        wait_until(lambda count=count: len(room.served) == count, pause=gevent.sleep)
        gevent.sleep(0.006)
        assert len(room.served) == count
    finish(*waiters)
    assert room.served == list(range(9))
    assert not any(line.is_busy() for line in all_lines)


def test_room_for_several_at_once() -> None:
    here, there = lines(2)
    room = Room()
    waiters = [room.wait((here, there)[number % 2], number) for number in range(6)]
    room.places = 6
    here.stir()
    finish(*waiters)
    assert room.served == list(range(6))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["come", "leave", "room"])), max_size=20))
def test_the_order_holds_whoever_leaves(steps: list[tuple[int, str]]) -> None:
    """Come, give up and be served in any mixture: those who are left are served in the order in which they came, and in the end
    nothing is counted any more."""
    all_lines, room = lines(3, size=100), Room()
    here: dict[int, gevent.Greenlet] = {}
    came: list[int] = []
    for number, (which, what) in enumerate(steps):
        if what == "come":
            here[number] = room.wait(all_lines[which], number)
            came.append(number)
        elif what == "leave" and len(came) > len(room.served):
            left = [one for one in came if one not in room.served]
            one = left[which % len(left)]
            here[one].kill()
            came.remove(one)
        elif what == "room" and len(came) > len(room.served):
            count = len(room.served)
            room.places += 1
            wait_until(lambda count=count: len(room.served) > count, pause=gevent.sleep)
    room.places = len(came) - len(room.served)
    finish(*(here[one] for one in came))
    assert room.served == came
    assert not any(line.is_busy() or cell(line, SeatLocation.QUEUE_HEAD) for line in all_lines)


def test_who_comes_while_others_wait_waits_behind_them() -> None:
    here, there = lines(2)
    room = Room()
    first = room.wait(here, "first")
    assert there.is_busy()
    room.places = 1
    second = room.wait(there, "second")
    wait_until(lambda: room.served, pause=gevent.sleep)
    assert room.served == ["first"]
    room.places = 1
    finish(first, second)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_too_many_are_refused_at_once(size: int) -> None:
    """Counted over all workers."""
    all_lines, room = lines(2, size=size, timeout=7.0), Room()
    waiters = [room.wait(all_lines[number % 2], number) for number in range(size)]
    for line in all_lines:
        began = time.monotonic()
        with pytest.raises(HttpError) as refused:
            line.wait(room.look("more"), Reactor(), Waiting())
        assert time.monotonic() - began < 3.5, "not the timeout of 7 s"
        assert (refused.value.status, refused.value.retry_after) == (503, 7)
        assert cell(line, SeatLocation.QUEUE_REFUSED) == 1
    room.places = size
    finish(*waiters)
    assert room.served == list(range(size))


def test_nobody_waits_for_longer_than_the_timeout() -> None:
    (line,) = lines(1, timeout=0.1)
    began = time.monotonic()
    with pytest.raises(HttpError) as over:
        line.wait(Room().look("one"), Reactor(), Waiting())
    assert 0.09 <= time.monotonic() - began < 5
    assert (over.value.status, over.value.retry_after) == (503, 1)
    assert cell(line, SeatLocation.QUEUE_TIMEOUTS) == 1
    assert not line.is_busy()


def test_each_has_its_own_timeout() -> None:
    (line,) = lines(1, timeout=0.2)
    room = Room()
    first = room.wait(line, "first")
    gevent.sleep(0.1)
    second = room.wait(line, "second")
    with pytest.raises(HttpError):
        first.get(timeout=5)
    room.places = 1
    assert second.get(timeout=5) == "second"


def test_what_a_look_raises_frees_the_place() -> None:
    (line,) = lines(1)

    def look() -> None:
        raise HttpError("a defect")

    with pytest.raises(HttpError, match="a defect"):
        line.wait(look, Reactor(), Waiting())
    assert not line.is_busy()
    assert line.wait(Room(1).look("next"), Reactor(), Waiting()) == "next"


def test_a_worker_that_died_is_waited_for_until_its_seat_is_emptied() -> None:
    """The master does that when it has reaped it."""
    dead, alive = lines(2)
    room = Room()
    q, row = dead._view.q, dead._view.locations + OFFSET
    q[row + SeatLocation.QUEUED], q[row + SeatLocation.QUEUE_HEAD] = 1, time.monotonic_ns()
    one = room.wait(alive, "one")
    room.places = 1
    gevent.sleep(0.05)
    assert not room.served
    view = alive._view
    view.table.retire(dead._view.seat, (0,), (2,))
    view.refresh()
    assert one.get(timeout=5) == "one"
    assert not alive.is_busy()


def test_a_worker_that_hangs_does_not_stop_the_others_for_good() -> None:
    """It gives no sign of life, and the one who waits there has waited for longer than anybody may."""
    hung, alive = lines(2, timeout=0.2)
    q, view = hung._view.q, hung._view
    q[view.table.seat(view.seat) + Seat.HEARTBEAT] = 1
    q[view.locations + OFFSET + SeatLocation.QUEUED] = 1
    q[view.locations + OFFSET + SeatLocation.QUEUE_HEAD] = time.monotonic_ns() - 3 * 10**9
    assert alive.wait(Room(1).look("one"), Reactor(), Waiting()) == "one"


def test_who_waits_goes_on_waiting_through_a_reload() -> None:
    old, other = lines(2)
    room = Room()
    waiters = [room.wait(old, 0), room.wait(other, 1)]
    new = WaitingQueue(Queue(2, 5.0), old._view, OFFSET)
    new.resume_from(old)
    assert new.is_busy()
    with pytest.raises(HttpError):
        new.wait(room.look("the new size counts"), Reactor(), Waiting())
    room.places = 2
    new.stir()
    finish(*waiters)
    assert room.served == [0, 1]
    assert new.wait(Room(1).look("two"), Reactor(), Waiting()) == "two"


def test_who_waits_is_woken_by_room_not_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for itself now and then; a worker that makes room says so."""
    monkeypatch.setattr("terraster.net.queue._LOOK", 60.0)
    (line,) = lines(1)
    room = Room()
    waiters = [room.wait(line, number) for number in range(3)]
    room.places = 3
    line.stir()
    finish(*waiters)


def test_time_is_the_reactors() -> None:
    """The place in line, the timeout and the signs of life of other workers: all by one clock."""
    here, there = lines(2, timeout=0.05)
    q, view = there._view.q, there._view
    q[view.table.seat(view.seat) + Seat.HEARTBEAT] = 50 * 10**9  # as fresh as can be, by that clock
    q[view.locations + OFFSET + SeatLocation.QUEUED] = 1
    q[view.locations + OFFSET + SeatLocation.QUEUE_HEAD] = 49 * 10**9
    room = Room(1)
    waiter = gevent.spawn(here.wait, room.look("one"), Reactor(clock=lambda: 50.0), Waiting())
    gevent.sleep(0.1)
    assert not waiter.dead and not room.served
    assert cell(here, SeatLocation.QUEUE_HEAD) == 50 * 10**9
    waiter.kill()
