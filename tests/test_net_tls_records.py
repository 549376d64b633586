"""Where records end, however the octets come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from terraster.net.tls_records import Records


@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.data())
def test_records_end_where_their_heads_say(lengths: list[int], data: st.DataObject) -> None:
    octets, ends = b"", []
    for length in lengths:
        octets += b"\x17\x03\x03" + length.to_bytes(2) + b"\x01" * length
        ends.append(len(octets))
    records, before = Records(), 0
    while before < len(octets):
        now = data.draw(st.integers(before + 1, len(octets)))
        records.follow(octets[before:now])
        assert records.ended == any(before < end <= now for end in ends)
        assert records.are_whole == (now in ends)
        before = now
