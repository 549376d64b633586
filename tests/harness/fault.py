"""Backends that misbehave, one way each. Scripts for `Backend`, by name in `FAULTS`; and a port where nobody listens.

Each is what some real server does on a bad day. Where a fault has a measure (seconds of silence, octets before the cut) a function
that takes it makes the script.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .backends import Peer, always, ok

__all__ = ["FAULTS", "closes_after", "drips", "flaps", "goes_idle", "hangs", "refusing_port", "resets_after", "slow"]

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
