"""Compression in the life of a request: framing, pauses, trailers, ends. Which responses: tests/test_filters_compression.py."""

from __future__ import annotations

import re
import zlib

from .lines import Expected, Mismatch, answered, asked, ok, req, resp, start
from .play import FIN, GONE, RST, Row, after, b1, b2, client, counts, log, row, table, told
from .stage import Stage

TEXT = "hello world " * 100
HTML = "Content-Type: text/html"
GET = req("GET /a", "Accept-Encoding: gzip")
ASKED = asked("GET /a", "Accept-Encoding: gzip")
ON = {"service": "compression: on"}
CHUNKED = "Transfer-Encoding: chunked"
PACKED = ("Content-Encoding: gzip", "Vary: Accept-Encoding", HTML, CHUNKED)


class gzipped(Expected):
    """Chunks with a gzip stream that becomes this payload. last: the stream and the chunks end here."""

    def __init__(self, payload: str, *trailers: str, last: bool = True) -> None:
        self.payload, self.trailers, self.last = payload.encode(), trailers, last

    def take(self, sent: bytes, stage: Stage) -> int:
        at, payload, reader = 0, b"", zlib.decompressobj(31)
        while (found := re.compile(rb"([0-9a-f]+)\r\n").match(sent, at)) is not None and found[1] != b"0":
            size, begin = int(found[1], 16), found.end()
            payload += reader.decompress(sent[begin : begin + size])
            at = begin + size + 2
        if payload != self.payload or reader.eof is not self.last:
            raise Mismatch(f"decoded {payload!r} in place of {self.payload!r}, ended: {reader.eof}")
        end = b"0\r\n" + b"".join(line.encode() + b"\r\n" for line in self.trailers) + b"\r\n" if self.last else b""
        if not sent.startswith(end, at):
            raise Mismatch(f"expected the end of the chunks, {end!r}, got {sent[at:]!r}")
        return at + len(end)

    def __repr__(self) -> str:
        return f"gzip of {self.payload!r}"


def packed(name: str, response: bytes, *fields: str, trailers: tuple[str, ...] = (), kept: bool = True) -> Row:
    """A response that is compressed."""
    return row(
        name,
        client >> GET,
        b1 << ASKED,
        b1 >> response,
        *([] if kept else [b1 >> GONE]),
        client << answered("200 OK", *PACKED, *fields, body=gzipped(TEXT, *trailers)),
        *([] if kept else [b1 << FIN]),
        log(200, b1),
        **ON,
    )


test_framing = table(
    packed("a body of known length", ok(TEXT, HTML, 'ETag: "x"', "Accept-Ranges: bytes"), 'ETag: W/"x"'),
    packed(
        "a body in chunks, with trailers but those about the octets before",
        resp("200 OK", HTML, CHUNKED, body=f"4b0\r\n{TEXT}\r\n0\r\nX-T: 1\r\nDigest: x\r\n\r\n"),
        trailers=("X-T: 1",),
    ),
    packed("a body until the end of the connection", resp("200 OK", HTML, body=TEXT, length=False), kept=False),
    row(
        "HEAD",
        client >> req("HEAD /a", "Accept-Encoding: gzip"),
        b1 << asked("HEAD /a", "Accept-Encoding: gzip"),
        b1 >> resp("200 OK", HTML, "Content-Length: 5000", 'ETag: W/"x"'),
        client << start("200 OK", "Content-Encoding: gzip", "Vary: Accept-Encoding", HTML, 'ETag: W/"x"'),
        log(200, b1),
        client >> GET,
        b1 << asked("GET /a", "Accept-Encoding: gzip", n=2),
        b1 >> ok("short", HTML),
        client << answered("200 OK", HTML, body="short"),
        log(200, b1),
        **ON,
    ),
    row(
        "a client that does not ask",
        client >> req("GET /a"),
        b1 << asked("GET /a"),
        b1 >> ok(TEXT, HTML),
        client << answered("200 OK", HTML, "Vary: Accept-Encoding", body=TEXT),
        log(200, b1),
        **ON,
    ),
    row(
        "rules for headers come first",
        client >> GET,
        b1 << ASKED,
        b1 >> ok(TEXT, HTML),
        client << answered("200 OK", HTML, "Cache-Control: no-transform", body=TEXT),
        log(200, b1),
        service="compression: on\nheaders: {response_headers: {Cache-Control: no-transform}}",
    ),
)

test_times = table(
    row(
        "what a backend sends before a pause goes out",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", HTML, CHUNKED, body=f"4b0\r\n{TEXT}\r\n"),
        after(0.02),
        client << answered("200 OK", *PACKED, body=gzipped(TEXT, last=False)),
        client >> GONE,
        b1 << FIN,
        client << FIN,
        log(499, b1, error="connection_terminated"),
        counts(b1, responses=1),
        **ON,
    ),
    row(
        "a backend that breaks off: neither gzip nor the chunks end",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", HTML, CHUNKED, body=f"4b0\r\n{TEXT}\r\n"),
        after(0.02),
        client << answered("200 OK", *PACKED, body=gzipped(TEXT, last=False)),
        b1 >> RST,
        told(b1, "failure"),
        client << FIN,
        client >> GONE,
        log(200, b1, error="connection_terminated"),
        counts(b1, responses=1, bad_statuses=1),
        **ON,
    ),
    row(
        "a backend that breaks off at once: another one is asked",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", HTML, "Content-Length: 2000", body=TEXT),
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        b2 >> ok(TEXT, HTML),
        client << answered("200 OK", *PACKED, body=gzipped(TEXT)),
        log(200, b1, b2),
        backends=2,
        **ON,
    ),
)
