"""Splits: which arm a request gets, which cookie a new client, and what a configuration may say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.diff import diff
from terraster.config.resolve import resolve
from terraster.config.snapshot import Location, Service, Sticky
from terraster.config.splitting import Arm
from terraster.config.splitting import Split as Resolved
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.filters.contract import Place
from terraster.filters.split import Split, signed
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits
from terraster.wire.http1 import parse_request

from .harness.configuration import load

KEY = b"k" * 32
NAME = b"canary"
ARMS = {"stable": 90, "canary": 10, "next": 0}


class Site:
    """A location with a split, whose arms only know their name and if they take requests."""

    def __init__(self, arms: dict[str, int] = ARMS, down: Sequence[str] = (), **how: Any) -> None:
        made = tuple(Arm(name, weight, f"s/#{name}") for name, weight in arms.items())
        cookie = how.pop("cookie", Sticky(name=NAME.decode(), key=KEY))
        split = Resolved(by=how.pop("by", "cookie"), salt=how.pop("salt", "s/"), arms=made, cookie=cookie, **how)
        location = Location("s/", "/shop", split=split, slot=0)
        view = SeatView(Table(1, 1, 1))
        self.table = view.q
        self.filter = Split(
            None, Place(Service("s", (), (), (location,)), location, view, {"fallbacks": 150, "overrides": 151}), view
        )
        self.service = SimpleNamespace(
            arms={f"s/#{name}": SimpleNamespace(arm=name, takes=lambda exchange, name=name: name not in down) for name in arms}
        )

    def ask(self, *fields: str, client: str = "192.0.2.1", scheme: str = "http", target: str = "/shop") -> tuple[str, bytes]:
        """The arm of a request, and the field lines that its response gets."""
        lines = "\r\n".join((f"GET {target} HTTP/1.1", "Host: a", *fields, "", ""))
        head: Any = parse_request(lines.encode(), 9999, 99)
        exchange = Exchange(0.0, 0.0, client, client, scheme, head)
        exchange.query = target.partition("?")[2].encode()
        exchange.service = self.service
        assert self.filter.on_request(exchange) is None
        edits = Edits(status=200)
        if self.filter.needs("on_response"):
            self.filter.on_response(exchange, edits)
        return exchange.location.arm, edits.extra

    def counts(self) -> tuple[int, int]:
        """Fallbacks and overrides."""
        view_at = self.filter._fallbacks._view.locations
        return self.table[view_at + 150], self.table[view_at + 151]


def pair(line: bytes) -> str:
    """The cookie that a Set-Cookie line sets, as a client sends it back."""
    assert line.startswith(b"Set-Cookie: ")
    return "Cookie: " + line.decode().removeprefix("Set-Cookie: ").partition(";")[0]


def test_a_client_keeps_its_arm_in_each_worker_and_gets_no_second_cookie() -> None:
    one, other = Site(), Site()
    for _ in range(50):
        arm, line = one.ask()
        assert one.ask(pair(line)) == other.ask("Cookie: a=b", pair(line) + "; c=d") == (arm, b"")


def test_new_clients_follow_the_weights_and_none_gets_an_arm_of_weight_0() -> None:
    site = Site()
    found = Counter(site.ask()[0] for _ in range(5000))
    assert found.keys() == {"stable", "canary"} and 390 < found["canary"] < 620


def test_a_client_keeps_its_cookie_when_weights_change() -> None:
    before, after = Site(), Site({"stable": 80, "canary": 20, "next": 0})
    cookies = [pair(before.ask()[1]) for _ in range(2000)]
    moved = Counter((before.ask(one)[0], after.ask(one)[0]) for one in cookies)
    assert moved["canary", "stable"] == 0 and 130 < moved["stable", "canary"] < 275
    assert all(after.ask(one)[1] == b"" for one in cookies[:20])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"A" * 28,
        signed(b"another key", NAME, b"A" * 12),
        signed(KEY, b"another name", b"A" * 12),
        signed(KEY, NAME, b"A" * 12)[:-1],
        signed(KEY, NAME, b"A" * 12) + b"x",
        b"B" + signed(KEY, NAME, b"A" * 12)[1:],
        signed(KEY, NAME, b"A" * 11),
    ],
)
def test_a_forged_or_damaged_cookie_is_one_of_a_new_client(value: bytes) -> None:
    site = Site()
    _, line = site.ask(f"Cookie: canary={value.decode()}")
    assert line and line.partition(b";")[0] != b"Set-Cookie: canary=" + value
    assert site.ask(f"Cookie: canary={value.decode()}")[1] != line, "each time another one"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";,"), max_size=60))
def test_nothing_that_a_client_makes_up_is_a_client(value: str) -> None:
    assert Site().ask(f"Cookie: canary={value}")[1]


def test_of_two_cookies_the_first_good_one_counts() -> None:
    site = Site()
    one, other = (signed(KEY, NAME, name).decode() for name in (b"A" * 12, b"B" * 12))
    arms = [site.ask(f"Cookie: canary={value}")[0] for value in (one, other)]
    assert site.ask(f"Cookie: canary=x; canary={other}; canary={one}") == (arms[1], b"")
    assert site.ask(f'Cookie: canary="{one}"') == (arms[0], b"")


@pytest.mark.parametrize(
    ("cookie", "scheme", "attributes"),
    [
        ({}, "http", "; Path=/shop; HttpOnly; SameSite=Lax"),
        ({}, "https", "; Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        ({"secure": "always"}, "http", "; Path=/shop; Secure; HttpOnly; SameSite=Lax"),
        (
            {"path": "/", "domain": "a.test", "ttl": 3600.0, "same_site": "strict", "secure": "never"},
            "https",
            "; Path=/; Domain=a.test; Max-Age=3600; HttpOnly; SameSite=Strict",
        ),
        ({"same_site": ""}, "http", "; Path=/shop; HttpOnly"),
    ],
)
def test_the_attributes_are_those_of_a_session_cookie(cookie: dict[str, Any], scheme: str, attributes: str) -> None:
    _, line = Site(cookie=Sticky(name="canary", key=KEY, **cookie)).ask(scheme=scheme)
    assert line.decode().partition(";")[1] + line.decode().partition(";")[2] == attributes + "\r\n"


@pytest.mark.parametrize(
    ("by", "alike", "others"),
    [
        ("client-ip", [("192.0.2.7", []), ("::ffff:192.0.2.7", [])], [("192.0.2.8", [])]),
        ("client-ip", [("2001:db8:1:2::1", []), ("2001:db8:1:2:ffff::2", [])], [("2001:db8:1:3::1", [])]),
        ("header:x-user", [("192.0.2.7", ["X-User: 7"]), ("192.0.2.8", ["x-user: 7"])], [("192.0.2.7", ["X-User: 8"])]),
        ("header:x-user", [("192.0.2.7", []), ("192.0.2.7", ["X-User:"])], [("192.0.2.8", [])]),
        (
            "cookie:uid",
            [("192.0.2.7", ["Cookie: uid=7"]), ("192.0.2.8", ["Cookie: a=b; uid=7"])],
            [("192.0.2.7", ["Cookie: uid=8"])],
        ),
    ],
)
def test_what_a_client_is_known_by(by: str, alike: list[tuple[str, list[str]]], others: list[tuple[str, list[str]]]) -> None:
    """The split has so many arms that two clients hardly ever have the same."""
    site = Site({f"a{number}": 1 for number in range(5000)}, by=by)
    first, *rest = [site.ask(*fields, client=client) for client, fields in (*alike, *others)]
    assert rest[0] == first and rest[1] != first and first[1] == b"", "no cookie is set"


def test_ipv6_prefix() -> None:
    site = Site({f"a{number}": 1 for number in range(5000)}, by="client-ip", ipv6_prefix=48)
    arms = [site.ask(client=client)[0] for client in ("2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2:2::1")]
    assert arms[0] == arms[1] != arms[2]


def test_an_arm_that_is_down_fails_unless_its_clients_may_go_elsewhere() -> None:
    cookies = [pair(Site().ask()[1]) for _ in range(400)]
    arms = [Site().ask(one)[0] for one in cookies]
    stays, goes = Site(down=["canary"]), Site(down=["canary"], fallback=True)
    assert [stays.ask(one)[0] for one in cookies] == arms
    assert [goes.ask(one) for one in cookies] == [("stable", b"")] * len(cookies)
    assert (stays.counts()[0], goes.counts()[0]) == (0, arms.count("canary"))
    dark = Site(down=ARMS, fallback=True)  # type: ignore[arg-type]
    assert [dark.ask(one)[0] for one in cookies] == arms and dark.counts()[0] == 0
    last = Site(down=["stable", "canary"], fallback=True)
    assert last.ask(cookies[0])[0] == arms[0], "an arm of weight 0 is no refuge"


@pytest.mark.parametrize(
    ("override", "fields", "target", "expected"),
    [
        ("header:x-arm", ["X-Arm: next"], "/shop", "next"),
        ("header:x-arm", ["X-Arm: canary"], "/shop", "canary"),
        ("header:x-arm", ["X-Arm: nonsense"], "/shop", None),
        ("header:x-arm", [], "/shop", None),
        ("cookie:arm", ["Cookie: arm=next"], "/shop", "next"),
        ("query:arm", [], "/shop?arm=next", "next"),
        ("", ["X-Arm: next"], "/shop", None),
    ],
)
def test_a_request_may_name_its_arm(override: str, fields: list[str], target: str, expected: str | None) -> None:
    site = Site(override=override)
    arm, line = site.ask(*fields, target=target)
    assert (arm == expected, bool(line), site.counts()) == (expected is not None, expected is None, (0, int(expected is not None)))


def test_interim_responses_set_no_cookie() -> None:
    site = Site()
    exchange = Exchange(0.0, 0.0, "192.0.2.1", "192.0.2.1", "http")
    exchange.service = site.service
    site.filter.on_request(exchange)
    lines = []
    for status in (100, 103, 101, 200, 503):
        edits = Edits(status=status)
        site.filter.on_response(exchange, edits)
        lines.append(bool(edits.extra))
    assert lines == [False, False, True, True, True]


# What may be written.

START = "listen: 127.0.0.1:80\nhealth_check: {type: tcp}\nservices:\n  - name: s\n    locations:\n      - path: /shop\n"
TO = "to: [{name: a, weight: 9, backends: ['http://h:1']}, {weight: 1, backends: ['http://h:2'], lb_policy: first}]"


def loaded(tmp_path: Path, text: str) -> Any:
    (tmp_path / "t.yaml").write_text(f"{START}        {text}\n")
    return load(str(tmp_path / "t.yaml"))


def test_arms_are_locations_with_all_settings_of_theirs(tmp_path: Path) -> None:
    (service,) = resolve(
        loaded(tmp_path, f"lb_policy: random-two\n        retry: {{attempts: 7}}\n        split: {{{TO}}}"), 1
    ).services
    whole, one, two = service.locations
    assert whole.split is not None
    assert [(arm.name, arm.weight, arm.location) for arm in whole.split.arms] == [("a", 9, "s/shop#a"), ("2", 1, "s/shop#2")]
    assert [(each.id, each.path, each.place, each.arm) for each in service.locations] == [
        ("s/shop", "/shop", "/shop", ""),
        ("s/shop#a", "/shop", "/shop#a", "a"),
        ("s/shop#2", "/shop", "/shop#2", "2"),
    ]
    assert [each.policy for each in (one, two)] == ["random-two", "first"]
    assert [each.retry.attempts for each in service.locations] == [7, 7, 7]
    assert [[backend.id for backend in each.backends] for each in service.locations] == [
        [],
        ["s/shop#a http://h:1"],
        ["s/shop#2 http://h:2"],
    ]
    assert (whole.split.cookie.name.startswith("terraster-split-"), whole.split.salt) == (True, "s/shop")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("split: {by: path, TO}", "7:21: `by` must be cookie, client-ip, header:NAME, cookie:NAME or query:NAME, not path"),
        ("split: {by: header, TO}", "7:21: `by` must say which header: header:NAME"),
        ("split: {override: client-ip, TO}", "7:27: `override` must be header:NAME, cookie:NAME or query:NAME, not 'client-ip'"),
        ("split: {name: 'a b', TO}", "7:23: `name` must be a name of letters"),
        ("split: {name: __Host-a, TO}", "7:23: `name` begins with __Host-, which requires `path: /`"),
        ("split: {name: __Secure-a, secure: false, TO}", "7:23: `name` begins with __Secure-, which requires `secure`"),
        ("split: {same_site: none, secure: false, TO}", "7:16: `split` has `same_site: none` with `secure: false`"),
        ("split: {ipv6_prefix: 0, TO}", "7:30: `ipv6_prefix` must be at least 1"),
        ("split: {by: cookie}", "7:16: `to` is missing"),
        ("split: {to: []}", "7:17: `to` needs two arms or more"),
        ("split: {to: [{weight: 1, backends: ['http://h:1']}]}", "7:17: `to` needs two arms or more"),
        ("split: {to: [{backends: ['http://h:1']}, {weight: 1, backends: ['http://h:2']}]}", "7:22: `weight` is missing"),
        ("split: {to: [{weight: 1}, {weight: 1, backends: ['http://h:2']}]}", "7:22: `backends` is missing"),
        ("split: {to: [{weight: 1, backends: []}, {weight: 1, backends: ['http://h:2']}]}", "7:22: arm 1 has no `backends`"),
        (
            "split: {to: [{weight: 0, backends: ['http://h:1']}, {weight: 0, backends: ['http://h:2']}]}",
            "7:17: `to` has no arm with a `weight` above 0",
        ),
        (
            "split: {to: [{name: a, weight: 1, backends: ['http://h:1']}, {name: a, weight: 1, backends: ['http://h:2']}]}",
            "7:77: arm a is there twice",
        ),
        (
            "split: {to: [{name: 'a#b', weight: 1, backends: ['http://h:1']}, {weight: 1, backends: ['http://h:2']}]}",
            "7:29: `name` must be 1",
        ),
        (
            "split: {to: [{weight: 1, backends: ['http://h:1', 'http://h:1/']}, {weight: 1, backends: ['http://h:2']}]}",
            "7:59: backend http://h:1 is defined twice in its location",
        ),
        ("backends: ['http://h:1']\n        split: {TO}", "8:9: `split` and `backends` both say where requests go: keep one"),
        ("redirect: /shop\n        split: {TO}", "7:19: `redirect` /shop leads back to its own location"),
    ],
)
def test_what_is_refused_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text.replace("TO", TO))
    assert [str(one).removeprefix(f"{tmp_path}/t.yaml:") for one in error.value.problems][0].startswith(problem)


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("split: {ttl: 1h, TO}", []),
        ("split: {by: client-ip, ttl: 1h, TO}", ["7:32: `ttl` is for `by: cookie`, and has no effect with `by: client-ip`"]),
        ("split: {ipv6_prefix: 48, TO}", ["7:17: `ipv6_prefix` has no effect with `by: cookie`"]),
        ("split: {by: header:x, ipv6_prefix: 48, TO}", []),
        (
            "split: {fallback: true, to: [{weight: 1, backends: ['http://h:1']}, {weight: 0, backends: ['http://h:2']}]}",
            ["7:17: `fallback` has no effect: only one arm has a `weight`"],
        ),
        (
            "split: {to: [{weight: 1, backends: [{url: 'http://h:1', backup: true}]}, {weight: 1, backends: ['http://h:2']}]}",
            ["7:65: every backend here is a `backup`: this has the same effect as no `backup`"],
        ),
        (
            "split: {to: [{weight: 1, backends: ['http://127.0.0.1:80']}, {weight: 1, backends: ['http://h:2']}]}",
            ["7:45: backend http://127.0.0.1:80 is an address of Terraster itself: a loop"],
        ),
        ("respond: {body: x}\n        split: {TO}", ["7:9: `respond` answers every request of /shop: the `split` gets none"]),
        ("retry: {hedge: 95}\n        split: {TO}", []),
    ],
)
def test_what_has_no_effect_is_told_with_its_place(tmp_path: Path, text: str, warnings: list[str]) -> None:
    assert [one.removeprefix(f"{tmp_path}/t.yaml:") for one in loaded(tmp_path, text.replace("TO", TO)).warnings] == warnings


def test_a_reload_tells_what_changes_of_a_split(tmp_path: Path) -> None:
    def snapshot(text: str) -> Any:
        return resolve(loaded(tmp_path, text), 1)

    old = snapshot(f"split: {{{TO}}}")
    assert diff(old, snapshot(f"split: {{{TO.replace('9', '8')}}}")).describe() == [
        "~ service s: /shop: ~ split: arm a weight 9 → 8"
    ]
    assert diff(old, snapshot(f"split: {{fallback: on, name: c, {TO}}}")).describe() == [
        "~ service s: /shop: ~ split: name s/shop → c",
        "~ service s: /shop: ~ split: fallback off → on",
    ]
    limited = snapshot(f"split: {{{TO}}}\n        retry: {{attempts: 7}}\n        middleware: [{{cors: {{allowed_origins: '*'}}}}]")
    assert diff(old, limited).describe() == ["~ service s: /shop: ~ retry: attempts 3 → 7", "~ service s: /shop: ~ cors: off → on"]
    one, two = TO.removeprefix("to: [{").removesuffix("}]").split("}, {")
    turned = snapshot(f"split: {{to: [{{{two}, name: '2'}}, {{{one}}}]}}")
    assert diff(old, turned).describe() == ["~ service s: /shop: ~ split: order of the arms"], "and not of locations"
    assert diff(old, snapshot("backends: ['http://h:1']")).describe() == [
        "~ service s: - location /shop#a",
        "~ service s: - location /shop#2",
        "~ service s: ~ split: on → off",
        "~ service s: + backend http://h:1",
    ]


def test_clients_are_remembered_within_bounds_and_forged_ones_not_at_all() -> None:
    site = Site()
    for number in range(5000):
        site.ask(f"Cookie: canary={signed(KEY, NAME, b'%012d' % number).decode()}")
        site.ask(f"Cookie: canary={number:028d}")
    assert 0 < len(site.filter._genuine) <= 4096 and 0 < len(site.filter._known) <= 4096
    assert not any(value.startswith(b"0" * 20) for value in site.filter._genuine)
    known = Site(by="header:x-user")
    known.ask(f"X-User: {'7' * 128}")
    known.ask(f"X-User: {'7' * 129}")
    assert [len(client) for client in known.filter._known] == [128]
