"""`mirror`: when copies go where, what is in them, and that the originals know nothing of them."""

from __future__ import annotations

import hashlib

from terraster.filters.mirror import Mirror
from terraster.state.cells import BackendCells

from .lines import Expected, answered, asked, chunks, ok, refused, req, request_id, resp, start
from .play import (
    FIN,
    GONE,
    RST,
    Row,
    Scene,
    Step,
    admit,
    after,
    b1,
    b2,
    b3,
    client,
    counts,
    do,
    log,
    reload,
    row,
    table,
    told,
    whole,
)
from .test_compression import PACKED, gzipped

LONG = "0123456789" * 400
MARK = "X-Terraster-Mirror: 1"
GET = req("GET /a?b=c")
ASKED = asked("GET /a?b=c")
COPIED = asked("GET /a?b=c", MARK)
OK = answered("200 OK", body="one")
CHUNKED = "Transfer-Encoding: chunked"
TO = "to: 'http://10.0.0.3:9000'"
copied = b3


def tallied(**expected: int) -> Step:
    """The counters of the mirror that are not zero, in the end; and nothing is reserved for copies."""

    def check(scene: Scene) -> None:
        stage = scene.stage
        cells = {one.counter.name: one.cell for one in stage.plan.counted if one.kind == Mirror.name}
        row = stage.view.locations + stage.first_location().offset
        found = {name: stage.q[row + cell] for name, cell in cells.items() if stage.q[row + cell] and "seconds" not in name}
        assert found == expected, f"counted {found}, expected {expected}"

    return do(check, f"counted by the mirror: {expected}")


def free(octets: int = 0) -> Step:
    """So many octets are reserved for copies."""

    def check(scene: Scene) -> None:
        held = scene.stage.proxy.mirrors.held
        assert held == octets, f"{held} octets are reserved, expected {octets}"

    return do(check, f"{octets} octets are reserved")


def mirrored(name: str, *steps: Step, keys: str = "", copies: int = 1, **more: object) -> Row:
    """copies: that were answered."""
    counted = (counts(copied, requests=copies, responses=copies),) if copies else ()
    text = {"location": f"middleware: [{{mirror: {{{TO}{keys}}}}}]", **more}
    return row(name, *counted, *steps, free(), **text)  # type: ignore[arg-type]


def one(*fields: str, n: int = 1) -> tuple[Step, ...]:
    """A request that is over."""
    return (
        client >> req("GET /a?b=c", *fields),
        b1 << asked("GET /a?b=c", *fields, n=n),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    )


ALL = ", methods: all"
TRUSTED = (
    "X-Forwarded-For: 203.0.113.9, 192.0.2.7",
    "X-Real-IP: 203.0.113.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 80",
    "X-Forwarded-Host: a.test",
    "Via: 1.1 terraster",
    request_id(1),
)
OLD = (
    "X-Forwarded-For: 192.0.2.7",
    "X-Real-IP: 192.0.2.7",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Port: 80",
    "Via: 1.0 terraster",
    request_id(1),
)
POST = req("POST /a", body="hello")

test_copies = table(
    mirrored(
        "a copy goes out when the original is over, and the client has its answer",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << COPIED,
        copied >> resp("500 Internal Server Error", body="other"),
        tallied(sent=1),
    ),
    mirrored(
        "the next copy takes the same connection, as the answer was read to its end",
        *one(),
        copied << COPIED,
        copied >> resp("200 OK", CHUNKED, body="5\r\nother\r\n0\r\n\r\n"),
        *one(n=2),
        copied << asked("GET /a?b=c", MARK, n=2),
        copied >> ok(""),
        tallied(sent=2),
        copies=2,
    ),
    mirrored(
        "it is what the backend got: after the rules for headers and the rewrite, without the path of the backend's URL",
        client >> req("GET /a?b=c", "X-Out: 1", "Authorization: x"),
        b1 << asked("GET /base/v1/a?b=c", "X-In: one", "Authorization: x"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("GET /v1/a?b=c", "X-In: one", "Authorization: x", MARK),
        copied >> ok(""),
        locations=f"""\
- path: /
  rewrite: /v1
  middleware:
  - mirror: {{{TO}}}
  - headers: {{request_headers: {{X-In: one}}, remove_request_headers: [X-Out]}}
  backends: ["http://10.0.0.1:8000/base"]
""",
    ),
    mirrored(
        "with a query that a rule for the path has put in, and below the path of the mirror's URL",
        client >> GET,
        b1 << asked("GET /x?p=a&b=c"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("GET /new/x?p=a&b=c", MARK),
        copied >> ok(""),
        locations="""\
- path: /
  rewrite: [{match: '^/(.*)$', to: '/x?p=\\1'}]
  middleware: [{mirror: {to: 'http://10.0.0.3:9000/new'}}]
  backends: ["http://10.0.0.1:8000"]
""",
    ),
    mirrored(
        "with another Host, if it is written",
        *one(),
        copied
        << asked(
            "GET /a?b=c",
            MARK,
            "Host: shadow.test",
            "X-Forwarded-For: 192.0.2.7",
            "X-Real-IP: 192.0.2.7",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            "Via: 1.1 terraster",
            "X-Forwarded-Host: a.test",
            "X-Request-ID: 0123456789abcdef00000001",
            host=None,
            about=False,
        ),
        copied >> ok(""),
        keys=", host: shadow.test",
    ),
    mirrored(
        "a body that is there",
        client >> whole(POST),
        b1 << asked("POST /a", body="hello"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("POST /a", MARK, body="hello"),
        copied >> ok(""),
        keys=ALL,
    ),
    mirrored(
        "a body that passes, and that the client has waited for permission to send",
        client >> req("POST /a", "Expect: 100-continue", "Content-Length: 5"),
        b1 << asked("POST /a", "Expect: 100-continue", "Content-Length: 5"),
        b1 >> resp("100 Continue", length=False),
        client << start("100 Continue", date=False),
        client >> "hello",
        b1 << "hello",
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("POST /a", MARK, body="hello"),
        copied >> ok(""),
        keys=ALL,
    ),
    mirrored(
        "chunks, without their trailers",
        client >> req("POST /a", CHUNKED, "Trailer: X-T", body="5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
        b1 << asked("POST /a", CHUNKED, "Trailer: X-T", body=chunks("hello", "X-T: 1")),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("POST /a", MARK, CHUNKED, body=chunks("hello")),
        copied >> ok(""),
        keys=ALL,
    ),
    mirrored(
        "a body that was read ahead",
        client >> POST,
        b1 << asked("POST /a", body="hello"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("POST /a", MARK, body="hello"),
        copied >> ok(""),
        location=f"middleware: [{{mirror: {{{TO}{ALL}}}}}, {{buffer: {{disk: 0}}}}]",
    ),
    mirrored(
        "one copy, however often the original is tried",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        b2 >> ok("one"),
        client << OK,
        log(200, b1, b2),
        copied << COPIED,
        copied >> ok(""),
        backends=2,
    ),
    mirrored(
        "a copy although the original's backend gives no response",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated"),
        log(502, b1, error="connection_terminated"),
        copied << COPIED,
        copied >> ok(""),
        location=f"middleware: [{{mirror: {{{TO}}}}}]\nretry: off",
    ),
    mirrored(
        "servers of a list take turns",
        counts(b2, requests=1, responses=1),
        *one(),
        b2 << COPIED,
        b2 >> ok(""),
        *one(n=2),
        copied << asked("GET /a?b=c", MARK, n=2),
        copied >> ok(""),
        location="middleware: [{mirror: {to: ['http://10.0.0.2:9000', 'http://10.0.0.3:9000']}}]",
    ),
    mirrored(
        "what a trusted proxy says about the client",
        client >> req("GET /a", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"),
        b1 << asked("GET /a", *TRUSTED, about=False),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        copied << asked("GET /a", *TRUSTED, MARK, about=False),
        copied >> ok(""),
        top="trusted_proxies: [192.0.2.0/24]\n",
    ),
    mirrored(
        "of HTTP/1.0, without a Host",
        client >> req("GET /a HTTP/1.0", host=None),
        b1 << asked("GET /a", "Host: 10.0.0.1:8000", *OLD, about=False, host=None),
        b1 >> ok("one"),
        client << answered("200 OK", "Connection: close", body="one"),
        client << FIN,
        log(200, b1),
        copied << asked("GET /a", "Host: 10.0.0.3:9000", *OLD, MARK, about=False, host=None),
        copied >> ok(""),
    ),
    mirrored(
        "of a location with a split, whichever arm gets the original",
        client >> GET,
        b2 << ASKED,
        b2 >> ok("one"),
        client << OK,
        log(200, b2),
        copied << COPIED,
        copied >> ok(""),
        tallied(sent=1),
        locations=f"""\
- path: /
  middleware: [{{mirror: {{{TO}}}}}]
  split:
    by: client-ip
    to:
    - {{name: old, weight: 0, backends: ["http://10.0.0.1:8000"]}}
    - {{name: new, weight: 100, backends: ["http://10.0.0.2:8000"]}}
""",
    ),
    mirrored(
        "two mirrors",
        counts(b2, requests=1, responses=1),
        *one(),
        copied << COPIED,
        b2 << COPIED,
        copied >> ok(""),
        b2 >> ok(""),
        location=f"middleware: [{{mirror: {{{TO}}}}}, {{mirror: {{name: b, to: 'http://10.0.0.2:9000'}}}}]",
    ),
)


def skipped(name: str, why: str, *steps: Step, keys: str = "", **more: object) -> Row:
    return mirrored(name, *steps, tallied(**{f"skipped_{why}": 1}), keys=keys, copies=0, **more)


test_skipped = table(
    skipped(
        "a method that is not listed",
        "method",
        client >> POST,
        b1 << asked("POST /a", body="hello"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    skipped(
        "a body that says that it is longer",
        "body_too_large",
        client >> POST,
        b1 << asked("POST /a", body="hello"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        keys=f"{ALL}, body_size: 4",
    ),
    skipped(
        "a body that shows to be longer as it passes",
        "body_too_large",
        client >> req("POST /a", CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"),
        b1 << asked("POST /a", CHUNKED, body=chunks("hello")),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        keys=f"{ALL}, body_size: 4",
    ),
    skipped(
        "a body that was read ahead and is longer",
        "body_too_large",
        client >> req("POST /a", CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"),
        b1 << asked("POST /a", CHUNKED, body=chunks("hello")),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        location=f"middleware: [{{mirror: {{{TO}{ALL}, body_size: 4}}}}, {{buffer: {{disk: 0}}}}]",
    ),
    skipped(
        "no memory is left",
        "queue_full",
        *one("X-Long: " + 900 * "x"),
        keys=", body_size: 512, memory: 512",
    ),
    skipped(
        "an upgrade",
        "kind",
        client >> req("GET /a", "Connection: Upgrade", "Upgrade: websocket"),
        b1 << asked("GET /a", "Connection: Upgrade", "Upgrade: websocket"),
        b1 >> resp("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", length=False),
        client << start("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", date=False),
        b1 >> FIN,
        client << FIN,
        b1 << FIN,
        client >> FIN,
        log(101, b1),
    ),
    skipped(
        "an event stream; its memory is free as soon as it begins",
        "kind",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Type: text/event-stream; charset=utf-8", CHUNKED, body="5\r\nhello\r\n", length=False),
        client << start("200 OK", "Content-Type: text/event-stream; charset=utf-8", CHUNKED),
        client << chunks("hello", last=False),
        free(),
        b1 >> "0\r\n\r\n",
        client << chunks(""),
        log(200, b1),
    ),
    skipped("a copy of another mirror", "kind", *one("x-terraster-mirror: 1")),
    skipped(
        "a request whose body does not come",
        "incomplete",
        client >> req("POST /a", "Content-Length: 5", body="hell"),
        b1 << asked("POST /a", "Content-Length: 5", body="hell"),
        client >> GONE,
        b1 << FIN,
        client << FIN,
        log(499, b1, error="connection_terminated"),
        keys=ALL,
        cut=False,
    ),
    skipped(
        "no backend is there for the original",
        "incomplete",
        admit(b1, BackendCells.NONE, state=BackendCells.DOWN),
        client >> GET,
        client << refused(503, "destination_unavailable"),
        log(503, error="destination_unavailable"),
    ),
    mirrored(
        "what a filter refuses is not copied, nor counted",
        client >> GET,
        client << refused(403, "http_request_denied"),
        log(403, error="http_request_denied"),
        tallied(),
        copies=0,
        location=f"middleware: [{{mirror: {{{TO}}}}}, {{ip_access: {{deny: all}}}}]",
    ),
    mirrored("what chance does not choose is not counted", *one(), *one(n=2), tallied(), keys=", percent: 0.0001", copies=0),
    mirrored("none at all", *one(), tallied(), keys=", percent: 0", copies=0),
    mirrored(
        "switched off where it is inherited",
        *one(),
        tallied(),
        copies=0,
        service=f"middleware: [{{mirror: {{{TO}}}}}]",
        location="middleware: [{mirror: off}]",
    ),
)

test_failures = table(
    mirrored(
        "a target that is away",
        counts(copied, requests=1, failures=1, connect_errors=1),
        copied.refuses(),
        *one(),
        told(copied, "connect"),
        tallied(sent=1, failed_connect=1),
        copies=0,
    ),
    mirrored(
        "one that never answers: the copy ends after its time",
        counts(copied, requests=1, failures=1),
        *one(),
        copied << COPIED,
        after(2.3),
        copied << FIN,
        told(copied, "failure"),
        tallied(sent=1, failed_timeout=1),
        keys=", timeout: 2s",
        copies=0,
    ),
    mirrored(
        "one that sends an octet now and then: the same",
        counts(copied, requests=1),
        *one(),
        copied << COPIED,
        copied >> resp("200 OK", "Content-Length: 100", length=False),
        after(1),
        copied >> "x",
        after(1),
        copied >> "x",
        after(0.3),
        copied << FIN,
        tallied(sent=1, failed_timeout=1),
        keys=", timeout: 2s",
        copies=0,
    ),
    mirrored(
        "one that breaks off",
        counts(copied, requests=1, failures=1),
        *one(),
        copied << COPIED,
        copied >> RST,
        told(copied, "failure"),
        tallied(sent=1, failed_response=1),
        copies=0,
    ),
    mirrored(
        "a long answer is not read to its end",
        *one(),
        copied << COPIED,
        copied >> whole(resp("200 OK", "Content-Length: 1000000", body=70000 * "x", length=False)),
        copied << FIN,
        tallied(sent=1),
        cut=False,
    ),
    mirrored(
        "so many are under way, so many wait, and the others are skipped",
        *one(),
        copied << COPIED,
        *one(n=2),
        *one(n=3),
        tallied(sent=1, skipped_queue_full=1),
        copied >> ok(""),
        copied << asked("GET /a?b=c", MARK, n=2),
        copied >> ok(""),
        tallied(sent=2, skipped_queue_full=1),
        keys=", concurrency: 1, queue: 1",
        copies=2,
    ),
    mirrored(
        "a reload that takes the mirror away ends the copies that wait or are under way",
        counts(copied, requests=1),
        *one(),
        copied << COPIED,
        *one(n=2),
        reload(),
        copied << FIN,
        tallied(sent=1, dropped=2),
        keys=", concurrency: 1",
        copies=0,
    ),
    mirrored(
        "an original that is under way while a reload takes the mirror away has no copy",
        client >> GET,
        b1 << ASKED,
        reload(),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        tallied(dropped=1),
        copies=0,
    ),
    mirrored(
        "a reload that keeps it drops none",
        *one(),
        copied << COPIED,
        *one(n=2),
        reload(location=f"middleware: [{{mirror: {{{TO}, concurrency: 1}}}}]\nretry: off"),
        copied >> ok(""),
        copied << asked("GET /a?b=c", MARK, n=2),
        copied >> ok(""),
        tallied(sent=2),
        keys=", concurrency: 1",
        copies=2,
    ),
    mirrored(
        "a worker that ends drops those that wait",
        *one(),
        copied << COPIED,
        *one(n=2),
        do(lambda scene: scene.stage.proxy.mirrors.finish(), "the worker ends"),
        tallied(sent=1, dropped=2),
        copied >> ok(""),
        keys=", concurrency: 1",
    ),
    mirrored(
        "the client's next requests wait for no copy, even while none can connect",
        counts(copied, requests=2, failures=2),
        copied.refuses("silence"),
        copied.refuses("silence"),
        *one(),
        *one(n=2),
        after(2.3),
        told(copied, "failure", "failure"),
        tallied(sent=2, failed_timeout=2),
        keys=", timeout: 2s",
        copies=0,
    ),
)


def differ(where: str = "/", **expected: object) -> Step:
    """The newest difference that is kept."""

    def check(scene: Scene) -> None:
        (found, *_) = scene.stage.proxy.mirrors.differences("site")
        assert found["differs"] == expected, f"{found} is kept, expected {expected}"
        assert (found["request_id"], found["method"], found["path"]) == ("0123456789abcdef00000001", "GET", "/a")
        assert (found["service"], found["location"], found["to"]) == ("site", where, "http://10.0.0.3:9000")

    return do(check, f"kept: {expected}")


def same() -> Step:
    def check(scene: Scene) -> None:
        found = scene.stage.proxy.mirrors.differences("")
        assert found == [], f"{found} is kept"

    return do(check, "no difference")


def body(octets: int, text: str, more: bool = False) -> dict[str, object]:
    return {"octets": octets, "more": more, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def compared(
    name: str, original: bytes, got: Expected, answer: bytes, *steps: Step, ask: tuple[str, ...] = (), **more: object
) -> Row:
    """A GET whose two answers are compared. original: what the backend sends. got: what the client gets. answer: to the copy"""
    return mirrored(
        name,
        client >> req("GET /a?b=c", *ask),
        b1 << asked("GET /a?b=c", *ask),
        b1 >> original,
        client << got,
        log(200, b1),
        copied << asked("GET /a?b=c", MARK, *ask),
        copied >> answer,
        *steps,
        **{"keys": ", compare: all", **more},
    )


TWO = resp("200 OK", CHUNKED, body="1\r\no\r\n2\r\nne\r\n0\r\n\r\n")


def refused_five() -> tuple[Step, ...]:
    steps: list[Step] = []
    for number in range(1, 6):
        steps += [copied.refuses(), *one(n=number), told(copied, "connect")]
    return tuple(steps)


def _broken(number: int) -> tuple[Step, ...]:
    """The copy of this number is broken off, and the next one goes out."""
    following = [copied[number + 1] << asked("GET /a?b=c", MARK, n=number + 1)] if number < 5 else []
    return copied[number] >> RST, told(copied, "failure"), *following


test_rests = table(
    mirrored(
        "a target that fails again and again is left alone, but for one copy a second, until one is answered",
        counts(copied, requests=9, failures=6, connect_errors=6, responses=3),
        *refused_five(),
        *one(n=6),
        tallied(sent=5, failed_connect=5, skipped_target_failing=1),
        after(1.1),
        copied.refuses(),
        *one(n=7),
        told(copied, "connect"),
        *one(n=8),
        tallied(sent=6, failed_connect=6, skipped_target_failing=2),
        after(1.1),
        *one(n=9),
        copied << asked("GET /a?b=c", MARK, n=9),
        *one(n=10),
        tallied(sent=7, failed_connect=6, skipped_target_failing=3),
        copied >> ok(""),
        *one(n=11),
        copied << asked("GET /a?b=c", MARK, n=11),
        *one(n=12),
        copied[2] << asked("GET /a?b=c", MARK, n=12),
        copied >> ok(""),
        copied[2] >> ok(""),
        tallied(sent=9, failed_connect=6, skipped_target_failing=3),
        copies=0,
    ),
    mirrored(
        "those that wait for it when it begins to rest are skipped",
        counts(copied, requests=5, failures=5),
        *[step for number in range(1, 7) for step in (*one(n=number), *([copied << COPIED] if number == 1 else []))],
        *[step for number in range(1, 6) for step in _broken(number)],
        tallied(sent=5, failed_response=5, skipped_target_failing=1),
        keys=", concurrency: 1",
        copies=0,
    ),
)


test_comparisons = table(
    compared("the same answer", ok("one"), OK, ok("one"), same(), tallied(sent=1, compared=1)),
    compared("the same body in chunks is the same", ok("one"), OK, TWO, same(), tallied(sent=1, compared=1)),
    compared(
        "chunks of the original reach the client as they are",
        TWO,
        answered("200 OK", CHUNKED, body=chunks("one")),
        ok("one"),
        same(),
        tallied(sent=1, compared=1),
    ),
    compared(
        "status, fields and body",
        ok("one", "X-A: 1", "X-B: 2", "Set-Cookie: a=1"),
        answered("200 OK", "X-A: 1", "X-B: 2", "Set-Cookie: a=1", body="one"),
        resp("500 Internal Server Error", "x-a: 1", "X-B: 3", "Date: x", body="gone"),
        differ(
            status=[200, 500],
            headers=[{"name": "x-b", "original": "2", "copy": "3"}],
            body=[body(3, "one"), body(4, "gone")],
        ),
        tallied(sent=1, compared=1, differed_status=1, differed_headers=1, differed_body=1),
    ),
    compared(
        "before compression and rules for headers: as both servers sent them",
        ok(LONG, "Content-Type: text/html", "X-Gone: 1"),
        answered("200 OK", *PACKED, body=gzipped(LONG)),
        resp("200 OK", "Content-Type: text/html", "X-Gone: 1", body=LONG),
        same(),
        tallied(sent=1, compared=1),
        ask=("Accept-Encoding: gzip",),
        location=f"middleware: [{{mirror: {{{TO}, compare: all}}}}, {{headers: {{remove_response_headers: [X-Gone]}}}}]",
        service="compression: on",
    ),
    compared(
        "the first octets of a longer body",
        ok("one more"),
        answered("200 OK", body="one more"),
        ok("one less, and so on"),
        same(),
        tallied(sent=1, compared=1),
        keys=", compare: [body], body_size: 4",
    ),
    compared(
        "a body that goes on is not the same as one that ends there",
        ok("one"),
        OK,
        ok("one more"),
        differ(body=[body(3, "one"), body(3, "one", True)]),
        tallied(sent=1, compared=1, differed_body=1),
        keys=", compare: [body], body_size: 3",
    ),
    compared(
        "only what is asked for",
        ok("one", "X-A: 1"),
        answered("200 OK", "X-A: 1", body="one"),
        resp("500 No", body="x"),
        same(),
        tallied(sent=1, compared=1),
        keys=", compare: [latency]",
    ),
    mirrored(
        "differences are kept over a reload",
        *one(),
        copied << COPIED,
        copied >> ok("two"),
        reload(location="match: {methods: GET}\nretry: off"),
        copied << FIN,
        differ("/#GET", body=[body(3, "one"), body(3, "two")]),
        location=f"match: {{methods: GET}}\nmiddleware: [{{mirror: {{{TO}, compare: body}}}}]",
        copies=0,
    ),
    mirrored(
        "an empty body, and none",
        client >> req("HEAD /a"),
        b1 << asked("HEAD /a"),
        b1 >> resp("200 OK", "Content-Length: 3", length=False),
        client << start("200 OK", "Content-Length: 3"),
        log(200, b1),
        copied << asked("HEAD /a", MARK),
        copied >> resp("200 OK", "Content-Length: 4", length=False),
        same(),
        tallied(sent=1, compared=1),
        keys=", compare: all",
    ),
    mirrored(
        "an original that its client leaves: its body is not compared",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 5", body="o", length=False),
        client << start("200 OK", "Content-Length: 5"),
        client << "o",
        client >> RST,
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        counts(b1, responses=0),
        copied << COPIED,
        copied >> ok("other"),
        same(),
        tallied(sent=1, compared=1),
        keys=", compare: all",
        cut=False,
    ),
    mirrored(
        "an original without a response is not compared",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated"),
        log(502, b1, error="connection_terminated"),
        copied << COPIED,
        copied >> ok("one"),
        same(),
        tallied(sent=1),
        location=f"middleware: [{{mirror: {{{TO}, compare: all}}}}]\nretry: off",
    ),
    mirrored(
        "a head goes to the client at once, whenever the body comes",
        client >> GET,
        b1 << ASKED,
        b1 >> resp("200 OK", "Content-Length: 3", length=False),
        client << start("200 OK", "Content-Length: 3"),
        b1 >> "one",
        client << "one",
        log(200, b1),
        copied << COPIED,
        copied >> ok("one"),
        tallied(sent=1, compared=1),
        keys=", compare: all",
    ),
)
