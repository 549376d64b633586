"""Backends that misbehave, one way each. Scripts for `Backend`, by name in `FAULTS`; and a port where nobody listens.

Each is what some real server does on a bad day. Where a fault has a measure (seconds of silence, octets before the cut) a function
that takes it makes the script.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .backends import Backend, Peer, Request, always, ok

__all__ = ["FAULTS", "Moody", "closes_after", "drips", "flaps", "goes_idle", "hangs", "refusing_port", "resets_after", "slow"]

Script = Callable[[Peer], None]


def resets_before_head(peer: Peer) -> None:
    """Takes the request and resets."""
    peer.request()
    peer.reset()


def resets_at_once(peer: Peer) -> None:
    """Resets a connection as soon as it is accepted."""
    peer.reset()


def closes_before_head(peer: Peer) -> None:
    """Takes the request and closes politely, without a word."""
    peer.request()


def resets_after(octets: bytes) -> Script:
    """Answers with ``octets`` and resets."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(octets)
        time.sleep(0.05)  # a reset overtakes what was not read yet, so the octets need a moment to arrive
        peer.reset()

    return script


def closes_after(octets: bytes) -> Script:
    """Answers with ``octets`` and closes."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(octets)

    return script


def hangs(peer: Peer) -> None:
    """Takes the request and says nothing, until the other side leaves."""
    peer.request()
    peer.rest()


def slow(seconds: float, answer: bytes = b"") -> Script:
    """Answers after so many seconds."""

    def script(peer: Peer) -> None:
        while peer.request():
            time.sleep(seconds)
            peer.send(answer or ok(b"slow"))

    return script


def drips(octets: bytes, seconds: float) -> Script:
    """Answers octet by octet, with so many seconds before each, until the other side leaves."""

    def script(peer: Peer) -> None:
        peer.request()
        for octet in octets:
            time.sleep(seconds)
            peer.send(bytes([octet]))
        peer.rest()

    return script


def goes_idle(seconds: float) -> Script:
    """Answers well, and closes a connection that was idle for so many seconds."""

    def script(peer: Peer) -> None:
        while True:
            peer.sock.settimeout(seconds)
            try:
                request = peer.request()
            except TimeoutError:
                return
            if request is None:
                return
            peer.send(ok())

    return script


def flaps(good: int, bad: int) -> Script:
    """Answers ``good`` requests, resets the next ``bad``, and so on; counted over all connections."""
    lock = threading.Lock()
    turns = itertools.cycle([True] * good + [False] * bad)

    def script(peer: Peer) -> None:
        while peer.request():
            with lock:
                well = next(turns)
            if not well:
                peer.reset()
                return
            peer.send(ok())

    return script


FAULTS: dict[str, Script] = {
    "resets at once": resets_at_once,
    "resets before the head": resets_before_head,
    "closes before the head": closes_before_head,
    "resets within the head": resets_after(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "closes within the head": closes_after(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "resets after the head": resets_after(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
    "half a body": closes_after(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
    "half a chunk": closes_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello"),
    "garbage": closes_after(b"\x15\x03\x01\x00\x02\x02\x50garbage, more of it\r\n\r\n"),
    "another protocol": closes_after(b"220 mail.example.com ESMTP\r\n"),
    "hangs": hangs,
    "slow": slow(0.5),
    "500s": always(ok(b"broken", status=b"500 Internal Server Error")),
    "closes idle at 1 s": goes_idle(1.0),
    "flaps": flaps(3, 3),
}


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class Moody:
    """A backend that is good, has a bad day, and is good again.

    fault: what it does with a request on a bad day: called with the connection and the request, which has been read; returns whether
    the connection goes on. None: it answers well. refuses: nobody listens.
    arrivals: when requests came (monotonic), on good days and bad ones. good: when it answered well. executed: how often each body of a
    POST was executed, as far as anybody can tell: whatever arrived whole counts. at_once, most: requests at one moment, and the most.
    """

    def __init__(self) -> None:
        self.fault: Callable[[Peer, Request], bool] | None = None
        self.arrivals: list[float] = []
        self.good: list[float] = []
        self.executed: Counter[bytes] = Counter()
        self.at_once = self.most = 0
        self._lock = threading.Lock()
        self._listening = Backend(self._serve)
        self.port, self.url = self._listening.port, self._listening.url

    def __enter__(self) -> Moody:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def refuse(self) -> None:
        """End all connections, and accept no more."""
        self._listening.close()

    def listen(self) -> None:
        """Be there again."""
        self._listening = Backend(self._serve, port=self.port)

    def _serve(self, peer: Peer) -> None:
        while request := peer.request():
            fault = self.fault
            with self._lock:
                self.arrivals.append(time.monotonic())
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                if request.method == "POST":
                    self.executed[request.body] += 1
            try:
                if fault is not None:
                    if not fault(peer, request):
                        return
                    continue
                peer.send(ok())
            finally:
                with self._lock:
                    self.at_once -= 1
            self.good.append(time.monotonic())
