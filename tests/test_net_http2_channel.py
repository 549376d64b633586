"""A stream of HTTP/2 as greenlets read it: what has come, and what the peer gets window for."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis.strategies import integers, lists

from terraster.net.http2.channel import Channel
from terraster.net.http2.outlet import Outlet
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession
from terraster.wire.http2.streams import Stream


class _Codec(ServerSession):
    def __init__(self) -> None:
        super().__init__(Stream, Limits())
        self.out.clear()
        self.used = 0

    def consumed(self, stream: Stream, octets: int) -> None:
        self.used += octets


def channel() -> tuple[Channel, Any]:
    codec = _Codec()
    reactor = SimpleNamespace(loop=SimpleNamespace(run_callback=None))
    stream: Any = SimpleNamespace(reactor=reactor)
    return Channel(Outlet(stream, stream, codec, 0.0), 1, 65535), codec


def test_octets_that_come_one_by_one_cost_the_same_each() -> None:
    """A body of 1 MiB in frames of one octet: to copy all of it with each would take a minute."""
    one, codec = channel()
    body = bytes(range(256)) * 4096
    begun = time.process_time()
    for at in range(len(body)):
        one.took(body[at : at + 1])
    assert one.recv(0.0) == body
    assert codec.used == len(body)
    assert time.process_time() - begun < 10.0


def test_what_is_held_is_in_order_however_it_is_read() -> None:
    one, codec = channel()
    for piece in (b"ab", b"cd", b"ef"):
        one.took(piece)
    assert one.peek() == b"a"
    assert one.held == b"abcdef"
    one.held = b"cdef"
    assert codec.used == 2
    one.took(b"gh")
    assert one.held == b"cdefgh"
    one.took(b"i")
    assert one.recv(0.0) == b"cdefghi"
    assert (codec.used, one.held) == (9, b"")
    one.took(b"j")
    one.took(b"k")
    one.held = b""
    assert codec.used == 11
    one.took_all(b"")
    assert one.recv(0.0) == b""


@given(lists(integers(1, 3000), max_size=12), lists(integers(0, 4000), max_size=12))
def test_pieces_of_every_size_stay_in_order(sizes: list[int], taken: list[int]) -> None:
    """Large pieces wait apart, small ones together. A reader that takes some of what is held sees them as one."""
    one, _ = channel()
    body = bytes(number % 251 for number in range(sum(sizes)))
    read, at = b"", 0
    for number, size in enumerate(sizes):
        one.took(body[at : at + size])
        at += size
        if number < len(taken):
            held = one.held
            read += held[: taken[number]]
            one.held = held[taken[number] :]
    assert read + one.held == body
