"""One process of clients of the soak test.

    python bench/soak_client.py '{"port": 8080, "number": 0, "requests": 5000000, "connections": 32, "seconds": 3000, "folder": "/tmp/x"}'

`soak.py` runs this program. Each connection sends a batch of requests in one write, reads all answers, and draws the next batch (`MIX`). Every
answer is compared with the request whose turn it is: its id in X-Id, its body octet for octet. It prints its counts as
one line of JSON at the end, and writes the ids of the POSTs that were answered with 200 to ``FOLDER/acknowledged-NUMBER``.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import struct
import time
from array import array
from collections import deque
from pathlib import Path
from typing import Any
from zlib import crc32

from soak_backends import repeats

__all__ = ["MIX", "PLACES"]

PLACES = ("plain", "hedge", "retry", "queue", "circuit", "rules", "fancy", "closing", "respond", "post", "broken", "extra")
"""The services. Each answers to the host NAME.test, and has a location /cut for connections that are broken off."""

PLAIN, HEDGE, RETRY, QUEUE, CIRCUIT, RULES, FANCY, CLOSING, RESPOND, POST, BROKEN, EXTRA = range(len(PLACES))

MIX = {
    # name: (share of the requests, requests in a batch)
    "plain": (0.79, 48),  # GETs to one service
    "mixed": (0.13, 16),  # GETs, each to a service drawn anew
    "head": (0.02, 16),  # HEADs, each to a service drawn anew
    "post": (0.015, 1),  # small, large, chunked, with Expect
    "broken": (0.01, 1),  # GETs to broken backends
    "once": (0.015, 1),  # a connection for one request
    "cut": (0.02, 8),  # the client resets or ends the connection at some point
}
MIXED = (PLAIN, HEDGE, HEDGE, RETRY, RETRY, QUEUE, CIRCUIT, RULES, RULES, FANCY, CLOSING, RESPOND, EXTRA)
CUT = (PLAIN, HEDGE, RETRY, QUEUE, CIRCUIT, RULES, FANCY, CLOSING, POST, BROKEN)

GET = b"GET /%d HTTP/1.1\r\nHost: %b.test\r\nUser-Agent: soak\r\n\r\n"
PLAIN_GET = b"GET /%d HTTP/1.1\r\nHost: plain.test\r\nUser-Agent: soak\r\n\r\n"
NAMES = tuple(name.encode() for name in PLACES)
FIXED = b"fixed answer\n"
"""The body that `respond` sends."""

PATIENCE = 30.0  # seconds for an answer
ONCE_MORE = 0.5  # seconds that a client with Expect waits for 100
CUT_AFTER = 0.3  # seconds without progress after which a connection is broken off that was going to be
RESET = struct.pack("ii", 1, 0)
KEPT = 1000  # mismatches that are told


class Client:
    """A connection, again and again.

    batch: the kind of the batch under way, "" if none is; awaited: (place, id, method, answer to a POST) of each request without an answer
    buffer: octets of an answer that is not whole; out: octets that the socket did not take yet; body: waits for 100 (Continue)
    rest: number of answers after which a cut connection is broken off; since: time of the last progress; generation: of the rules seen
    """

    __slots__ = ("awaited", "batch", "body", "buffer", "closing", "generation", "out", "rest", "since", "sock")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.awaited: deque[tuple[int, int, bytes, bytes]] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget the connection."""
        self.batch = ""
        self.buffer = self.out = self.body = b""
        self.closing = False
        self.rest = self.generation = 0
        self.since = 0.0
        self.awaited.clear()


class Load:
    """All clients of one process, and what they count.

    statuses: place → status → answers; of a cut answer the status of its head. cut_statuses: the same of /cut, whole answers only
    octets_in, octets_out: place → octets of requests and of answers; cut_asked: place → requests sent to /cut
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.address = ("127.0.0.1", given["port"])
        self.number = given["number"]
        self.wanted = given["requests"]
        self.end = time.monotonic() + given["seconds"]
        self.clients = [Client() for _ in range(given["connections"])]
        self.chance = random.Random(given["number"])
        self.poll = select.epoll()
        self.by_descriptor: dict[int, Client] = {}
        self.next_id = self.number * 10**9
        self.done = self.aborted = self.unserved = self.broken_off = self.connects = 0
        self.statuses: list[dict[bytes, int]] = [{} for _ in PLACES]
        self.cut_statuses: list[dict[bytes, int]] = [{} for _ in PLACES]
        self.octets_in = [0] * len(PLACES)
        self.octets_out = [0] * len(PLACES)
        self.cut_asked = [0] * len(PLACES)
        self.interims = 0
        self.acknowledged = array("q")
        self.posted = 0
        self.mismatches: list[str] = []
        self.kinds = list(MIX)
        self.weights = [share / size for share, size in MIX.values()]

    # ---------------------------------------------------------------------------------------------------------------- driving

    def run(self) -> None:
        """Send until enough is answered, or the time is over; then wait for the last answers."""
        for client in self.clients:
            self.begin(client)
        looked = time.monotonic()
        while self.by_descriptor:
            for descriptor, events in self.poll.poll(1.0):
                client = self.by_descriptor.get(descriptor)
                if client is None:
                    continue
                if events & select.EPOLLOUT and client.out:
                    self.send(client, b"")
                if events & ~select.EPOLLOUT:
                    self.read(client)
            now = time.monotonic()
            if now - looked > 0.25:
                looked = now
                for client in list(self.by_descriptor.values()):
                    self.look(client, now)

    def look(self, client: Client, now: float) -> None:
        """Handle the clients that wait in vain."""
        if client.body and now - client.since > ONCE_MORE:
            body, client.body = client.body, b""
            self.send(client, body)
        elif client.batch == "cut" and now - client.since > CUT_AFTER:
            self.drop(client)
        elif now - client.since > PATIENCE:
            self.wrong(client, f"no answer for {PATIENCE:.0f} s")
            self.drop(client)

    def begin(self, client: Client) -> None:
        """Draw the next batch and send it."""
        if self.done >= self.wanted or time.monotonic() >= self.end or len(self.mismatches) >= KEPT:
            self.close(client)
            return
        kind = self.chance.choices(self.kinds, self.weights)[0]
        if client.sock is not None and kind in ("once", "cut"):
            self.close(client)
        if client.sock is None:
            self.connect(client)
        client.since = time.monotonic()
        client.batch = kind
        size = MIX[kind][1]
        first = self.next_id + 1
        self.next_id += size
        if kind == "plain":
            numbers = range(first, first + size)
            octets = b"".join([PLAIN_GET % number for number in numbers])
            self.octets_in[PLAIN] += len(octets)
            client.awaited.extend([(PLAIN, number, b"G", b"") for number in numbers])
        elif kind == "post":
            self.post(client, first)
            return
        elif kind == "cut":
            self.cut(client, first, size)
            return
        else:
            octets = self.requests(client, kind, first, size)
        self.send(client, octets)

    def requests(self, client: Client, kind: str, first: int, size: int) -> bytes:
        """A batch of requests that are drawn one by one."""
        parts = []
        for number in range(first, first + size):
            place = BROKEN if kind == "broken" else self.chance.choice(MIXED)
            part = GET % (number, NAMES[place])
            method = b"G"
            if kind == "head":
                part = b"HEAD" + part[3:]
                method = b"H"
            elif kind == "once":
                part = part[:-2] + b"Connection: close\r\n\r\n"
            self.octets_in[place] += len(part)
            parts.append(part)
            client.awaited.append((place, number, method, b""))
        return b"".join(parts)

    def post(self, client: Client, number: int) -> None:
        """A POST: small, large, chunked or after 100 (Continue)."""
        kind = self.chance.randrange(8)
        body = b"%d," % number * (self.chance.randrange(8000) if kind == 0 else self.chance.randrange(1, 40))
        head = b"POST /%d HTTP/1.1\r\nHost: post.test\r\n" % number
        text = body
        if kind in (1, 2):
            head += b"Transfer-Encoding: chunked\r\n"
            half = len(body) // 2
            text = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"
        else:
            head += b"Content-Length: %d\r\n" % len(body)
        client.awaited.append((POST, number, b"P", b"/%d %d %08x" % (number, len(body), crc32(body))))
        self.posted += 1
        self.octets_in[POST] += len(head) + (24 if kind in (2, 3) else 2) + len(text)
        if kind in (2, 3):
            client.body = text
            self.send(client, head + b"Expect: 100-continue\r\n\r\n")
        else:
            self.send(client, head + b"\r\n" + text)

    def cut(self, client: Client, first: int, size: int) -> None:
        """Requests on a connection that ends at some point: at once, after some answers, or within a request."""
        place = self.chance.choice(CUT)
        self.aborted += 1
        if place == POST:
            body = b"x" * 3000
            head = b"POST /cut/%d HTTP/1.1\r\nHost: post.test\r\nContent-Length: 3000\r\n\r\n" % first
            client.awaited.append((POST, first, b"P", b"/cut/%d %d %08x" % (first, len(body), crc32(body))))
            octets = (head + body)[: len(head) + self.chance.randrange(3001)]
            client.rest = self.chance.randrange(2)
            self.cut_asked[place] += 1
        else:
            numbers = range(first, first + size)
            octets = b"".join(b"GET /cut/%d HTTP/1.1\r\nHost: %b.test\r\n\r\n" % (number, NAMES[place]) for number in numbers)
            client.awaited.extend((place, number, b"G", b"") for number in numbers)
            client.rest = self.chance.randrange(size)
            self.cut_asked[place] += size
            if self.chance.random() < 0.25:
                octets += b"GET /cut/0 HTTP/1.1\r\nHo"
        self.send(client, octets)
        if not client.rest and client.sock is not None:
            self.drop(client)

    # ---------------------------------------------------------------------------------------------------------- the connection

    def connect(self, client: Client) -> None:
        sock = socket.create_connection(self.address, timeout=10)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.reset()
        client.sock = sock
        self.connects += 1
        self.by_descriptor[sock.fileno()] = client
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def close(self, client: Client) -> None:
        if client.sock is not None:
            del self.by_descriptor[client.sock.fileno()]
            client.sock.close()
            client.sock = None

    def drop(self, client: Client) -> None:
        """Break a connection off, half of the time with a reset, and go on."""
        if client.sock is not None and self.chance.random() < 0.5:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close(client)
        self.begin(client)

    def send(self, client: Client, octets: bytes) -> None:
        """Send, now or as soon as the socket takes it."""
        sock = client.sock
        assert sock is not None
        octets = client.out + octets if client.out else octets
        try:
            sent = sock.send(octets)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            sent = len(octets)  # reading tells what came before
        left = octets[sent:] if sent < len(octets) else b""
        if left or client.out:
            self.poll.modify(sock.fileno(), select.EPOLLIN | select.EPOLLOUT if left else select.EPOLLIN)
        client.out = left

    def read(self, client: Client) -> None:
        """Read what arrived, and take all whole answers."""
        sock = client.sock
        assert sock is not None
        try:
            data = sock.recv(262144)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.ended(client, "reset")
            return
        if not data:
            self.ended(client, "closed")
            return
        client.since = time.monotonic()
        if client.buffer:
            data = client.buffer + data
        at = self.take(client, data)
        if client.sock is not sock:
            return
        client.buffer = data[at:] if at < len(data) else b""
        if not client.awaited and not client.closing:
            if client.buffer:
                self.wrong(client, f"octets after the last answer: {client.buffer[:80]!r}")
                self.drop(client)
            elif client.batch == "once":
                client.closing = True
            else:
                self.begin(client)

    def ended(self, client: Client, how: str) -> None:
        """The other end ended the connection."""
        awaited = client.awaited
        if client.closing or (not awaited and not client.buffer):
            self.unserved += len(awaited)
            for place, number, method, _ in awaited:
                name = b"HEAD" if method == b"H" else b"GET"
                self.octets_in[place] -= len(GET % (number, NAMES[place])) + len(name) - 3
            if client.batch == "once" and awaited:
                self.wrong(client, how)
        elif client.batch == "broken" and client.buffer.find(b"\r\n\r\n") > 0:
            self._count(self.statuses[BROKEN], client.buffer[9:12])
            self.broken_off += 1
            self.done += 1
            self.octets_out[BROKEN] += len(client.buffer)
        elif client.batch != "cut":
            self.wrong(client, f"{how} with {len(awaited)} requests unanswered and {client.buffer[:60]!r} read")
        self.close(client)
        self.begin(client)

    # ------------------------------------------------------------------------------------------------------------- the answers

    def take(self, client: Client, data: bytes) -> int:
        """Take all whole answers. Returns the number of their octets."""
        at = 0
        awaited = client.awaited
        cut = client.batch == "cut"
        while awaited:
            end = data.find(b"\r\n\r\n", at)
            if end < 0:
                break
            head = data[at : end + 2]
            status = head[9:12]
            place, number, method, told = awaited[0]
            if status[0] == 49:  # "1"
                self.interims += 1
                if not cut:
                    self.octets_out[place] += end + 4 - at
                at = end + 4
                if client.body:
                    body, client.body = client.body, b""
                    self.send(client, body)
                continue
            begin = end + 4
            length = head.find(b"\r\nContent-Length: ")
            if length >= 0:
                size = int(head[length + 18 : head.index(b"\r\n", length + 18)])
                stop = begin if method == b"H" else begin + size
                if stop > len(data):
                    break
                body = data[begin:stop]
            elif method == b"H":
                size, stop, body = -1, begin, b""
            elif b"\r\nTransfer-Encoding: chunked\r\n" in head:
                stop, body = _chunks(data, begin)
                if stop < 0:
                    break
                size = len(body)
            else:
                self.wrong(client, f"an answer without length: {head!r}")
                self.drop(client)
                return 0
            awaited.popleft()
            if why := self.verify(
                client, head, status, body, size, place, number, method, told, b"/cut/%d" % number if cut else b"/%d" % number
            ):
                self.wrong(client, f"{PLACES[place]} /{number}: {why}; the head was {head!r}, the body {body[:80]!r}")
            self.done += 1
            if cut:
                self._count(self.cut_statuses[place], status)
                client.rest -= 1
                if client.rest <= 0:
                    self.drop(client)
                    return 0
            else:
                self._count(self.statuses[place], status)
                self.octets_out[place] += stop - at
            at = stop
            if b"\r\nConnection: close\r\n" in head:
                client.closing = True
                return at
        return at

    def verify(
        self,
        client: Client,
        head: bytes,
        status: bytes,
        body: bytes,
        size: int,
        place: int,
        number: int,
        method: bytes,
        told: bytes,
        target: bytes,
    ) -> str:
        """The fault of an answer, or ""."""
        at = head.find(b"\r\nX-Id: ")
        if at < 0:
            if place == RESPOND and status == b"200":
                return "" if b"\r\nX-Fixed: yes\r\n" in head and (method == b"H" or body == FIXED) else "not the fixed answer"
            if place == EXTRA and status == b"421":
                return ""
            if status in (b"502", b"503", b"504") and (
                place in (BROKEN, POST, CIRCUIT, RETRY, QUEUE) or (place == HEDGE and status == b"503")
            ):
                return ""
            return "an answer without X-Id"
        if head[at + 8 : head.index(b"\r\n", at + 8)] != target:
            return "THE ANSWER TO ANOTHER REQUEST"
        if method == b"P":
            if body != told:
                return f"not the octets that were sent: {told!r}"
            if status == b"200":
                self.acknowledged.append(number)
        else:
            times = repeats(number)
            if size != times * len(target) and size >= 0:
                return f"{size} octets instead of {times * len(target)}"
            if method == b"G" and body != target * times:
                return "THE BODY OF ANOTHER REQUEST"
        if status != b"200" and not (status == b"503" and place in (RETRY, CIRCUIT)):
            return "an unexpected status"
        if place == RULES:
            return _rules(client, head)
        return ""

    @staticmethod
    def _count(counts: dict[bytes, int], status: bytes) -> None:
        counts[status] = counts.get(status, 0) + 1

    def wrong(self, client: Client, what: str) -> None:
        """Note a mismatch."""
        if len(self.mismatches) < KEPT:
            self.mismatches.append(f"client {self.number}, batch {client.batch}: {what}")

    def report(self) -> dict[str, Any]:
        """All counts."""
        return {
            "done": self.done,
            "aborted": self.aborted,
            "unserved": self.unserved,
            "broken_off": self.broken_off,
            "connects": self.connects,
            "interims": self.interims,
            "posted": self.posted,
            "statuses": _named(self.statuses),
            "cut_statuses": _named(self.cut_statuses),
            "octets_in": dict(zip(PLACES, self.octets_in, strict=True)),
            "octets_out": dict(zip(PLACES, self.octets_out, strict=True)),
            "cut_asked": dict(zip(PLACES, self.cut_asked, strict=True)),
            "mismatches": self.mismatches,
        }


def _named(counts: list[dict[bytes, int]]) -> dict[str, dict[str, int]]:
    return {name: {status.decode(): count for status, count in found.items()} for name, found in zip(PLACES, counts, strict=True)}


def _field(head: bytes, name: bytes) -> int:
    at = head.find(b"\r\n" + name + b": ")
    return -1 if at < 0 else int(head[at + len(name) + 4 : head.index(b"\r\n", at + 2)])


def _rules(client: Client, head: bytes) -> str:
    """The fault of the header rules of an answer, or "": both are of one generation, and generations do not go back."""
    asked, answered = _field(head, b"X-Got"), _field(head, b"X-Generation")
    before, client.generation = client.generation, answered
    if asked != answered:
        return f"rules of two generations: {asked} and {answered}"
    return "" if before <= answered else f"generation {answered} after {before}"


def _chunks(data: bytes, at: int) -> tuple[int, bytes]:
    """(where a chunked body ends, its octets); (-1, b"") if it is not whole."""
    found = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return -1, b""
        size = int(data[at:end], 16)
        if not size:
            last = data.find(b"\r\n\r\n", end)
            return (-1, b"") if last < 0 else (last + 4, b"".join(found))
        found.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size
        if at > len(data):
            return -1, b""


def main() -> None:
    """Run the load and print what it counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("load", metavar="JSON", type=json.loads, help="as above")
    given = parser.parse_args().load
    load = Load(given)
    load.run()
    with Path(given["folder"], f"acknowledged-{load.number}").open("wb") as stream:
        load.acknowledged.tofile(stream)
    print(json.dumps(load.report()), flush=True)


if __name__ == "__main__":
    main()
