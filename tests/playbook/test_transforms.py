"""Transforms: what changes a body on its way to the client, how that is framed, and what comes out of a backend that pauses or breaks off."""

from __future__ import annotations

from typing import Any

from terraster.filters.contract import Filter
from terraster.wire.edits import Edits
from terraster.wire.transform import Payload

from .lines import asked, chunks, ok, refused, req, resp, start
from .play import FIN, GONE, RST, Row, Step, after, b1, b2, client, do, log, row, table, told, whole

GET = req("GET /a")
ASKED = asked("GET /a")
CHUNKED = "Transfer-Encoding: chunked"
NOT_AGAIN = "retry: off"
OVER: list[str] = []


class Loud:
    """Capitals, of which full eights are given out. At the end an exclamation mark."""

    def __init__(self) -> None:
        self.piece = 16
        self._held = b""

    def feed(self, payload: Payload) -> bytes:
        assert 0 < len(payload) <= 16
        self._held += bytes(payload).upper()
        full = len(self._held) & ~7
        out, self._held = self._held[:full], self._held[full:]
        return out

    def flush(self) -> bytes:
        out, self._held = self._held, b""
        return out

    def end(self, payload: Payload) -> bytes:
        assert len(payload) <= 16
        return self._held + bytes(payload).upper() + b"!"

    def took(self, octets: int, seconds: float) -> None:
        assert seconds >= 0

    def over(self) -> None:
        OVER.append("over")


class Shouting(Filter):
    """Makes every body loud."""

    __slots__ = ()
    name = "shouting"

    def on_response(self, exchange: Any, edits: Edits) -> None:
        edits.transform = Loud()
        edits.add(b"X-Loud", b"1")


def overs(many: int) -> Step:
    """So many transforms have ended since the last look."""

    def check(scene: object) -> None:
        assert len(OVER) == many, f"{len(OVER)} transforms have ended, expected {many}"
        OVER.clear()

    return do(check, f"{many} transforms ended", loose=True)


def loud(name: str, *steps: Step, ended: int = 1, **keys: object) -> Row:
    begin = do(lambda scene: OVER.clear(), "no transform has ended yet", loose=True)
    return row(name, begin, *steps, overs(ended), filters=(Shouting,), **keys)  # type: ignore[arg-type]


LOUD = start("200 OK", "X-Loud: 1", CHUNKED)

test_framing = table(
    loud(
        "a body of known length goes in chunks, and both connections are used again",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("hello"),
        client << LOUD,
        client << chunks("HELLO!"),
        log(200, b1),
        client >> GET,
        b1 << asked("GET /a", n=2),
        b1 >> ok("again"),
        client << LOUD,
        client << chunks("AGAIN!"),
        log(200, b1),
        ended=2,
    ),
    loud(
        "a long body is changed piece by piece",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("abcdefghij" * 20),
        client << LOUD,
        client << chunks("ABCDEFGHIJ" * 20 + "!"),
        log(200, b1),
    ),
    loud(
        "a body in chunks keeps its trailers",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", CHUNKED, body="3\r\none\r\n4\r\n two\r\n0\r\nX-T: 1\r\n\r\n", length=False),
        client << LOUD,
        client << chunks("ONE TWO!", "X-T: 1"),
        log(200, b1),
    ),
    loud(
        "a body that ends with the backend's connection",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", body="hello", length=False),
        b1 >> GONE,
        client << LOUD,
        client << chunks("HELLO!"),
        b1 << FIN,
        log(200, b1),
    ),
    loud(
        "for a client of HTTP/1.0 the body ends with the connection",
        client >> req("GET /a HTTP/1.0"),
        b1 << asked("GET /a", via="1.0"),
        b1 >> ok("hello"),
        client << start("200 OK", "X-Loud: 1", "Connection: close"),
        client << "HELLO!",
        client << FIN,
        client >> GONE,
        log(200, b1),
    ),
    loud(
        "a response without a body is not changed",
        client >> req("HEAD /a"),
        b1 << asked("HEAD /a"),
        b1 >> resp("200 OK", "Content-Length: 5"),
        client << start("200 OK", "X-Loud: 1", "Content-Length: 5"),
        log(200, b1),
        ended=0,
    ),
    loud(
        "an answer of our own is not changed",
        client >> req("GET /b"),
        client << refused(404, "destination_not_found", "X-Loud: 1"),
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
        ended=0,
    ),
)

test_pauses = table(
    loud(
        "what is held back goes out when the backend pauses",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 8", body="one", length=False),
        after(0.02),
        client << LOUD,
        client << chunks("ONE", last=False),
        b1 >> "two",
        after(0.02),
        client << chunks("TWO", last=False),
        after(5),
        b1 >> "xx",
        client << chunks("XX!"),
        log(200, b1),
    ),
    loud(
        "a head waits no longer than that for its body",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", CHUNKED, length=False),
        after(0.02),
        client << LOUD,
        after(3),
        b1 >> "3\r\none\r\n0\r\n\r\n",
        client << chunks("ONE!"),
        log(200, b1),
    ),
    loud(
        "a backend that stays silent is given up after the timeout",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 8", body="one", length=False),
        after(0.02),
        client << LOUD,
        client << chunks("ONE", last=False),
        after(3),
        told(b1, "failure"),
        b1 << FIN,
        client << FIN,
        client >> GONE,
        log(200, b1, error="connection_read_timeout"),
        service="timeouts: {read: 2s}",
    ),
)

test_ends = table(
    loud(
        "a backend that breaks off: the body does not end",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 80", body="hello", length=False),
        after(0.02),
        client << LOUD,
        client << chunks("HELLO", last=False),
        b1 >> "ohh",
        b1 >> RST,
        told(b1, "failure"),
        client << FIN,
        client >> GONE,
        log(200, b1, error="connection_terminated"),
    ),
    loud(
        "a backend that breaks off before anything has gone out: another one is asked",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(resp("200 OK", "Content-Length: 80", body="hello", length=False)),
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        b2 >> ok("hi"),
        client << LOUD,
        client << chunks("HI!"),
        log(200, b1, b2),
        backends=2,
        ended=2,
    ),
    loud(
        "a client that leaves",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 80", body="hello", length=False),
        after(0.02),
        client << LOUD,
        client << chunks("HELLO", last=False),
        client >> GONE,
        b1 << FIN,
        client << FIN,
        log(499, b1, error="connection_terminated"),
    ),
)
