"""The cost of reading and writing a message head: microseconds, without sockets and processes.

    .venv/bin/python bench/heads.py

Each figure is the least of several rounds, in CPU time. "met before" is the next request of a client that sends the same fields again, or
the same response again. "new" has a field that no earlier head had, so that no cache helps.

The second table is for HTTP/2: a client whose table holds all fields but :path. "same block": it asks for the same path again. "known path": it
asks for one of two paths. "new path": no earlier request had the path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from terraster.wire.http1 import parse_request, parse_response
from terraster.wire.http2.fields import request_head, response_block
from terraster.wire.http2.hpack.reader import Decoder

ROUNDS = 9
HEADS = 4000

SMALL = b"GET /small HTTP/1.1\r\nHost: a.test:8080\r\n\r\n"

BROWSER = b"\r\n".join(
    (
        b"GET /assets/app.3f9c2b.js?v=12 HTTP/1.1",
        b"Host: www.example.com",
        b"Connection: keep-alive",
        b'sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
        b"sec-ch-ua-mobile: ?0",
        b'sec-ch-ua-platform: "Linux"',
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
        b"Sec-Fetch-Site: same-origin",
        b"Sec-Fetch-Mode: no-cors",
        b"Sec-Fetch-Dest: script",
        b"Referer: https://www.example.com/products/list",
        b"Accept-Encoding: gzip, deflate, br, zstd",
        b"Accept-Language: en-GB,en;q=0.9,de;q=0.8",
        b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.1.1234567890.1700000000; consent=yes",
        b'If-None-Match: "3f9c2b-1a2b"',
        b"",
        b"",
    )
)

RESPONSE = b"\r\n".join(
    (
        b"HTTP/1.1 200 OK",
        b"Server: nginx/1.22.1",
        b"Date: Fri, 27 Nov 2026 12:00:00 GMT",
        b"Content-Type: text/plain",
        b"Content-Length: 128",
        b"Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT",
        b"Connection: keep-alive",
        b'ETag: "6745-80"',
        b"Accept-Ranges: bytes",
        b"",
        b"",
    )
)

ABOUT = b"X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nVia: 1.1 terraster\r\nX-Request-ID: 0123456789ab\r\n"
NOTHING: frozenset[bytes] = frozenset()
KINDS: frozenset[int] = frozenset()


def requests(heads: Sequence[bytes]) -> None:
    for data in heads:
        parse_request(data, 32768, 100)


def responses(heads: Sequence[bytes]) -> None:
    for data in heads:
        parse_response(data, b"GET", 65536, 250)


def both_responses(heads: Sequence[bytes]) -> None:
    for data in heads:
        head = parse_response(data, b"GET", 65536, 250)
        assert head is not None
        head.forward(NOTHING, (), b"")


def both(heads: Sequence[bytes]) -> None:
    for data in heads:
        head = parse_request(data, 32768, 100)
        assert head is not None
        head.forward(b"/small", KINDS, NOTHING, ABOUT)


def same(head: bytes, _round: int) -> list[bytes]:
    """Copies of one head, each at another place in memory, as from a socket."""
    return [bytes(bytearray(head)) for _ in range(HEADS)]


def new(head: bytes, round_: int) -> list[bytes]:
    """Heads that each have a field that no earlier one had."""
    return [head[:-2] + b"X-Trace: %016x%016x\r\n\r\n" % (round_, number) for number in range(HEADS)]


def cost(call: Callable[[Sequence[bytes]], None], make: Callable[[bytes, int], list[bytes]], head: bytes) -> float:
    """Microseconds per head, the least of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        heads = make(head, next(_ROUNDS))
        start = process_time()
        call(heads)
        best = min(best, process_time() - start)
    return best / HEADS * 1e6


def in_http2(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields that a client of HTTP/2 sends for a head, all but :path, which goes last."""
    known = parse_request(head, 32768, 100)
    assert known is not None
    fields = [(b":method", known.method), (b":scheme", b"https"), (b":authority", known.host)]
    return fields + [(name.lower(), value) for name, value in known.fields if name not in (b"Host", b"Connection")]


def text(octets: bytes) -> bytes:
    return bytes((len(octets),)) + octets


def decoders(fields: list[tuple[bytes, bytes]]) -> tuple[Decoder, bytes]:
    """A reader that knows the fields, and the block that refers to them."""
    decoder = Decoder(65536)
    decoder.decode(b"".join([b"\x40" + text(name) + text(value) for name, value in fields]))
    return decoder, bytes([128 + 61 + len(fields) - at for at in range(len(fields))])


def blocks(start: bytes, end: bytes, kind: str) -> list[bytes]:
    """Blocks with an indexed :method in front, and :path as a literal that no table takes."""
    paths = {"same block": b"/small", "known path": b"/small%d", "new path": b"/small/%d/%d"}[kind]
    made = []
    for number in range(HEADS):
        path = paths
        if kind == "known path":
            path = paths % (number % 2)
        elif kind == "new path":
            path = paths % (next(_ROUNDS), number)
        made.append(start + b"\x04" + text(path) + end)
    return made


def cost_in_http2(head: bytes, kind: str, whole: bool) -> float:
    """Microseconds for reading a block, and for the head of the request too if ``whole``."""
    best = float("inf")
    decoder, block = decoders(in_http2(head))
    for _ in range(ROUNDS):
        heads = blocks(block[:3], block[3:], kind)
        start = process_time()
        for octets in heads:
            fields = decoder.decode(octets)
            if whole:
                request_head(fields, True, 100, 32768)
        best = min(best, process_time() - start)
    return best / HEADS * 1e6


def cost_of_responses(new_head: bool) -> float:
    """Microseconds for the field block of a response, with a Date from outside."""
    best = float("inf")
    for _ in range(ROUNDS):
        heads = [parse_response(data, b"GET", 65536, 250) for data in (new if new_head else same)(RESPONSE, next(_ROUNDS))]
        start = process_time()
        for head in heads:
            assert head is not None
            response_block(head, NOTHING, (), b"X-A: 1\r\n")
        best = min(best, process_time() - start)
    return best / HEADS * 1e6


_ROUNDS = count()


def main() -> None:
    print("| us | read | read and write |")
    print("|---|---:|---:|")
    for name, head in (("small GET", SMALL), ("browser, 15 fields", BROWSER)):
        for kind, make in (("met before", same), ("new", new)):
            print(f"| {name}, {kind} | {cost(requests, make, head):.2f} | {cost(both, make, head):.2f} |")
    for kind, make in (("met before", same), ("new", new)):
        read = cost(responses, make, RESPONSE)
        print(f"| response, 8 fields, {kind} | {read:.2f} | {cost(both_responses, make, RESPONSE):.2f} |")
    print()
    print("| us, HTTP/2 | read the block | and make the head |")
    print("|---|---:|---:|")
    for name, head in (("small GET", SMALL), ("browser, 17 fields", BROWSER)):
        for kind in ("same block", "known path", "new path"):
            print(f"| {name}, {kind} | {cost_in_http2(head, kind, False):.2f} | {cost_in_http2(head, kind, True):.2f} |")
    print()
    print("| us, HTTP/2 | write the block |")
    print("|---|---:|")
    print(f"| response, 8 fields, met before | {cost_of_responses(False):.2f} |")
    print(f"| response, 8 fields, new | {cost_of_responses(True):.2f} |")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
