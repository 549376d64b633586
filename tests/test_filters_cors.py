"""Cross-origin requests: what may be written, what a preflight gets, and what every response says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.resolve import resolve
from terraster.errors import ConfigError, HttpError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.filters.contract import Place
from terraster.filters.cors import Cors, CorsSettings
from terraster.filters.registry import KINDS
from terraster.plan import compile_plan
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.answers import OwnHead
from terraster.wire.edits import Edits
from terraster.wire.http1 import parse_request

from .harness.configuration import load

A, B = "https://a.test", "https://b.test:8443"
ORIGIN, VARY = "Access-Control-Allow-Origin", "Vary"


def made(**written: Any) -> Cors:
    view = SeatView(Table(1, 1, 1))
    return Cors(CorsSettings(**written), Place(None, None, view, {"preflights": 112, "refused": 113}), view)


def exchange(method: str = "GET", *fields: str) -> Exchange:
    head = parse_request("\r\n".join((f"{method} / HTTP/1.1", "Host: api.test", *fields, "", "")).encode(), 9999, 99)
    return Exchange(0.0, 0.0, "1.2.3.4", "9.9.9.9", "http", head)


def preflight(origin: str, method: str = "PUT") -> Exchange:
    return exchange("OPTIONS", f"Origin: {origin}", f"Access-Control-Request-Method: {method}")


def lines(filter: Cors, asked: Exchange, status: int = 200, *given: tuple[bytes, bytes]) -> list[str]:
    """The field lines that are put in."""
    edits = Edits(status, False, OwnHead(status, given, 0))
    filter.on_response(asked, edits)
    return edits.extra.decode().splitlines()


@pytest.mark.parametrize(
    ("origins", "origin", "may"),
    [
        ([A], A, True),
        ([A, B], B, True),
        (["https://A.Test:443"], A, True),
        (["http://a.test:80"], "http://a.test", True),
        ([A], "https://A.test", False),
        ([A], "http://a.test", False),
        ([A], "https://a.test:8443", False),
        ([A], "https://a.test.evil.test", False),
        ([A], "https://xa.test", False),
        ([A], "null", False),
        ([], A, False),
        (["*"], "https://any.test", True),
        (["*"], "null", True),
        (["https://*.a.test"], "https://x.a.test", True),
        (["https://*.a.test"], "https://y.x.a.test", True),
        (["https://*.a.test"], A, False),
        (["https://*.a.test"], "https://.a.test", False),
        (["https://*.a.test"], "http://x.a.test", False),
        (["https://*.a.test"], "https://xa.test", False),
        (["https://*.a.test"], "https://x.a.test:8443", False),
        (["https://*.a.test"], "https://evil.test/.a.test", False),
        (["https://*.a.test"], "https://evil.test:1.a.test", False),
        (["https://*.a.test"], "https://e@x.a.test", False),
        (["https://*.a.test"], "https://x..a.test", False),
        (["https://*.a.test:8443"], "https://x.a.test:8443", True),
        (["app://localhost"], "app://localhost", True),
        (["https://[::1]:8443"], "https://[::1]:8443", True),
    ],
)
def test_origins(origins: list[str], origin: str, may: bool) -> None:
    filter = made(allowed_origins=origins)
    echoed = "*" if origins == ["*"] else origin
    assert lines(filter, exchange("GET", f"Origin: {origin}")) == [f"{VARY}: Origin", *([f"{ORIGIN}: {echoed}"] if may else [])]
    if may:
        assert filter.on_request(preflight(origin)) == Answer(204)
    else:
        with pytest.raises(HttpError) as error:
            filter.on_request(preflight(origin))
        assert (error.value.status, error.value.reason, error.value.close) == (403, "http_request_denied", False)


MANY = {
    "allowed_origins": [A],
    "allowed_methods": ["PUT", "DELETE"],
    "allowed_headers": ["Content-Type", "X-A"],
    "exposed_headers": ["X-Total"],
    "allow_credentials": True,
    "max_age": "1h",
}
CREDENTIALS = "Access-Control-Allow-Credentials: true"


@pytest.mark.parametrize(
    ("written", "asked", "expected"),
    [
        (
            MANY,
            preflight(A),
            [
                f"{ORIGIN}: {A}",
                CREDENTIALS,
                "Access-Control-Allow-Methods: PUT, DELETE",
                "Access-Control-Allow-Headers: Content-Type, X-A",
                "Access-Control-Max-Age: 3600",
            ],
        ),
        (MANY, preflight(B), []),
        (MANY, exchange("GET", f"Origin: {A}"), [f"{ORIGIN}: {A}", CREDENTIALS, "Access-Control-Expose-Headers: X-Total"]),
        (MANY, exchange("GET", f"Origin: {B}"), []),
        (MANY, exchange("GET"), []),
        (MANY, exchange("OPTIONS", f"Origin: {A}"), [f"{ORIGIN}: {A}", CREDENTIALS, "Access-Control-Expose-Headers: X-Total"]),
        ({"allowed_origins": "*"}, exchange("GET"), [f"{ORIGIN}: *"]),
        ({"allowed_origins": "*", "max_age": 0}, preflight(A), [f"{ORIGIN}: *", "Access-Control-Max-Age: 0"]),
        ({"allowed_origins": "*", "allowed_headers": "*"}, preflight(A), [f"{ORIGIN}: *", "Access-Control-Allow-Headers: *"]),
    ],
)
def test_what_a_response_says(written: dict[str, Any], asked: Exchange, expected: list[str]) -> None:
    assert lines(made(**written), asked) == [f"{VARY}: Origin", *expected]


@pytest.mark.parametrize(
    "asked",
    [
        exchange("OPTIONS"),
        exchange("OPTIONS", f"Origin: {A}"),
        exchange("OPTIONS", "Access-Control-Request-Method: PUT"),
        exchange("GET", f"Origin: {A}", "Access-Control-Request-Method: PUT"),
        exchange("POST", f"Origin: {B}"),
    ],
)
def test_what_is_no_preflight_goes_on(asked: Exchange) -> None:
    assert made(**MANY).on_request(asked) is None


def test_ours_replace_those_of_the_backend() -> None:
    edits = Edits(200, False, OwnHead(200, [(b"access-control-allow-origin", b"*"), (b"Vary", b"Accept, origin")], 0))
    made(**MANY).on_response(exchange("GET", f"Origin: {B}"), edits)
    assert (edits.extra, b"vary" in edits.drop) == (b"", False)
    assert {
        b"access-control-allow-origin",
        b"access-control-allow-credentials",
        b"access-control-allow-methods",
        b"access-control-allow-headers",
        b"access-control-expose-headers",
        b"access-control-max-age",
    } == edits.drop


@pytest.mark.parametrize("status", [100, 101, 103])
def test_interim_responses_are_left_alone(status: int) -> None:
    edits = Edits(status, False, OwnHead(status, [(b"Link", b"</a>")], 0))
    made(**MANY).on_response(exchange("GET", f"Origin: {A}"), edits)
    assert (edits.extra, edits.drop) == (b"", set())


BACKENDS = "backends: [http://10.0.0.1:1]\n"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "{allowed_origins: [https://a.test/]}",
            "names 'https://a.test/', which is not an origin: write it as in https://shop.example.com",
        ),
        ("{allowed_origins: [a.test]}", "names 'a.test', which is not an origin"),
        ("{allowed_origins: [https://a*.test]}", "names 'https://a*.test', which is not an origin"),
        ("{allowed_origins: ['null']}", "must not name null"),
        ("{allowed_origins: ['*', https://a.test]}", "names `*`, so the other origins have no effect"),
        ("{allowed_methods: ['GET, PUT']}", "names 'GET, PUT', which is neither a name nor `*`"),
        ("{allowed_origins: ['*'], allow_credentials: true}", "has `*` in `allowed_origins` with `allow_credentials`"),
        ("{allowed_origins: [https://a.test], allowed_headers: '*', allow_credentials: true}", "has `*` in `allowed_headers`"),
        ("{allowed_origin: [https://a.test]}", "unknown key `allowed_origin`; did you mean `allowed_origins`?"),
    ],
)
def test_what_is_refused_is_told(tmp_path: Path, written: str, problem: str) -> None:
    (tmp_path / "t.yaml").write_text(f"{BACKENDS}cors: {written}\n")
    with pytest.raises(ConfigError, match=r"t.yaml:2:\d+: ") as error:
        load(str(tmp_path / "t.yaml"))
    assert problem in str(error.value)


LEVELS = """\
cors: {allowed_origins: [https://a.test], allowed_methods: [PUT]}
services:
- name: s
  middleware: [{cors: {ORIGINS}}]
  locations:
  - {path: /a, backends: [http://10.0.0.1:1]}
  - {path: /b, backends: [http://10.0.0.1:1], middleware: [{cors: {allow_credentials: true}}]}
  - {path: /c, backends: [http://10.0.0.1:1], middleware: [{cors: off}]}
"""


def test_a_narrower_level_changes_single_keys(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(LEVELS.replace("ORIGINS", "allowed_origins: [https://b.test]"))
    (service,) = resolve(load(str(tmp_path / "t.yaml")), 1).services
    found = [dict(place.filters).get("cors") for place in (service, *service.locations)]
    one = {"allowed_origins": ("https://b.test",), "allowed_methods": ("PUT",)}
    plain, credentials = CorsSettings(**one), CorsSettings(**one, allow_credentials=True)
    assert [place and place.given() for place in found] == [plain.given(), plain.given(), credentials.given(), None]


def test_a_star_of_one_level_and_credentials_of_another(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(LEVELS.replace("ORIGINS", "allowed_origins: '*'"))
    snapshot = resolve(load(str(tmp_path / "t.yaml")), 1)
    table = Table(*capacities(4, 4, 1))
    with pytest.raises(ConfigError, match="service s, /b: `cors` has `\\*` in `allowed_origins` with `allow_credentials`"):
        compile_plan(Leases(table).assign(snapshot), SeatView(table), kinds=KINDS)
