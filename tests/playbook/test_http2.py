"""HTTP/2 from a client: what of a request's life depends on it. All else holds for both versions, and has its rows over HTTP/1.1."""

from __future__ import annotations

from ..harness.http2 import continuation, data, frame, headers, rst, window
from .frames import ask, declined, forwarded, frames, greeting, replied
from .lines import chunks, ok, resp
from .play import (
    FIN,
    GONE,
    RST,
    Row,
    Scene,
    Step,
    after,
    b1,
    b2,
    client,
    counts,
    do,
    drain,
    learnt,
    log,
    reload,
    row,
    table,
    told,
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


def _has_no_greenlet(scene: Scene) -> None:
    assert not scene.stage.hub.greenlets, scene.stage.hub.greenlets


test_idle = table(
    spoken(
        "a connection without a request has no greenlet, before the first one and behind it",
        do(_has_no_greenlet, "no greenlet carries it"),
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        do(_has_no_greenlet, "no greenlet carries it"),
        client >> ask(3, "GET /b"),
        b1 << forwarded("GET /b", n=2),
        b1 >> ok("two"),
        client << replied(3, 200, body="two"),
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

TOTAL = "timeouts: {total: 10s}"
SPOKEN = "http2: true\n"
FEW = SPOKEN + "max_generations: 1\n"

test_times = table(
    spoken(
        "an exchange that takes too long in all, beside one that does not",
        client >> GET,
        b1 << ASKED,
        after(6),
        client >> ask(3, "GET /b"),
        b1[2] << forwarded("GET /b", n=2),
        after(4.3),
        told(b1, "failure"),
        client << declined(1, 504, "http_response_timeout"),
        b1 << FIN,
        log(504, b1, error="http_response_timeout"),
        b1[2] >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b1),
        service=TOTAL,
    ),
    spoken(
        "one that takes too long while its answer comes is broken off, and nobody is to blame",
        client >> GET,
        b1 << ASKED,
        after(8),
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << replied(1, 200, "content-length: 6", body="one", end=False),
        after(2.3),
        client << frames("RST_STREAM 1 INTERNAL_ERROR"),
        b1 << FIN,
        log(200, b1, error="http_response_timeout"),
        service=TOTAL,
    ),
    spoken(
        "the backend is silent within its answer",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << replied(1, 200, "content-length: 6", body="one", end=False),
        after(60.3),
        told(b1, "failure"),
        client << frames("RST_STREAM 1 INTERNAL_ERROR"),
        b1 << FIN,
        log(200, b1, error="connection_read_timeout"),
    ),
    spoken(
        "the client gives no window for an answer that is here",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(ok("one")),
        client << replied(1, 200, "content-length: 3", end=False),
        after(60.3),
        client << frames("RST_STREAM 1 CANCEL"),
        b1 << FIN,  # as it was idle for so long
        log(499, b1, error="connection_terminated", detail="the client stopped reading"),
        counts(b1, responses=1),
        settings=((4, 0),),
    ),
    spoken(
        "the client gives window at last",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(ok("one")),
        client << replied(1, 200, "content-length: 3", end=False),
        after(50),
        client >> window(1, 2),
        client << replied(1, body="on", end=False),
        after(50),
        b1 << FIN,
        client >> window(1, 2),
        client << replied(1, body="e"),
        log(200, b1),
        settings=((4, 0),),
    ),
)

BOTH_CANCELLED = frames(lambda seen: sorted(seen) == ["RST_STREAM 1 CANCEL", "RST_STREAM 3 CANCEL"], "both are cancelled")
STAY = "ignore_client_abort: true"

test_leaving = table(
    spoken(
        "the client resets a stream: the backend is left, and the connection goes on",
        client >> GET,
        b1 << ASKED,
        client >> rst(1),
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        client >> ask(3, "GET /b"),
        b1[2] << forwarded("GET /b", n=2),
        b1[2] >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b1),
    ),
    spoken(
        "the client resets a stream, and the backend is to finish all the same",
        client >> GET,
        b1 << ASKED,
        client >> rst(1),
        after(1),
        b1 >> whole(ok("one")),
        b1.still_open(),
        log(499, b1, error="connection_terminated"),
        counts(b1, responses=1),
        service=STAY,
    ),
    spoken(
        "the client resets a stream within its body: that is no half of a request",
        client >> ask(1, "POST /a", end=False) + data(1, b"abc"),
        b1 << forwarded("POST /a", "transfer-encoding: chunked", body=chunks("abc", last=False)),
        client >> rst(1),
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        service=STAY,
    ),
    spoken(
        "the client breaks a rule of a stream: it is reset, and the log says why",
        client >> ask(1, "POST /a", "content-length: 4", body=b"abc", end=False),
        b1 << forwarded("POST /a", "content-length: 4", body="abc"),
        client >> data(1, b"de"),
        client << frames("RST_STREAM 1 PROTOCOL_ERROR"),
        b1 << FIN,
        log(499, b1, error="http_request_error", detail="the client broke a rule of HTTP/2 within its request"),
    ),
    *(
        spoken(
            f"the client {how} while two of its requests are under way",
            client >> GET + ask(3, "GET /b"),
            b1 << ASKED,
            b1[2] << forwarded("GET /b", n=2),
            client >> end,
            b1 << FIN,
            b1[2] << FIN,
            *([client << BOTH_CANCELLED, client << FIN] if end is FIN else []),
            log(499, b1, error="connection_terminated"),
            log(499, b1, error="connection_terminated"),
        )
        for how, end in (("ends its octets", FIN), ("closes", GONE), ("resets", RST))
    ),
    spoken(
        "the client closes, and the backend is to finish all the same",
        client >> GET,
        b1 << ASKED,
        client >> GONE,
        after(1),
        b1 >> ok("one"),
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        service=STAY,
    ),
)

test_waiting = table(
    spoken(
        "who finds no room waits, though it is the same client, and goes on the moment there is some",
        client >> GET + ask(3, "GET /b"),
        b1 << ASKED,
        after(1),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        b1 << forwarded("GET /b", n=2),
        b1 >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b1, duration=1.0),
        backends="max_connections: 1",
    ),
    spoken(
        "who waits for too long is told when to come again",
        client >> GET + ask(3, "GET /b"),
        b1 << ASKED,
        after(2.02),
        client << declined(3, 503, "connection_limit_reached", "retry-after: 2", n=2),
        log(503, error="connection_limit_reached"),
        counts(queue_timeouts=1),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        backends="max_connections: 1",
        location="queue: {timeout: 2s}",
    ),
    spoken(
        "who is reset while it waits is not asked for",
        client >> GET + ask(3, "GET /b") + ask(5, "GET /c"),
        b1 << ASKED,
        client >> rst(3),
        log(499, error="connection_terminated"),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        b1 << forwarded("GET /c", n=3),
        b1 >> ok("three"),
        client << replied(5, 200, body="three"),
        log(200, b1),
        backends="max_connections: 1",
    ),
)

HEDGED = (learnt(0.1), client >> GET, b1 << ASKED, after(0.2), b2 << ASKED)

test_hedging = table(
    spoken(
        "the second backend wins",
        *HEDGED,
        b2 >> ok("two"),
        b1 << FIN,
        client << replied(1, 200, body="two"),
        log(200, b1, b2, duration=0.2),
        counts(hedges=1),
        counts(b1, requests=1),
        backends=2,
        location="retry: {hedge: 95}",
    ),
    spoken(
        "the client resets the stream while both are asked",
        *HEDGED,
        client >> rst(1),
        b1 << FIN,
        b2 << FIN,
        log(499, b2, b1, error="connection_terminated"),
        counts(b1, retries=0),
        counts(b2, retries=1),
        counts(hedges=1),
        backends=2,
        location="retry: {hedge: 95}",
    ),
)

EXPECTS = ask(1, "POST /a", "Expect: 100-continue", "Content-Length: 5", end=False)
EXPECTED = ("content-length: 5", "expect: 100-continue")
HINTS = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

test_interim = table(
    spoken(
        "the backend asks for the body",
        client >> EXPECTS,
        b1 << forwarded("POST /a", *EXPECTED),
        b1 >> "HTTP/1.1 100 Continue\r\n\r\n",
        client << replied(1, 100, end=False, length=False),
        client >> data(1, b"hello", end=True),
        b1 << "hello",
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
    ),
    spoken(
        "the backend declines the body",
        client >> EXPECTS,
        b1 << forwarded("POST /a", *EXPECTED),
        b1 >> resp("417 Expectation Failed"),
        client << replied(1, 417),
        b1 << FIN,
        log(417, b1),
        after(4.5),
        client << frames("RST_STREAM 1 NO_ERROR"),
    ),
    spoken(
        "the client does not wait to be asked",
        client >> EXPECTS + data(1, b"hello", end=True),
        b1 << forwarded("POST /a", *EXPECTED, body="hello"),
        b1 >> "HTTP/1.1 100 Continue\r\n\r\n" + "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
        client << replied(1, 100, end=False, length=False),
        client << replied(1, 200, body="one"),
        log(200, b1),
    ),
    spoken(
        "hints go to the client, each as a head of its own",
        client >> GET,
        b1 << ASKED,
        b1 >> HINTS + HINTS,
        client << replied(1, 103, "link: </x>", end=False, length=False),
        client << replied(1, 103, "link: </x>", end=False, length=False),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
    ),
    spoken(
        "as many as there may be, and one more",
        client >> GET,
        b1 << ASKED,
        b1 >> whole("HTTP/1.1 103 Early Hints\r\n\r\n" * 33),
        told(b1, "failure"),
        *([client << replied(1, 103, end=False, length=False)] * 32),
        client << declined(1, 502, "http_protocol_error"),
        b1 << FIN,
        log(502, b1, error="http_protocol_error"),
    ),
    spoken(
        "after one the request is not sent again",
        client >> GET,
        b1 << ASKED,
        b1 >> HINTS,
        client << replied(1, 103, "link: </x>", end=False, length=False),
        b1 >> RST,
        told(b1, "failure"),
        client << declined(1, 502, "connection_terminated"),
        log(502, b1, error="connection_terminated"),
    ),
)

RULES = """\
headers:
  request_headers: {X-From: "${remote_addr}"}
  remove_request_headers: [X-Gone]
  response_headers: {X-Site: one}
  remove_response_headers: [Server]
"""

test_heads = table(
    spoken(
        "rules for requests and responses",
        client >> ask(1, "GET /a", "X-Gone: 1"),
        b1 << forwarded("GET /a", "X-From: 192.0.2.7"),
        b1 >> resp("200 OK", "Server: x", body="one"),
        client << replied(1, 200, "x-site: one", body="one"),
        log(200, b1),
        location=RULES,
    ),
    spoken(
        "rules for an answer of our own",
        client >> ask(1, "POST /a"),
        b1 << forwarded("POST /a", "content-length: 0", "X-From: 192.0.2.7"),
        b1 >> whole("hello\r\n\r\n"),
        told(b1, "failure"),
        b1 << FIN,
        client << declined(1, 502, "http_protocol_error", "x-site: one"),
        log(502, b1, error="http_protocol_error"),
        location=RULES,
    ),
    spoken(
        "a redirect, and another request behind it",
        client >> ask(1, "GET /old/x") + ask(3, "HEAD /old"),
        client << replied(1, 308, "location: /new/x"),
        client << replied(3, 308, "location: /new"),
        log(308),
        log(308),
        locations="- path: /old\n  redirect: /new",
    ),
    spoken(
        "a redirect for a body that is still to come",
        client >> ask(1, "POST /old", end=False),
        client << replied(1, 308, "location: /new"),
        log(308),
        client << frames("WINDOW_UPDATE 1 983041"),
        client >> data(1, b"abc", end=True),
        client >> ask(3, "GET /old"),
        client << replied(3, 308, "location: /new"),
        log(308),
        locations="- path: /old\n  redirect: /new",
    ),
    spoken(
        "a fixed answer, for HEAD without its body",
        client >> ask(1, "GET /fixed") + ask(3, "HEAD /fixed"),
        client << replied(1, 200, "content-type: text/plain; charset=utf-8", body="hello"),
        client << replied(3, 200, "content-type: text/plain; charset=utf-8", "content-length: 5"),
        log(200),
        log(200),
        locations="- path: /fixed\n  respond: {body: hello}",
    ),
)

MOVED = {"locations": "- path: /\n  backends: [{url: 'http://10.0.0.2:8000'}]", "top": SPOKEN}
GOING = "GOAWAY 2147483647 NO_ERROR"

test_reloads = table(
    spoken(
        "a request under way goes on with the old configuration, the next one begins with the new one",
        client >> GET,
        b1 << ASKED,
        reload(**MOVED),
        client >> ask(3, "GET /b"),
        b2 << forwarded("GET /b", n=2),
        b2 >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b2),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        b1 << FIN,
        log(200, b1),
    ),
    spoken(
        "a listener that is gone ends its connections once their requests are answered",
        client >> GET,
        b1 << ASKED,
        reload(service="listen: '127.0.0.1:81'", top=SPOKEN),
        client << frames(GOING, "PING drained?"),
        client >> frame(6, 1, 0, b"drained?"),
        client << frames("GOAWAY 1 NO_ERROR"),
        client >> ask(3, "GET /b"),
        client << frames("RST_STREAM 3 REFUSED_STREAM"),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        client << FIN,
        client >> GONE,
    ),
    spoken(
        "a request that comes before the client has heard that its listener is gone is answered",
        reload(service="listen: '127.0.0.1:81'", top=SPOKEN),
        client << frames(GOING, "PING drained?"),
        client >> GET,
        b1 << ASKED,
        after(2.1),
        client << frames("GOAWAY 1 NO_ERROR"),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        client << FIN,
        client >> GONE,
    ),
    spoken(
        "the worker ends",
        client >> GET,
        b1 << ASKED,
        drain(),
        client << frames(GOING, "PING drained?"),
        client >> frame(6, 1, 0, b"drained?"),
        client << frames("GOAWAY 1 NO_ERROR"),
        b1 >> ok("one"),
        client << replied(1, 200, body="one"),
        log(200, b1),
        client << FIN,
        client >> GONE,
    ),
    spoken(
        "too many old generations: the requests of the oldest end, and no others of their connection",
        client >> GET,
        b1 << ASKED,
        reload(top=FEW, location="timeouts: {read: 61s}"),
        client >> ask(3, "GET /b"),
        b1[2] << forwarded("GET /b", n=2),
        reload(top=FEW, location="timeouts: {read: 62s}"),
        b1 << FIN,
        client << declined(1, 503, "proxy_internal_error"),
        log(503, b1, error="proxy_internal_error"),
        b1[2] >> ok("two"),
        client << replied(3, 200, body="two"),
        log(200, b1),
        top="max_generations: 1\n",
    ),
)
