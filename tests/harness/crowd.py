"""Clients that ask as fast as they are answered, and a count of what a rate limit let pass, against a clock of their own."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Passed", "ask"]

_REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
_HEAD = re.compile(rb"HTTP/1\.1 (\d+).*?\r\n\r\n", re.DOTALL)
_LEFT = re.compile(rb'\r\nRateLimit: "[^"]*";r=(\d+)')


@dataclass
class Passed:
    """What passed, from the first request to the last one that did.

    count:    requests that passed
    lost:     requests without an answer, because their worker died
    left:     what the last answer said of requests that were left
    idle:     seconds in which the limit had nothing to count, at most, because nobody asked on a machine that paused
    shortest: seconds between the first and the last request at the limit, at least
    longest:  the same, at most
    """

    count: int
    lost: int
    left: int
    idle: float
    shortest: float
    longest: float


class _Client:
    """One connection with one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, 20)
        self.sock.setblocking(False)
        self.data = b""
        self.sent = 0.0

    def send(self, now: float) -> None:
        """The end of a connection whose worker died meanwhile is noticed at the next read."""
        self.sent = now
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.send(_REQUEST)


def ask(
    address: tuple[str, int],
    clients: int,
    seconds: float,
    rate: float,
    burst: int,
    events: Sequence[tuple[float, Callable[[], object]]] = (),
) -> Passed:
    """So many clients ask for so long. rate, burst: of the limit. events: what is done meanwhile, each with its second. Answers that pass are
    204, with `RateLimit`."""
    polled = selectors.DefaultSelector()
    now = first_sent = time.monotonic()
    waiting = {_Client(address) for _ in range(clients)}
    for client in waiting:
        polled.register(client.sock, selectors.EVENT_READ, client)
        client.send(time.monotonic())
    end, left = now + seconds, list(events)
    first_read = last_sent = last_read = 0.0
    idle = 0.0
    lost = said = 0
    passed: list[tuple[float, float]] = []  # when an answer was read, and a time at which its client was in debt for certain
    while waiting and now < end + 20:
        ready = polled.select(0.05)
        now = time.monotonic()
        while left and now >= end - seconds + left[0][0]:
            left.pop(0)[1]()
        for key, _ in ready:
            client = key.data
            try:
                data = client.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            client.data += data
            head = _HEAD.match(client.data)
            if data and (head is None or len(client.data) < head.end() + _length(head[0])):
                continue
            if data and head is not None:
                client.data = b""
                if head[1] == b"204":
                    found = _LEFT.search(head[0])
                    assert found is not None, head[0]
                    used = burst - 1 - int(found[1])
                    if not used:
                        idle += max(0.0, now - next((until for read, until in reversed(passed) if read < client.sent), now))
                    passed.append((now, client.sent + used / rate))
                    first_read = first_read or now
                    if client.sent >= last_sent:
                        last_sent, said = client.sent, int(found[1])
                    last_read = now
            else:
                lost += 1
                polled.unregister(client.sock)
                client.sock.close()
                waiting.discard(client)
                if now < end:
                    client = _Client(address)
                    waiting.add(client)
                    polled.register(client.sock, selectors.EVENT_READ, client)
            if now < end:
                client.send(time.monotonic())
            elif client in waiting:
                polled.unregister(client.sock)
                client.sock.close()
                waiting.discard(client)
    polled.close()
    return Passed(len(passed), lost, said, idle, last_sent - first_read, last_read - first_sent)


def _length(head: bytes) -> int:
    found = re.search(rb"\r\nContent-Length: (\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0
