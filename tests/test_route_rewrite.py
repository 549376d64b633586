"""Paths rewritten by regular expressions: what a path becomes, and what nobody can do with them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.patterns import compile_pattern
from terraster.config.rewriting import check
from terraster.errors import BadRequest
from terraster.route.rewrite import Rewrites
from terraster.route.target import canonical


@pytest.mark.parametrize(
    ("rules", "path", "made"),
    [
        ([(r"/item/([0-9]+)", r"/items/\1")], b"/item/42", b"/items/42"),
        ([(r"/item/([0-9]+)", r"/items/\1")], b"/item/42/x", None),
        ([(r"/item/([0-9]+)", r"/items/\1")], b"/x/item/42", None),
        ([(r"/(\w+)/(\w+)", r"/\2/\1")], b"/a/b", b"/b/a"),
        ([(r"/(?P<year>\d+)-(?P<month>\d+)", r"/\g<month>/\g<year>/\1")], b"/2026-11", b"/11/2026/2026"),
        ([(r"/a(/b)?", r"/c\1/d")], b"/a", b"/c/d"),
        ([(r"/(?i:shop)/(.*)", r"/\1")], b"/SHOP/x/y", b"/x/y"),
        ([(r"/a", "/one"), (r"/.*", "/two")], b"/a", b"/one"),
        ([(r"/a", "/one"), (r"/.*", "/two")], b"/b", b"/two"),
        ([(r"/old/(.*)", r"/new?page=\1")], b"/old/7", b"/new?page=7"),
        ([(r"/old/(.*)", r"/new?page=\1&x")], b"/old/a&admin=1;b+c", b"/new?page=a%26admin%3D1%3Bb%2Bc&x"),
        ([(r"/old/(.*)", r"/\1?a=b")], b"/old/a&b=c", b"/a&b=c?a=b"),
        ([(r"/old", "/new?")], b"/old", b"/new?"),
        ([(r"/(.*)", r"/x/\1")], b"/caf%C3%A9%2Fx", b"/x/caf%C3%A9%2Fx"),
        ([(r"/x/(.*)", r"/.\1/y")], b"/x/.a", b"/..a/y"),
        ([(r"/x/(.*)", r"/a/.\1/y")], b"/x/", b"/a/y"),
        ([(r"/x/(\.?)a", r"/a/b/.\1/y")], b"/x/.a", b"/a/y"),
    ],
)
def test_paths(rules: list[tuple[str, str]], path: bytes, made: bytes | None) -> None:
    for pattern, target in rules:
        check(pattern, target)
    assert Rewrites(tuple(rules)).apply(path) == made


def test_a_path_above_the_root_is_refused() -> None:
    with pytest.raises(BadRequest):
        Rewrites(((r"/x/(\.)a", r"/.\1/y"),)).apply(b"/x/.a")


@pytest.mark.parametrize("pattern", [r"/(a+)+", r"/(a|a)*b", r"/(.*a){20}", r"/(\w+\s?)+"])
def test_no_pattern_holds_a_worker(pattern: str) -> None:
    """A matcher that tries again takes longer than the age of the universe for some of these."""
    path = b"/" + b"a" * 8000 + b"!"
    begun = time.process_time()
    assert Rewrites(((pattern, "/x"),)).apply(path) is None
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("/(a", "is not a regular expression of RE2: missing )"),
        ("/(?=a)", "is not a regular expression of RE2: invalid perl operator"),
        (r"/(a)\1", "is not a regular expression of RE2: invalid escape sequence"),
        ("a" * 400_000, "is not a regular expression of RE2: pattern too large"),
        ("(" * 9999, "is not a regular expression of RE2: missing )"),
    ],
)
def test_patterns_that_are_refused(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        compile_pattern(pattern)
    assert problem in str(error.value) and len(str(error.value)) < 300


PATHS = st.binary(max_size=40).map(lambda octets: b"/" + octets)


@given(PATHS)
def test_what_is_made_is_canonical(octets: bytes) -> None:
    """Whatever a client asks for, a backend gets a path that a location would be found for."""
    try:
        path, _ = canonical(octets, False)
        made = Rewrites(((r"/(.*)", r"/x/.\1?q=\1"),)).apply(path)
    except BadRequest:
        return
    assert made is not None
    target, query = canonical(made, False)
    assert made == target + b"?" + query and not {b".", b".."} & set(target.split(b"/"))
    assert query.count(b"&") == 0 and query.startswith(b"q=")
