"""Accept-Encoding: which of the offered codings a client gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.wire.accept_encoding import Choice, choose

OFFERED = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        (b"", b""),
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"deflate, compress", b""),
        (b"gzip;q=1.0, br;q=0.5", b"gzip"),
        (b"gzip;q=0.8, br;q=0.8", b"br"),
        (b"gzip ; q=0.123 ,br; q=0.1", b"gzip"),
        (b"gzip;Q=1", b"gzip"),
        (b"gzip;q=0", b""),
        (b"gzip;q=0.000, *", b"zstd"),
        (b"zstd;q=0, br;q=0, *", b"gzip"),
        (b"*", b"zstd"),
        (b"*;q=0", b""),
        (b"gzip, *;q=0", b"gzip"),
        (b"*;q=0.1, gzip;q=0.2", b"gzip"),
        (b"identity", b""),
        (b"identity, gzip", b"gzip"),
        (b"identity;q=1, gzip;q=0.5", b""),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"identity;q=0", b""),
        (b"identity;q=0, gzip;q=0.001", b"gzip"),
        (b"identity;q=0, *", b"zstd"),
        (b"gzip, gzip;q=0", b""),
        (b"gzip;q=0, gzip", b""),
        (b"gzip;q=2", b""),
        (b"gzip;q=1.001", b""),
        (b"gzip;q=", b""),
        (b"gzip;q=0.1234", b""),
        (b"gzip;level=9", b""),
        (b"gzip;q=abc, br", b"br"),
        (b"gzipped", b""),
        (b"gz ip", b""),
        (b",, ,gzip,", b"gzip"),
        (b"\xff\x00, br", b"br"),
    ],
)
def test_choice(field: bytes, coding: bytes) -> None:
    assert choose(field, OFFERED) == coding
    known = Choice(OFFERED)
    assert [known.of(field) for _ in range(3)] == [coding] * 3


def test_the_order_of_the_offer_decides_between_equals() -> None:
    assert choose(b"zstd, br, gzip", (b"gzip", b"br")) == b"gzip"
    assert choose(b"zstd", (b"gzip", b"br")) == b""


QUALITY = st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=0.001", ";q=x"])
MEMBERS = st.lists(st.tuples(st.sampled_from(["zstd", "br", "gzip", "identity", "*", "deflate", ""]), QUALITY), max_size=6)


@given(MEMBERS)
def test_what_is_refused_is_never_sent(members: list[tuple[str, str]]) -> None:
    coding = choose(", ".join(name + quality for name, quality in members).encode(), OFFERED).decode()
    if coding:
        named = [quality for name, quality in members if name == coding] or [quality for name, quality in members if name == "*"]
        assert named and ";q=0" not in named and any(quality != ";q=x" for quality in named)


@given(st.binary(max_size=80))
def test_any_octets_have_an_answer(field: bytes) -> None:
    assert choose(field, OFFERED) in (b"", *OFFERED)
