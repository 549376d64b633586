"""Answers of our own: redirects and errors, in which form; and what rules, rewrites and sessions change in heads that pass."""

from __future__ import annotations

from pathlib import Path

from .lines import answered, asked, matching, ok, refused, req, resp, start
from .play import FIN, GONE, RST, Row, b1, b2, client, log, row, table, told, whole

GET = req("GET /a")
ASKED = asked("GET /a")
TO_HTTPS = "http_redirect: true"


def moved(name: str, request: bytes, to: str, **keys: object) -> Row:
    """A redirect, after which the connection goes on."""
    return row(
        name,
        client >> whole(request),
        client << answered("308 Permanent Redirect", f"Location: {to}"),
        log(308),
        client >> whole(request),
        client << answered("308 Permanent Redirect", f"Location: {to}"),
        log(308),
        **keys,  # type: ignore[arg-type]
    )


MOVED = "- path: /old\n  redirect: /new"
MOVED_AWAY = "- path: /old\n  redirect: 'https://b.test/new/'"
EXACT = "- path: /api/\n  redirect: /\n  backends: [{url: 'http://10.0.0.1:8000'}]"

test_redirects = table(
    moved("to https", req("GET /a?b=c"), "https://a.test/a?b=c", service=TO_HTTPS),
    moved("to https at another port", req("GET /a"), "https://a.test:8443/a", service="http_redirect: true\nredirect_port: 8443"),
    moved("to https, asked with a port", req("GET /a", host="a.test:80"), "https://a.test/a", service=TO_HTTPS),
    moved("to https, a POST with its body", req("POST /a", body="abc"), "https://a.test/a", service=TO_HTTPS),
    moved("a location that has moved", req("GET /old/x?y"), "/new/x?y", locations=MOVED),
    moved("a location that has moved away", req("GET /old/x"), "https://b.test/new/x", locations=MOVED_AWAY),
    moved("one path alone", req("GET /"), "/api/", locations=EXACT),
    row(
        "a path that is not that one",
        client >> req("GET /b"),
        client << refused(404, "destination_not_found"),
        log(404, error="destination_not_found"),
        locations=EXACT,
    ),
    row(
        "HEAD gets no body",
        client >> req("HEAD /old"),
        client << answered("308 Permanent Redirect", "Location: /new"),
        log(308),
        locations=MOVED,
    ),
    row(
        "HTTP/1.0",
        client >> req("GET /old HTTP/1.0"),
        client << answered("308 Permanent Redirect", "Location: /new", "Connection: close"),
        client << FIN,
        client >> GONE,
        log(308),
        locations=MOVED,
    ),
    row(
        "with a body that is not here: the connection ends, and the answer is not lost",
        client >> req("POST /old", "Content-Length: 10"),
        client << answered("308 Permanent Redirect", "Location: /new", "Connection: close"),
        client << FIN,
        client >> "0123456789",
        client >> GONE,
        log(308),
        locations=MOVED,
    ),
    row(
        "OPTIONS of all, to https",
        client >> req("OPTIONS *"),
        client << answered("308 Permanent Redirect", "Location: https://a.test/"),
        log(308),
        service=TO_HTTPS,
    ),
    row(
        "a body that is passed over is counted",
        client >> whole(req("POST /old", body="abc")),
        client << answered("308 Permanent Redirect", "Location: /new"),
        log(308, bytes_in=len(req("POST /old", body="abc"))),
        locations=MOVED,
    ),
)

test_no_body = table(
    *(
        row(
            f"an answer of our own with {status} has no length",
            client >> GET,
            client << answered(f"{status} {reason}", length=False),
            log(status),
            client >> GET,
            client << answered(f"{status} {reason}", length=False),
            log(status),
            service=f"respond: {{status: {status}}}",
        )
        for status, reason in ((204, "No Content"), (304, "Not Modified"))
    )
)

PAGES = Path(__file__).parents[1] / "data" / "pages"

test_files = table(
    row(
        "a fixed answer from a file, and its head; each request has its own values in fields",
        client >> req("GET /a"),
        client << answered("200 OK", "Content-Type: application/json", "X-Asked: /a", body='{"sorry": true}'),
        log(200),
        client >> req("HEAD /b"),
        client << start("200 OK", "Content-Type: application/json", "X-Asked: /b", "Content-Length: 15"),
        log(200),
        service=f"respond: {{file: {PAGES}/5xx.json, headers: {{X-Asked: '${{uri}}'}}}}",
    ),
    row(
        "a file at another status, to a client of HTTP/1.0 whose body is passed over",
        client >> whole(req("POST /a HTTP/1.0", body="abc")),
        client << answered("410 Gone", "Content-Type: text/html; charset=utf-8", "Connection: close", body="<p>not here"),
        client << FIN,
        client >> GONE,
        log(410),
        locations=f"- path: /a\n  respond: {{status: 410, file: {PAGES}/404.html}}",
    ),
)

ONE_PATH = "- path: /x\n  backends: [{url: 'http://10.0.0.1:8000'}]"

test_errors = table(
    row(
        "for a program",
        client >> req("GET /b", "Accept: application/json"),
        client << refused(404, "destination_not_found"),
        log(404, error="destination_not_found"),
        locations=ONE_PATH,
    ),
    row(
        "for people",
        client >> req("GET /b", "Accept: text/html,*/*"),
        client << refused(404, "destination_not_found", html=True),
        log(404, error="destination_not_found"),
        locations=ONE_PATH,
    ),
    row(
        "for HEAD, without the body",
        client >> req("HEAD /b"),
        client << refused(404, "destination_not_found", body=False),
        log(404, error="destination_not_found"),
        locations=ONE_PATH,
    ),
    row(
        "who asks for the end gets it with the error",
        client >> req("GET /b", "Connection: close"),
        client << refused(404, "destination_not_found", close=True),
        client << FIN,
        client >> GONE,
        log(404, error="destination_not_found"),
        locations=ONE_PATH,
    ),
    row(
        "an error of a backend, for people",
        client >> req("GET /a", "Accept: text/html"),
        b1 << asked("GET /a", "Accept: text/html"),
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated", html=True),
        log(502, b1, error="connection_terminated"),
        location="retry: off",
    ),
    row(
        "a client that has gone is told nothing of the error",
        client >> GET,
        b1 << ASKED,
        client.doom(),
        b1 >> RST,
        told(b1, "failure"),
        log(502, b1, error="connection_terminated"),
        location="retry: off",
    ),
    row(
        "a backend fails after 100 was passed on: the error is the answer",
        client >> req("POST /a", "Content-Length: 1", "Expect: 100-continue"),
        b1 << asked("POST /a", "Content-Length: 1", "Expect: 100-continue"),
        b1 >> "HTTP/1.1 100 Continue\r\n\r\n",
        client << start("100 Continue", date=False),
        client >> "x",
        b1 << "x",
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated"),
        log(502, b1, error="connection_terminated"),
    ),
)

RULES = """headers:
  request_headers: {X-Client: "${remote_addr}", X-Real-IP: hidden, X-To: "${method} ${host}${uri}"}
  remove_request_headers: [X-Secret, Via]
  response_headers: {X-Frame-Options: DENY, Cache-Control: "no-cache"}
  remove_response_headers: [Server]"""
RULED = ("X-Frame-Options: DENY", "Cache-Control: no-cache")

test_rules = table(
    row(
        "fields are set and removed both ways",
        client >> req("GET /a?b", "X-Secret: 1", "x-client: me", "Accept: */*"),
        b1
        << asked(
            "GET /a?b",
            "Accept: */*",
            "X-Client: 192.0.2.7",
            "X-Real-IP: hidden",
            "X-To: GET a.test/a?b",
            "X-Forwarded-For: 192.0.2.7",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Host: a.test",
            "X-Request-ID: 0123456789abcdef00000001",
            about=False,
        ),
        b1 >> ok("one", "Server: x", "Cache-Control: max-age=5"),
        client << answered("200 OK", *RULED, body="one"),
        log(200, b1),
        service=RULES,
    ),
    row(
        "rules for answers hold for redirects",
        client >> req("GET /a"),
        client << answered("308 Permanent Redirect", "Location: https://a.test/a", *RULED),
        log(308),
        service=RULES + "\n" + TO_HTTPS,
    ),
    row(
        "rules for answers hold for errors of a backend",
        client >> req("GET /a"),
        b1 << matching(lambda head: head.startswith(b"GET /a HTTP/1.1\r\n"), "the request"),
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated", "X-Frame-Options: DENY"),
        log(502, b1, error="connection_terminated"),
        service="headers: {response_headers: {X-Frame-Options: DENY}}",
        location="retry: off",
    ),
    row(
        "rules for answers hold for a path that nobody has",
        client >> req("GET /b"),
        client << refused(404, "destination_not_found", "X-Frame-Options: DENY"),
        log(404, error="destination_not_found"),
        service="headers: {response_headers: {X-Frame-Options: DENY}}",
        locations=ONE_PATH,
    ),
    row(
        "rules for answers hold for interim ones",
        client >> GET,
        b1 << ASKED,
        b1 >> "HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\n",
        client << start("103 Early Hints", "X-Frame-Options: DENY", date=False),
        b1 >> ok("one"),
        client << answered("200 OK", "X-Frame-Options: DENY", body="one"),
        log(200, b1),
        service="headers: {response_headers: {X-Frame-Options: DENY}, remove_response_headers: [Server]}",
    ),
)

REWRITE = "- path: /api/\n  rewrite: /v1/\n  backends: [{url: 'http://10.0.0.1:8000'}]"
BASE = "- path: /\n  backends: [{url: 'http://10.0.0.1:8000/base'}]"

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
SET_DATE = f"headers:\n  response_headers: {{Date: '{DATE}'}}"

test_dates = table(
    row(
        "a rule sets the date of a backend's answer, and there is no other",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one"),
        client << answered("200 OK", f"Date: {DATE}", body="one", date=False),
        log(200, b1),
        service=SET_DATE,
    ),
    row(
        "a rule sets the date of an answer of our own, and there is no other",
        client >> req("GET /old"),
        client << answered("308 Permanent Redirect", "Location: /new", f"Date: {DATE}", date=False),
        log(308),
        locations=MOVED,
        service=SET_DATE,
    ),
    row(
        "a rule takes the date away, and none is put in its place",
        client >> GET,
        b1 << ASKED,
        b1 >> ok("one", "Date: Fri, 02 Jan 1970 00:00:00 GMT"),
        client << answered("200 OK", body="one", date=False),
        log(200, b1),
        service="headers: {remove_response_headers: [Date]}",
    ),
    row(
        "an answer of our own that brings its date gets no other",
        client >> GET,
        client << answered("200 OK", "Content-Type: text/plain; charset=utf-8", f"Date: {DATE}", body="hi", date=False),
        log(200),
        service=f"respond: {{body: hi, headers: {{Date: '{DATE}'}}}}",
    ),
)

test_paths = table(
    row(
        "a prefix is replaced",
        client >> req("GET /api/x?y"),
        b1 << asked("GET /v1/x?y"),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        locations=REWRITE,
    ),
    row(
        "a base path goes before",
        client >> req("GET /x"),
        b1 << asked("GET /base/x"),
        b1 >> ok(),
        client << answered("200 OK"),
        log(200, b1),
        locations=BASE,
    ),
    row(
        "what an answer points to is mapped back",
        client >> req("GET /api/x"),
        b1 << asked("GET /v1/x"),
        b1 >> resp("302 Found", "Location: http://10.0.0.1:8000/v1/y", "Content-Location: /v1/z"),
        client << answered("302 Found", "Location: http://a.test/api/y", "Content-Location: /api/z"),
        log(302, b1),
        locations=REWRITE,
    ),
    row(
        "what points elsewhere is not",
        client >> req("GET /api/x"),
        b1 << asked("GET /v1/x"),
        b1 >> resp("302 Found", "Location: https://b.test/v1/y"),
        client << answered("302 Found", "Location: https://b.test/v1/y"),
        log(302, b1),
        locations=REWRITE,
    ),
)

STICKY = "lb_policy: sticky-session\nsticky: {name: at, secret: 0123456789abcdef}"
NAMED = matching(lambda head: b"\r\nSet-Cookie: at=" in head and b"; Path=/; HttpOnly; SameSite=Lax\r\n" in head, "a cookie")

test_sessions = table(
    row(
        "a new client gets a cookie",
        client >> GET,
        b1 << ASKED,
        b1 >> ok(),
        client << NAMED,
        log(200, b1),
        backends=2,
        location=STICKY,
    ),
    row(
        "one with a cookie of somebody else's gets another",
        client >> req("GET /a", "Cookie: at=0123456789012345678901"),
        b1 << asked("GET /a", "Cookie: at=0123456789012345678901"),
        b1 >> ok(),
        client << NAMED,
        log(200, b1),
        backends=2,
        location=STICKY,
    ),
    row(
        "a cookie goes with a switch of protocols, too",
        client >> req("GET /a", "Connection: Upgrade", "Upgrade: x"),
        b1 << asked("GET /a", "Connection: Upgrade", "Upgrade: x"),
        b1 >> "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        client << NAMED,
        b1 >> GONE,
        client << FIN,
        b1 << FIN,
        log(101, b1),
        backends=2,
        location=STICKY,
    ),
    row(
        "the cookie names the backend that answered in the end",
        client >> GET,
        b1 << ASKED,
        b1 >> RST,
        told(b1, "failure"),
        b2 << ASKED,
        b2 >> ok(),
        client << NAMED,
        log(200, b1, b2),
        backends=2,
        location=STICKY,
    ),
)
