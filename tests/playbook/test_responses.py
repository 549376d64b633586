"""Answers of backends on their way to the client: lengths, chunks, until the end, interim ones, and what is no answer at all."""

from __future__ import annotations

from terraster.net.body import BUFFER

from .lines import Expected, answered, asked, chunks, ok, refused, req, resp, start
from .play import FIN, GONE, RST, Octets, Row, after, at_once, b1, client, counts, log, row, table, told, whole

GET = req("GET /a")
ASKED = asked("GET /a")
HEAD = req("HEAD /a")
ASKED_HEAD = asked("HEAD /a")
OLD = req("GET /a HTTP/1.0")
ASKED_OLD = asked("GET /a", via="1.0")
NOT_AGAIN = "retry: off"
CHUNKED = "Transfer-Encoding: chunked"


def bad(name: str, answer: str | bytes, end: Octets | None = None, error: str = "http_protocol_error", **keys: object) -> Row:
    """What a backend sends in place of an answer, and that it then ends, perhaps."""
    return row(
        name,
        client >> GET,
        b1 << ASKED,
        b1 >> whole(answer),
        *([b1 >> end] if end else []),
        told(b1, "failure"),
        client << refused(502, error),
        *([b1 << FIN] if end is not RST else []),
        log(502, b1, error=error),
        location=NOT_AGAIN,
        **keys,  # type: ignore[arg-type]
    )


def relayed(
    name: str, answer: bytes, *gets: object, kept: bool = True, request: bytes = GET, ask: object = ASKED, **keys: object
) -> Row:
    """An answer that is passed on, after which the backend's connection is kept, or not."""
    return row(
        name,
        client >> request,
        b1 << ask,  # type: ignore[operator]
        b1 >> answer,
        *[client << one for one in gets],  # type: ignore[operator]
        *([] if kept else [b1 << FIN]),
        log(200, b1),
        **keys,  # type: ignore[arg-type]
    )


test_lengths = table(
    relayed("a body of known length", ok("hello"), answered("200 OK", body="hello")),
    relayed("no body", ok(), answered("200 OK")),
    relayed(
        "fields travel in their order and spelling",
        ok("x", "sErver: me", "Set-Cookie: a", "Set-Cookie: b"),
        answered("200 OK", "sErver: me", "Set-Cookie: a", "Set-Cookie: b", body="x"),
    ),
    relayed(
        "a date of the backend's own",
        ok("x", "Date: Thu, 01 Jan 1970 00:00:00 GMT"),
        answered("200 OK", "Date: Thu, 01 Jan 1970 00:00:00 GMT", body="x", date=False),
    ),
    relayed(
        "hop-by-hop fields stay",
        ok("x", "Keep-Alive: timeout=5", "Connection: keep-alive, x-mine", "X-Mine: 1", "Proxy-Connection: y"),
        answered("200 OK", body="x"),
    ),
    relayed("a backend that ends its connection", ok("x", "Connection: close"), answered("200 OK", body="x"), kept=False),
    relayed(
        "a backend of HTTP/1.0 ends its connection", resp("HTTP/1.0 200 OK", body="x"), answered("200 OK", body="x"), kept=False
    ),
    relayed(
        "a backend of HTTP/1.0 that keeps it",
        resp("HTTP/1.0 200 OK", "Connection: keep-alive", body="x"),
        answered("200 OK", body="x"),
    ),
    relayed(
        "more than was announced stays behind, and the connection ends",
        resp("200 OK", "Content-Length: 3", body="one more"),
        answered("200 OK", "Content-Length: 3", body="one"),
        kept=False,
        cut=False,
    ),
    relayed(
        "more where nothing was announced",
        resp("200 OK", "Content-Length: 0", body="more"),
        answered("200 OK", "Content-Length: 0"),
        kept=False,
        cut=False,
    ),
    row(
        "a body that comes bit by bit",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
        after(50),
        b1 >> "two",
        client << "two",
        log(200, b1, duration=50.0, upstream_time=0.0),
    ),
    row(
        "a client that reads slowly makes the backend wait",
        client >> GET,
        b1 << ASKED,
        client.room(100),
        b1 >> whole(resp("200 OK", "Content-Length: 300000", body="x" * 300000)),
        client.got(100),
        b1.unread(
            300043 - BUFFER + 37
        ),  # the buffer has the head for the client, too, which is 37 octets longer than the backend's
        client.room(1000000),
        client.drop(299900),
        log(200, b1),
        cut=False,
    ),
    row(
        "a long body: 1 MB as it comes",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(resp("200 OK", "Content-Length: 1000000", body="x" * 1000000)),
        client.drop(1000000),
        log(200, b1),
        cut=False,
    ),
    row(
        "a body that breaks off",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
        b1 >> GONE,
        told(b1, "failure"),
        b1 << FIN,
        client << FIN,
        log(200, b1, error="connection_terminated"),
    ),
    row(
        "a long body that breaks off is counted as a response",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(resp("200 OK", "Content-Length: 100000", body="one")),
        client << answered("200 OK", "Content-Length: 100000", body="one"),
        b1 >> RST,
        told(b1, "failure"),
        client << FIN,
        log(200, b1, error="connection_terminated"),
        counts(b1, bad_statuses=1, responses=1),
    ),
    row(
        "a body that stops coming",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
        after(60.3),
        told(b1, "failure"),
        b1 << FIN,
        client << FIN,
        log(200, b1, error="connection_read_timeout"),
    ),
    row(
        "HTTP/1.0 sees by a reset that a body broke off",
        client >> OLD,
        b1 << ASKED_OLD,
        b1 >> resp("200 OK", CHUNKED, body="3\r\none\r\n"),
        client << answered("200 OK", "Connection: close", body="one", length=False),
        b1 >> GONE,
        told(b1, "failure"),
        b1 << FIN,
        client << RST,
        log(200, b1, error="connection_terminated"),
        counts(b1, bad_statuses=1, responses=1),
    ),
)

test_no_body = table(
    row(
        "HEAD has no body, whatever the length",
        client >> HEAD,
        b1 << ASKED_HEAD,
        b1 >> resp("200 OK", "Content-Length: 5"),
        client << start("200 OK", "Content-Length: 5"),
        log(200, b1),
    ),
    row(
        "HEAD with chunks announced",
        client >> HEAD,
        b1 << ASKED_HEAD,
        b1 >> resp("200 OK", CHUNKED),
        client << start("200 OK"),
        log(200, b1),
    ),
    row(
        "HEAD with nothing announced",
        client >> HEAD,
        b1 << ASKED_HEAD,
        b1 >> resp("200 OK", length=False),
        client << start("200 OK"),
        log(200, b1),
    ),
    row(
        "HEAD with a body all the same: the connection ends",
        client >> HEAD,
        b1 << ASKED_HEAD,
        b1 >> whole(ok("hello")),
        client << start("200 OK", "Content-Length: 5"),
        b1 << FIN,
        log(200, b1),
    ),
    row(
        "204",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("204 No Content", length=False),
        client << start("204 No Content"),
        log(204, b1),
    ),
    row(
        "204 with a length loses it",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("204 No Content", "Content-Length: 0"),
        client << start("204 No Content"),
        log(204, b1),
    ),
    row(
        "204 with chunks loses them",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("204 No Content", CHUNKED),
        client << start("204 No Content"),
        log(204, b1),
    ),
    row(
        "304",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("304 Not Modified", "ETag: x", "Content-Length: 5"),
        client << start("304 Not Modified", "ETag: x", "Content-Length: 5"),
        log(304, b1),
    ),
    row(
        "HTTP/1.0 hears nothing of chunks in an answer to HEAD",
        client >> req("HEAD /a HTTP/1.0"),
        b1 << asked("HEAD /a", via="1.0"),
        b1 >> resp("200 OK", CHUNKED),
        client << start("200 OK", "Connection: close"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "HTTP/1.0 hears nothing of chunks in a 304",
        client >> OLD,
        b1 << ASKED_OLD,
        b1 >> resp("304 Not Modified", CHUNKED),
        client << start("304 Not Modified", "Connection: close"),
        client << FIN,
        log(304, b1),
    ),
)

BAD = whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")


def late(name: str, request: str, answer: bytes, got: Expected, status: int) -> Row:
    """A body comes behind an answer that has none, at the moment of the next request, which must not get it as its answer."""
    return row(
        name,
        client >> req(request),
        b1 << asked(request),
        b1 >> answer,
        client << got,
        log(status, b1),
        at_once(client >> req("GET /b"), b1 >> BAD),
        b1 << RST,
        b1[2] << asked("GET /b", n=2),
        b1[2] >> ok("good"),
        client << answered("200 OK", body="good"),
        log(200, b1),
    )


test_late_bodies = table(
    late(
        "behind an answer to HEAD",
        "HEAD /a",
        resp("200 OK", "Content-Length: 42"),
        answered("200 OK", "Content-Length: 42"),
        200,
    ),
    late("behind a 204", "GET /a", resp("204 No Content", length=False), answered("204 No Content", length=False), 204),
    late("behind a 304", "GET /a", resp("304 Not Modified", length=False), answered("304 Not Modified", length=False), 304),
    late("behind an empty answer", "POST /a", ok(), answered("200 OK"), 200),
)

test_chunks = table(
    relayed(
        "chunks",
        resp("200 OK", CHUNKED, body="5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        answered("200 OK", CHUNKED, body=chunks("hello world")),
    ),
    relayed(
        "chunks with trailers",
        resp("200 OK", CHUNKED, body="5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
        answered("200 OK", CHUNKED, body=chunks("hello", "X-Sum: 1")),
    ),
    relayed("chunks without a payload", resp("200 OK", CHUNKED, body="0\r\n\r\n"), answered("200 OK", CHUNKED, body=chunks(""))),
    relayed(
        "trailers that a rule takes away",
        resp("200 OK", CHUNKED, body="1\r\na\r\n0\r\nX_One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n\r\n"),
        answered("200 OK", CHUNKED, body=chunks("a", "X-Three: 3")),
        service="headers: {remove_response_headers: [X_One, X-Two]}",
    ),
    relayed(
        "something behind the chunks ends the connection",
        resp("200 OK", CHUNKED, body="0\r\n\r\nmore"),
        answered("200 OK", CHUNKED, body=chunks("")),
        kept=False,
        cut=False,
    ),
    row(
        "chunks as they come",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", CHUNKED),
        client << start("200 OK", CHUNKED),
        after(1),
        b1 >> "3\r\none\r\n",
        client << chunks("one", last=False),
        after(1),
        b1 >> "3\r\ntwo\r\n0\r\n\r\n",
        client << chunks("two"),
        log(200, b1, duration=2.0),
    ),
    row(
        "HTTP/1.0 gets the payload, and the end of the connection",
        client >> OLD,
        b1 << ASKED_OLD,
        b1 >> resp("200 OK", CHUNKED, body="5\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n"),
        client << answered("200 OK", "Connection: close", body="hello world", length=False),
        client << FIN,
        log(200, b1),
    ),
    row(
        "chunks that break off",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", CHUNKED, body="5\r\nhello\r\n"),
        client << answered("200 OK", CHUNKED, body=chunks("hello", last=False)),
        b1 >> GONE,
        told(b1, "failure"),
        b1 << FIN,
        client << FIN,
        log(200, b1, error="connection_terminated"),
        counts(b1, bad_statuses=1, responses=1),
    ),
    row(
        "chunks that turn malformed",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", CHUNKED, body="5\r\nhello\r\n"),
        client << answered("200 OK", CHUNKED, body=chunks("hello", last=False)),
        b1 >> whole("x\r\n"),
        told(b1, "failure"),
        b1 << FIN,
        client << FIN,
        log(200, b1, error="http_protocol_error"),
        counts(b1, bad_statuses=1, responses=1),
    ),
)

test_until_the_end = table(
    row(
        "a body that ends with the connection goes on in chunks, and the client's connection is kept",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", length=False, body="one"),
        client << answered("200 OK", CHUNKED, body=chunks("one", last=False)),
        b1 >> "two",
        client << chunks("two", last=False),
        b1 >> GONE,
        client << "0\r\n\r\n",
        b1 << FIN,
        log(200, b1),
        client >> req("GET /b"),
        b1[2] << asked("GET /b", n=2),
        b1[2] >> ok(),
        client << answered("200 OK"),
        log(200, b1),
    ),
    row(
        "an empty one",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", length=False),
        client << start("200 OK", CHUNKED),
        b1 >> GONE,
        client << "0\r\n\r\n",
        b1 << FIN,
        log(200, b1),
    ),
    row(
        "HTTP/1.0 gets it as it is",
        client >> OLD,
        b1 << ASKED_OLD,
        b1 >> resp("HTTP/1.0 200 OK", length=False, body="one"),
        client << answered("200 OK", "Connection: close", body="one", length=False),
        b1 >> GONE,
        b1 << FIN,
        client << FIN,
        log(200, b1),
    ),
    row(
        "a reset is no end",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", length=False, body="one"),
        client << answered("200 OK", CHUNKED, body=chunks("one", last=False)),
        b1 >> RST,
        told(b1, "failure"),
        client << FIN,
        log(200, b1, error="connection_terminated"),
        counts(b1, bad_statuses=1, responses=1),
    ),
)

test_interim = table(
    row(
        "103 goes to the client",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("103 Early Hints", "Link: </x>", length=False),
        client << start("103 Early Hints", "Link: </x>", date=False),
        after(1),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1, upstream_time=1.0),
    ),
    row(
        "several, and the answer behind them",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("100 Continue", length=False) + resp("103 Early Hints", "Link: </x>", length=False) + ok("one"),
        client << start("100 Continue", date=False),
        client << start("103 Early Hints", "Link: </x>", date=False),
        client << answered("200 OK", body="one"),
        log(200, b1),
    ),
    row(
        "HTTP/1.0 gets none",
        client >> OLD,
        b1 << ASKED_OLD,
        b1 >> resp("103 Early Hints", "Link: </x>", length=False) + ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
    ),
    row(
        "after one the request is not sent again",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("103 Early Hints", length=False),
        client << start("103 Early Hints", date=False),
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated"),
        log(502, b1, error="connection_terminated"),
    ),
    row(
        "after one the request is answered with an error of ours",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("103 Early Hints", length=False),
        client << start("103 Early Hints", date=False),
        after(60.3),
        told(b1, "failure"),
        client << refused(504, "connection_read_timeout"),
        b1 << FIN,
        log(504, b1, error="connection_read_timeout"),
    ),
    row(
        "as many as there may be, and one more",
        client >> GET,
        b1 << ASKED,
        b1 >> whole("HTTP/1.1 103 Early Hints\r\n\r\n" * 33),
        told(b1, "failure"),
        *([client << start("103 Early Hints", date=False)] * 32),
        client << refused(502, "http_protocol_error"),
        b1 << FIN,
        log(502, b1, error="http_protocol_error"),
    ),
)

test_no_answer = table(
    bad("no HTTP at all", "hello\r\n\r\n"),
    bad("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
    bad("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"),
    bad("two lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    bad("a length of letters", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    bad("a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    bad("another transfer coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    bad("a folded field", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"),
    bad("a head beyond all bounds", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 65516),
    bad("too many fields", "HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 251 + "\r\n"),
    bad("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    bad("the end within a head", "HTTP/1.1 200 O", GONE, "connection_terminated"),
    bad("a reset within a head", "HTTP/1.1 200 O", RST, "connection_terminated"),
    bad("the end in place of an answer", "", GONE, "connection_terminated"),
    bad("a reset in place of an answer", "", RST, "connection_terminated"),
)
