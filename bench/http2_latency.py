"""The latency of HTTP/2 requests beside large downloads on the same connection.

    python bench/http2_latency.py [--seconds 5] [--window 8M] [--receive-buffer 1M]

There is one worker, and two nginx as its backends: one for what is large, because an nginx that sends as fast as its client reads keeps
its other clients waiting. The client is in a process of its own (this one). It speaks HTTP/2 in clear and reads as fast as it can. Two
questions:

- urgent: 100 KiB at urgency 0 (RFC 9218), begun beside four downloads of 50 MiB at urgency 7. How long does it take, and how long alone?
- small: GET 128 B, one every few milliseconds, beside a download of 1 GiB. Which times do they take? Once from a backend, and once from
  Terraster itself (`respond`), which shows what of the time is the backend's.

The octets in the kernel's buffers between the proxy and the client's program are in front of every answer. `--receive-buffer` says how many
the client's kernel may keep.
"""

from __future__ import annotations

import argparse
import itertools
import select
import socket
import struct
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.harness.http2 import PREFACE, frame, headers  # noqa: E402
from tests.harness.nginx import Nginx  # noqa: E402
from tests.harness.terraster_process import Terraster, service  # noqa: E402

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
READ = 1 << 20  # octets of one read


class Client:
    """A connection that throws away what it gets, and knows when each stream ended.

    ended: stream → time of its last octet. octets: stream → octets of its body so far. in_front: stream → octets that came, as far as they were
    read before, between the request and its last octet. read_octets: that were read in all
    """

    def __init__(self, port: int, window: int, receive_buffer: int) -> None:
        """window: octets of each stream, and of the connection"""
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", port))
        self.ended: dict[int, float] = {}
        self.octets: dict[int, int] = {}
        self.read_octets = 0
        self.in_front: dict[int, int] = {}
        self._window = window
        self._due: dict[int, int] = {}  # window to give back, by stream; 0 = the connection
        self._next = 1
        self._buffer = memoryview(bytearray(READ + 9))
        self._held = 0  # octets of a frame's head at the start of the buffer
        self._left = 0  # octets of the payload of the frame that is being read
        self._frame = (0, 0, 0)
        self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HL", 4, window)) + frame(SETTINGS, 1, 0))
        self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", max(1, window - 65535))))

    def ask(self, path: str, urgency: int = 3) -> int:
        """Begin a request. Returns its stream."""
        number, self._next = self._next, self._next + 2
        pseudo = ((":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "bench"))
        self.octets[number] = 0
        self.in_front[number] = -self.read_octets
        self.sock.sendall(headers(number, (*pseudo, ("priority", f"u={urgency}"))))
        return number

    def read(self, timeout: float) -> None:
        """Read once what has come."""
        if not select.select([self.sock], [], [], timeout)[0]:
            return
        got = self.sock.recv_into(self._buffer[self._held :], READ)
        if not got:
            raise SystemExit("the connection ended")
        self._take(self._held + got, time.perf_counter())
        self.read_octets += got
        give = b""
        for stream, octets in list(self._due.items()):
            if octets >= self._window // 4:
                del self._due[stream]
                if not stream or stream not in self.ended:
                    give += frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", octets))
        if give:
            self.sock.sendall(give)

    def _take(self, size: int, now: float) -> None:
        at, view = 0, self._buffer
        while True:
            if self._left:
                part = min(self._left, size - at)
                at += part
                self._left -= part
                if self._left:
                    break
                self._end(now)
            if size - at < 9:
                break
            first, flags, stream = struct.unpack_from(">LBL", view, at)
            at += 9
            self._left = first >> 8
            self._frame = (first & 255, flags, stream)
            kind = first & 255
            if kind == DATA:
                self.octets[stream] += self._left
                for one in (0, stream):
                    self._due[one] = self._due.get(one, 0) + self._left
            elif kind in (RST_STREAM, GOAWAY):
                raise SystemExit(f"frame {kind} on stream {stream}: {bytes(view[at : at + 60])!r}")
            if not self._left:
                self._end(now)
        self._held = size - at
        view[: self._held] = bytes(view[at:size])

    def _end(self, now: float) -> None:
        kind, flags, stream = self._frame
        if kind in (DATA, HEADERS) and flags & 1:
            self.ended[stream] = now
            self.in_front[stream] += self.read_octets

    def wait(self, stream: int, deadline: float = 60.0) -> float:
        """Read until a stream has ended. Returns the time of that."""
        end = time.perf_counter() + deadline
        while stream not in self.ended:
            if time.perf_counter() > end:
                raise SystemExit(f"stream {stream} did not end")
            self.read(1.0)
        return self.ended[stream]


def urgent(port: int, window: int, receive_buffer: int, rounds: int) -> None:
    """The time of 100 KiB at urgency 0: alone, and beside the downloads."""
    alone, beside, in_front = [], [], []
    for _ in range(rounds):
        client = Client(port, window, receive_buffer)
        client.wait(client.ask("/100k", 0))
        begun = time.perf_counter()
        alone.append(client.wait(client.ask("/100k", 0)) - begun)
        large = [client.ask("/50m", 7) for _ in range(4)]
        while min(client.octets[one] for one in large) < 2 << 20:
            client.read(1.0)
        begun = time.perf_counter()
        one = client.ask("/100k", 0)
        beside.append(client.wait(one) - begun)
        in_front.append(client.in_front[one])
        client.sock.close()
    print(f"urgent: {line(alone)} alone, {line(beside)} beside four downloads, {among(in_front)}")


def small(port: int, path: str, window: int, receive_buffer: int, seconds: float) -> None:
    """The times of small answers beside a download."""
    client = Client(port, window, receive_buffer)
    client.wait(client.ask(path))
    alone, beside = [], []
    for _ in range(200):
        begun = time.perf_counter()
        alone.append(client.wait(client.ask(path)) - begun)
    large = client.ask("/1g")
    begun = time.perf_counter()
    while client.octets[large] < 4 << 20:
        client.read(1.0)
    asked: dict[int, float] = {}
    first, due = time.perf_counter(), 0.0
    for _ in itertools.count():
        now = time.perf_counter()
        if now - first > seconds or (large in client.ended and all(one in client.ended for one in asked)):
            break
        if now > due and large not in client.ended:
            asked[client.ask(path)] = time.perf_counter()
            due = now + 0.004
        client.read(0.002)
    beside = [client.ended[one] - at for one, at in asked.items() if one in client.ended]
    in_front = [client.in_front[one] for one in asked if one in client.ended]
    rate = client.octets[large] / (client.ended.get(large, time.perf_counter()) - begun) / 1e6
    print(f"small, {path}: {line(alone)} alone, {line(beside)} beside a download, {among(in_front)} ({rate:.0f} MB/s)")
    client.sock.close()


def line(times: list[float]) -> str:
    ordered = sorted(times)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {p50 * 1e3:.2f} p99 {p99 * 1e3:.2f} most {ordered[-1] * 1e3:.2f} ms"


def among(octets: list[int]) -> str:
    ordered = sorted(octets)
    return (
        f"p50 {ordered[len(ordered) // 2] >> 10} p99 {ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] >> 10} KiB in front"
    )


def size(text: str) -> int:
    return int(text[:-1]) << {"K": 10, "M": 20}[text[-1]] if text[-1] in "KM" else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of the small answers")
    parser.add_argument("--rounds", type=int, default=20, help="of the urgent ones")
    parser.add_argument("--window", type=size, default=8 << 20, help="of each stream and of the connection")
    parser.add_argument("--receive-buffer", type=size, default=0, help="of the client's socket; 0: as the kernel likes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        few, many = (stack.enter_context(Nginx(Path(name) / one)) for one in ("few", "many"))
        for origin, file, octets in ((few, "128", 128), (few, "100k", 100 << 10), (many, "50m", 50 << 20), (many, "1g", 1 << 30)):
            with open(origin.files / file, "wb") as opened:
                opened.truncate(octets)
        site = service(few.url)
        site["locations"] += [{"path": path, "backends": [{"url": many.url}]} for path in ("/50m", "/1g")]
        site["locations"].append({"path": "/fixed", "respond": {"body": "x" * 128}})
        proxy = stack.enter_context(Terraster(Path(name) / "terraster", site, access_log="off", http2=True, drain_timeout="1s"))
        urgent(proxy.port, arguments.window, arguments.receive_buffer, arguments.rounds)
        for path in ("/128", "/fixed"):
            small(proxy.port, path, arguments.window, arguments.receive_buffer, arguments.seconds)


if __name__ == "__main__":
    main()
