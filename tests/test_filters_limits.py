"""Limits of clients: what may be written, whom they count as one client, and which places share a limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.loader import Loader
from terraster.config.resolve import resolve
from terraster.errors import ConfigError, HttpError
from terraster.exchange import Exchange
from terraster.filters.client_key import ClientKey, bits
from terraster.filters.contract import Stage
from terraster.filters.registry import KINDS
from terraster.plan import Plan, compile_plan
from terraster.state.cells import Seat
from terraster.state.leases import Leases, capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.http1 import parse_request


def compiled(directory: Path, text: str) -> Plan:
    (directory / "t.yaml").write_text(text)
    snapshot = resolve(Loader({}, kinds=KINDS).load(str(directory / "t.yaml")), 1, environ={})
    table = Table(*capacities(5, 5, 1))
    table.q[table.seat(1) + Seat.PID] = 4711
    view = SeatView(table)
    view.sit(1)
    return compile_plan(Leases(table).assign(snapshot), view, kinds=KINDS)


def asked(ip: str = "192.0.2.1", fields: str = "", path: bytes = b"/", query: bytes = b"", claims: Any = None) -> Exchange:
    head = parse_request(f"GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n".encode(), 8192, 100)
    made = Exchange(50.0, 0.0, ip, ip, "http", head)
    made.path, made.query, made.claims = path, query, claims
    return made


SERVICE = "services:\n  - name: s\n    locations:\n      - path: /\n        backends: [http://h]\n"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("rate_limit: {requests_per_second: 0}", "`requests_per_second` must be at least 0.0001"),
        ("rate_limit: {requests_per_second: 1, burst: 0}", "`burst` must be at least 1"),
        (
            "rate_limit: {requests_per_second: 1, key: ip}",
            "`key` must be client-ip, path, header:NAME, cookie:NAME, query:NAME or jwt:CLAIM",
        ),
        (
            "rate_limit: {requests_per_second: 1, key: 'header:'}",
            "`key` must be client-ip, path, header:NAME, cookie:NAME, query:NAME or jwt:CLAIM",
        ),
        ("rate_limit: {requests_per_second: 1, ipv6_prefix: 129}", "`ipv6_prefix` must be at most 128"),
        ("rate_limit: {requests_per_second: 1, status: 302}", "`status` must be at least 400"),
        ("rate_limit: {requests_per_second: 1, name: 'a b'}", "`name` must be 1 to 64 letters, digits, `.`, `_`, `-`"),
        ("rate_limit: {burst: 3}", "`rate_limit` says nothing of `requests_per_second`, here or on a wider level"),
        ("limit_connections: {}", "`limit_connections` says nothing of `per_client`, here or on a wider level"),
        ("limit_connections: {per_client: 0}", "`per_client` must be at least 1"),
    ],
)
def test_mistakes(tmp_path: Path, settings: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        compiled(tmp_path, f"{SERVICE}        middleware: [{{{settings}}}]\n")
    assert str(error.value.problems[0]).endswith(f": {problem}")


def test_what_a_level_leaves_out_a_wider_one_may_say(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path, f"rate_limit: {{requests_per_second: 1}}\n{SERVICE}        middleware: [{{rate_limit: {{burst: 3}}}}]\n"
    )
    (hook,) = plan.services["s"].locations[0].on_request
    for _ in range(3):
        assert hook(asked()) is None
    with pytest.raises(HttpError):
        hook(asked())


@pytest.mark.parametrize(
    ("address", "prefix", "octets"),
    [
        ("192.0.2.1", 64, b"192.0.2.1"),
        ("::ffff:192.0.2.1", 64, b"192.0.2.1"),
        ("2001:db8:1:2:3::4", 64, bytes.fromhex("20010db8000100020000000000000000")),
        ("2001:db8:1:2:3::4", 56, bytes.fromhex("20010db8000100000000000000000000")),
        ("2001:db8:1:2:3::4", 128, bytes.fromhex("20010db8000100020003000000000004")),
        ("2001:db8:1:7f::", 57, bytes.fromhex("20010db8000100000000000000000000")),
        ("fe80::1%eth0", 64, bytes.fromhex("fe800000000000000000000000000000")),
        ("unix", 64, b"unix"),
    ],
)
def test_what_counts_of_an_address(address: str, prefix: int, octets: bytes) -> None:
    assert bits(address, prefix) == octets


def number(key: str, exchange: Exchange, policy: str = "p") -> int:
    return ClientKey(b"secret", policy, key, 64).number(exchange)


SAME = [
    ("client-ip", asked("2001:db8::1"), asked("2001:db8::2")),
    ("client-ip", asked("::ffff:192.0.2.1"), asked("192.0.2.1")),
    ("header:X-Key", asked("192.0.2.1", "x-key: a\r\n"), asked("192.0.2.2", "X-KEY: a\r\nX-Key: b\r\n")),
    ("cookie:sid", asked("192.0.2.1", "Cookie: a=b; sid=1\r\n"), asked("192.0.2.2", 'Cookie: sid="1"\r\n')),
    ("query:k", asked(query=b"k=1"), asked("192.0.2.9", query=b"a=b&k=1")),
    ("path", asked(path=b"/a"), asked("192.0.2.9", path=b"/a")),
    ("jwt:sub", asked(claims={"sub": "me"}), asked("192.0.2.9", claims={"sub": "me", "aud": "x"})),
    ("jwt:org.id", asked(claims={"org": {"id": 1}}), asked("192.0.2.9", claims={"org": {"id": 1}})),
    ("header:X-Key", asked(), asked(fields="X-Key:\r\n")),
    ("jwt:sub", asked(claims={"aud": "x"}), asked()),
    ("jwt:sub", asked(claims={"sub": ""}), asked()),
]
OTHERS = [
    ("client-ip", asked("2001:db8::1"), asked("2001:db8:0:1::1")),
    ("client-ip", asked("192.0.2.1"), asked("192.0.2.2")),
    ("header:X-Key", asked(fields="X-Key: a\r\n"), asked(fields="X-Key: b\r\n")),
    ("header:X-Key", asked("192.0.2.1"), asked("192.0.2.2")),
    ("header:X-Key", asked("192.0.2.1"), asked("192.0.2.2", "X-Key: 192.0.2.1\r\n")),
    ("jwt:sub", asked(claims={"sub": "1"}), asked(claims={"sub": 1})),
    ("jwt:sub", asked("192.0.2.1", claims={"aud": "x"}), asked("192.0.2.2", claims={"aud": "x"})),
]


@pytest.mark.parametrize(("key", "one", "other"), SAME)
def test_one_client(key: str, one: Exchange, other: Exchange) -> None:
    assert number(key, one) == number(key, other) != 0


@pytest.mark.parametrize(("key", "one", "other"), OTHERS)
def test_two_clients(key: str, one: Exchange, other: Exchange) -> None:
    assert number(key, one) != number(key, other)


def test_no_client_has_the_number_of_one_of_another_policy_or_table() -> None:
    here = number("client-ip", asked())
    assert here != number("client-ip", asked(), "q") and here != ClientKey(b"other", "p", "client-ip", 64).number(asked())


def test_many_and_long_values_are_not_remembered_without_end() -> None:
    key = ClientKey(b"secret", "p", "path", 64)
    for at in range(10_000):
        assert key.number(asked(path=b"/%d" % at)) == key.number(asked(path=b"/%d" % at))
    assert key.number(asked(path=b"/" * 5000)) == key.number(asked(path=b"/" * 5000))
    assert 0 < len(key._known) <= 4096 and max(map(len, key._known)) < 10


def test_a_limit_by_a_claim_comes_after_authentication(tmp_path: Path) -> None:
    entries = "{rate_limit: {name: user, key: 'jwt:sub'}}, {rate_limit: {name: any}}"
    plan = compiled(tmp_path, SERVICE + f"        middleware: [{entries}]\n".replace("name", "requests_per_second: 1, name"))
    hooks = plan.services["s"].locations[0].on_request
    assert [hook.__self__.when() for hook in hooks] == [Stage.LIMITS, Stage.IDENTITY_LIMITS]  # type: ignore[attr-defined]


PLACES = """\
rate_limit: {requests_per_second: 1, burst: 1}
services:
  - name: s
    host: s
    locations:
      - {path: /a, backends: [http://h]}
      - {path: /b, backends: [http://h]}
      - {path: /own, backends: [http://h], middleware: [{rate_limit: {burst: 2}}]}
      - {path: /off, backends: [http://h], middleware: [{rate_limit: off}]}
  - name: t
    host: t
    locations: [{path: /, backends: [http://h]}]
"""


def passes(plan: Plan, service: str, path: str) -> int:
    """How many of three requests a location lets pass."""
    location = next(one for one in plan.services[service].locations if one.path == path)
    count = 0
    for _ in range(3):
        try:
            for hook in location.on_request:
                hook(asked())
            count += 1
        except HttpError as error:
            assert (error.status, error.reason, error.retry_after, error.close) == (429, "http_request_denied", 1, False)
    return count


def test_locations_that_inherit_a_limit_share_it(tmp_path: Path) -> None:
    plan = compiled(tmp_path, PLACES)
    assert [passes(plan, "s", path) for path in ("/a", "/b", "/own", "/off")] == [1, 0, 2, 3]
    assert passes(plan, "t", "/") == 1


@pytest.mark.parametrize(("rate", "wait"), [(1, 1), (0.5, 2), (0.3, 4), (10, 1), (1 / 3600, 3600)])
def test_retry_after_is_rounded_up(tmp_path: Path, rate: float, wait: int) -> None:
    plan = compiled(tmp_path, f"{SERVICE}        middleware: [{{rate_limit: {{requests_per_second: {rate}, burst: 1}}}}]\n")
    (hook,) = plan.services["s"].locations[0].on_request
    hook(asked())
    with pytest.raises(HttpError) as error:
        hook(asked())
    assert error.value.retry_after == wait
