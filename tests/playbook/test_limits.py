"""Limits of clients: what is refused, what clients are told, and when a place is free again."""

from __future__ import annotations

from .both import twice
from .lines import answered, asked, ok, refused, req, resp, start
from .play import FIN, GONE, Backend, Client, Step, after, b1, client, client2, log, reload, row, told

GET = req("GET /a")
OK = answered("200 OK", body="one")
ONE_A_SECOND = "middleware: [{rate_limit: {requests_per_second: 1, burst: 2}}]"
POLICY = 'RateLimit-Policy: "default";q=2;w=2'
DENIED = "http_request_denied"


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def served(n: int, *fields: str, by: Client = client, to: Backend = b1) -> tuple[Step, ...]:
    """A request that is served, with further field lines of the response."""
    return (
        by >> GET,
        to << asked("GET /a", n=n),
        to >> ok("one"),
        by << answered("200 OK", *fields, body="one"),
        log(200, b1),
    )


test_rates = twice(
    row(
        "a burst, a refusal, and one more after a second",
        *served(1, POLICY, 'RateLimit: "default";r=1;t=1'),
        *served(2, POLICY, 'RateLimit: "default";r=0;t=2'),
        client >> GET,
        client << refused(429, DENIED, "Retry-After: 1", POLICY, 'RateLimit: "default";r=0;t=2', n=3),
        log(429, error=DENIED, detail="rate_limit: limit default exceeded"),
        after(1.1),
        *served(4, POLICY, 'RateLimit: "default";r=0;t=2'),
        location=ONE_A_SECOND,
    ),
    row(
        "another client has a limit of its own",
        *served(1),
        client2 >> GET,
        b1 << asked("GET /a", n=2, ip="192.0.2.8"),
        b1 >> ok("one"),
        client2 << OK,
        log(200, b1),
        client >> GET,
        client << refused(429, DENIED, "Retry-After: 10", n=3),
        log(429, error=DENIED),
        location="middleware: [{rate_limit: {requests_per_second: 0.1, headers: none}}]",
    ),
    row(
        "the body of a refused request is skipped, and the connection goes on",
        *served(1),
        client >> req("POST /a", body="abc"),
        client << refused(429, DENIED, "Retry-After: 10", n=2),
        log(429, error=DENIED),
        client >> GET,
        client << refused(429, DENIED, "Retry-After: 10", n=3),
        log(429, error=DENIED),
        location="middleware: [{rate_limit: {requests_per_second: 0.1, headers: none}}]",
        cut=False,
    ),
    row(
        "another status",
        *served(1),
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 10", n=2),
        log(503, error=DENIED),
        location="middleware: [{rate_limit: {requests_per_second: 0.1, headers: none, status: 503}}]",
    ),
    row(
        "observed only: nothing is refused, and no client is told",
        *served(1),
        *served(2),
        location="middleware: [{rate_limit: {requests_per_second: 0.1, mode: observe}}]",
    ),
    row(
        "fields of before: those of the backend are replaced",
        client >> GET,
        b1 << asked("GET /a"),
        b1 >> resp("200 OK", "X-RateLimit-Limit: 9", "x-ratelimit-reset: 9", body="one"),
        client << answered("200 OK", "X-RateLimit-Limit: 2", "X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 1", body="one"),
        log(200, b1),
        location="middleware: [{rate_limit: {requests_per_second: 1, burst: 2, headers: legacy}}]",
    ),
    row(
        "two entries: each has its line",
        *served(
            1, 'RateLimit-Policy: "a";q=2;w=2', 'RateLimit: "a";r=1;t=1', 'RateLimit-Policy: "b";q=9;w=9', 'RateLimit: "b";r=8;t=1'
        ),
        location="middleware: [{rate_limit: {name: a, requests_per_second: 1, burst: 2}}, "
        "{rate_limit: {name: b, requests_per_second: 1, burst: 9}}]",
    ),
    row(
        "two entries with fields of before: the one that is nearest to its limit",
        *served(1, "X-RateLimit-Limit: 2", "X-RateLimit-Remaining: 1", "X-RateLimit-Reset: 1"),
        location="middleware: [{rate_limit: {name: a, headers: legacy, requests_per_second: 1, burst: 2}}, "
        "{rate_limit: {name: b, headers: legacy, requests_per_second: 1, burst: 9}}]",
    ),
    row(
        "interim responses are not told of limits",
        client >> GET,
        b1 << asked("GET /a"),
        b1 >> resp("103 Early Hints", "Link: </x>", length=False),
        client << start("103 Early Hints", "Link: </x>", date=False),
        b1 >> ok("one"),
        client << answered("200 OK", POLICY, 'RateLimit: "default";r=1;t=1', body="one"),
        log(200, b1),
        location=ONE_A_SECOND,
    ),
    row(
        "a path without a location counts too, and a location that says more has a limit of its own",
        client >> req("GET /nowhere"),
        client << refused(404, "destination_not_found", 'RateLimit-Policy: "default";q=1;w=10', 'RateLimit: "default";r=0;t=10'),
        log(404, error="destination_not_found"),
        client >> GET,
        client
        << refused(429, DENIED, "Retry-After: 10", 'RateLimit-Policy: "default";q=1;w=10', 'RateLimit: "default";r=0;t=10', n=2),
        log(429, error=DENIED),
        client >> req("GET /own"),
        client << answered("204 No Content", length=False),
        log(204),
        service="middleware: [{rate_limit: {requests_per_second: 0.1}}]",
        locations="- path: /a\n  respond: {status: 204}\n- path: /own\n  respond: {status: 204}\n  middleware: [{rate_limit: {headers: none}}]",
    ),
)

FULL = "max_connections: 1"
ONE_AT_ONCE = "middleware: [{limit_connections: {per_client: 1}}]"

second = client2.at("127.0.0.1:80", "192.0.2.7")
"""Another connection of the first client's."""

test_connections = twice(
    row(
        "a second request of a client while the first one is under way, and after it",
        client >> GET,
        b1 << asked("GET /a"),
        second >> GET,
        second << refused(429, DENIED, "Retry-After: 1", n=2),
        log(429, error=DENIED),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        second >> GET,
        b1 << asked("GET /a", n=3),
        b1 >> ok("one"),
        second << OK,
        log(200, b1),
        location=ONE_AT_ONCE,
    ),
    row(
        "a request that waits for a backend over a reload, after which its location has another limit",
        client >> GET,
        b1 << asked("GET /a"),
        client2 >> GET,
        reload(backends=FULL, location="middleware: [{limit_connections: {per_client: 1, status: 503}}]"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        b1 << asked("GET /a", n=2, ip="192.0.2.8"),
        b1 >> ok("one"),
        client2 << OK,
        log(200, b1),
        client2 >> GET,
        b1 << asked("GET /a", n=3, ip="192.0.2.8"),
        b1 >> ok("one"),
        client2 << OK,
        log(200, b1),
        location=ONE_AT_ONCE,
        backends=FULL,
    ),
    row(
        "another client has a place of its own",
        client >> GET,
        b1 << asked("GET /a"),
        client2 >> GET,
        b1[2] << asked("GET /a", n=2, ip="192.0.2.8"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        b1[2] >> ok("one"),
        client2 << OK,
        log(200, b1),
        location=ONE_AT_ONCE,
    ),
    row(
        "a client that leaves gives its place back",
        client >> GET,
        b1 << asked("GET /a"),
        client >> GONE,
        client << FIN,
        b1 << FIN,
        log(499, b1, error="connection_terminated"),
        *served(2, by=second, to=b1[2]),
        location=ONE_AT_ONCE,
    ),
    row(
        "an error gives its place back",
        client >> GET,
        b1 << asked("GET /a"),
        b1 >> "nonsense\r\n\r\n",
        client << refused(502, "http_protocol_error"),
        b1 << FIN,
        told(b1, "failure"),
        log(502, b1, error="http_protocol_error"),
        *served(2, to=b1[2]),
        location=f"{ONE_AT_ONCE}\nretry: off",
    ),
    row(
        "a tunnel keeps its place",
        client >> req("GET /a", *UPGRADE),
        b1 << asked("GET /a", *UPGRADE),
        b1 >> resp("101 Switching Protocols", *UPGRADE, length=False),
        client << start("101 Switching Protocols", *UPGRADE, date=False),
        second >> GET,
        second << refused(429, DENIED, "Retry-After: 1", n=2),
        log(429, error=DENIED),
        b1 >> GONE,
        client << FIN,
        b1 << FIN,
        log(101, b1),
        *served(3, by=second, to=b1[2]),
        location=ONE_AT_ONCE,
    ),
)
