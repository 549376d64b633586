"""`jwt`: what may be written, which requests come in, and what goes to the backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.diff import diff
from terraster.config.resolve import resolve
from terraster.errors import HttpError
from terraster.exchange import Exchange
from terraster.filters import jwt
from terraster.filters.contract import Place
from terraster.filters.jwt import Jwt, JwtSettings
from terraster.state.cells import SeatLocation
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits

from .harness.configuration import load
from .harness.issuer import END, NOW, SECRET, jwks, pem, token, unsigned
from .harness.refusals import SERVICE, refusal

URL = "https://keys.test/jwks"
COUNTERS = {counter.name: 112 + number for number, counter in enumerate(Jwt.counters)}
Fields = list[tuple[bytes, bytes]]


class Head:
    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.method, self.target, self.size, self.content_length, self.chunked = b"GET", b"/", 0, 0, False


class House:
    """One filter, with the keys rsa, ec and ed unless ``contents`` says otherwise."""

    def __init__(self, contents: dict[str, bytes] | None = None, **written: Any) -> None:
        self.view = SeatView(Table(1, 1, 1))
        settings = JwtSettings(**({"jwks_url": URL} | written))
        settings = settings.with_contents({URL: jwks("rsa", "ec", "ed")} if contents is None else contents)
        self.filter = Jwt(settings, Place(None, None, self.view, COUNTERS), self.view)

    def ask(self, *fields: tuple[bytes, bytes], query: bytes = b"", now: float = NOW) -> int:
        """The status of the refusal; 0: it came in."""
        self.exchange = Exchange(0.0, now, "192.0.2.1", "192.0.2.1", "http", Head(list(fields)))
        self.exchange.query = query
        try:
            assert self.filter.on_request(self.exchange) is None
        except HttpError as error:
            assert self.exchange.claims is None and self.exchange.user == ""
            self.error = error
            return error.status
        return 0

    def upstream(self) -> Edits:
        edits = Edits()
        if self.filter.needs("on_upstream"):
            self.filter.on_upstream(self.exchange, edits)
        return edits

    @property
    def counted(self) -> dict[str, int]:
        row = self.view.locations + self.view.table.unrouted * SeatLocation.CELLS
        return {name: count for name, cell in COUNTERS.items() if (count := self.view.q[row + cell])}


def bearer(octets: bytes, name: bytes = b"Authorization") -> tuple[bytes, bytes]:
    return name, b"Bearer " + octets


GOOD = token()
CASES: tuple[tuple[Fields, int, dict[str, int], str], ...] = (
    ([bearer(GOOD)], 0, {}, ""),
    ([(b"aUTHORIZATION", b" bEARER  " + GOOD + b" ")], 0, {}, ""),
    ([], 401, {"asked": 1}, 'Bearer realm="restricted"'),
    ([(b"Authorization", b"Basic YTpi")], 401, {"asked": 1}, 'Bearer realm="restricted"'),
    ([(b"Authorization", b"Bearer")], 401, {"asked": 1}, 'Bearer realm="restricted"'),
    ([(b"Authorization", GOOD)], 401, {"asked": 1}, 'Bearer realm="restricted"'),
    ([(b"Authorization", b"")], 401, {"asked": 1}, 'Bearer realm="restricted"'),
    ([(b"X-Token", GOOD), (b"Cookie", b"token=" + GOOD)], 401, {"asked": 1}, 'Bearer realm="restricted"'),
    ([bearer(b"x")], 401, {"refused": 1}, 'Bearer realm="restricted", error="invalid_token"'),
    ([bearer(token(exp=NOW - 100))], 401, {"refused": 1}, 'Bearer realm="restricted", error="invalid_token"'),
    (
        [bearer(unsigned({"alg": "none"}))],
        401,
        {"refused": 1, "unknown_key": 1},
        'Bearer realm="restricted", error="invalid_token"',
    ),
    ([bearer(token("rsa2"))], 401, {"refused": 1, "unknown_key": 1}, 'Bearer realm="restricted", error="invalid_token"'),
    ([bearer(GOOD), bearer(GOOD)], 400, {}, ""),
)


@pytest.mark.parametrize(("fields", "status", "counted", "challenge"), CASES, ids=range(len(CASES)))
def test_who_comes_in(fields: Fields, status: int, counted: dict[str, int], challenge: str) -> None:
    house = House()
    assert house.ask(*fields) == status
    assert house.counted == counted
    if challenge:
        assert house.error.fields == ((b"WWW-Authenticate", challenge.encode()),)
        assert house.error.reason == "http_request_denied"
    if not status:
        assert (house.exchange.user, house.exchange.claims) == ("ada", {"sub": "ada", "exp": END})


PLACES = (
    ({"header": "X-Token"}, [(b"x-token", GOOD)], b"", 0),
    ({"header": "X-Token"}, [bearer(GOOD, b"x-token")], b"", 0),
    ({"header": "X-Token"}, [bearer(GOOD)], b"", 401),
    ({"header": "X-Token"}, [(b"X_Token", GOOD)], b"", 401),
    ({"header": "X-Token"}, [(b"X-Token", GOOD), (b"x_token", b"x")], b"", 400),
    ({"header": "X_Token"}, [(b"X-Token", b"x"), (b"X_Token", GOOD)], b"", 400),
    ({"cookie": "t"}, [(b"Cookie", b"a=b; t=" + GOOD + b"; c=d")], b"", 0),
    ({"cookie": "t"}, [(b"Cookie", b"a=b"), (b"Cookie", b't="' + GOOD + b'"')], b"", 0),
    ({"cookie": "t"}, [(b"Cookie", b"T=" + GOOD)], b"", 401),
    ({"cookie": "t"}, [(b"Cookie", b"t=" + GOOD + b"; t=" + GOOD)], b"", 400),
    ({"cookie": "t"}, [(b"Cookie", b"t =x; t=" + GOOD)], b"", 400),
    ({"cookie": "t"}, [(b"Cookie", b"t\t= " + GOOD)], b"", 0),
    ({"cookie": "t"}, [bearer(GOOD)], b"", 401),
    ({"cookie": "t", "header": "Authorization"}, [bearer(GOOD)], b"", 0),
    ({"cookie": "t", "header": "Authorization"}, [(b"Cookie", b"t=" + GOOD)], b"", 0),
    ({"cookie": "t", "header": "Authorization"}, [bearer(GOOD), (b"Cookie", b"t=" + GOOD)], b"", 0),
    ({"cookie": "t", "header": "Authorization"}, [bearer(GOOD), (b"Cookie", b"t=" + token("rsa"))], b"", 400),
    ({"query": "token"}, [], b"a=b&token=" + GOOD, 0),
    ({"query": "token"}, [], b"%74oken=" + GOOD, 0),
    ({"query": "token"}, [], b"token=" + GOOD + b"&token=x", 400),
    ({"query": "token"}, [], b"token", 401),
    ({"query": "token"}, [bearer(GOOD)], b"", 401),
)


@pytest.mark.parametrize(("written", "fields", "query", "status"), PLACES, ids=range(len(PLACES)))
def test_where_the_token_is(written: dict[str, Any], fields: Fields, query: bytes, status: int) -> None:
    assert House(**written).ask(*fields, query=query) == status


@pytest.mark.parametrize("fields", [[], [bearer(GOOD)], [bearer(b"x")]], ids=range(3))
def test_without_keys_nothing_can_be_said(fields: Fields) -> None:
    house = House({})
    assert house.ask(*fields) == 503
    assert (house.error.reason, house.error.retry_after, house.error.fields) == ("destination_unavailable", 1, ())
    assert house.counted == {"no_keys": 1}


REQUIRED = (
    ({"role": "admin"}, {"role": "admin"}, 0),
    ({"role": ["admin", "root"]}, {"role": "root"}, 0),
    ({"role": "admin"}, {"role": ["user", "admin"]}, 0),
    ({"role": "admin"}, {"role": "administrator"}, 403),
    ({"role": "admin"}, {"role": ["user"]}, 403),
    ({"role": "admin"}, {}, 403),
    ({"role": "admin"}, {"role": {"admin": True}}, 403),
    ({"level": 1}, {"level": 1}, 0),
    ({"level": 1}, {"level": "1"}, 0),
    ({"level": 1}, {"level": 1.5}, 403),
    ({"level": 1}, {"level": True}, 403),
    ({"verified": True}, {"verified": True}, 0),
    ({"verified": True}, {"verified": 1}, 403),
    ({"realm.roles": "admin"}, {"realm": {"roles": ["admin"]}}, 0),
    ({"realm.roles": "admin"}, {"realm": "roles"}, 403),
    ({"a": "1", "b": "2"}, {"a": "1"}, 403),
    ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, 0),
)


@pytest.mark.parametrize(("required", "claims", "status"), REQUIRED, ids=range(len(REQUIRED)))
def test_required_claims(required: dict[str, Any], claims: dict[str, Any], status: int) -> None:
    house = House(required_claims=required)
    assert house.ask(bearer(token(**claims))) == status
    if status:
        assert house.counted == {"forbidden": 1}
        assert house.error.fields == ((b"WWW-Authenticate", b'Bearer realm="restricted", error="insufficient_scope"'),)


def test_claims_go_to_the_backend_in_fields_that_the_client_cannot_set() -> None:
    house = House(claims_to_headers={"sub": "X-User-Id", "groups": "X-Groups", "deep.er": "X_Deep", "none": "X-None", "n": "X-N"})
    claims = {"groups": ["a", "b"], "deep": {"er": "ä\r\nX-Evil: 1"}, "n": {"x": [1, True, None]}}
    assert house.ask(bearer(token(**claims))) == 0
    edits = house.upstream()
    assert edits.extra.decode().split("\r\n") == [
        "X-User-Id: ada",
        "X-Groups: a,b",
        "X_Deep: äX-Evil: 1",
        'X-N: {"x":[1,true,null]}',
        "",
    ]
    spelled = {b"x-user-id", b"x_user-id", b"x-user_id", b"x_user_id", b"x-groups", b"x_groups", b"x-deep", b"x_deep"}
    assert edits.drop == spelled | {b"x-none", b"x_none", b"x-n", b"x_n"}


def test_a_field_that_an_earlier_filter_put_in_is_replaced() -> None:
    house = House(claims_to_headers={"sub": "X-User"})
    house.ask(bearer(GOOD))
    edits = Edits()
    edits.add(b"X-User", b"eve")
    edits.add(b"X-Other", b"1")
    house.filter.on_upstream(house.exchange, edits)
    assert edits.extra == b"X-Other: 1\r\nX-User: ada\r\n"


def test_the_token_goes_on_unless_it_must_not() -> None:
    for written, fields, query, drop, extra, left in [
        ({}, [bearer(GOOD)], b"", {b"authorization"}, b"", b""),
        ({"header": "X-Token"}, [(b"X-Token", GOOD)], b"", {b"x-token", b"x_token"}, b"", b""),
        ({"cookie": "t"}, [(b"Cookie", b"a=b; t=" + GOOD + b";c=d")], b"", {b"cookie"}, b"Cookie: a=b; c=d\r\n", b""),
        ({"cookie": "t"}, [(b"Cookie", b"t=" + GOOD)], b"", {b"cookie"}, b"", b""),
        ({"query": "token"}, [], b"a=b&token=" + GOOD + b"&c", set(), b"", b"a=b&c"),
    ]:
        house = House(**written)
        assert house.ask(*fields, query=query) == 0
        edits = house.upstream()
        assert (edits.drop, edits.extra, house.exchange.query) == (set(), b"", query)
        house = House(**written, forward_credentials=False)
        assert house.ask(*fields, query=query) == 0
        edits = house.upstream()
        assert (edits.drop, edits.extra, house.exchange.query) == (drop, extra, left)


def test_a_token_is_verified_once_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    verify = jwt.tokens.verify
    monkeypatch.setattr(jwt.tokens, "verify", lambda *given: verified.append(given[0]) or verify(*given))
    house = House()
    for now in (NOW, NOW + 1, END + 29):
        assert house.ask(bearer(GOOD), now=now) == 0
    assert len(verified) == 1
    assert house.ask(bearer(GOOD), now=END + 30) == 401
    assert GOOD not in repr(house.filter._verified).encode()


def test_the_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt, "_REMEMBERED", 5)
    house = House()
    for number in range(20):
        assert house.ask(bearer(token("ed", n=number))) == 0
        assert house.ask(bearer(token("ed", n=number) + b"x")) == 401
    assert len(house.filter._verified) == 5


def test_single_keys() -> None:
    assert House(jwks_url=None, key=pem("ec")).ask(bearer(token(kid=None))) == 0
    assert House(jwks_url=None, key=SECRET).ask(bearer(unsigned({"alg": "HS256"}, secret=SECRET.encode()))) == 0
    assert House(jwks_url=None, key=pem("rsa")).ask(bearer(unsigned({"alg": "HS256"}, secret=pem("rsa").encode()))) == 401


TEXT = SERVICE % "{jwt: %s}"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("{}", "service s, /: `jwt` needs `jwks_url`, `jwks_file` or `key`"),
        ("{jwks_url: 'ftp://a/b'}", "`jwks_url` must be an http or https URL without a user name"),
        ("{jwks_url: 'https://topsecret@a/b'}", "`jwks_url` must be an http or https URL without a user name"),
        ("{jwks_url: 'file:///etc/passwd'}", "`jwks_url` must be an http or https URL without a user name"),
        ("{jwks_url: 'http://a', jwks_file: b}", "`jwt` has both `jwks_url` and `jwks_file`: keep one"),
        ("{key: topsecret}", "`jwt` has a `key` that has fewer than 32 octets, which is too short for a secret"),
        (f"{{key: '{SECRET}', algorithms: RS256}}", "`jwt` has a `key` for HS256, and allows none of them in `algorithms`"),
        ("{jwks_url: 'http://a', algorithms: [RS256, none]}", "`algorithms` names the unknown algorithm none; known are RS256"),
        (
            "{jwks_url: 'http://a', claims_to_headers: {sub: X-Forwarded-For}}",
            "puts a claim into X-Forwarded-For, which is not for claims",
        ),
        ("{jwks_url: 'http://a', claims_to_headers: {sub: x_real_ip}}", "puts a claim into x_real_ip, which is not for claims"),
        ("{jwks_url: 'http://a', claims_to_headers: {sub: Host}}", "puts a claim into Host, which is not for claims"),
        ("{jwks_url: 'http://a', claims_to_headers: {sub: Content-Length}}", "cannot be changed by rules"),
        ("{jwks_url: 'http://a', claims_to_headers: {a: X-A, b: x_a}}", "puts two claims into x_a"),
        ("{jwks_url: 'http://a', claims_to_headers: {a: a-b-c-d-e-f-g-h-i-j}}", "has more than 8 dashes"),
        ("{jwks_url: 'http://a', query: jwt}", "access lines show: name it in `access_log.redact_query`"),
        ("{jwks_url: 'http://a', required_claims: {a: {b: c}}}", "must be a value or a list of them"),
    ],
)
def test_what_is_refused_at_the_start(tmp_path: Path, keys: str, problem: str) -> None:
    said = refusal(tmp_path, TEXT % keys)
    assert problem in said
    assert "topsecret" not in said


LEVELS = """
middleware: [{jwt: {jwks_url: 'https://a.test/', issuer: a, required_claims: {r: 1}, claims_to_headers: {sub: X-User}}}]
services:
  - name: s
    locations:
      - {path: /, backends: [http://10.0.0.1]}
      - {path: /open, backends: [http://10.0.0.1], middleware: [{jwt: off}]}
      - {path: /own, backends: [http://10.0.0.1], middleware: [{jwt: {jwks_file: own.json}}]}
      - {path: /more, backends: [http://10.0.0.1], middleware: [{jwt: {required_claims: {q: 2}}}]}
"""


def test_keys_of_a_narrower_level_take_the_place_of_those_of_a_wider_one(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(LEVELS)
    (tmp_path / "own.json").touch()
    service = resolve(load(str(tmp_path / "t.yaml")), 1, environ={}).services[0]
    found = {location.path: dict(location.filters).get("jwt") for location in service.locations}
    told = {path: one and (one.jwks_url, one.jwks_file, one.issuer, one.required_claims) for path, one in found.items()}
    assert told == {
        "/": ("https://a.test/", None, "a", {"r": ("1",)}),
        "/open": None,
        "/own": (None, str(tmp_path / "own.json"), "a", {"r": ("1",)}),
        "/more": ("https://a.test/", None, "a", {"r": ("1",), "q": ("2",)}),
    }


def test_no_key_is_shown(tmp_path: Path) -> None:
    made = []
    for number, secret in enumerate((SECRET, SECRET[::-1]), 1):
        (tmp_path / "t.yaml").write_text(TEXT % f"{{key: '{secret}'}}")
        made.append(resolve(load(str(tmp_path / "t.yaml")), number, environ={}))
    for shown in (str(diff(*made).describe()), repr(made)):
        assert shown and SECRET not in shown and SECRET[::-1] not in shown
