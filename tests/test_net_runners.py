"""`Runners`: greenlets that carry one job after the other."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import gevent
import pytest
from gevent.event import Event
from greenlet import getcurrent

from terraster.net import runners as module
from terraster.net.reactor import Reactor
from terraster.net.runners import Runners

from .harness.waiting import wait_until


class Job:
    """A job that notes who does it, and waits if it is given something to wait for."""

    def __init__(self, gate: Event | None = None) -> None:
        self.gate = gate
        self.worker: Any = None
        self.done = False

    def run(self) -> None:
        self.worker = getcurrent()
        if self.gate is not None:
            self.gate.wait()
        self.done = True


def run(job: Job) -> None:
    job.run()


def start(runners: Runners, *jobs: Job) -> None:
    """Start jobs on the hub, as an acceptor does, and wait until they have begun."""
    loop = gevent.get_hub().loop
    for job in jobs:
        loop.run_callback(runners.start, run, job)
    wait_until(lambda: all(job.worker is not None for job in jobs), pause=gevent.sleep)


def test_a_greenlet_is_used_again() -> None:
    runners, first, second = Runners(Reactor()), Job(), Job()
    start(runners, first)
    start(runners, second)
    assert first.done and second.done
    assert first.worker is second.worker


def test_jobs_at_the_same_time_have_greenlets_of_their_own() -> None:
    gate = Event()
    jobs = [Job(gate) for _ in range(3)]
    runners = Runners(Reactor())
    start(runners, *jobs)
    assert not any(job.done for job in jobs)
    assert len({id(job.worker) for job in jobs}) == 3
    gate.set()
    wait_until(lambda: all(job.done for job in jobs), pause=gevent.sleep)


def test_no_more_wait_than_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IDLE", 2)
    gate = Event()
    jobs = [Job(gate) for _ in range(5)]
    runners = Runners(Reactor())
    start(runners, *jobs)
    gate.set()
    wait_until(lambda: all(job.done for job in jobs), pause=gevent.sleep)
    assert [job.worker.dead for job in jobs].count(False) == 2


def test_a_job_that_is_over_is_let_go_of() -> None:
    runners, job = Runners(Reactor()), Job()
    start(runners, job)
    gone = weakref.ref(job)
    del job
    gc.collect()
    assert gone() is None
