"""Clients that leave, in every phase, by an end of their octets, a close or a reset; with and without `ignore_client_abort`."""

from __future__ import annotations

from terraster.state.cells import SeatBackend

from .lines import answered, asked, chunks, ok, req, resp, start
from .play import FIN, GONE, RST, Octets, Row, Scene, Step, after, b1, b2, client, counts, do, log, row, table, told, whole

GET = req("GET /a")
ASKED = asked("GET /a")
STAY = "ignore_client_abort: true"
ENDS: tuple[tuple[str, Octets], ...] = (("ends its octets", FIN), ("closes", GONE), ("resets", RST))


def leaves(
    name: str, *steps: Step, tried: tuple[object, ...] = (b1,), ends: tuple[Step, ...] = (b1 << FIN,), **keys: object
) -> list[Row]:
    """The client leaves after these steps: three ways to do that, one outcome. ends: what happens then."""
    return [
        row(
            f"{name}: the client {how}",
            *steps,
            client >> end,
            *ends,
            *([] if end is RST else [client << FIN]),
            log(499, *tried, error="connection_terminated"),  # type: ignore[arg-type]
            **keys,  # type: ignore[arg-type]
        )
        for how, end in ENDS
    ]


def stays(name: str, *steps: Step, **keys: object) -> Row:
    """The client has ended its octets and gets its answer all the same."""
    return row(
        name,
        *steps,
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        client << FIN,
        log(200, b1),
        service=STAY,
        **keys,  # type: ignore[arg-type]
    )


def _no_latency(scene: Scene) -> None:
    assert scene.stage.q[scene.stage.cell(b1.ip, SeatBackend.LATENCY)] == 0


test_leaving = table(
    *leaves("while the backend is connected to", b1.refuses("silence"), client >> GET, ends=()),
    *leaves("while the answer is waited for", client >> GET, b1 << ASKED),
    *leaves("while the head of the answer comes", client >> GET, b1 << ASKED, b1 >> "HTTP/1.1 2"),
    *leaves(
        "after an interim answer",
        client >> GET,
        b1 << ASKED,
        b1 >> "HTTP/1.1 103 Early Hints\r\n\r\n",
        client << start("103 Early Hints", date=False),
    ),
    *leaves(
        "while a body comes",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
    ),
    *leaves(
        "while chunks come",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Transfer-Encoding: chunked", body="3\r\none\r\n"),
        client << answered("200 OK", "Transfer-Encoding: chunked", body=chunks("one", last=False)),
        counts(b1, responses=1),
    ),
    *leaves(
        "while the rest of a request body is waited for",
        client >> req("POST /a", "Content-Length: 5"),
        b1 << asked("POST /a", "Content-Length: 5"),
    ),
    *leaves(
        "at the second backend",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        tried=(b1, b2),
        ends=(b2 << FIN,),
        backends=2,
    ),
    row(
        "a client that reads no more resets while a body goes to it",
        client >> GET,
        b1 << ASKED,
        client.room(100),
        b1 >> whole(ok("x" * 1000)),
        client.got(100),
        client >> RST,
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        cut=False,
    ),
    row(
        "a short answer that the client breaks off is no response, and its time is not among theirs",
        client >> GET,
        b1 << ASKED,
        after(2),
        client.room(10),
        b1 >> whole(ok("x" * 50)),
        client.got(10),
        client >> RST,
        b1 << FIN,
        log(499, b1, error="connection_terminated", upstream_time=2.0),
        do(_no_latency, "no time is counted"),
        cut=False,
    ),
    row(
        "a client that is gone is written to",
        client >> GET,
        b1 << ASKED,
        client.doom(),
        b1 >> ok("one"),
        log(200, b1),
        cut=False,
    ),
    row(
        "a client that is gone is written to again",
        client >> GET,
        b1 << ASKED,
        client.doom(),
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        cut=False,
    ),
    row(
        "a client that had sent its next request ahead leaves",
        client >> GET + req("GET /b"),
        b1 << ASKED,
        client >> GONE,
        b1 << FIN,
        client << FIN,
        log(499, b1, error="connection_terminated"),
        cut=False,
    ),
    row(
        "a client that sent something ahead while it was worked for, and leaves",
        client >> GET,
        b1 << ASKED,
        client >> "GET /b",
        client >> FIN,
        after(0.2),
        b1 << FIN,
        client << RST,
        log(499, b1, error="connection_terminated"),
    ),
    row(
        "a client that sends its next request ahead gets both answers",
        client >> GET,
        b1 << ASKED,
        client >> req("GET /b"),
        after(1),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        b1 << asked("GET /b", n=2),
        b1 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1),
    ),
)

test_staying = table(
    stays("ends its octets behind its request", client >> GET, b1 << ASKED, client >> FIN),
    stays("ends its octets, and time passes", client >> GET, b1 << ASKED, client >> FIN, after(5)),
    row(
        "ends its octets, and the backend fails",
        client >> GET,
        b1 << ASKED,
        client >> FIN,
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        b2 >> ok("one"),
        client << answered("200 OK", body="one"),
        client << FIN,
        log(200, b1, b2),
        backends=2,
        service=STAY,
    ),
    row(
        "resets: that shows when the answer is written",
        client >> GET,
        b1 << ASKED,
        client >> RST,
        b1 >> ok("one"),
        log(499, b1, error="connection_terminated"),
        b1 << FIN,
        service=STAY,
    ),
    row(
        "ends its octets within a body: that is no half of a request",
        client >> req("POST /a", "Content-Length: 5"),
        b1 << asked("POST /a", "Content-Length: 5"),
        client >> FIN,
        b1 << FIN,
        client << FIN,
        log(499, b1, error="connection_terminated"),
        service=STAY,
    ),
)
