"""Which backends fail now: counted from the second look on, forgotten when they are well again."""

from __future__ import annotations

from terraster.master.backends.recent_failures import FORGET, WINDOW, Recent, RecentFailures
from terraster.state.cells import SeatBackend
from terraster.state.table import Table


class Scene:
    def __init__(self) -> None:
        self.table = Table(4, 1, 3)
        self.now = 100.0
        self.recent_failures = RecentFailures(self.table, lambda: self.now)

    def count(self, attempts: int, failures: int, bad: int = 0) -> None:
        at = self.table.seat_backend(0, 2)
        self.table.q[at + SeatBackend.REQUESTS] += attempts
        self.table.q[at + SeatBackend.FAILURES] += failures
        self.table.q[at + SeatBackend.BAD_STATUSES] += bad
        if failures or bad:
            self.recent_failures.note([2])

    def seen(self, after: float = 0.0) -> Recent | None:
        self.now += after
        return self.recent_failures.recent(2)


def test_of_all_that_were_asked() -> None:
    scene = Scene()
    assert scene.seen() is None
    scene.count(1000, 1)
    scene.count(10, 7, 2)
    assert scene.seen(1.0) == Recent(10, 9, 1.0)
    assert scene.recent_failures.slots() == [2]


def test_what_was_long_ago_does_not_count() -> None:
    scene = Scene()
    scene.count(1, 1)
    scene.now += FORGET + 1
    scene.count(5000, 0)
    scene.count(1, 1)
    scene.count(4, 4)
    assert scene.seen(1.0) == Recent(4, 4, 1.0)
    assert scene.seen(FORGET) is None and scene.recent_failures.slots() == []


def test_an_attempt_that_was_under_way_at_the_first_look_fails_later() -> None:
    scene = Scene()
    scene.count(2, 1)
    scene.count(6, 7)
    assert scene.seen(1.0) == Recent(7, 7, 1.0)


def test_the_window_moves_along() -> None:
    scene = Scene()
    for _ in range(100):
        scene.count(10, 5)
        scene.now += 1.0
    found = scene.seen()
    assert found is not None and WINDOW <= found.seconds <= 2 * WINDOW + 2
    assert found.failures * 2 == found.attempts


def test_a_slot_of_somebody_else() -> None:
    scene = Scene()
    scene.count(9, 9)
    scene.table.q[scene.table.seat_backend(0, 2) + SeatBackend.FAILURES] = 0
    assert scene.seen(1.0) is None
