"""HTTP/2 from a client: what of a request's life depends on it. All else holds for both versions, and has its rows over HTTP/1.1."""

from __future__ import annotations

from ..harness.http2 import continuation, data, frame, headers, rst
from .frames import ask, forwarded, frames, greeting, replied
from .lines import chunks, ok
from .play import (
    FIN,
    GONE,
    Row,
    Step,
    after,
    b1,
    client,
    log,
    row,
    table,
    whole,
)

GET = ask(1, "GET /a")
ASKED = forwarded("GET /a")


def spoken(name: str, *steps: Step, top: str = "", settings: tuple[tuple[int, int], ...] = (), **keys: object) -> Row:
    """A row whose client speaks HTTP/2."""
    return row(name, *greeting(client, *settings), *steps, top=f"http2: true\n{top}", **keys)  # type: ignore[arg-type]


test_requests = table(
    spoken(
        "a request goes to the backend, and its answer back",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
    ),
    spoken(
        "two requests beside each other: each is answered when its backend answers",
        client >> GET + ask(3, "GET /b"),
        b1 << ASKED,
        b1[2] << forwarded("GET /b", n=2),
        b1[2] >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b1),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
    ),
    spoken(
        "a body of unknown length, in pieces of one octet",
        client >> ask(1, "POST /a", end=False) + b"".join(data(1, b"abcdefgh"[at : at + 1]) for at in range(8)) + data(1, end=True),
        b1 << forwarded("POST /a", "transfer-encoding: chunked", body=chunks("abcdefgh")),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
    ),
)

WRONG = frame(5, 4, 1, bytes(4))  # PUSH_PROMISE, which no client may send

test_ends = table(
    spoken(
        "a request that comes in one read with what ends the connection is not begun",
        client >> whole(GET + WRONG),
        client << frames("GOAWAY 1 PROTOCOL_ERROR"),
        client << FIN,
        client >> GONE,
    ),
    spoken(
        "one that was begun before is logged",
        client >> whole(GET),
        b1 << ASKED,
        client >> whole(WRONG),
        client << frames("GOAWAY 1 PROTOCOL_ERROR", "RST_STREAM 1 CANCEL"),
        client << FIN,
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        client >> GONE,
    ),
    spoken(
        "a request that is reset in the same read is not begun",
        client >> whole(GET + rst(1) + ask(3, "GET /b")),
        b1 << forwarded("GET /b"),
        b1 >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b1),
    ),
)

SLOW_HEAD = frame(1, 1, 3, b"\x82")
IN_TIME = "timeouts: {client_header: 10s}"


def _one_more(number: int, begun: bytes = b"") -> list[Step]:
    """The rest of a head comes, and the beginning of the next one with it. begun: what came of it before."""
    return [
        client >> ask(number, "GET /a").removeprefix(begun) + ask(number + 2, "GET /a")[:12],
        b1 << forwarded("GET /a", n=(number + 1) // 2),
        b1 >> ok("one"),
        client << replied(number, 200, body="one"),
        log(200, b1),
        after(8.0),
    ]


test_slow_heads = table(
    *(
        spoken(
            f"{what} that does not come to its end, beside a request under way",
            client >> GET,
            b1 << ASKED,
            client >> octets,
            after(9.0),
            client.still_open(),
            after(2.5),
            client << frames("GOAWAY 1 NO_ERROR", "RST_STREAM 1 CANCEL"),
            client << FIN,
            b1 << FIN,
            log(499, b1, error="connection_terminated"),
            client >> GONE,
            top=IN_TIME,
        )
        for what, octets in {"a head": SLOW_HEAD, "a frame of a head": SLOW_HEAD[:-1]}.items()
    ),
    spoken(
        "a head that does not come to its end, and no request",
        client >> SLOW_HEAD,
        after(11.5),
        client << frames("GOAWAY 0 NO_ERROR"),
        client << FIN,
        client >> GONE,
        top=IN_TIME,
    ),
    spoken(
        "a head in two frames that come in time, and a backend that takes longer",
        client >> frame(1, 1, 1, headers(1)[9:12]),
        after(5.0),
        client >> continuation(1, headers(1)[12:], True),
        b1 << forwarded("GET /"),
        after(20.0),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        top=IN_TIME,
    ),
    spoken(
        "the time of a head is its own, also if it began before the one in front of it was complete",
        *_one_more(1),
        *_one_more(3, ask(3, "GET /a")[:12]),
        *_one_more(5, ask(5, "GET /a")[:12]),
        *_one_more(7, ask(7, "GET /a")[:12]),
        top=IN_TIME,
    ),
)
