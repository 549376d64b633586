"""An open-loop client: it sends each request on schedule, whether or not earlier ones were answered.

A client that waits for an answer before its next request is silent while a server stalls. So it does not measure the requests that other
clients would have sent meanwhile ("coordinated omission", a term of Gil Tene). Here the arrivals are drawn beforehand (Poisson, because
real clients are independent), and a latency counts from the time when the request was due.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import Any

__all__ = ["Sample", "arrivals", "load"]

REQUEST = b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n"
KEPT = 64  # connections that are opened before the first request; more are opened while all are busy
PATIENCE = 20.0  # seconds to wait for the last answers


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    due:     scheduled time, seconds of the run
    latency: seconds from ``due`` to the end of the answer
    late:    seconds from ``due`` to the sending
    status:  of the answer; 0 without an answer
    """

    due: float
    latency: float
    late: float
    status: int


def arrivals(rate: float, begin: float, end: float, seed: int = 1) -> list[float]:
    """Scheduled times, random, with ``rate`` requests per second."""
    chance = random.Random(seed)
    found = []
    moment = begin + chance.expovariate(rate)
    while moment < end:
        found.append(moment)
        moment += chance.expovariate(rate)
    return found


class _Connection(asyncio.Protocol):
    """A kept connection. due: scheduled time of its request; None while it is idle"""

    def __init__(self, load: _Load) -> None:
        self.transport: Any = None
        self.due: float | None = None
        self.sent = 0.0
        self._load = load
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, due: float, now: float) -> None:
        self.due, self.sent = due, now
        self._data = b""
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        _, _, rest = lower.partition(b"\r\ncontent-length:")
        if len(body) >= int(rest.partition(b"\r\n")[0]):
            self._load.ended(self, int(head[9:12]))
            if b"\r\nconnection: close" in lower:
                self.transport.close()
            else:
                self._load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.due is not None:
            self._load.ended(self, 0)
        elif self in self._load.idle:
            self._load.idle.remove(self)


class _Load:
    """The requests of a run. zero: second 0 of the run on the loop's clock"""

    def __init__(self, address: tuple[str, int], zero: float) -> None:
        self.idle: deque[_Connection] = deque()
        self.samples: list[Sample] = []
        self.open: set[_Connection] = set()
        self.opening: set[asyncio.Task[None]] = set()
        self.zero = zero
        self._address = address
        self._loop = asyncio.get_running_loop()

    async def connect(self) -> _Connection:
        return (await self._loop.create_connection(lambda: _Connection(self), *self._address))[1]

    def begin(self, due: float) -> None:
        """Send a request on the connection that has been idle for longest, so that all connections and all workers take part."""
        while self.idle:
            connection = self.idle.popleft()
            if not connection.transport.is_closing():
                self.open.add(connection)
                connection.send(due, self._loop.time() - self.zero)
                return
        task = self._loop.create_task(self._begin_anew(due))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def _begin_anew(self, due: float) -> None:
        try:
            connection = await self.connect()
        except OSError:
            self.samples.append(Sample(due, self._loop.time() - self.zero - due, 0.0, 0))
            return
        self.open.add(connection)
        connection.send(due, self._loop.time() - self.zero)

    def ended(self, connection: _Connection, status: int) -> None:
        due, connection.due = connection.due, None
        assert due is not None
        self.open.discard(connection)
        self.samples.append(Sample(due, self._loop.time() - self.zero - due, connection.sent - due, status))


async def load(address: tuple[str, int], due: list[float], zero: float) -> list[Sample]:
    """Send a GET at each of the seconds ``due``, counted from ``zero`` (monotonic clock); what became of each, in order.

    A request without an answer `PATIENCE` after the last one was sent counts as failed.
    """
    loop = asyncio.get_running_loop()
    under_way = _Load(address, zero)
    under_way.idle.extend([await under_way.connect() for _ in range(KEPT)])
    for moment in due:
        wait = zero + moment - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        under_way.begin(moment)
    end = loop.time() + PATIENCE
    while (under_way.open or under_way.opening) and loop.time() < end:
        await asyncio.sleep(0.05)
    for connection in list(under_way.open):
        under_way.ended(connection, 0)
    for connection in under_way.idle:
        connection.transport.abort()
    return sorted(under_way.samples, key=lambda sample: sample.due)
