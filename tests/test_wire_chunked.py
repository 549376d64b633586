"""Chunked bodies: what goes in comes out, however it is cut; limits; what comes behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest, BadResponse, HttpError
from terraster.wire.chunked import ChunkedReader, last_chunk

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
NAMES = st.text("abcXYZ-0", min_size=1, max_size=8).map(lambda text: b"X-" + text.encode())
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


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("error", [BadRequest, BadResponse])
def test_extensions_may_not_outweigh_the_data(error: type[BadRequest] | type[BadResponse], strict: bool) -> None:
    """Each is short, so that only their sum tells: a body that goes on for ever and brings nothing."""
    reader = ChunkedReader(error, 0, strict)
    for _ in range(50):
        assert reader.feed(b"1;%b\r\na\r\n" % (b"e" * 300)) == [b"a"]
    with pytest.raises(error, match="more chunk extensions than data"):
        for _ in range(10):
            reader.feed(b"1;%b\r\na\r\n" % (b"e" * 300))


def test_extensions_that_the_data_makes_up_for_have_no_bound() -> None:
    reader = ChunkedReader(BadRequest)
    for _ in range(2000):
        reader.feed(b"400;chunk-signature=%b\r\n%b\r\n" % (b"0" * 64, b"x" * 1024))
    reader.feed(b"0\r\n\r\n")
    assert reader.done and reader.received == 2000 * 1024


@pytest.mark.parametrize(
    ("name", "in_requests", "in_responses"),
    [
        (b"X-Checksum", True, True),
        (b"Server-Timing", True, True),
        (b"Content-Digest", True, True),
        (b"x-amz-trailer-signature", True, True),
        (b"X_Checksum", False, True),
        (b"Content-Length", False, False),
        (b"content-LENGTH", False, False),
        (b"Set-Cookie", False, False),
        (b"Cache-Control", False, False),
        (b"Content-Type", False, False),
        (b"Trailer", False, False),
        (b"X-Request-ID", False, False),
        (b"Via", False, False),
        (b"Authorization", False, False),
        (b"Proxy-Authorization", False, True),
        (b"X-Forwarded-For", False, False),
        (b"X-Forwarded-Anything", False, True),
        (b"X_Forwarded_For", False, True),
        (b"Content_Length", False, True),
        (b"X-Real-IP", False, False),
        (b"Client-Cert", False, False),
        (b"Client_Cert-Chain", False, True),
        (b"If-Match", False, True),
        (b"X-Auth-User", False, True),
        (b"Sec-WebSocket-Key", False, True),
    ],
)
def test_trailers_that_do_not_go_on_are_dropped_and_the_message_goes_on(name: bytes, in_requests: bool, in_responses: bool) -> None:
    data = b"3\r\nabc\r\n0\r\n%b: 1\r\nX-Last: 2\r\n\r\n" % name
    for error, passes in ((BadRequest, in_requests), (BadResponse, in_responses)):
        reader = ChunkedReader(error)
        assert reader.feed(data) == [b"abc"] and reader.done
        assert reader.trailers == [(name, b"1"), (b"X-Last", b"2")][0 if passes else 1 :]


def test_trailers_that_others_speak_of_are_dropped_where_they_are_written() -> None:
    trailers = [(b"X-Client", b"1"), (b"x-CLIENT", b"2"), (b"X_Client", b"3"), (b"X-Sum", b"4")]
    assert last_chunk(trailers) == b"0\r\nX-Client: 1\r\nx-CLIENT: 2\r\nX_Client: 3\r\nX-Sum: 4\r\n\r\n"
    assert last_chunk(trailers, frozenset((b"x-client",))) == b"0\r\nX-Sum: 4\r\n\r\n"
    assert last_chunk(trailers[:1], frozenset((b"x-client",))) == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [b"3 ", b"3\t", b"3 \t ", b"0003", b"0" * 40 + b"3", b"3;", b"3 ;", b"3;;", b"3; =x", b'3;a="b', b"3 ; a = b"],
)
def test_sizes_that_a_lenient_reader_takes(line: bytes) -> None:
    data = line + b"\r\nabc\r\n" + line.replace(b"3", b"0") + b"\r\n\r\nrest"
    for at in range(len(data)):
        reader = ChunkedReader(BadResponse, 0, False)
        payload = b"".join(reader.feed(data[:at])) if at else b""
        if not reader.done:
            payload += b"".join(reader.feed(data[at:]))
        assert payload == b"abc" and reader.done and b"rest".startswith(reader.rest)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" 3",
        b"+3",
        b"-3",
        b"0x3",
        b"3 3",
        b"3g",
        b";",
        b"3\r",
        b"3\n",
        b"3;\0",
        b"1" * 16,
        b"3,3",
        b"\xb3",
        b"3;" + b"a" * 511,
    ],
)
def test_sizes_that_no_reader_takes(line: bytes) -> None:
    for strict in (True, False):
        with pytest.raises(BadResponse):
            ChunkedReader(BadResponse, 0, strict).feed(line + b"\r\nabc\r\n0\r\n\r\n")


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_strict_body_means_the_same_to_a_lenient_reader(data: bytes, cut: int) -> None:
    data = b"3\r\nabc\r\n" + data
    strict, lenient = ChunkedReader(BadResponse), ChunkedReader(BadResponse, 0, False)
    try:
        payload = strict.feed(data)
    except BadResponse:
        return
    assert lenient.feed(data) == payload
    assert (lenient.done, lenient.rest, lenient.trailers) == (strict.done, strict.rest, strict.trailers)


@pytest.mark.parametrize("prefix", [b"1;", b"0\r\nX: "])
def test_nothing_unfinished_is_held_without_bound(prefix: bytes) -> None:
    reader = ChunkedReader(BadRequest)
    reader.feed(prefix)
    with pytest.raises(BadRequest):
        for _ in range(100_000):
            reader.feed(b"a")
