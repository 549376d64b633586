"""Conditions of locations in the life of a request: over HTTP/1.1 and HTTP/2 alike."""

from __future__ import annotations

from .frames import ask, forwarded, greeting, replied
from .lines import answered, asked, ok, refused, req, start
from .play import FIN, RST, Row, Step, b1, b2, b3, client, log, row, table, told

LOCATIONS = """
- path: /
  backends: [{url: 'http://10.0.0.1:8000'}]
- path: /
  name: canary
  match: {headers: {X-Canary: '~[a-z]+'}, query: {v: '2'}}
  backends: [{url: 'http://10.0.0.2:8000'}]
- path: /
  name: put
  match: {methods: [PUT], clients: [10.9.0.0/16], path_regex: '/files/[^/]+'}
  respond: {body: put}
- path: /admin
  match: {cookies: {staff: true}}
  backends: [{url: 'http://10.0.0.3:8000'}]
- path: /only
  match: {path: exact}
  respond: {body: only}
"""


def placed(name: str, *steps: Step) -> Row:
    return row(name, *steps, locations=LOCATIONS)


def goes_to(party: object, name: str, line: str, *fields: str) -> Row:
    """A request that one backend gets as the client sent it."""
    return placed(
        name,
        client >> req(line, *fields),
        party << asked(line, *fields),  # type: ignore[operator]
        party >> ok("x"),  # type: ignore[operator]
        client << answered("200 OK", body="x"),
        log(200, party),  # type: ignore[arg-type]
    )


test_requests = table(
    goes_to(b2, "all conditions hold", "GET /a?v=2", "X-Canary: yes"),
    goes_to(b2, "one of several fields fits, and one of several parameters", "GET /a?v=1&%76=%32", "X-Canary: 1", "X-Canary: yes"),
    goes_to(b1, "one condition does not hold", "GET /a?v=1", "X-Canary: yes"),
    goes_to(b1, "the value must fit as a whole", "GET /a?v=2", "X-Canary: yes1"),
    goes_to(b1, "the address of the client is another one", "PUT /files/a"),
    goes_to(b3, "a cookie is there", "GET /admin", "Cookie: a=b; staff="),
    goes_to(b1, "without it a shorter path takes the request", "GET /admin", "Cookie: a=staff=1"),
    goes_to(b1, "the server as a whole is in the location for /", "OPTIONS *"),
    goes_to(b1, "an exact path has nothing below it", "GET /only/"),
    placed(
        "an exact path",
        client >> req("GET /only?a"),
        client << answered("200 OK", "Content-Type: text/plain; charset=utf-8", body="only"),
        log(200),
    ),
    placed(
        "a field that Connection names ends here, so it does not count",
        client >> req("GET /a?v=2", "X-Canary: yes", "Connection: X-Canary"),
        b1 << asked("GET /a?v=2"),
        b1 >> ok("x"),
        client << answered("200 OK", body="x"),
        log(200, b1),
    ),
    placed(
        "each request of a connection is located anew",
        client >> req("GET /a?v=2", "X-Canary: yes"),
        b2 << asked("GET /a?v=2", "X-Canary: yes"),
        b2 >> ok("x"),
        client << answered("200 OK", body="x"),
        log(200, b2),
        client >> req("GET /a?v=2"),
        b1 << asked("GET /a?v=2", n=2),
        b1 >> ok("x"),
        client << answered("200 OK", body="x"),
        log(200, b1),
    ),
    row(
        "over HTTP/2",
        *greeting(client),
        client >> ask(1, "GET /a?v=2", "x-canary: yes") + ask(3, "GET /b?v=2"),
        b2 << forwarded("GET /a?v=2", "x-canary: yes"),
        b1 << forwarded("GET /b?v=2", n=2),
        b2 >> ok("two"),
        client << replied(1, 200, body="two"),
        log(200, b2),
        b1 >> ok("one"),
        client << replied(3, 200, body="one"),
        log(200, b1),
        top="http2: true",
        locations=LOCATIONS,
    ),
    row(
        "a path of which no location takes the request",
        client >> req("GET /a"),
        client << refused(404, "destination_not_found"),
        log(404, error="destination_not_found"),
        locations="""
- path: /
  match: {methods: POST}
  backends: [{url: 'http://10.0.0.1:8000'}]
""",
    ),
    row(
        "a retry stays in the location of the request",
        client >> req("GET /a", "X-Canary: yes"),
        b1 << asked("GET /a", "X-Canary: yes"),
        b1 >> RST,
        told(b1, "failure"),
        b2 << asked("GET /a", "X-Canary: yes"),
        b2 >> ok("two"),
        client << answered("200 OK", body="two"),
        log(200, b1, b2),
        locations="""
- path: /
  respond: {status: 404}
- path: /
  match: {headers: {X-Canary: true}}
  lb_policy: first
  backends: [{url: 'http://10.0.0.1:8000'}, {url: 'http://10.0.0.2:8000'}]
""",
    ),
)

test_filters = table(
    row(
        "a preflight is answered by the location of the method that it asks about, before it asks for a password",
        client >> req("OPTIONS /a", "Origin: https://b.test", "Access-Control-Request-Method: PUT"),
        client
        << start(
            "204 No Content",
            "Access-Control-Allow-Origin: https://b.test",
            "Access-Control-Allow-Methods: PUT",
            "Vary: Origin",
        ),
        log(204),
        client >> req("OPTIONS /a", "Origin: https://b.test", "Access-Control-Request-Method: GET"),
        client << answered("404 Not Found"),
        log(404),
        locations="""
- path: /
  match: {methods: PUT}
  middleware:
  - cors: {allowed_origins: ['https://b.test'], allowed_methods: [PUT]}
  - basic_auth: {users: {a: '{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ='}}
  respond: {status: 404}
- path: /
  respond: {status: 404}
""",
    ),
    row(
        "spellings in a service whose locations differ in access filters",
        client >> req("GET /ADMIN/1"),
        client << refused(400, "http_request_error", close=True),
        client << FIN,
        log(400, error="http_request_error"),
        locations="""
- path: /
  match: {path_regex: '/Admin/[0-9]'}
  middleware: [{ip_access: {deny: all}}]
  respond: {status: 404}
- path: /
  respond: {status: 404}
""",
    ),
)
