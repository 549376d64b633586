"""Four backends of equal speed in one process, of which the first one turns bad for a while.

    python bench/bad_backends.py '{"kind": "slow", "factor": 10, "begin": 5, "end": 15, …}'

`balance.py` runs this program. It prints its ports and reads the time of second 0: a line with a reading of the monotonic clock, which all
processes of a machine share. It works until its standard input ends, and then prints its records as JSON.

A backend works on `SLOTS` requests at a time. The time for each is drawn from an exponential distribution around `MEAN`. Further requests
wait in a queue, first come, first served, as in front of the worker processes of a real application. So an overloaded backend does not merely
answer late: its queue grows as long as the overload lasts.

The behaviour of the first backend between ``begin`` and ``end``:

slow     takes ``factor`` times as long
erratic  is slow every other second, starting with the first
resets   resets the connection at once instead of answering
errors   answers 500, at once
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import socket
import struct
import sys
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BACKENDS", "MEAN", "SLOTS", "Bad", "raise_limit"]

BACKENDS = 4
SLOTS = 3  # requests that a backend works on at a time
MEAN = 0.010  # mean seconds per request


@dataclass(frozen=True)
class Bad:
    """The behaviour of the first backend. kind: "none" or one of the above; begin, end: seconds."""

    kind: str = "none"
    factor: float = 1.0
    begin: float = 0.0
    end: float = 0.0

    def lasts(self, second: float) -> bool:
        """True if the first backend is bad in that second."""
        return self.kind != "none" and self.begin <= second < self.end

    def slowness(self, second: float) -> float:
        """The factor for the time of work that begins in that second."""
        if not self.lasts(second) or (self.kind == "erratic" and int(second - self.begin) % 2):
            return 1.0
        return self.factor


def raise_limit() -> None:
    """Raise the limit of descriptors as far as allowed, because every waiting request has a connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


GOOD = _answer(b"200 OK", b"x" * 128)
ERROR = _answer(b"500 Internal Server Error", b"no")


class Server:
    """One backend. arrivals: times of the requests, seconds; late: delays of the ends of work behind their schedule, seconds"""

    def __init__(self, bad: Bad, seed: int) -> None:
        self.bad = bad
        self.zero = 0.0
        self.arrivals = array("d")
        self.late = array("d")
        self._chance = random.Random(seed)
        self._busy = 0
        self._line: deque[_Peer] = deque()
        self._loop = asyncio.get_running_loop()

    def arrived(self, peer: _Peer) -> None:
        """Handle the arrival of a request."""
        second = self._loop.time() - self.zero
        self.arrivals.append(second)
        if self.bad.kind in ("resets", "errors") and self.bad.lasts(second):
            if self.bad.kind == "errors":
                peer.transport.write(ERROR)
            else:
                peer.reset()
        elif self._busy < SLOTS:
            self._begin(peer)
        else:
            self._line.append(peer)

    def _begin(self, peer: _Peer) -> None:
        self._busy += 1
        now = self._loop.time()
        due = now + self._chance.expovariate(1 / MEAN) * self.bad.slowness(now - self.zero)
        self._loop.call_at(due, self._end, peer, due)

    def _end(self, peer: _Peer, due: float) -> None:
        self._busy -= 1
        self.late.append(self._loop.time() - due)
        if not peer.transport.is_closing():
            peer.transport.write(GOOD)
        while self._line:
            following = self._line.popleft()
            if not following.transport.is_closing():
                self._begin(following)
                break


class _Peer(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: Any = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            self._head = b""
            self.server.arrived(self)

    def reset(self) -> None:
        """End the connection with a reset instead of a proper close."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def _serve(bad: Bad) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    servers = [Server(bad if number == 0 else Bad(), number) for number in range(BACKENDS)]
    listening = [
        await loop.create_server(lambda server=server: _Peer(server), "127.0.0.1", 0, backlog=4096)  # type: ignore[misc]
        for server in servers
    ]
    print(json.dumps([one.sockets[0].getsockname()[1] for one in listening]), flush=True)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    began = json.loads(await lines.readline())
    used = time.process_time()
    for server in servers:
        server.zero = began
    await lines.read()
    late = sorted(moment for server in servers for moment in server.late)
    return {
        "bad": asdict(bad),
        "arrivals": [[round(moment, 4) for moment in server.arrivals] for server in servers],
        "cpu": time.process_time() - used,
        "late_p99": late[int(0.99 * (len(late) - 1))] if late else 0.0,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bad", metavar="JSON", type=json.loads, help="how the first backend goes bad: the fields of Bad")
    given = parser.parse_args()
    raise_limit()
    print(json.dumps(asyncio.run(_serve(Bad(**given.bad)))), flush=True)
