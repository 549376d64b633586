"""Requests of scripts from other origins: preflights are answered here, and every response says who may read it."""

from __future__ import annotations

from .both import twice
from .lines import answered, asked, ok, refused, req, resp, start
from .play import RST, b1, client, log, row, told

A, B = "Origin: https://a.test", "Origin: https://b.test"
ASKS = "Access-Control-Request-Method: PUT"
MAY = "Access-Control-Allow-Origin: https://a.test"
METHODS = "Access-Control-Allow-Methods: PUT"
CORS = "middleware: [{cors: {allowed_origins: [https://a.test], allowed_methods: [PUT]}}]"
GET = "GET /a"

test_rows = twice(
    row(
        "a preflight is answered here, and the connection goes on",
        client >> req("OPTIONS /a", A, ASKS),
        client << start("204 No Content", MAY, METHODS, "Vary: Origin"),
        log(204),
        client >> req(GET, A),
        b1 << asked(GET, A, n=2),
        b1 >> ok("one"),
        client << answered("200 OK", MAY, "Vary: Origin", body="one"),
        log(200, b1),
        location=CORS,
    ),
    row(
        "a preflight of another origin is refused",
        client >> req("OPTIONS /a", B, ASKS),
        client << refused(403, "http_request_denied", "Vary: Origin"),
        log(403, error="http_request_denied"),
        location=CORS,
    ),
    row(
        "a preflight comes before redirects and fixed answers, which a browser would not follow",
        client >> req("OPTIONS /a", A, ASKS),
        client << start("204 No Content", MAY, METHODS, "Vary: Origin"),
        log(204),
        client >> req(GET, A),
        client << answered("308 Permanent Redirect", "Location: https://a.test/a", MAY, "Vary: Origin"),
        log(308),
        service=f"http_redirect: true\nrespond: {{body: closed}}\n{CORS}",
    ),
    row(
        "another OPTIONS goes to the backend",
        client >> req("OPTIONS /a", A),
        b1 << asked("OPTIONS /a", A),
        b1 >> resp("204 No Content", "Allow: GET, PUT", length=False),
        client << start("204 No Content", "Allow: GET, PUT", MAY, "Vary: Origin"),
        log(204, b1),
        location=CORS,
    ),
    row(
        "what the backend says to browsers is replaced, and its Vary is kept",
        client >> req(GET, A),
        b1 << asked(GET, A),
        b1 >> ok("one", "Access-Control-Allow-Origin: *", "access-control-allow-credentials: true", "Vary: Cookie", "vary: Accept"),
        client << answered("200 OK", MAY, "Vary: Cookie, Accept, Origin", body="one"),
        log(200, b1),
        location=CORS,
    ),
    row(
        "a Vary that says it already stays as it is",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> ok("one", "Vary: accept-encoding,ORIGIN"),
        client << answered("200 OK", "Vary: accept-encoding,ORIGIN", body="one"),
        log(200, b1),
        location=CORS,
    ),
    row(
        "a request from nowhere and one from another origin get no permission, but the same Vary",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> ok("one", "Access-Control-Allow-Origin: *"),
        client << answered("200 OK", "Vary: Origin", body="one"),
        log(200, b1),
        client >> req(GET, B),
        b1 << asked(GET, B, n=2),
        b1 >> ok("two"),
        client << answered("200 OK", "Vary: Origin", body="two"),
        log(200, b1),
        location=CORS,
    ),
    row(
        "errors of ours can be read as well: of a backend, and without a location",
        client >> req(GET, A),
        b1 << asked(GET, A),
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated", MAY, "Vary: Origin"),
        log(502, b1, error="connection_terminated"),
        client >> req("GET /b", A),
        client << refused(404, "destination_not_found", MAY, "Vary: Origin", n=2),
        log(404, error="destination_not_found"),
        service=f"retry: off\n{CORS}",
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    row(
        "rules for headers have the last word",
        client >> req(GET, A),
        b1 << asked(GET, A),
        b1 >> ok("one"),
        client << answered("200 OK", "access-control-allow-origin: https://c.test", body="one"),
        log(200, b1),
        location=f"{CORS}\nheaders: {{response_headers: {{access-control-allow-origin: https://c.test}}, remove_response_headers: [Vary]}}",
    ),
)
