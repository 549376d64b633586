"""Fields that tell browsers to be careful are on every response, and the backend's own stand if they may."""

from __future__ import annotations

from .both import twice
from .lines import answered, asked, ok, refused, req, resp, start
from .play import RST, b1, client, log, row, told

GET = "GET /a"
DENY = "X-Frame-Options: DENY"
SECURITY = "middleware: [{security: {frame_options: DENY, hsts: true}}]"
THEIRS = "middleware: [{security: {frame_options: DENY, content_type_options: true, override: false}}]"
HSTS = "Strict-Transport-Security: max-age=31536000"

test_rows = twice(
    row(
        "the backend's own is replaced; in clear there is no HSTS",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> ok("one", "x-frame-options: SAMEORIGIN", "X-Frame-Options: ALLOWALL"),
        client << answered("200 OK", DENY, body="one"),
        log(200, b1),
        location=SECURITY,
    ),
    row(
        "a client that came over https to a trusted proxy gets HSTS",
        client >> req(GET, "X-Forwarded-Proto: https"),
        client << start("204 No Content", DENY, HSTS),
        log(204),
        client >> req(GET),
        client << start("204 No Content", DENY),
        log(204),
        top="trusted_proxies: [0.0.0.0/0]",
        service=f"respond: {{status: 204}}\n{SECURITY}",
    ),
    row(
        "with override: false the backend's own stands",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> ok("one", "x-frame-options: SAMEORIGIN"),
        client << answered("200 OK", "x-frame-options: SAMEORIGIN", "X-Content-Type-Options: nosniff", body="one"),
        log(200, b1),
        location=THEIRS,
    ),
    row(
        "interim responses are left alone; errors have the fields",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> resp("103 Early Hints", "Link: </a>", length=False),
        client << start("103 Early Hints", "Link: </a>", date=False),
        b1 >> RST,
        told(b1, "failure"),
        client << refused(502, "connection_terminated", DENY),
        log(502, b1, error="connection_terminated"),
        service="retry: off",
        location=SECURITY,
    ),
    row(
        "fixed answers, redirects and requests without a location have them, too",
        client >> req(GET),
        client << answered("200 OK", DENY, "Content-Type: text/plain; charset=utf-8", body="fixed"),
        log(200),
        client >> req("GET /b"),
        client << refused(404, "destination_not_found", DENY, n=2),
        log(404, error="destination_not_found"),
        service=SECURITY,
        locations="- {path: /a, respond: {body: fixed}}",
    ),
    row(
        "rules for headers have the last word",
        client >> req(GET),
        b1 << asked(GET),
        b1 >> ok("one"),
        client << answered("200 OK", "X-Frame-Options: SAMEORIGIN", body="one"),
        log(200, b1),
        location=f"{SECURITY}\nheaders: {{response_headers: {{X-Frame-Options: SAMEORIGIN}}}}",
    ),
)
