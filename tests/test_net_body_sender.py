"""`BodySender`: when its carrier takes a client's place, and when it must not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event
from greenlet import GreenletExit, getcurrent

from terraster.config.snapshot import Timeouts
from terraster.errors import BACKEND, CLIENT, HttpError
from terraster.net import body_sender as module
from terraster.net.body_sender import BodySender
from terraster.net.reactor import Reactor
from terraster.net.runners import Runners
from terraster.net.stream import Stream

OPEN: list[Stream] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """The streams of a test are closed after it."""
    yield
    while OPEN:
        OPEN.pop().close()


class Parties:
    """A sender between parties that only note what is done to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outcome: Exception | None = None, gate: Event | None = None) -> None:
        self.carried = 0
        self.gate = gate
        self.killed = False
        self.outcome = outcome
        monkeypatch.setattr(module, "send_request_body", self.relay)
        self.upstream: Any = SimpleNamespace(phase="", stream=SimpleNamespace(wait_no_longer_than=lambda patience: None))
        here, there = socket.socketpair()
        there.close()
        self.stream = Stream(Reactor(), here)
        OPEN.append(self.stream)
        body: Any = SimpleNamespace(octets=0)
        self.runners = Runners(self.stream.reactor)
        self.sender = BodySender(self.runners, cast(Any, self.stream), self.upstream, body, Timeouts(), 1.0)

    def relay(self, *_: object) -> None:
        self.carried += 1
        if self.gate is not None:
            try:
                self.gate.wait()
            except GreenletExit:
                self.killed = True
                raise
        if self.outcome is not None:
            raise self.outcome


def turns() -> None:
    """Let the loop run what it was asked to, and what that asked for."""
    for _ in range(3):
        gevent.sleep(0)


def test_a_body_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    parties = Parties(monkeypatch)
    turns()
    assert (parties.carried, parties.sender.done, parties.sender.ended) == (1, True, True)


def test_a_carrier_that_is_stopped_before_its_first_turn_carries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is over, and somebody else waits for the client: the carrier would take its place, and nobody would wake it again."""
    parties = Parties(monkeypatch)
    assert parties.sender.stop() == 0
    turns()
    assert (parties.carried, parties.sender.done) == (0, False)


@pytest.mark.parametrize(
    ("outcome", "thrown"),
    [
        (HttpError("gone", status=499, blame=CLIENT), True),
        (HttpError("it reads no more", status=502, blame=BACKEND), False),
        (RuntimeError("a defect"), True),
    ],
    ids=["the client's", "the backend's", "a defect"],
)
def test_whose_error_ends_the_request(monkeypatch: pytest.MonkeyPatch, outcome: Exception, thrown: bool) -> None:
    """A backend that reads no more may still answer; everything else is thrown into the greenlet that waits for that."""
    seen: list[Exception] = []

    def request() -> None:
        parties = Parties(monkeypatch, outcome)
        try:
            turns()
        except (HttpError, RuntimeError) as error:
            seen.append(error)
        assert parties.sender.ended and not parties.sender.done
        assert getcurrent() is parties.sender._main

    gevent.spawn(request).get()
    assert seen == ([outcome] if thrown else [])


def test_octets_that_come_after_a_stop_are_not_for_the_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies a turn later. Octets that it took until then would be missing where the request is sent again."""
    parties = Parties(monkeypatch, gate=Event())
    turns()
    parties.stream.reader = parties.sender._carrier
    assert parties.stream.reader is not None
    parties.sender.stop()
    assert parties.stream.reader is None
    turns()
    assert parties.killed and not parties.sender.done


def test_a_carrier_that_is_over_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its greenlet may do another job when the call comes."""
    gate = Event()
    parties = Parties(monkeypatch, gate=gate)
    turns()
    carrier = parties.sender._carrier
    gate.set()
    parties.sender.stop()
    gevent.sleep(0)
    turns()
    assert not parties.killed and parties.sender._carrier is None
    worked: list[object] = []
    gevent.get_hub().loop.run_callback(parties.runners.start, lambda job: worked.append(getcurrent()), None)
    turns()
    assert worked == [carrier]


def test_another_reader_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    parties = Parties(monkeypatch)
    turns()
    parties.stream.reader = other = getcurrent()
    parties.sender.stop()
    assert parties.stream.reader is other
