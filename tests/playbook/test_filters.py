"""Filters: what each of the five hooks is asked, when, and what becomes of one that is broken."""

from __future__ import annotations

from typing import Any

from terraster.errors import HttpError
from terraster.filters.answer import Answer
from terraster.filters.contract import Filter
from terraster.wire.edits import Edits

from .lines import answered, asked, ok, refused, req, resp, start
from .play import FIN, GONE, RST, Row, Step, after, b1, b2, client, counts, defect, learnt, log, row, table, told, whole

GET = req("GET /a")
ASKED = asked("GET /a")
OK = answered("200 OK", body="one")
MARKED = answered("200 OK", "X-Mark: 200", body="one")
ID_1 = b"0123456789abcdef00000001"
NOT_AGAIN = "retry: off"


class Answering(Filter):
    """Answers /own, refuses /no, and breaks at /broken."""

    __slots__ = ()
    name = "answering"

    def on_request(self, exchange: Any) -> Answer | None:
        if exchange.path == b"/own":
            return Answer(200, ((b"X-Own", b"1"),), b"mine")
        if exchange.path == b"/no":
            raise HttpError("not like this", status=403, reason="http_request_denied")
        if exchange.path == b"/broken":
            raise ZeroDivisionError("boom")
        return None


class Later(Filter):
    """Answers what nobody before has."""

    __slots__ = ()
    name = "later"

    def on_request(self, exchange: Any) -> Answer | None:
        return Answer(204)


class Asking(Filter):
    """Says which attempt it is, and takes Cookie out."""

    __slots__ = ()
    name = "asking"

    def on_upstream(self, exchange: Any, edits: Edits) -> None:
        edits.set(b"X-Attempt", b"%d" % exchange.tries)
        edits.remove(b"Cookie")


class Marking(Filter):
    """Puts the status into every head, and takes Server out."""

    __slots__ = ()
    name = "marking"

    def on_response(self, exchange: Any, edits: Edits) -> None:
        edits.set(b"X-Mark", b"%d" % edits.status)
        edits.remove(b"Server")


class Comforting(Filter):
    """Has a page of its own for what backends fail at."""

    __slots__ = ()
    name = "comforting"

    def on_error(self, exchange: Any, error: HttpError) -> Answer | None:
        return Answer(503, ((b"X-Error", error.reason.encode()),), b"sorry") if error.status == 502 else None


class Logging(Filter):
    """Leaves its mark on what is over."""

    __slots__ = ()
    name = "logging"

    def on_log(self, exchange: Any) -> None:
        exchange.request_id += b"+"


class BrokenAsking(Filter):
    """Breaks at the second attempt."""

    __slots__ = ()
    name = "broken_asking"

    def on_upstream(self, exchange: Any, edits: Edits) -> None:
        if exchange.tries == 2:
            raise ZeroDivisionError("boom")


class BrokenMarking(Filter):
    """Breaks at every response of a backend's."""

    __slots__ = ()
    name = "broken_marking"

    def on_response(self, exchange: Any, edits: Edits) -> None:
        if not edits.own:
            raise ZeroDivisionError("boom")


class BrokenWriting(Filter):
    """Breaks at every head."""

    __slots__ = ()
    name = "broken_writing"

    def on_response(self, exchange: Any, edits: Edits) -> None:
        raise ZeroDivisionError("boom")


class BrokenComforting(Filter):
    """Breaks at every error."""

    __slots__ = ()
    name = "broken_comforting"

    def on_error(self, exchange: Any, error: HttpError) -> Answer | None:
        raise ZeroDivisionError("boom")


class BrokenLogging(Filter):
    """Breaks when an exchange is over."""

    __slots__ = ()
    name = "broken_logging"

    def on_log(self, exchange: Any) -> None:
        raise ZeroDivisionError("boom")


def with_(kind: type[Filter], name: str, *steps: Step, **keys: object) -> Row:
    """A row with one more filter."""
    return row(name, *steps, filters=(kind,), **keys)  # type: ignore[arg-type]


test_requests = table(
    with_(
        Answering, "one that answers", client >> req("GET /own"), client << answered("200 OK", "X-Own: 1", body="mine"), log(200)
    ),
    with_(
        Answering,
        "one that answers HEAD",
        client >> req("HEAD /own"),
        client << start("200 OK", "X-Own: 1", "Content-Length: 4"),
        log(200),
    ),
    with_(
        Answering,
        "one that lets others pass",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    row(
        "the first one that answers is the last that is asked",
        client >> req("GET /own"),
        client << answered("200 OK", "X-Own: 1", body="mine"),
        log(200),
        client >> GET,
        client << start("204 No Content"),
        log(204),
        filters=(Answering, Later),
    ),
    with_(
        Answering,
        "one that refuses: the connection goes on",
        client >> req("GET /no"),
        client << refused(403, "http_request_denied"),
        log(403, error="http_request_denied"),
        client >> req("GET /no"),
        client << refused(403, "http_request_denied", n=2),
        log(403, error="http_request_denied"),
    ),
    with_(
        Answering,
        "one that is broken: a 500, told once, and the connection ends",
        client >> req("GET /broken"),
        client << refused(500, "proxy_internal_error", close=True),
        client << FIN,
        client >> GONE,
        log(500, error="proxy_internal_error"),
        defect("a request ended by a defect: ZeroDivisionError: boom"),
    ),
)

test_upstream = table(
    with_(
        Asking,
        "what goes to the backend is changed",
        client >> req("GET /a", "Cookie: x", "X-Attempt: mine"),
        b1 << asked("GET /a", "X-Attempt: 1"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    with_(
        Asking,
        "for each attempt anew",
        client >> GET,
        b1 << asked("GET /a", "X-Attempt: 1"),
        b1 >> RST,
        told(b1, "failure"),
        b2 << asked("GET /a", "X-Attempt: 2"),
        b2 >> ok("one"),
        client << OK,
        log(200, b1, b2),
        backends=2,
    ),
    with_(
        BrokenAsking,
        "one that is broken: the attempt is over, nobody is blamed, and it is told once",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        client << refused(500, "proxy_internal_error", close=True),
        client << FIN,
        client >> GONE,
        log(500, b1, b2, error="proxy_internal_error"),
        defect("ZeroDivisionError: boom"),
        backends=2,
    ),
    with_(
        BrokenAsking,
        "one that is broken at the second attempt of a race: the first goes on",
        learnt(0.1),
        client >> GET,
        b1 << ASKED,
        after(0.2),
        b1 >> ok("one"),
        client << OK,
        log(200, b2, b1),
        defect("ZeroDivisionError: boom"),
        counts(b1, retries=0),
        counts(b2, retries=1),
        counts(hedges=1),
        backends=2,
        location="retry: {hedge: 95}",
    ),
)

test_responses = table(
    with_(
        Marking,
        "what goes to the client is changed",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one", "Server: x", "X-Mark: theirs"),
        client << MARKED,
        log(200, b1),
    ),
    with_(
        Marking,
        "interim responses, too",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("103 Early Hints", "Server: x", length=False),
        client << start("103 Early Hints", "X-Mark: 103", date=False),
        b1 >> ok("one"),
        client << MARKED,
        log(200, b1),
    ),
    with_(
        Marking,
        "a switch of protocols, too",
        client >> req("GET /a", "Connection: Upgrade", "Upgrade: x"),
        b1 << asked("GET /a", "Connection: Upgrade", "Upgrade: x"),
        b1 >> resp("101 Switching Protocols", "Connection: Upgrade", "Upgrade: x", "Server: y", length=False),
        client << start("101 Switching Protocols", "X-Mark: 101", "Connection: Upgrade", "Upgrade: x", date=False),
        b1 >> GONE,
        client << FIN,
        b1 << FIN,
        log(101, b1),
    ),
    with_(
        Marking,
        "redirects, too",
        client >> GET,
        client << answered("308 Permanent Redirect", "Location: https://a.test/a", "X-Mark: 308"),
        log(308),
        service="http_redirect: true",
    ),
    with_(
        Marking,
        "errors, too",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated", "X-Mark: 502"),
        log(502, b1, error="connection_terminated"),
        location=NOT_AGAIN,
    ),
    with_(
        Marking,
        "errors before a location is known, too",
        client >> req("GET /b"),
        client << refused(404, "destination_not_found", "X-Mark: 404"),
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    with_(
        Marking,
        "errors before a service is known, too",
        client >> "hello\r\n\r\n",
        client << refused(400, "http_request_error", "X-Mark: 400", close=True),
        client << FIN,
        client >> GONE,
        log(400, error="http_request_error"),
    ),
    row(
        "the answer of another filter, too",
        client >> req("GET /own"),
        client << answered("200 OK", "X-Own: 1", "X-Mark: 200", body="mine"),
        log(200),
        filters=(Answering, Marking),
    ),
    with_(
        BrokenMarking,
        "one that is broken at a backend's response: a 500",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(ok("one")),
        b1.ends(),
        client << refused(500, "proxy_internal_error", close=True),
        client << FIN,
        client >> GONE,
        log(500, b1, error="proxy_internal_error"),
        defect("ZeroDivisionError: boom"),
    ),
    with_(
        BrokenWriting,
        "one that is broken at every head: the error is answered without it",
        client >> GET,
        b1 << ASKED,
        b1 >> whole(ok("one")),
        b1.ends(),
        client << refused(500, "proxy_internal_error", close=True),
        client << FIN,
        client >> GONE,
        log(500, b1, error="proxy_internal_error"),
        defect("ZeroDivisionError: boom"),
        defect("ZeroDivisionError: boom"),
    ),
)

test_errors = table(
    with_(
        Comforting,
        "a page of one's own for an error",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        client << answered("503 Service Unavailable", "X-Error: connection_terminated", body="sorry"),
        log(503, b1, error="connection_terminated"),
        location=NOT_AGAIN,
    ),
    with_(
        Comforting,
        "none for another one",
        client >> req("GET /b"),
        client << refused(404, "destination_not_found"),
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    with_(
        Comforting,
        "not for an answer that breaks off",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 6", body="one"),
        client << answered("200 OK", "Content-Length: 6", body="one"),
        b1 >> RST,
        told(b1, "failure"),
        client << FIN,
        log(200, b1, error="connection_terminated"),
    ),
    with_(
        BrokenComforting,
        "one that is broken: the error is answered without it",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated"),
        log(502, b1, error="connection_terminated"),
        defect("ZeroDivisionError: boom"),
        location=NOT_AGAIN,
    ),
)

test_logs = table(
    with_(
        Logging,
        "what is over goes by once",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << OK,
        log(200, b1, request_id=ID_1 + b"+"),
        client >> GET,
        b1 << asked("GET /a", n=2),
        client >> GONE,
        b1 << FIN,
        client << FIN,
        log(499, b1, error="connection_terminated", request_id=ID_1[:-1] + b"2+"),
    ),
    with_(
        BrokenLogging,
        "one that is broken: it is logged all the same",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        defect("ZeroDivisionError: boom"),
    ),
)

test_forwards = table(
    row(
        "OPTIONS that may go no further is answered here",
        client >> req("OPTIONS /a", "Max-Forwards: 0"),
        client << answered("200 OK"),
        log(200),
    ),
    row(
        "OPTIONS that may go no further, of a client that may not come in",
        client >> req("OPTIONS /a", "Max-Forwards: 0"),
        client << refused(403, "http_request_denied"),
        log(403, error="http_request_denied"),
        location="middleware: [{ip_access: {deny: all}}]",
    ),
    row(
        "TRACE that may go no further is not",
        client >> req("TRACE /a", "Max-Forwards: 0"),
        client << refused(501, "http_request_error", close=True),
        client << FIN,
        client >> GONE,
        log(501, error="http_request_error"),
    ),
    row(
        "one that may go one step more",
        client >> req("OPTIONS /a", "Max-Forwards: 1"),
        b1 << asked("OPTIONS /a", "Max-Forwards: 0"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
)
