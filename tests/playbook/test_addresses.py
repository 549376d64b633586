"""Addresses and maintenance in the life of a request: they come before everything else, and what they refuse reaches no backend."""

from __future__ import annotations

from .both import twice
from .lines import answered, asked, ok, refused, req
from .play import Row, Step, b1, client, log, row, whole

_DENIED = "http_request_denied"
_AWAY = "destination_unavailable"
_DENY, _ALLOW = "ip_access: {deny: all}", "ip_access: {allow: all}"
_AGAIN = "Retry-After: 60"


def place(name: str, middleware: str, *steps: Step) -> Row:
    return row(name, *steps, location=f"middleware: [{middleware}]")


def let_in(name: str, middleware: str) -> Row:
    return place(
        name,
        middleware,
        client >> req("GET /a"),
        b1 << asked("GET /a"),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
    )


test_addresses_and_maintenance = twice(
    let_in("an address that is allowed", f"{{{_ALLOW}}}"),
    place("one that is denied", f"{{{_DENY}}}", client >> req("GET /a"), client << refused(403, _DENIED), log(403, error=_DENIED)),
    place(
        "one that is denied, with HEAD",
        f"{{{_DENY}}}",
        client >> req("HEAD /a"),
        client << refused(403, _DENIED, body=False),
        log(403, error=_DENIED),
    ),
    place(
        "addresses come before maintenance",
        f"{{maintenance: {{}}}}, {{{_DENY}}}",
        client >> req("GET /a"),
        client << refused(403, _DENIED),
        log(403, error=_DENIED),
    ),
    place(
        "maintenance comes before an answer of the location's own, and before a password",
        "{respond: {body: x}}, {basic_auth: {users: {a: '{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ='}}}, {maintenance: {}}",
        client >> whole(req("POST /a", body="hello")),
        client << refused(503, _AWAY, _AGAIN),
        log(503, error=_AWAY),
    ),
    place(
        "the connection goes on",
        "{maintenance: {}}",
        client >> req("GET /a"),
        client << refused(503, _AWAY, _AGAIN),
        log(503, error=_AWAY),
        client >> req("GET /b"),
        client << refused(503, _AWAY, _AGAIN, n=2),
        log(503, error=_AWAY),
    ),
    let_in("maintenance that is switched off", "{maintenance: {enabled: false, retry_after: 5m}}"),
    let_in("a client that may bypass it", "{maintenance: {bypass: all}}"),
)
