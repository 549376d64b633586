"""The lines of a tail in a worker: which are sent, until when, and what is lost."""

from __future__ import annotations

import marshal
import os
import socket
from collections.abc import Iterator

import pytest

from terraster.config.snapshot import AccessLog
from terraster.logs.log_channel import LogChannel
from terraster.logs.summary import FIELDS, LONGEST
from terraster.logs.tail import LEASE, MOST, MOST_OCTETS, Tail, Wanted

from .test_logs_summary import exchange


@pytest.fixture
def channel() -> Iterator[LogChannel]:
    made = LogChannel()
    yield made
    os.close(made.near)
    os.close(made.far)


def received(channel: LogChannel) -> list[str]:
    """The paths of the lines that have come."""
    found: list[str] = []
    with socket.socket(fileno=os.dup(channel.far)) as far:
        far.setblocking(False)
        try:
            while True:
                found += [line[FIELDS.index("path")] for line in marshal.loads(far.recv(1 << 20))]
        except BlockingIOError:
            return found


def take(tail: Tail, *targets: bytes, status: int = 200) -> None:
    for target in targets:
        tail.take(exchange(target, AccessLog(), status=status))


def test_each_listener_gets_only_its_own(channel: LogChannel) -> None:
    tail = Tail(channel.near)
    tail.ask([Wanted("shop", 0, 999, "/a"), Wanted("", 500)], 0.0)
    take(tail, b"/a", b"/b", b"/ab")
    take(tail, b"/b", status=502)
    tail.ask([Wanted("blog")], 0.0)
    take(tail, b"/a")
    tail.flush()
    assert received(channel) == ["/a", "/ab", "/b"]


def test_it_ends_when_nobody_asks_again(channel: LogChannel) -> None:
    tail = Tail(channel.near)
    assert not tail.listens(0.0)
    tail.ask([Wanted()], 10.0)
    assert tail.listens(10.0 + LEASE - 0.1) and not tail.listens(10.0 + LEASE)
    tail.ask([], 10.0)
    assert not tail.listens(10.0)


def test_lines_beyond_the_bound_are_lost_and_counted(channel: LogChannel) -> None:
    tail = Tail(channel.near)
    tail.ask([Wanted()], 0.0)
    take(tail, *[b"/%d" % number for number in range(MOST + 7)])
    tail.flush()
    assert len(received(channel)) == MOST
    assert (tail.ask([Wanted()], 0.0), tail.ask([Wanted()], 0.0)) == (7, 0)


def test_long_targets_are_bounded_by_their_octets(channel: LogChannel) -> None:
    tail = Tail(channel.near)
    tail.ask([Wanted()], 0.0)
    take(tail, *[b"/?" + b"x=&" * 3000] * MOST)
    tail.flush()
    assert len(received(channel)) == MOST_OCTETS // LONGEST
    assert tail.ask([Wanted()], 0.0) == MOST - MOST_OCTETS // LONGEST
    take(tail, b"/a")
    tail.flush()
    assert received(channel) == ["/a"]


def test_a_reader_that_takes_nothing_holds_up_nobody(channel: LogChannel) -> None:
    tail = Tail(channel.near)
    tail.ask([Wanted()], 0.0)
    sent = 0
    for _ in range(100):
        take(tail, *[b"/" + b"x" * 390] * 100)
        tail.flush()
        sent += 100
    lost = tail.ask([Wanted()], 0.0)
    got = len(received(channel))
    assert 0 < got < sent and got + lost == sent


def test_without_a_channel_all_is_lost() -> None:
    tail = Tail(-1)
    tail.ask([Wanted()], 0.0)
    take(tail, b"/a")
    tail.flush()
    assert tail.ask([Wanted()], 0.0) == 1
