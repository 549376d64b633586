"""Chunked bodies: what goes in comes out, however it is cut; limits; what comes behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest, BadResponse, HttpError
from terraster.wire.chunked import ChunkedReader, last_chunk

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
NAMES = st.text("abcXYZ-_0", min_size=1, max_size=8).map(lambda text: b"X-" + text.encode())
VALUES = st.text("abc :;=\"'\t", max_size=12).map(lambda text: text.strip(" \t").encode())
TRAILERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
EXTENSION = st.sampled_from([b"", b";a", b";a=b", b';a="b;c"', b" ; a = b", b';q="\\"";r'])


def encode(chunks: list[bytes], extension: bytes, trailers: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return body + b"0%b\r\n" % extension + last_chunk(trailers)[3:]


def decode(pieces: list[bytes], limit: int = 0) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Payload, trailers, and what came behind."""
    reader = ChunkedReader(BadRequest, limit)
    payload, rest = b"", b""
    for piece in pieces:
        if reader.done:
            rest += piece
        else:
            payload += b"".join(reader.feed(piece))
            rest = reader.rest
    assert reader.done
    return payload, reader.trailers, rest


@given(CHUNKS, EXTENSION, TRAILERS, st.binary(max_size=10), st.lists(st.integers(0, 10**6), max_size=8))
def test_what_goes_in_comes_out_however_it_is_cut(
    chunks: list[bytes], extension: bytes, trailers: list[tuple[bytes, bytes]], junk: bytes, cuts: list[int]
) -> None:
    data = encode(chunks, extension, trailers) + junk
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    pieces = [data[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert decode(pieces) == (b"".join(chunks), trailers, junk)
    assert decode([data[at : at + 1] for at in range(len(data))]) == (b"".join(chunks), trailers, junk)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_octets_are_a_body_or_one_clean_refusal(data: bytes, cut: int) -> None:
    outcomes = []
    for pieces in ([data], [data[:cut], data[cut:]]):
        reader = ChunkedReader(BadResponse)
        payload = b""
        try:
            for piece in pieces:
                if not reader.done:
                    payload += b"".join(reader.feed(piece))
        except HttpError as error:
            assert type(error) is BadResponse
            outcomes.append(None)
        else:
            outcomes.append((payload, reader.done, reader.trailers))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("sizes", "limit", "passes"),
    [
        ([10], 10, True),
        ([5, 5], 10, True),
        ([11], 10, False),
        ([5, 6], 10, False),
        ([1] * 11, 10, False),
        ([1000], 0, True),
    ],
)
def test_payload_is_counted_against_the_limit(sizes: list[int], limit: int, passes: bool) -> None:
    data = encode([b"x" * size for size in sizes], b";" + b"e" * 400, [(b"X-A", b"1" * 100)])
    if passes:
        assert len(decode([data], limit)[0]) == sum(sizes)
    else:
        with pytest.raises(BadRequest) as refusal:
            decode([data], limit)
        assert refusal.value.status == 413


def test_a_chunk_over_the_limit_is_refused_by_its_size_alone() -> None:
    with pytest.raises(BadRequest) as refusal:
        ChunkedReader(BadRequest, 10).feed(b"ffffff\r\n")
    assert refusal.value.status == 413


def test_payload_is_handed_on_before_its_chunk_is_complete() -> None:
    reader = ChunkedReader(BadRequest)
    assert reader.feed(b"100000\r\nabc") == [b"abc"]
    assert reader.feed(b"d" * 1000) == [b"d" * 1000]
    assert not reader.done


@pytest.mark.parametrize("prefix", [b"1;", b"0\r\nX: "])
def test_nothing_unfinished_is_held_without_bound(prefix: bytes) -> None:
    reader = ChunkedReader(BadRequest)
    reader.feed(prefix)
    with pytest.raises(BadRequest):
        for _ in range(100_000):
            reader.feed(b"a")
