"""What backends answered within the last minute."""

from __future__ import annotations

from terraster.admin.recent import LOOK, WINDOW, Recent
from terraster.policy.server_errors import Count
from terraster.state.cells import MasterCells

from .test_admin_readings import House


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def looked(house: House) -> tuple[Recent, Clock]:
    clock = Clock()
    return Recent(house.table, clock), clock


def test_only_what_happened_since_the_first_look_counts():
    house = House()
    house.used(1, 0, REQUESTS=1000, STATUS_5XX=900)
    recent, clock = looked(house)
    assert recent.counts().by_slot == {}
    house.used(1, 0, REQUESTS=1010, STATUS_5XX=903)
    house.used(2, 0, REQUESTS=5, STATUS_5XX=1)
    clock.now += 3
    assert (recent.counts().seconds, recent.counts().by_slot) == (3, {0: Count(15, 4)})


def test_what_is_older_than_the_window_does_not_count():
    house = House()
    recent, clock = looked(house)
    house.used(1, 0, REQUESTS=100, STATUS_5XX=100)
    for _ in range(int(WINDOW / LOOK) + 1):
        assert recent.counts().by_slot == {0: Count(100, 100)}
        clock.now += LOOK
        recent.look()
    assert recent.counts().by_slot == {}
    assert recent.counts().seconds <= WINDOW + LOOK


def test_a_retired_worker_keeps_its_counts():
    house = House()
    house.used(1, 0, REQUESTS=100, STATUS_5XX=50)
    recent, _clock = looked(house)
    house.used(1, 0, REQUESTS=110, STATUS_5XX=60)
    house.table.retire(1, [0, 1, 2], [0, 1, 2])
    assert recent.counts().by_slot == {0: Count(10, 10)}


def test_the_counters_of_a_new_backend_in_an_old_slot_began_at_zero():
    house = House()
    house.used(1, 0, REQUESTS=10, STATUS_5XX=10)
    recent, _clock = looked(house)
    house.known(0, LEASE=7)
    house.used(1, 0, REQUESTS=20, STATUS_5XX=1)
    assert recent.counts().by_slot == {0: Count(20, 1)}


def test_a_backend_that_a_reload_adds_counts_at_once_and_one_that_comes_back_is_not_new():
    house = House()
    house.used(1, 2, REQUESTS=100, STATUS_5XX=100)
    recent, clock = looked(house)
    for _ in range(int(WINDOW / LOOK) + 1):
        clock.now += LOOK
        recent.look()
    house.used(1, 2, REQUESTS=110, STATUS_5XX=101)
    assert recent.counts().by_slot == {2: Count(10, 1)}
    house.q[house.table.master + MasterCells.BACKENDS] = 2  # the third was not leased yet
    recent, clock = looked(house)
    house.q[house.table.master + MasterCells.BACKENDS] = 3
    assert recent.counts().by_slot == {2: Count(110, 101)}


def test_no_backends_no_counts():
    house = House()
    house.q[house.table.master + MasterCells.BACKENDS] = 0
    assert looked(house)[0].counts().by_slot == {}


def test_looks_share_what_has_not_changed():
    house = House()
    house.used(1, 0, REQUESTS=1)
    recent, _clock = looked(house)
    recent.look()
    house.used(1, 0, REQUESTS=2)
    recent.look()
    one, two, three = recent._looks
    assert one.attempts is two.attempts and two.errors is three.errors
    assert (list(two.attempts), list(three.attempts)) == ([1, 0, 0], [2, 0, 0])
