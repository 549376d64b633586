"""Comparisons of answers: what counts as a difference, and that no secret is in it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from terraster.policy.comparison import Answered, Digest, Rules, differences

Fields = list[tuple[bytes, bytes]]
HEADERS = Rules(headers=True, ignored=frozenset((b"date",)))


def answer(status: int = 200, fields: Fields | None = None, seconds: float = 0.1, body: Digest | None = None) -> Answered:
    return Answered(status, fields or [], seconds, body)


def digest(*pieces: bytes, limit: int = 10) -> Digest:
    made = Digest(limit)
    for piece in pieces:
        made.feed(memoryview(piece))
    return made


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ([(b"A", b"1")], [(b"a", b"1")], []),
        ([(b"A", b"1"), (b"B", b"2")], [(b"B", b"2"), (b"A", b"1")], []),
        ([(b"A", b"1"), (b"A", b"2")], [(b"A", b"1, 2")], []),
        ([(b"A", b"1"), (b"A", b"2")], [(b"A", b"2"), (b"A", b"1")], [("a", "1, 2", "2, 1")]),
        ([(b"A", b"1")], [], [("a", "1", None)]),
        ([], [(b"A", b"")], [("a", None, "")]),
        ([(b"Date", b"1")], [(b"date", b"2")], []),
        (
            [(b"Connection", b"keep-alive, x-hop"), (b"Keep-Alive", b"3"), (b"X-Hop", b"1")],
            [(b"Transfer-Encoding", b"chunked")],
            [],
        ),
        ([(b"Content-Length", b"3"), (b"Trailer", b"x")], [(b"Content-Length", b"4")], []),
        ([(b"Location", b"/a?code=s3cret")], [(b"Location", b"/b#x?code=other")], [("location", "/a?...", "/b#...")]),
        ([(b"Location", b"https://a/#access_token=s3cret")], [], [("location", "https://a/#...", None)]),
        (
            [(b"Location", b"https://a:s3cret@b/@c")],
            [(b"Link", b"<//u@d/x>")],
            [("location", "https://...@b/@c", None), ("link", None, "<//...@d/x>")],
        ),
        ([(b"A", b"x\x1b[2Jy")], [], [("a", "x [2Jy", None)]),
        ([(b"A", b"x" * 300)], [], [("a", "x" * 200 + "…", None)]),
        ([(b"A", b"\xff\xc3\xa4")], [], [("a", "�ä", None)]),
    ],
)
def test_fields(one: Fields, other: Fields, found: list[tuple[str, str | None, str | None]]) -> None:
    told = differences(HEADERS, answer(fields=one), answer(fields=other)).get("headers", [])
    assert [(entry["name"], entry["original"], entry["copy"]) for entry in told] == found


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "Cookie",
        "Authorization",
        "Proxy-Authenticate",
        "X-Api-Key",
        "X-CSRF-Token",
        "x-session-id",
        "X-Auth-User",
        "X-JWT",
    ],
)
def test_no_secret_is_told(name: str) -> None:
    found = differences(HEADERS, answer(fields=[(name.encode(), b"s3cret")]), answer(fields=[(name.encode(), b"0ther")]))
    assert found["headers"] == [{"name": name.lower(), "original": "(not shown)", "copy": "(not shown)"}]


def test_only_so_many_fields_are_told() -> None:
    many = [(b"X-%d" % number, b"1") for number in range(100)]
    assert len(differences(HEADERS, answer(fields=many), answer())["headers"]) == 20


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (digest(b"abc"), digest(b"a", b"", b"bc"), True),
        (digest(b"abc"), digest(b"abd"), False),
        (digest(b"abc"), digest(b"ab"), False),
        (digest(), digest(b""), True),
        (digest(b"0123456789"), digest(b"0123456789", b"x"), False),
        (digest(b"0123456789x"), digest(b"01234", b"56789and more"), True),
        (digest(b"0123456789"), digest(b"01234", b"56789"), True),
        (digest(b"abc"), None, True),
        (None, digest(b"abc"), True),
    ],
)
def test_bodies(one: Digest | None, other: Digest | None, same: bool) -> None:
    assert ("body" not in differences(Rules(body=True), answer(body=one), answer(body=other))) is same


def test_a_digest_is_that_of_the_body() -> None:
    assert digest(b"abc").facts() == {"octets": 3, "more": False, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert digest(b"abcdefghijk").facts() == {"octets": 10, "more": True, "sha256": hashlib.sha256(b"abcdefghij").hexdigest()}


@pytest.mark.parametrize(("original", "copy", "found"), [(0.1, 0.199, None), (0.1, 0.3, [0.1, 0.3]), (0.3, 0.1, None)])
def test_only_a_slower_copy_differs(original: float, copy: float, found: Any) -> None:
    rules = Rules(latency=True, slower_by=0.1)
    assert differences(rules, answer(seconds=original), answer(seconds=copy)).get("latency") == found


def test_nothing_is_compared_that_is_not_asked_for() -> None:
    one, other = answer(200, [(b"A", b"1")], 0.1, digest(b"a")), answer(500, [], 9.0, digest(b"b"))
    assert differences(Rules(), one, other) == {}
    assert differences(Rules(status=True), one, other) == {"status": [200, 500]}
    assert differences(Rules(status=True, headers=True, body=True, latency=True), one, other).keys() == {
        "status",
        "headers",
        "body",
        "latency",
    }
