"""The life of a child, seen from outside: signals sent to it, a master that dies, questions that nobody answers any more."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from terraster.state.cells import Seat
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.worker.channel import pair
from terraster.worker.proxy_worker import ProxyWorker

from .harness.family import Family
from .harness.program import is_gone


def test_the_end_of_the_channel_tells_faster_than_a_heartbeat() -> None:
    with Family(workers=2) as family:
        everybody = family.family()
        family.process.kill()
        family.wait_until(lambda: all(is_gone(pid) for pid in everybody), 0.6)


def test_a_stopped_master_is_not_a_dead_one() -> None:
    with Family(workers=1) as family:
        pids = family.pids()
        os.kill(family.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            while time.monotonic() - started < 1.5:
                assert family.get()["pid"] in pids
        finally:
            os.kill(family.pid, signal.SIGCONT)
        assert family.pids() == pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_worker_that_somebody_ends_is_replaced(number: signal.Signals) -> None:
    with Family(workers=1) as family:
        (before,) = family.pids()
        os.kill(before, number)
        family.wait_until(lambda: family.pids() - {before}, 2.0)
        assert "flushed" in family.log() and "exit code 0" in family.log()


def test_a_worker_that_somebody_drains_is_replaced_before_it_has_gone() -> None:
    with Family(workers=1) as family:
        (before,) = family.pids()
        slow = threading.Thread(target=lambda: family.get("/slow/3"))
        slow.start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        os.kill(before, signal.SIGTERM)
        family.wait_until(lambda: family.pids() - {before}, 1.5)
        assert not is_gone(before)
        slow.join()
        family.wait_until(lambda: is_gone(before))
        assert family.ask("status")["restarts"] == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU])
def test_signals_for_the_master_do_nothing_to_a_worker(number: signal.Signals) -> None:
    with Family(workers=1) as family:
        (before,) = family.pids()
        os.kill(before, number)
        assert family.get()["pid"] == before


def test_a_second_term_does_not_cut_the_drain_short() -> None:
    with Family(workers=1) as family:
        (before,) = family.pids()
        answers: list[object] = []
        slow = threading.Thread(target=lambda: answers.append(family.get("/slow/1")))
        slow.start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        os.kill(before, signal.SIGTERM)
        family.wait_until(lambda: family.ask("status")["workers"][0]["draining"] or family.pids() - {before})
        os.kill(before, signal.SIGTERM)
        slow.join()
        assert answers
        family.wait_until(lambda: is_gone(before))


def test_the_seat_is_taken_as_soon_as_the_child_is_forked() -> None:
    """Before the child itself comes to it, or it could accept what the others do not count."""
    table = Table(4, 4, 4)
    mine, others = SeatView(table), SeatView(table)
    others.sit(1)
    worker = ProxyWorker.__new__(ProxyWorker)
    worker.pid, worker.seat, worker.view = 4711, 2, mine
    worker.near, worker.far = pair()
    worker.in_master()
    others.refresh()
    assert others.seats == (1, 2)
    seat = table.seat(2)
    assert (table.q[seat + Seat.PID], table.q[seat + Seat.ROLE]) == (4711, Seat.PROXY)
    assert time.monotonic_ns() - table.q[seat + Seat.HEARTBEAT] < 10**9
    worker.channel.close()


def test_a_question_ends_when_the_master_dies() -> None:
    with Family(workers=1, drain=20, apply_takes=3, restless=True) as family:
        endings: list[BaseException] = []

        def ask() -> None:
            try:
                family.ask("reload")
            except (OSError, ValueError) as ending:
                endings.append(ending)

        asking = threading.Thread(target=ask)
        asking.start()
        family.wait_until(lambda: family.ask("status")["generation"] == 2, 2.0)
        everybody = family.family()
        family.process.kill()
        asking.join(2.0)
        assert endings
        family.wait_until(lambda: all(is_gone(pid) for pid in everybody), 1.5)
