"""The backends of the soak test: good ones, and some that are broken on purpose, all in one process.

    python bench/soak_backends.py FOLDER

`soak.py` runs this program. It prints its ports as a line of JSON, one for each of `BEHAVIOURS`. It works until its standard input ends. Then
it writes the ids of all POSTs that it has executed to ``FOLDER/executed``, and prints how many requests each port got.

A request is for ``/ID`` or ``/cut/ID``. Its answer says so twice: in the field X-Id, and in the body, which repeats the target as often as
`repeats` says. A client that knows its own requests can tell any other's answer from its own, and a part of an answer from a whole one. The
answer to a POST has length and checksum of the body instead.

good      answers at once
rules     also sends back the field X-Rule of the request, as X-Got
tail      answers one request in 64 after 60 ms
slow      answers after 8 ms
burst     answers 503 in two seconds of seven
closing   ends the connection after 20 answers, half of the time unannounced
fancy     answers chunked, until close, after 103 or 100, as HTTP/1.0, or in two writes
after     resets the connection instead of one answer in 16, after it has executed the request
broken    resets before the answer or within it, ends within the body, or sends octets that are not HTTP; one answer in four is good
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import select
import socket
import struct
import sys
import time
from array import array
from pathlib import Path
from zlib import crc32

__all__ = ["BEHAVIOURS", "repeats"]

BEHAVIOURS = ("good", "good2", "rules", "tail", "slow", "slow2", "burst", "closing", "fancy", "after", "broken", "broken2")
"""A digit at the end tells two backends of one behaviour apart."""

RESET = struct.pack("ii", 1, 0)
HEAD = b"HTTP/1.1 200 OK\r\nX-Id: %b\r\nContent-Length: %d\r\n\r\n"


def repeats(number: int) -> int:
    """The number of times that the answer to a request repeats its target: 1 to 8, and for one request in 1024 some 80 KB of them."""
    return (number & 7) + 1 if number & 1023 else 6000


def _body(target: bytes) -> bytes:
    return target * repeats(int(target[target.rindex(b"/") + 1 :]))


class Peer:
    """A connection. behaviour: as above; held: octets of a request that is not whole; out: octets that the socket did not take yet;
    answers: their number; ends: True if the connection ends when `out` is empty"""

    __slots__ = ("answers", "behaviour", "ends", "held", "out", "sock", "told")

    def __init__(self, sock: socket.socket, behaviour: str) -> None:
        self.sock = sock
        self.behaviour = behaviour
        self.held = self.out = b""
        self.answers = 0
        self.ends = self.told = False


class Backends:
    """All backends. executed: ids of the POSTs; counts: requests of each behaviour"""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.peers: dict[int, Peer] = {}
        self.listening: dict[int, tuple[socket.socket, str]] = {}
        self.timers: list[tuple[float, int, Peer, bytes]] = []
        self.executed = array("q")
        self.counts = dict.fromkeys(BEHAVIOURS, 0)
        self._turn = 0
        self._chance = random.Random(7)

    def listen(self, behaviour: str) -> int:
        """Listen for one of the backends. Returns its port."""
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        sock.setblocking(False)
        self.listening[sock.fileno()] = sock, behaviour
        self.poll.register(sock.fileno(), select.EPOLLIN)
        return int(sock.getsockname()[1])

    def run(self, until: int) -> None:
        """Work until a descriptor has an end."""
        self.poll.register(until, select.EPOLLIN)
        peers, timers = self.peers, self.timers
        while True:
            wait = max(0.0, timers[0][0] - time.monotonic()) if timers else -1
            for descriptor, events in self.poll.poll(wait):
                peer = peers.get(descriptor)
                if peer is not None:
                    try:
                        if events & select.EPOLLOUT:
                            self.send(peer, b"")
                        else:
                            self.read(peer)
                    except BlockingIOError:
                        pass  # the event was of an earlier connection with the same descriptor
                    except OSError:
                        self.close(peer)
                elif descriptor in self.listening:
                    self.accept(*self.listening[descriptor])
                elif descriptor == until:
                    return
            while timers and timers[0][0] <= time.monotonic():
                _, _, peer, octets = heapq.heappop(timers)
                if peers.get(peer.sock.fileno()) is peer:
                    try:
                        self.send(peer, octets)
                    except OSError:
                        self.close(peer)

    def accept(self, listening: socket.socket, behaviour: str) -> None:
        """Accept all connections that wait."""
        while True:
            try:
                sock, _ = listening.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers[sock.fileno()] = Peer(sock, behaviour)
            self.poll.register(sock.fileno(), select.EPOLLIN)

    def close(self, peer: Peer, reset: bool = False) -> None:
        """End a connection, perhaps with a reset."""
        self.peers.pop(peer.sock.fileno(), None)
        if reset:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.sock.close()

    def read(self, peer: Peer) -> None:
        """Read what arrived. A whole request is answered."""
        data = peer.sock.recv(262144)
        if not data:
            self.close(peer)
            return
        if peer.held:
            data = peer.held + data
        if data[:1] != b"P" and data.endswith(b"\r\n\r\n"):  # GET or HEAD
            peer.held = b""
            begin = data.index(b" ") + 1
            self.serve(peer, data, data[begin : data.index(b" ", begin)], b"")
            return
        peer.held = data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            length = int(head[at + 17 :].split(b"\r\n", 1)[0])
            body = data[end + 4 :] if len(data) == end + 4 + length else None
        else:
            body = _whole_chunks(data[end + 4 :]) if data.endswith(b"\r\n0\r\n\r\n") else None
        if body is not None:
            peer.held = b""
            peer.told = False
            self.serve(peer, data[: end + 4], data.split(b" ", 2)[1], body)
        elif not peer.told and b"\r\nexpect:" in head and len(data) == end + 4:
            peer.told = True
            self.send(peer, b"HTTP/1.1 100 Continue\r\n\r\n")

    def serve(self, peer: Peer, head: bytes, target: bytes, body: bytes) -> None:
        """Execute a request and answer it, or do not."""
        behaviour = peer.behaviour
        self.counts[behaviour] += 1
        peer.answers += 1
        if head[:1] == b"P":
            self.executed.append(int(target[target.rindex(b"/") + 1 :]))
            text = b"%b %d %08x" % (target, len(body), crc32(body))
        else:
            text = _body(target)
        answer = HEAD % (target, len(text))
        if head[:1] == b"H":
            text = b""
        if behaviour[:4] == "good":
            self.send(peer, answer + text)
        else:
            getattr(self, "_" + behaviour.rstrip("2"))(peer, head, target, answer, text)

    def send(self, peer: Peer, octets: bytes) -> None:
        """Send, now or as soon as the socket takes it."""
        if peer.out:
            octets = peer.out + octets
        try:
            sent = peer.sock.send(octets) if octets else 0
        except BlockingIOError:
            sent = 0
        left = octets[sent:] if sent < len(octets) else b""
        if left or peer.out:
            self.poll.modify(peer.sock.fileno(), select.EPOLLIN | select.EPOLLOUT if left else select.EPOLLIN)
        peer.out = left
        if peer.ends and not left:
            self.close(peer)

    def later(self, peer: Peer, seconds: float, octets: bytes) -> None:
        """Send after some time."""
        self._turn += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self._turn, peer, octets))

    # -------------------------------------------------------------------------------------------------------------- behaviours

    def _rules(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        at = head.index(b"\r\nX-Rule:")
        value = head[at + 9 : head.index(b"\r\n", at + 9)].strip()
        self.send(peer, answer[:-2] + b"X-Got: %b\r\n\r\n" % value + text)

    def _tail(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        if self._chance.random() < 1 / 64:
            self.later(peer, 0.060, answer + text)
        else:
            self.send(peer, answer + text)

    def _slow(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        self.later(peer, 0.008, answer + text)

    def _burst(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        if time.monotonic() % 7 < 2:
            answer = answer.replace(b"200 OK", b"503 Service Unavailable", 1)
        self.send(peer, answer + text)

    def _closing(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        if peer.answers == 20:
            peer.ends = True
            if self._chance.random() < 0.5:
                answer = answer[:-2] + b"Connection: close\r\n\r\n"
        self.send(peer, answer + text)

    def _fancy(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        kind = self._chance.randrange(6)
        bare = b"X-Id: %b\r\n" % target
        if kind == 0 or (kind == 1 and not text):
            self.send(peer, b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + answer + text)
        elif kind == 1:
            half = len(text) // 2
            parts = [part for part in (text[:half], text[half:]) if part]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            self.send(peer, b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-Sum: 1\r\n\r\n" % (bare, chunks))
        elif kind == 2:
            peer.ends = True
            self.send(peer, b"HTTP/1.1 200 OK\r\n%bConnection: close\r\n\r\n%b" % (bare, text))
        elif kind == 3:
            self.send(peer, b"HTTP/1.1 100 Continue\r\n\r\n")
            self.later(peer, 0.001, answer + text)
        elif kind == 4:
            peer.ends = True
            self.send(peer, answer.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + text)
        else:
            self.send(peer, answer[:20])
            self.later(peer, 0.001, answer[20:] + text)

    def _after(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        if self._chance.random() < 1 / 16:
            self.close(peer, reset=True)
        else:
            self.send(peer, answer + text)

    def _broken(self, peer: Peer, head: bytes, target: bytes, answer: bytes, text: bytes) -> None:
        kind = self._chance.randrange(8)
        if kind < 2:
            self.send(peer, answer + text)
        elif kind == 2:
            self.close(peer, reset=True)
        elif kind == 3:
            self.close(peer)
        elif kind == 4:
            self.send(peer, b"SSH-2.0-soak\r\n\r\n")
        else:  # within the body: an end, a reset, or half a chunk
            self.poll.modify(peer.sock.fileno(), 0)
            peer.ends = kind != 6
            if kind == 7:
                text = b"%x\r\n%b" % (len(text), text[:-1])
                answer = b"HTTP/1.1 200 OK\r\nX-Id: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % target
            self.send(peer, answer + text[:-1])
            if kind == 6:
                self.close(peer, reset=True)


def _whole_chunks(data: bytes) -> bytes | None:
    """The body of a chunked request, or None if it is not whole."""
    found, at = [], 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at:end], 16)
        if not size:
            return b"".join(found)
        found.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="for the ids of the POSTs that were executed")
    folder: Path = parser.parse_args().folder
    backends = Backends()
    print(json.dumps({behaviour: backends.listen(behaviour) for behaviour in BEHAVIOURS}), flush=True)
    backends.run(sys.stdin.fileno())
    with (folder / "executed").open("wb") as stream:
        backends.executed.tofile(stream)
    print(json.dumps(backends.counts), flush=True)


if __name__ == "__main__":
    main()
