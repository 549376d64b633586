"""The router: which name wins, what an update shares, and that size does not matter."""

from __future__ import annotations

import re
from timeit import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.route.router import Router

HERE, THERE = ":80", "127.0.0.1:81"

NAMES = ["a.test", "*.a.test", "*.b.a.test", "b.a.test", "*", r"~c[0-9]+\.test", r"~.*\.test", r"~[a-c]\.(a\.)*test"]


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (b"a.test", "a.test"),
        (b"b.a.test", "b.a.test"),
        (b"x.a.test", "*.a.test"),
        (b"x.y.a.test", "*.a.test"),
        (b"x.b.a.test", "*.b.a.test"),
        (b"y.x.b.a.test", "*.b.a.test"),
        (b"xa.test", r"~.*\.test"),
        (b"c1.test", r"~c[0-9]+\.test"),
        (b"c.test", r"~[a-c]\.(a\.)*test"),
        (b"test", "*"),
        (b"[::1]", "*"),
        (b"", "*"),
    ],
)
def test_exact_then_longest_wildcard_then_default(host: bytes, found: str) -> None:
    for names in (NAMES, NAMES[::-1]):
        assert Router.build([(HERE, name, name) for name in names]).find(HERE, host) == found


@pytest.mark.parametrize("host", [b"a.test", b"x.a.test", b"", b"test"])
def test_nothing_fits(host: bytes) -> None:
    router = Router.build([(HERE, "b.test", 1), (HERE, "*.b.test", 2)])
    assert router.find(HERE, host) is None
    assert router.find(THERE, b"b.test") is None


def test_listeners_are_apart() -> None:
    router = Router.build([(HERE, "a.test", 1), (THERE, "a.test", 2), (THERE, "*", 3)])
    assert [router.find(where, host) for where in (HERE, THERE) for host in (b"a.test", b"b.test")] == [1, None, 2, 3]


def test_update_makes_another_router() -> None:
    old = Router.build([(HERE, "a.test", 1), (HERE, "*.a.test", 2), (HERE, "*", 3), (THERE, "c.test", 4)])
    new = old.updated([(HERE, "a.test"), (HERE, "*"), (THERE, "c.test")], [(HERE, "a.test", 5), (HERE, "d.test", 6)])
    asked = [(HERE, b"a.test"), (HERE, b"x.a.test"), (HERE, b"d.test"), (HERE, b"e.test"), (THERE, b"c.test")]
    assert [old.find(*which) for which in asked] == [1, 2, 3, 3, 4]
    assert [new.find(*which) for which in asked] == [5, 2, 6, None, None]


def test_update_adds_and_removes_expressions() -> None:
    old = Router.build([(HERE, r"~a[0-9]\.test", 1), (HERE, "*", 2)])
    new = old.updated([(HERE, r"~a[0-9]\.test"), (HERE, "*")], [(HERE, r"~a.*\.test", 3)])
    asked = (b"a1.test", b"ab.test", b"", b"b.test")
    assert [old.find(HERE, host) for host in asked] == [1, 2, 2, 2]
    assert [new.find(HERE, host) for host in asked] == [3, 3, None, None]
    assert new.updated([(HERE, r"~a.*\.test")], ()).find(HERE, b"a1.test") is None


def test_update_shares_the_listeners_that_stay() -> None:
    old = Router.build([(HERE, "a.test", 1), (THERE, "a.test", 2)])
    new = old.updated((), [(HERE, "b.test", 3)])
    assert new._listeners[THERE] is old._listeners[THERE]


@pytest.mark.parametrize("name", ["a.test", "*.a.test", "*", "~a"])
def test_a_name_is_there_once(name: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        Router.build([(HERE, name, 1), (HERE, name, 2)])
    with pytest.raises(KeyError):
        Router.build([(HERE, "b.test", 1)]).updated([(HERE, name)], ())


LABEL = st.sampled_from(["a", "b", "c"])
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
EXPRESSION = st.lists(st.sampled_from(["a", "b", ".", "[bc]", ".*", "(a|c)"]), min_size=1, max_size=4).map(
    lambda parts: "~" + "".join(parts)
)
PATTERN = st.one_of(HOST, HOST.map(lambda host: f"*.{host}"), EXPRESSION, st.just("*"))


@given(st.sets(PATTERN, max_size=8), HOST)
def test_as_if_all_names_were_tried(patterns: set[str], host: str) -> None:
    def rank(pattern: str) -> tuple[int, int, list[int]] | None:
        if pattern == host:
            return 3, 0, []
        if pattern == "*":
            return 0, 0, []
        if pattern.startswith("~"):
            reverse = [-ord(character) for character in pattern]
            return (1, len(pattern), reverse) if re.fullmatch(pattern[1:], host) else None
        return (2, len(pattern), []) if pattern.startswith("*.") and host.endswith(pattern[1:]) else None

    fitting = [pattern for pattern in patterns if rank(pattern)]
    best = max(fitting, key=rank, default=None)  # type: ignore[arg-type]
    assert Router.build((HERE, pattern, pattern) for pattern in patterns).find(HERE, host.encode()) == best


def test_ten_thousand_services_are_found_as_fast_as_ten() -> None:
    def cost(count: int) -> float:
        router = Router.build([(HERE, f"s{number}.test", number) for number in range(count)])
        return min(repeat(lambda: router.find(HERE, b"s5.test"), number=2000, repeat=20))

    assert cost(10_000) < 3 * cost(10)
