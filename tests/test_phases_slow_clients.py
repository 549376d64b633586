"""What a client has taken is one count, whichever of its two measures tells it."""

from __future__ import annotations

from socket import AF_INET
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.min_rate import MinRate
from terraster.exchange import Exchange
from terraster.phases.slow_clients import SlowClients
from terraster.state.leases import capacities
from terraster.state.table import Table
from terraster.state.view import SeatView

EARLIER = 50_000_000
"""Octets that the connection had carried before this response."""


class Sock:
    family = AF_INET
    acked = EARLIER

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return bytes(120) + pack("=Q", self.acked) + bytes(64)


class Stream(SimpleNamespace):
    """A response over HTTP/2 whose client is always waited for."""

    def __init__(self) -> None:
        self.sock = Sock()
        super().__init__(framed=True, window=0, reader=None, writer=self, write_deadline=9.0)
        self.connection = SimpleNamespace(plain=SimpleNamespace(sock=self.sock))


@pytest.mark.parametrize(
    ("each_second", "windows", "ends"),
    [
        (2000, [1000, 1000, 1000, 0, 0, 0, 0], False),
        (2000, [0, 1000] * 4, False),
        (0, [0, 1000, 1000, 1000], True),
        (0, [1000, 0, 0, 0], True),
        (0, [0, 1000] * 2, True),
    ],
    ids=[
        "a stream that comes to the end of its window",
        "to and fro",
        "nothing, and then a window",
        "no window",
        "nothing, to and fro",
    ],
)
def test_a_stream_is_judged_by_one_count(each_second: int, windows: list[int], ends: bool) -> None:
    """1,000 octets a second are needed, over 3 seconds."""
    client: Any = Stream()
    exchange = Exchange(0.0, 0.0, "192.0.2.1", "192.0.2.1", "http", None)
    exchange.client, exchange.bytes_out, exchange.status = client, 70_000, 200
    exchange.location = SimpleNamespace(offset=0)
    slow = SlowClients(SeatView(Table(*capacities(1, 1, 1))))
    slow.watched[exchange] = MinRate(outgoing=1000, grace=3.0)
    for second, window in enumerate(windows, 10):
        client.window = window
        slow.sweep(float(second))
        client.sock.acked += each_second
        exchange.bytes_out += each_second
    assert (client.write_deadline == 0.0) is ends
