"""Conditions of a location, asked with single requests: values, several of one name, encodings, and what never counts."""

from __future__ import annotations

from typing import Any

import pytest

from terraster.config.settings.match import MatchSettings
from terraster.exchange import Exchange
from terraster.policy.predicates import Predicate
from terraster.wire.http1 import parse_request


def asked(target: bytes = b"/", fields: str = "", method: str = "GET", client: str = "10.1.2.3") -> Exchange:
    """A request. fields: "Name: value" with "|" between them"""
    lines = "".join(f"{line}\r\n" for line in fields.split("|") if line)
    head = parse_request(f"{method} {target.decode()} HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n".encode(), 65536, 100)
    exchange = Exchange(0.0, 0.0, client, "192.0.2.1", "http", head)
    exchange.path, _, exchange.query = target.partition(b"?")
    return exchange


def fits(match: dict[str, Any], exchange: Exchange, **more: bool) -> bool:
    frozen = MatchSettings.model_validate(match).frozen()
    assert frozen is not None
    return Predicate(frozen, **more).fits(exchange, exchange.path)


@pytest.mark.parametrize(
    ("wanted", "fields", "expected"),
    [
        ("1", "X-A: 1", True),
        ("1", "x-a:  1 ", True),
        ("1", "X-A: 11", False),
        ("1", "", False),
        ("1", "X-A: 2|X-A: 1", True),
        ("1", "X-A: 2, 1", False),
        (1, "X-A: 1", True),
        ("~[0-9]+", "X-A: 12", True),
        ("~[0-9]+", "X-A: 12x", False),
        ("~[0-9]+", "X-A: x|X-A: 7", True),
        (True, "X-A: 1", True),
        (True, "X-A:", True),
        ("true", "X-A: 1", True),
        ("~true", "X-A: 1", False),
        ("~true", "X-A: true", True),
        (True, "X_A: 1", False),
        (False, "X-A:", False),
        (False, "X-B: 1", True),
        ("", "X-A:", True),
        ("", "", False),
        ("", "X-A: 1", False),
        (True, "X-A: 1|Connection: x-a", False),
        (False, "X-A: 1|Connection: x-a", True),
        ("é", "X-A: é", True),
    ],
)
def test_fields(wanted: Any, fields: str, expected: bool) -> None:
    assert fits({"headers": {"X-A": wanted}}, asked(fields=fields)) is expected


@pytest.mark.parametrize(
    ("match", "target", "expected"),
    [
        ({"a": "1"}, b"/?a=1", True),
        ({"a": "1"}, b"/?a=0&a=1", True),
        ({"a": "1"}, b"/?%61=%31", True),
        ({"a": "1"}, b"/?b=1", False),
        ({"a": "1"}, b"/", False),
        ({"a": "1"}, b"/?A=1", False),
        ({"a": "x y"}, b"/?a=x+y", True),
        ({"a": "x y"}, b"/?a=x%20y", True),
        ({"a": "x+y"}, b"/?a=x%2By", True),
        ({"a": "1=2"}, b"/?a=1=2", True),
        ({"a": "x&y"}, b"/?a=x%26y", True),
        ({"a b": True}, b"/?a+b", True),
        ({"a": True}, b"/?a", True),
        ({"a": ""}, b"/?a&b=1", True),
        ({"a": False}, b"/?a", False),
        ({"a": False}, b"/?b=a", True),
        ({"a": False}, b"/", True),
        ({"a": "1", "b": "~[0-9]"}, b"/?b=2&a=1", True),
        ({"a": "1", "b": "~[0-9]"}, b"/?b=22&a=1", False),
        ({"a": "%zz"}, b"/?a=%zz", True),
        ({"a": "ä"}, b"/?a=%C3%A4", True),
    ],
)
def test_parameters(match: dict[str, Any], target: bytes, expected: bool) -> None:
    assert fits({"query": match}, asked(target)) is expected


@pytest.mark.parametrize(
    ("match", "fields", "expected"),
    [
        ({"a": "1"}, "Cookie: a=1", True),
        ({"a": "1"}, "Cookie: b=2; a=1", True),
        ({"a": "1"}, "Cookie: b=2|Cookie: a=1", True),
        ({"a": "1"}, 'Cookie: a="1"', True),
        ({"a": "1"}, "Cookie: a=2; a=1", True),
        ({"a": "1"}, "Cookie: aa=1; A=1", False),
        ({"a": "%31"}, "Cookie: a=1", False),
        ({"a": True}, "Cookie: a=", True),
        ({"a": True}, "Cookie: a", False),
        ({"a": False}, "Cookie: b=a=1", True),
        ({"a": False}, "Cookie: a=1", False),
        ({"a": "~[0-9a-f]{4}"}, "Cookie: a=00ff", True),
    ],
)
def test_cookies(match: dict[str, Any], fields: str, expected: bool) -> None:
    assert fits({"cookies": match}, asked(fields=fields)) is expected


@pytest.mark.parametrize(
    ("match", "exchange", "expected"),
    [
        ({"methods": "GET"}, asked(), True),
        ({"methods": "GET"}, asked(method="HEAD"), False),
        ({"methods": ["GET", "HEAD"]}, asked(method="HEAD"), True),
        ({"methods": "GET"}, asked(method="get"), False),
        ({"methods": "PURGE"}, asked(method="PURGE"), True),
        ({"clients": "10.0.0.0/8"}, asked(), True),
        ({"clients": "192.0.2.0/24"}, asked(), False),
        ({"clients": "10.0.0.0/8"}, asked(client="::ffff:10.1.2.3"), True),
        ({"clients": "2001:db8::/32"}, asked(client="2001:db8::1"), True),
        ({"clients": "unix"}, asked(client="unix"), True),
        ({"clients": "unix"}, asked(), False),
        ({"clients": "0.0.0.0/0"}, asked(client="unix"), False),
        ({"path_regex": "/a/[0-9]+"}, asked(b"/a/1"), True),
        ({"path_regex": "/a/[0-9]+"}, asked(b"/a/1/"), False),
        ({"path_regex": "/a/[0-9]+"}, asked(b"/a/1?b"), True),
        ({"path_regex": "/a"}, asked(b"/A"), False),
        ({"methods": "GET", "clients": "10.0.0.0/8", "headers": {"A": "1"}}, asked(fields="A: 1"), True),
        ({"methods": "GET", "clients": "10.0.0.0/8", "headers": {"A": "1"}}, asked(fields="A: 2"), False),
        ({"methods": "PUT", "clients": "10.0.0.0/8", "headers": {"A": "1"}}, asked(fields="A: 1"), False),
    ],
)
def test_the_rest(match: dict[str, Any], exchange: Exchange, expected: bool) -> None:
    assert fits(match, exchange) is expected


PREFLIGHT = "Origin: https://b.test|Access-Control-Request-Method: PUT"


@pytest.mark.parametrize(
    ("fields", "method", "preflights", "expected"),
    [
        (PREFLIGHT, "OPTIONS", True, True),
        (PREFLIGHT, "OPTIONS", False, False),
        (PREFLIGHT, "GET", True, False),
        (PREFLIGHT.replace("PUT", "GET"), "OPTIONS", True, False),
        ("Access-Control-Request-Method: PUT", "OPTIONS", True, False),
        ("Origin: https://b.test", "OPTIONS", True, False),
    ],
)
def test_a_preflight_has_the_method_that_it_asks_about(fields: str, method: str, preflights: bool, expected: bool) -> None:
    assert fits({"methods": "PUT"}, asked(fields=fields, method=method), preflights=preflights) is expected


def test_an_upgrade_is_a_field_like_others() -> None:
    assert fits({"headers": {"Upgrade": "websocket"}}, asked(fields="Upgrade: websocket|Connection: Upgrade"))


def test_a_path_may_be_compared_without_its_case() -> None:
    assert fits({"path_regex": "/Admin/.*"}, asked(b"/aDMIN/x"), folds_case=True)
