"""Edits: what a hook sees of a head as it would be sent now, and Vary."""

from __future__ import annotations

import pytest

from terraster.wire.answers import OwnHead
from terraster.wire.edits import Edits


def edits(*fields: tuple[bytes, bytes]) -> Edits:
    return Edits(200, False, OwnHead(200, fields, 0))


def test_values_are_those_that_would_be_sent() -> None:
    made = edits((b"ETag", b'"a"'), (b"Vary", b"A"), (b"X-B", b"1"), (b"vary", b"B"))
    assert made.values({b"etag", b"vary", b"x-c"}) == {b"etag": b'"a"', b"vary": b"A, B"}
    made.set(b"Vary", b"C")
    made.add(b"Vary", b"D")
    made.remove(b"etag")
    assert made.values({b"etag", b"vary"}) == {b"vary": b"C, D"}
    assert Edits().values({b"vary"}) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), b"Accept-Encoding"),
        ((b"Origin",), b"Origin, Accept-Encoding"),
        ((b"Origin", b"Cookie"), b"Origin, Cookie, Accept-Encoding"),
        ((b"accept-encoding",), b"accept-encoding"),
        ((b"Origin ,Accept-Encoding",), b"Origin ,Accept-Encoding"),
        ((b"*",), b"*"),
        ((b"",), b"Accept-Encoding"),
        ((b"X-Accept-Encoding",), b"X-Accept-Encoding, Accept-Encoding"),
    ],
)
def test_vary_names_each_field_once(before: tuple[bytes, ...], after: bytes) -> None:
    made = edits(*[(b"Vary", value) for value in before])
    for _ in range(2):
        made.vary(b"Accept-Encoding")
        assert made.values({b"vary"}) == {b"vary": after}
