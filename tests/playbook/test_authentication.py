"""Authentication in the life of a request: what goes to the backend, what the client is told, what is logged."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from .both import twice
from .lines import answered, asked, ok, refused, req, request_id, resp, start
from .play import FIN, GONE, RST, Row, Step, after, b1, b3, client, counts, log, row, told, whole

_HASH = "{SHA}0nofEXcSAJSXFLGvmfBIpBb11vQ="
_FIELD = f"Authorization: Basic {base64.b64encode(b'ada:right').decode()}"
_WRONG = f"Authorization: Basic {base64.b64encode(b'ada:wrong').decode()}"
_ASKS = 'WWW-Authenticate: Basic realm="restricted", charset="UTF-8"'
_REFUSED = "http_request_denied"
OK = answered("200 OK", body="one")


def basic(name: str, *steps: Step, keys: str = "", more: str = "") -> Row:
    return row(name, *steps, location=f"middleware: [{{basic_auth: {{users: {{ada: '{_HASH}'}}{keys}}}}}{more}]")


test_basic_auth = twice(
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
        "a preflight has no password, and is answered before",
        client >> req("OPTIONS /a", "Origin: https://b.test", "Access-Control-Request-Method: PUT"),
        client
        << start(
            "204 No Content",
            "Access-Control-Allow-Origin: https://b.test",
            "Access-Control-Allow-Methods: PUT",
            "Vary: Origin",
        ),
        log(204),
        client >> req("GET /a", "Origin: https://b.test"),
        client << refused(401, _REFUSED, _ASKS, "Access-Control-Allow-Origin: https://b.test", "Vary: Origin", n=2),
        log(401, error=_REFUSED),
        more=", {cors: {allowed_origins: 'https://b.test', allowed_methods: PUT}}",
    ),
    basic(
        "the name goes into rules for headers, once it is verified",
        client >> req("GET /a"),
        client << refused(401, _REFUSED, _ASKS, "X-User: "),
        log(401, error=_REFUSED),
        client >> req("GET /a", _FIELD),
        b1 << asked("GET /a", _FIELD, "X-User: ada", n=2),
        b1 >> ok("one"),
        client << answered("200 OK", "X-User: ada", body="one"),
        log(200, b1),
        more=", {headers: {request_headers: {X-User: '${user}'}, response_headers: {X-User: '${user}'}}}",
    ),
    basic(
        "rules for headers reach the refusal",
        client >> req("GET /a"),
        client << refused(401, _REFUSED, _ASKS, "X-Mark: 1"),
        log(401, error=_REFUSED),
        more=", {headers: {response_headers: {X-Mark: '1'}}}",
    ),
)


_KEY = "0123456789abcdef0123456789abcdef"


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def token(key: str = _KEY, **claims: object) -> str:
    """The Authorization field with a token that is signed with a secret (HS256), and ends in the year 2286."""
    said = {"sub": "ada", "exp": 9_999_999_999, **claims}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256"}, said))
    return f"Authorization: Bearer {signed}.{_encoded(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


_BEARER = 'WWW-Authenticate: Bearer realm="restricted"'
_INVALID = f'{_BEARER}, error="invalid_token"'


def jwt(name: str, *steps: Step, keys: str = "") -> Row:
    claims = "claims_to_headers: {sub: X-User, level: X-Level}"
    return row(name, *steps, location=f"middleware: [{{jwt: {{key: {_KEY}, {claims}{keys}}}}}]")


test_jwt = twice(
    jwt(
        "a token that is good: claims go to the backend, and not the client's fields",
        client >> req("GET /a", token(), "X-User: root", "X_Level: 9"),
        b1 << asked("GET /a", token(), "X-User: ada"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    jwt(
        "the token is removed if the backend must not have it",
        client >> req("GET /a", token(level=3)),
        b1 << asked("GET /a", "X-User: ada", "X-Level: 3"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        keys=", forward_credentials: false",
    ),
    jwt(
        "without a token, with a wrong one, then with a good one",
        client >> req("GET /a"),
        client << refused(401, _REFUSED, _BEARER),
        log(401, error=_REFUSED, detail="jwt: a token is needed"),
        client >> req("GET /a", token("another-secret-of-32-octets-or-more")),
        client << refused(401, _REFUSED, _INVALID, n=2),
        log(401, error=_REFUSED, detail="jwt: the signature of the token is wrong"),
        client >> req("GET /a", token()),
        b1 << asked("GET /a", token(), "X-User: ada", n=3),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    jwt(
        "an old one",
        client >> req("GET /a", token(exp=1)),
        client << refused(401, _REFUSED, _INVALID),
        log(401, error=_REFUSED, detail="jwt: the token has expired"),
    ),
    jwt(
        "one without the required claim",
        client >> req("GET /a", token(role="guest")),
        client << refused(403, _REFUSED, f'{_BEARER}, error="insufficient_scope"'),
        log(403, error=_REFUSED, detail="jwt: the token has not the required claim role"),
        client >> req("GET /a", token(role=["guest", "admin"])),
        b1 << asked("GET /a", token(role=["guest", "admin"]), "X-User: ada", n=2),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        keys=", required_claims: {role: admin}",
    ),
    jwt(
        "two of them",
        client >> req("GET /a", token(), token()),
        client << refused(400, "http_request_error"),
        log(400, error="http_request_error"),
    ),
)


def about(uri: str, method: str = "GET") -> tuple[str, ...]:
    """What the server that decides is told of a request."""
    return (
        f"X-Forwarded-Method: {method}",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a.test",
        f"X-Forwarded-Uri: {uri}",
        "X-Forwarded-For: 192.0.2.7",
        "X-Real-IP: 192.0.2.7",
    )


def question(uri: str, *fields: str, method: str = "GET", n: int = 1) -> Any:
    told = (*about(uri, method), *fields, request_id(n))
    return asked("GET /verify?a=b", *told, host="10.0.0.3:9091", about=False)


decider = b3
_GRANTED = ok("", "X-User: ada", "X-Other: 1", "Set-Cookie: s=1")
_AWAY = "destination_unavailable"


def decided(requests: int = 1, responses: int = 1, **more: int) -> Step:
    return counts(decider, requests=requests, responses=responses, **more)


def forward(name: str, *steps: Step, keys: str = "", backends: int = 1, location: str = "") -> Row:
    middleware = f"middleware: [{{forward_auth: {{url: 'http://10.0.0.3:9091/verify?a=b', response_headers: [X-User]{keys}}}}}]"
    return row(name, *steps, location=f"{middleware}\n{location}", backends=backends)


test_forward_auth = twice(
    forward(
        "2xx: the request goes on with the listed fields, and not with the client's",
        decided(),
        client >> req("GET /a?b=c", "X-User: root", "X_User: root", "Cookie: x"),
        decider << question("/a?b=c", "Cookie: x"),
        decider >> _GRANTED,
        b1 << asked("GET /a?b=c", "X-User: ada", "Cookie: x"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    forward(
        "only some fields of the client go to the server",
        decided(),
        client >> req("GET /a", "Cookie: x", "Authorization: y", "Accept: z"),
        decider << question("/a", "Cookie: x"),
        decider >> resp("204 No Content", length=False),
        b1 << asked("GET /a", "Cookie: x", "Authorization: y", "Accept: z"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        keys=", request_headers: [cookie]",
    ),
    forward(
        "what the client says about the request does not reach the server, nor do conditions and ranges",
        decided(),
        client
        >> req(
            "GET /a",
            "X-Forwarded-Uri: /public",
            "X_Forwarded_Uri: /public",
            "X-Forwarded-Method: GET",
            "X-Original-URL: /public",
            "X-Rewrite-URL: /public",
            "If-None-Match: *",
            "Range: bytes=0-1",
            "Connection: X-Hop",
            "X-Hop: 1",
        ),
        decider << question("/a"),
        decider >> _GRANTED,
        b1
        << asked(
            "GET /a",
            "X-User: ada",
            "X-Original-URL: /public",
            "X-Rewrite-URL: /public",
            "If-None-Match: *",
            "Range: bytes=0-1",
        ),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    forward(
        "a body is not sent to the server, and goes to the backend afterwards",
        decided(),
        client >> req("POST /a", "Content-Type: text/plain", body="hello"),
        decider << question("/a", method="POST"),
        decider >> _GRANTED,
        b1 << asked("POST /a", "X-User: ada", "Content-Type: text/plain", body="hello"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    forward(
        "HEAD is asked about with GET",
        decided(),
        client >> req("HEAD /a"),
        decider << question("/a", method="HEAD"),
        decider >> ok("body"),
        b1 << asked("HEAD /a"),
        b1 >> resp("200 OK", "Content-Length: 3"),
        client << answered("200 OK", "Content-Length: 3"),
        log(200, b1),
    ),
    forward(
        "the connection to the server is kept",
        decided(2, 2),
        client >> req("GET /a"),
        decider << question("/a"),
        decider >> ok("a body that nobody reads"),
        b1 << asked("GET /a"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        client >> req("GET /b"),
        decider << question("/b", n=2),
        decider >> resp("200 OK", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        b1 << asked("GET /b", n=2),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
    ),
    forward(
        "a kept connection to the server that has ended is replaced",
        client >> req("GET /a"),
        decider << question("/a"),
        decider >> _GRANTED,
        b1 << asked("GET /a", "X-User: ada"),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        decider.breaks_when_written_to(),
        client >> req("GET /b"),
        decider[2] << question("/b", n=2),
        decider[2] >> _GRANTED,
        b1 << asked("GET /b", "X-User: ada", n=2),
        b1 >> ok("one"),
        client << OK,
        log(200, b1),
        decided(3, 2, retries=1),
        counts(retries=1),
    ),
    forward(
        "every other answer goes back as it is",
        decided(),
        client >> req("GET /a"),
        decider << question("/a"),
        decider
        >> resp(
            "302 Found", "Location: http://10.0.0.3:9091/login", "Set-Cookie: a=1", "Set-Cookie: b=2", "Keep-Alive: 5", body="go"
        ),
        client
        << answered(
            "302 Found",
            "Location: http://10.0.0.3:9091/login",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            'Proxy-Status: terraster; error=http_request_denied; details="forward_auth: the server answered 302"',
            body="go",
        ),
        log(302, error=_REFUSED),
    ),
    forward(
        "with a chunked body, too",
        decided(),
        client >> req("GET /a"),
        decider << question("/a"),
        decider >> resp("403 Forbidden", "Transfer-Encoding: chunked", body="2\r\nno\r\n0\r\n\r\n"),
        client
        << answered(
            "403 Forbidden",
            'Proxy-Status: terraster; error=http_request_denied; details="forward_auth: the server answered 403"',
            body="no",
        ),
        log(403, error=_REFUSED),
    ),
    forward(
        "the server is away: refused",
        decided(2, 0, failures=2, failed=2, retries=1),
        counts(retries=1),
        client >> req("GET /a"),
        decider << question("/a"),
        decider >> RST,
        told(decider, "failure"),
        after(0.03),
        decider[2] << question("/a"),
        decider[2] >> RST,
        told(decider, "failure"),
        client << refused(503, _AWAY, "Retry-After: 1"),
        log(503, error=_AWAY),
    ),
    forward(
        "it talks nonsense: refused",
        decided(2, 0, failures=2, failed=2, retries=1),
        counts(retries=1),
        client >> req("GET /a"),
        decider << question("/a"),
        decider >> "SSH-2.0\r\n\r\n",
        decider << FIN,
        told(decider, "failure"),
        after(0.03),
        decider[2] << question("/a"),
        decider[2] >> "SSH-2.0\r\n\r\n",
        decider[2] << FIN,
        told(decider, "failure"),
        client << refused(503, _AWAY, "Retry-After: 1"),
        log(503, error=_AWAY),
    ),
    forward(
        "it does not answer in time: refused",
        decided(1, 0, failures=1, failed=1),
        client >> req("GET /a"),
        decider << question("/a"),
        after(2.9),
        after(0.5),
        decider << FIN,
        told(decider, "failure"),
        client << refused(503, _AWAY, "Retry-After: 1"),
        log(503, error=_AWAY),
        keys=", timeout: 3s",
    ),
    forward(
        "its answer comes too slowly: refused",
        decided(1, 0),
        client >> req("GET /a"),
        decider << question("/a"),
        after(2),
        decider >> "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
        after(0.9),
        decider >> "2",
        after(0.5),
        decider << FIN,
        client << refused(503, _AWAY, "Retry-After: 1"),
        log(503, error=_AWAY),
        keys=", timeout: 3s",
    ),
    forward(
        "the client leaves meanwhile",
        decided(1, 0),
        client >> req("GET /a"),
        decider << question("/a"),
        client >> GONE,
        client << FIN,
        decider << FIN,
        log(499, error="connection_terminated"),
    ),
)
