"""Splits: the arm that a request goes to, what stays within it, and the cookie of a new client."""

from __future__ import annotations

from typing import Any

from terraster.balance.sticky import token
from terraster.filters.split import signed
from terraster.policy.split import Layout
from terraster.state.cells import BackendCells

from .lines import answered, asked, matching, ok, refused, req
from .play import RST, Step, admit, b1, b2, b3, client, client2, log, reload, row, table, told

KEY, NAME = bytes(32), b"c"
WEIGHTS = {"stable": 90, "canary": 10}
ARMS = "{name: stable, weight: 90, backends: ['http://10.0.0.1:8000']}, {name: canary, weight: 10, backends: ['http://10.0.0.2:8000'%s]}"


def split(keys: str, arms: str = ARMS % "", more: str = "") -> str:
    """A location with a split."""
    return f"- path: /\n  split: {{{keys}, to: [{arms}]}}\n{more}"


def users(salt: str, weights: dict[str, int] = WEIGHTS) -> dict[str, str]:
    """A client for each arm, as 12 characters."""
    layout, names = Layout(salt, list(weights.items())), list(weights)
    return {names[layout.arm(b"%012d" % number)]: f"{number:012d}" for number in range(200)}


BY_USER = "by: header:x-user"
USER = users("site/")
STABLE, CANARY = (f"X-User: {USER[name]}" for name in WEIGHTS)
COOKIE = {name: f"Cookie: c={signed(KEY, NAME, user.encode()).decode()}" for name, user in users("c").items()}
NEW = matching(
    lambda head: b"\r\nSet-Cookie: c=" in head and b"; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax\r\n" in head, "a cookie"
)
OK = answered("200 OK", body="one")
DOWN = BackendCells.DOWN


SESSION = f"Cookie: at={token(KEY, 'site/#canary', 'site/#canary http://10.0.0.2:8000').decode()}"


def goes(backend: Any, *fields: str, n: int = 1, sets: str = "") -> tuple[Step, ...]:
    """A request and where it goes. sets: words for the cookie that the response sets"""
    cookie = matching(lambda head: b"\r\nSet-Cookie: " in head, sets)
    return (
        client >> req("GET /a", *fields),
        backend << asked("GET /a", *fields, n=n),
        backend >> ok(),
        client << (cookie if sets else answered("200 OK")),
        log(200, backend),
    )


test_arms = table(
    row("each client has its arm", *goes(b2, CANARY), *goes(b1, STABLE, n=2), *goes(b2, CANARY, n=3), locations=split(BY_USER)),
    row("a known client gets no cookie", *goes(b2, COOKIE["canary"]), *goes(b1, COOKIE["stable"], n=2), locations=split("name: c")),
    row(
        "a new client gets a cookie, whatever cookie it made up",
        client >> req("GET /a", "Cookie: c=canary"),
        b1 << asked("GET /a", "Cookie: c=canary"),
        b1 >> ok(),
        client << NEW,
        log(200, b1),
        locations=split("name: c, ttl: 1h", ARMS.replace("weight: 10", "weight: 0") % ""),
    ),
    row(
        "an error of ours sets the cookie, too: the client keeps its arm",
        client >> req("HEAD /a"),
        b1 << asked("HEAD /a"),
        b1 >> RST,
        told(b1, "failure"),
        client << NEW,
        log(502, b1, error="connection_terminated"),
        locations=split("name: c, ttl: 1h", ARMS.replace("weight: 10", "weight: 0") % "", "  retry: off"),
    ),
    row(
        "a retry stays within the arm",
        client >> req("GET /a", CANARY),
        b2 << asked("GET /a", CANARY),
        b2 >> RST,
        told(b2, "failure"),
        b3 << asked("GET /a", CANARY),
        b3 >> ok("one"),
        client << OK,
        log(200, b2, b3),
        locations=split(BY_USER, ARMS % ", 'http://10.0.0.3:8000'"),
    ),
    row(
        "an answer of a filter comes before arms, and is the location's",
        client >> req("GET /a", CANARY),
        client << answered("410 Gone", "Content-Type: text/plain; charset=utf-8", body="no"),
        log(410),
        locations=split(BY_USER, more="  respond: {status: 410, body: no}"),
    ),
    row(
        "rules for headers may name the arm",
        client >> req("GET /a", CANARY),
        b2 << asked("GET /a", CANARY, "X-Arm: canary"),
        b2 >> ok("one"),
        client << answered("200 OK", "X-Was: canary", body="one"),
        log(200, b2),
        locations=split(BY_USER, more="  headers: {request_headers: {X-Arm: '${split}'}, response_headers: {X-Was: '${split}'}}"),
    ),
    row(
        "a cookie of a session within the arm, beside the one of the arm",
        client >> req("GET /a", COOKIE["canary"]),
        b2 << asked("GET /a", COOKIE["canary"]),
        b2 >> ok(),
        client
        << matching(lambda head: head.count(b"\r\nSet-Cookie: terraster-") == 1 and b"Set-Cookie: c=" not in head, "one cookie"),
        log(200, b2),
        locations=split("name: c", more="  lb_policy: sticky-session"),
    ),
)

test_arms_without_a_backend = table(
    row(
        "its clients get 503, and the others are served",
        admit(b2, BackendCells.NONE, state=DOWN),
        client >> req("GET /a", CANARY),
        client << refused(503, "destination_unavailable"),
        log(503, error="destination_unavailable"),
        *goes(b1, STABLE, n=2),
        locations=split(BY_USER),
    ),
    row(
        "with fallback they are served by another arm, until it is back",
        admit(b2, BackendCells.NONE, state=DOWN),
        *goes(b1, CANARY),
        admit(b2, BackendCells.ALL),
        *goes(b2, CANARY, n=2),
        locations=split(f"{BY_USER}, fallback: true"),
    ),
    row(
        "a session at a draining backend stays, with fallback as well",
        admit(b2, BackendCells.NONE, state=BackendCells.DRAINING),
        *goes(b2, CANARY, SESSION),
        *goes(b1, CANARY, "Cookie: at=another", n=2, sets="a new session"),
        locations=split(f"{BY_USER}, fallback: true", more="  lb_policy: sticky-session\n  sticky: {name: at}"),
    ),
)

NEXT = ARMS.replace("weight: 10", "weight: 0") % ""

test_overrides = table(
    row(
        "a request may name an arm that has no weight",
        *goes(b2, "X-Arm: canary"),
        *goes(b1, "X-Arm: other", n=2),
        locations=split("by: client-ip, override: header:x-arm", NEXT),
    ),
    row("but only where that is wanted", *goes(b1, "X-Arm: canary"), locations=split("by: client-ip", NEXT)),
)

FULL = (
    "{name: stable, weight: 90, backends: [{url: 'http://10.0.0.1:8000', max_connections: 1}]}, "
    "{name: canary, weight: WEIGHT, backends: ['http://10.0.0.2:8000']}"
)

test_reloads = table(
    row(
        "a client keeps its arm when the weights and the order of the arms change",
        *goes(b2, COOKIE["canary"]),
        reload(
            locations=split(
                "name: c",
                "{name: canary, weight: 30, backends: ['http://10.0.0.2:8000']}, {name: stable, weight: 70, backends: ['http://10.0.0.1:8000']}",
            )
        ),
        *goes(b2, COOKIE["canary"], n=2),
        locations=split("name: c"),
    ),
    row(
        "a request that waits for room keeps its arm through a reload",
        client >> req("GET /a", STABLE),
        b1 << asked("GET /a", STABLE),
        client2 >> req("GET /b", STABLE),
        reload(locations=split(BY_USER, FULL.replace("WEIGHT", "20"))),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        b1 << asked("GET /b", STABLE, n=2, ip="192.0.2.8"),
        b1 >> ok("one"),
        client2 << OK,
        log(200, b1),
        locations=split(BY_USER, FULL.replace("WEIGHT", "10")),
    ),
)
