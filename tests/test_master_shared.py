"""What the masters before left in the shared table: workers that have to leave, and counters. The processes are real, the masters are not."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.master.shared import Predecessors
from terraster.state.alive import began
from terraster.state.cells import MASTERS, Seat, SeatLocation
from terraster.state.leases import Leases
from terraster.state.table import Table

LOG: Any = SimpleNamespace(error=lambda *_: None)


class Two:
    """A table with the place of this process's master, and that of another one with a worker."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.master, self.worker = start(), start()
        self.table = Table(8, 8, 1 + 2 * MASTERS)
        self.seat = self.table.seats_of(1)[0]
        other = Table.adopt(os.dup(self.table.descriptor))
        other.sit(1)
        self._sit(other.seat(0), self.master)
        self._sit(other.seat(self.seat), self.worker)
        self.leases = Leases(self.table)
        self.predecessors = Predecessors(self.table, self.leases, LOG)

    def _sit(self, at: int, process: subprocess.Popen[bytes]) -> None:
        self.table.q[at + Seat.BEGAN] = began(process.pid)
        self.table.q[at + Seat.PID] = process.pid

    def count(self) -> None:
        self.table.q[self.table.seat_location(self.seat, self.table.unrouted) + SeatLocation.BYTES_IN] += 7

    def counted(self) -> tuple[int, bool]:
        """The sum, and whether it is in the seat of this process's master."""
        cell = SeatLocation.BYTES_IN
        own = self.table.q[self.table.seat_location(0, self.table.unrouted) + cell]
        total = self.table.location_sum(self.table.unrouted, cell)
        return total, own == total


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture
def two() -> Iterator[Two]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[-1]

    yield Two(start)
    for one in started:
        end(one)


def test_a_master_that_lives_keeps_house_itself(two: Two) -> None:
    """It takes over the counters of its dead workers: if both did, they would count twice."""
    two.count()
    end(two.worker)
    two.predecessors.dismissed(-1.0)
    assert not two.predecessors.manage() and two.counted() == (7, False)
    assert two.predecessors.workers() == two.predecessors.end(signal.SIGKILL) == []
    end(two.master)
    assert two.predecessors.manage() and two.counted() == (7, True)


def test_a_worker_of_a_dead_master_has_its_time_to_leave(two: Two) -> None:
    two.count()
    end(two.master)
    two.predecessors.dismissed(60.0)
    assert not two.predecessors.manage() and two.worker.poll() is None
    two.predecessors.dismissed(-1.0)
    two.predecessors.manage()
    assert two.worker.wait(10) == -signal.SIGKILL
    two.predecessors.manage()
    assert two.counted() == (7, True) and two.table.masters() == [0] and not two.table.taken_seats()


def test_the_time_of_earlier_workers_is_not_that_of_later_ones(two: Two) -> None:
    end(two.master)
    end(two.worker)
    two.predecessors.dismissed(-1.0)
    assert two.predecessors.manage()
    later = Table.adopt(os.dup(two.table.descriptor))
    later.sit(1)
    with subprocess.Popen(["sleep", "60"]) as worker:
        two._sit(later.seat(two.seat), worker)
        two.predecessors.manage()
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.2)
        assert two.predecessors.end(0) == [two.seat]
        worker.kill()


def test_slots_are_leased_again_when_the_last_worker_of_another_master_has_left(two: Two) -> None:
    end(two.master)
    two.leases.outlived()
    two.predecessors.manage()
    assert two.leases.closed
    end(two.worker)
    assert two.predecessors.manage() and not two.leases.closed
