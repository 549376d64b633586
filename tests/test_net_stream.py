"""`Reactor.sleep` and `Wakeup`: who waits, for how long, and who may end it. `Stream`: the last octets."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import gevent
import pytest

from terraster.net.reactor import Reactor, Wakeup
from terraster.net.stream import Stream


def test_a_sleep_lasts_its_time_and_lets_others_run() -> None:
    ran: list[float] = []
    began = time.monotonic()
    gevent.spawn(lambda: ran.append(time.monotonic()))
    Reactor().sleep(0.03)
    assert ran
    assert 0.03 <= time.monotonic() - began < 1


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_sleep_of_nothing_lets_others_run_once(seconds: float) -> None:
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    Reactor().sleep(seconds)
    assert ran == [1]


def test_a_sleep_counts_from_now_not_from_when_the_loop_woke() -> None:
    def busy() -> float:
        time.sleep(0.05)  # the loop's own time stands still meanwhile
        began = time.monotonic()
        Reactor().sleep(0.03)
        return time.monotonic() - began

    assert gevent.spawn(busy).get() >= 0.03


def test_a_wait_ends_when_it_is_woken() -> None:
    wakeup = Wakeup(Reactor())
    waiter = gevent.spawn(wakeup.wait, 60.0)
    gevent.sleep(0)
    wakeup.wake()
    wakeup.wake()  # once more changes nothing
    waiter.get(timeout=5)


def test_waking_is_not_remembered() -> None:
    wakeup = Wakeup(Reactor())
    wakeup.wake()
    began = time.monotonic()
    wakeup.wait(0.03)
    assert time.monotonic() - began >= 0.03


def test_a_wait_that_was_broken_off_wakes_nobody() -> None:
    """Neither its timer nor a call that was on its way may switch into whatever its greenlet waits for next."""
    wakeup = Wakeup(Reactor())
    left: list[float] = []

    def wait() -> None:
        try:
            wakeup.wait(0.01)
        except RuntimeError:
            began = time.monotonic()
            gevent.sleep(0.05)
            left.append(time.monotonic() - began)

    waiter = gevent.spawn(wait)
    gevent.sleep(0)
    waiter.kill(RuntimeError("enough"), block=False)
    wakeup.wake()
    waiter.join(timeout=5)
    assert len(left) == 1 and left[0] >= 0.05


@pytest.mark.parametrize("size", (10, 5_000_000))
def test_the_last_octets_come_with_the_end(size: int) -> None:
    """However many they are, and however long the other side takes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = socket.create_connection(listening.getsockname())
        here = listening.accept()[0]
    here.setblocking(False)
    stream = Stream(Reactor(), here)
    octets = bytes(range(256)) * (size // 256 + 1)

    def send() -> None:
        stream.send_last(octets[:size], 10.0)
        stream.close()

    sending = gevent.spawn(send)
    gevent.sleep(0.01)
    assert sending.dead is (size == 10)
    with there:
        there.setblocking(False)
        said = b""
        while True:
            with suppress(BlockingIOError):
                piece = there.recv(1 << 20)
                if not piece:
                    break
                said += piece
            gevent.sleep(0)
    sending.get(timeout=5)
    assert said == octets[:size]
