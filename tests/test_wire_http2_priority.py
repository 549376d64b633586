"""The Priority field: a dictionary of structured fields, or no effect."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.wire.http2.priority import DEFAULT, parse_priority


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7", (7, False)),
        (b"u=5, i", (5, True)),
        (b"i, u=1", (1, True)),
        (b"i", (3, True)),
        (b"i=?1", (3, True)),
        (b"i=?0", (3, False)),
        (b"i;a=1", (3, True)),
        (b"u=2;a;b=?1, i;c", (2, True)),
        (b"  u=2 ,\t i ", (2, True)),
        (b"u=1, u=6", (6, False)),  # the last one counts: RFC 8941, section 4.2.2
        (b"i, i=?0", (3, False)),
        (b"u=8", (3, False)),
        (b"u=-1", (3, False)),
        (b"u=1.0", (3, False)),
        (b"u=10", (3, False)),
        (b"u=01", (3, False)),
        (b'u="1"', (3, False)),
        (b"u=?1", (3, False)),
        (b"u", (3, False)),
        (b"i=1", (3, False)),
        (b"i=a", (3, False)),
        (b"i=(a b), u=1", (1, False)),
        (b"u=(1), i", (3, True)),
        (b'other="x, u=7", u=1', (1, False)),
        (b"other=:YWJj:, x=(1 2;a);b, u=1", (1, False)),
        (b"x=(), u=1", (1, False)),
        # no dictionary
        (b"u=1,", (3, False)),
        (b"u=1 i", (3, False)),
        (b",u=1", (3, False)),
        (b"u=1,,i", (3, False)),
        (b"U=1", (3, False)),
        (b"u=", (3, False)),
        (b"u=1;", (3, False)),
        (b"u =1", (3, False)),
        (b"u=1, \xff", (3, False)),
        (b"u=1, i\x00", (3, False)),
        (b"i=", (3, False)),
        (b"u=1" + b", i" * 100, (3, False)),  # too long
    ],
)
def test_each_value(value: bytes, priority: tuple[int, bool]) -> None:
    assert parse_priority(value) == priority


@given(st.binary(max_size=300) | st.text('ui=0178?;, ()"a-.:\t', max_size=260).map(str.encode))
def test_any_octets(value: bytes) -> None:
    urgency, incremental = parse_priority(value)
    assert 0 <= urgency <= 7
    assert incremental in (True, False)


@pytest.mark.parametrize("part", [b"a=", b"a;", b"a=(", b"a=(a ", b'a="', b"u=1,", b"a;a=1", b"1", b"a=(" + b"a;a" * 5, b" "])
def test_no_value_takes_long(part: bytes) -> None:
    value = (part * 256)[:256]
    begin = time.process_time()
    parse_priority(value)
    assert time.process_time() - begin < 0.2
    assert parse_priority(b"u=1, " + value) in (DEFAULT, (1, False))
