"""Authentication in the life of a request: what goes to the backend, what the client is told, what is logged."""

from __future__ import annotations

import base64

from .lines import answered, asked, ok, refused, req
from .play import Row, Step, b1, client, log, row, table, whole

_HASH = "{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ="
_FIELD = f"Authorization: Basic {base64.b64encode(b'ada:right').decode()}"
_WRONG = f"Authorization: Basic {base64.b64encode(b'ada:wrong').decode()}"
_ASKS = 'WWW-Authenticate: Basic realm="restricted", charset="UTF-8"'
_REFUSED = "http_request_denied"
OK = answered("200 OK", body="one")


def basic(name: str, *steps: Step, keys: str = "", more: str = "") -> Row:
    return row(name, *steps, location=f"middleware: [{{basic_auth: {{users: {{ada: '{_HASH}'}}{keys}}}}}{more}]")


test_basic_auth = table(
    basic(
        "the right password",
        client >> req("GET /a", _FIELD),
        b1 << asked("GET /a", _FIELD),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    basic(
        "the field is removed if the backend must not have it",
        client >> req("GET /a", _FIELD),
        b1 << asked("GET /a"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        keys=", forward_credentials: false",
    ),
    basic(
        "without a password, then with it, on one connection",
        client >> req("GET /a"),
        client << refused(401, _REFUSED, _ASKS),
        log(401, error=_REFUSED),
        client >> req("GET /a", _FIELD),
        b1 << asked("GET /a", _FIELD, n=2),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    basic("a wrong one", client >> req("GET /a", _WRONG), client << refused(401, _REFUSED, _ASKS), log(401, error=_REFUSED)),
    basic(
        "for people, and for HEAD",
        client >> req("GET /a", "Accept: text/html"),
        client << refused(401, _REFUSED, _ASKS, html=True),
        log(401, error=_REFUSED),
        client >> req("HEAD /a"),
        client << refused(401, _REFUSED, _ASKS, n=2, body=False),
        log(401, error=_REFUSED),
    ),
    basic(
        "the body of a refused request is skipped if it is here already",
        client >> whole(req("POST /a", body="hello")),
        client << refused(401, _REFUSED, _ASKS),
        log(401, error=_REFUSED),
    ),
    basic(
        "rules for headers reach the refusal",
        client >> req("GET /a"),
        client << refused(401, _REFUSED, _ASKS, "X-Mark: 1"),
        log(401, error=_REFUSED),
        more=", {headers: {response_headers: {X-Mark: '1'}}}",
    ),
)
