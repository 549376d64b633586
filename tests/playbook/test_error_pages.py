"""Pages for errors: Terraster's own keep what is said about them, those of backends keep their status and fields, and the body is a page."""

from __future__ import annotations

from pathlib import Path

from .both import twice
from .lines import answered, asked, ok, refused, req, resp, start
from .play import FIN, GONE, RST, b1, b2, client, counts, log, row, told, whole

PAGES = Path(__file__).parents[1] / "data" / "pages"
OURS = f"error_pages: {{404: {PAGES}/404.html, 5xx: {PAGES}/5xx.json"
FILTER = f"middleware: [{{{OURS}}}}}]"
INTERCEPT = f"middleware: [{{{OURS}, intercept: true}}}}]"
GET = "GET /a"
ID = "0123456789abcdef00000001"
NOT_FOUND, SORRY = "<p>not here", '{"sorry": true}'
HTML, JSON = "Content-Type: text/html; charset=utf-8", "Content-Type: application/json"
ABOUT = ("Cache-Control: no-store", f"X-Request-ID: {ID}")


def said(reason: str, detail: str) -> str:
    return f'Proxy-Status: terraster; error={reason}; details="{detail}"'


ENDED = said("connection_terminated", "the backend closed the connection")
THEIRS = ("ETag: x", "Content-Encoding: gzip", "content-language: de", "Last-Modified: y", "X-Kept: 1", "Set-Cookie: a=b")

test_own = twice(
    row(
        "an error of ours keeps its status and what is said about it",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> RST,
        told(b1, "failure"),
        client << answered("502 Bad Gateway", JSON, *ABOUT, ENDED, body=SORRY),
        log(502, b1, error="connection_terminated"),
        service=f"retry: off\n{FILTER}",
    ),
    row(
        "HEAD has the head alone, and the connection goes on",
        client >> req("HEAD /a"),
        b1 << asked("HEAD /a"),
        b1 >> RST,
        told(b1, "failure"),
        client << start("502 Bad Gateway", JSON, *ABOUT, ENDED, f"Content-Length: {len(SORRY)}"),
        log(502, b1, error="connection_terminated"),
        client >> req("HEAD /b"),
        client
        << start(
            "404 Not Found",
            HTML,
            ABOUT[0],
            f"{ABOUT[1][:-1]}2",
            said("destination_not_found", "no location for this path"),
            f"Content-Length: {len(NOT_FOUND)}",
        ),
        log(404, error="destination_not_found"),
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
        service=f"retry: off\n{FILTER}",
    ),
    row(
        "an error without a location, and one without a service",
        client >> req("GET /b"),
        client
        << answered("404 Not Found", HTML, *ABOUT, said("destination_not_found", "no location for this path"), body=NOT_FOUND),
        log(404, error="destination_not_found"),
        service=FILTER,
        locations="- path: /a\n  backends: [{url: 'http://10.0.0.1:8000'}]",
    ),
    row(
        "a status without a page stays as it is",
        client >> "hello\r\n\r\n",
        client << refused(400, "http_request_error", close=True),
        client << FIN,
        client >> GONE,
        log(400, error="http_request_error"),
        top=f"{FILTER}\n",
    ),
    row(
        "a fixed answer is not an error",
        client >> req(GET),
        client << answered("404 Not Found", "Content-Type: text/plain; charset=utf-8", body="fixed"),
        log(404),
        service=f"respond: {{status: 404, body: fixed}}\n{INTERCEPT}",
    ),
)

test_intercepted = twice(
    row(
        "without intercept the backend's body goes on",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> resp("404 Not Found", "Content-Type: text/plain", body="theirs"),
        client << answered("404 Not Found", "Content-Type: text/plain", body="theirs"),
        log(404, b1),
        location=FILTER,
    ),
    row(
        "the page stands in place of the backend's body; fields that are not about it stay, and the backend's connection too",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> whole(resp("404 Never Heard Of It", "Content-Type: text/plain", *THEIRS, body="theirs")),
        client << answered("404 Never Heard Of It", HTML, "X-Kept: 1", "Set-Cookie: a=b", body=NOT_FOUND),
        log(404, b1),
        client >> req(GET),
        b1 << asked(GET, n=2),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        location=INTERCEPT,
    ),
    row(
        "of HEAD",
        client >> req("HEAD /a"),
        b1 << asked("HEAD /a"),
        b1 >> resp("404 Not Found", "Content-Length: 6", length=False),
        client << start("404 Not Found", HTML, f"Content-Length: {len(NOT_FOUND)}"),
        log(404, b1),
        location=INTERCEPT,
    ),
    row(
        "in place of no body",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> resp("404 Not Found"),
        client << answered("404 Not Found", HTML, body=NOT_FOUND),
        log(404, b1),
        location=INTERCEPT,
    ),
    row(
        "of chunks, which have come",
        client >> req(GET),
        b1 << asked(GET),
        b1
        >> whole(
            resp(
                "503 Busy",
                "Transfer-Encoding: chunked",
                "Trailer: X-Sum",
                "Retry-After: 7",
                body="3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
            )
        ),
        client << answered("503 Busy", JSON, "Retry-After: 7", body=SORRY),
        log(503, b1),
        client >> req(GET),
        b1 << asked(GET, n=2),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
        location=INTERCEPT,
    ),
    row(
        "of a body that is still to come: the client does not wait for it, and the connection to the backend ends",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> resp("500 No", "Content-Length: 9", body="the"),
        client << answered("500 No", JSON, body=SORRY),
        b1 << FIN,
        log(500, b1),
        location=INTERCEPT,
    ),
    row(
        "of a body that ends with the connection",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> resp("500 No", "Connection: close", length=False, body="the"),
        client << answered("500 No", JSON, body=SORRY),
        b1 << FIN,
        log(500, b1),
        location=INTERCEPT,
    ),
    row(
        "for a client of HTTP/1.0, which stays",
        client >> req("GET /a HTTP/1.0", "Connection: keep-alive"),
        b1 << asked(GET, via="1.0"),
        b1 >> whole(resp("404 Not Found", "Transfer-Encoding: chunked", body="3\r\nabc\r\n0\r\n\r\n")),
        client << answered("404 Not Found", HTML, "Connection: keep-alive", body=NOT_FOUND),
        log(404, b1),
        location=INTERCEPT,
    ),
    row(
        "a retry comes first",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> whole(resp("503 Busy", body="theirs")),
        b2 << asked(GET),
        b2 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1, b2),
        counts(b1, responses=1),
        backends=2,
        location=f"retry: {{on: 503}}\n{INTERCEPT}",
    ),
    row(
        "other filters see the page's head, and it is not compressed",
        client >> req(GET, "Origin: https://a.test", "Accept-Encoding: gzip"),
        b1 << asked(GET, "Origin: https://a.test", "Accept-Encoding: gzip"),
        b1 >> whole(resp("404 Not Found", "Content-Type: text/html", body="theirs")),
        client
        << answered(
            "404 Not Found", HTML, "Access-Control-Allow-Origin: https://a.test", "Vary: Origin", "X-A: 404", body=NOT_FOUND
        ),
        log(404, b1),
        location=f"{INTERCEPT[:-1]}, {{compression: {{min_size: 1}}}}, {{cors: {{allowed_origins: 'https://a.test'}}}}]\n"
        "headers: {response_headers: {X-A: '${status}'}}",
    ),
)
