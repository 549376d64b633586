"""The field lists of HTTP/2 towards backends: each rule as a table, and that HTTP/1 says the same of every request and response."""

from __future__ import annotations

from collections.abc import Sequence

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.errors import BadResponse
from terraster.wire.http1 import RequestHead, ResponseHead, parse_request, parse_response
from terraster.wire.http2.backend_fields import request_block, response_head, response_trailers
from terraster.wire.http2.fields import request_head
from terraster.wire.names import FORWARDED_FOR, TWIN

from .harness.corpus import Case, load_cases

Pairs = Sequence[tuple[bytes, bytes]]
NOTHING: frozenset[bytes] = frozenset()
ABOUT_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
EXTRA = b"X-Forwarded-For: 192.0.2.1\r\nVia: 1.1 terraster\r\nX-Request-ID: abc\r\n"
REQUESTS = [case for case in load_cases("requests") if case.forwards]


def sized(pairs: Pairs) -> list[tuple[bytes, bytes, int]]:
    return [(name, value, len(name) + len(value) + 32) for name, value in pairs]


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in hpack.Decoder(1 << 20).decode(block, raw=True)]


def as_http1(head: RequestHead, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> Pairs:
    """What HTTP/2 should say, after what HTTP/1 says."""
    pairs, host = [], []
    for line in head.forward(b"/to", keep, drop, extra).split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        pair = name.lower(), value.strip(b" \t")
        if pair[0] == b"host":
            host = [(b":authority", pair[1])]
        elif pair[0] not in ABOUT_CONNECTION:
            pairs.append(pair)
    return [(b":method", head.method), (b":scheme", b"https"), (b":path", b"/to"), *host, *pairs]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_requests_say_what_http1_says(case: Case) -> None:
    for keep, drop in ((frozenset[int](), NOTHING), (frozenset((TWIN, FORWARDED_FOR)), frozenset((b"x-a", b"accept")))):
        for extra in (EXTRA, b""):
            head = parse_request(case.data, *case.limits)
            assert head is not None
            for _ in range(3):
                found = decoded(request_block(head, b"/to", b"https", keep, drop, extra))
                assert [pair for pair in found if pair[0] != b"te"] == as_http1(head, keep, drop, extra)
            names = frozenset((*drop, b"host"))
            out = decoded(request_block(head, b"/to", b"https", keep, names, b"Host: b.test\r\n" + extra))
            assert [value for name, value in out if name == b":authority"] == [b"b.test"]
            assert [pair for pair in out if pair[0] != b"te"] == as_http1(head, keep, names, b"Host: b.test\r\n" + extra)


@pytest.mark.parametrize(
    ("value", "travels"),
    [(b"trailers", True), (b"gzip, Trailers", True), (b"gzip", False), (b"x-trailers", False), (b"trailers;q=1", False)],
)
def test_te_goes_on_if_trailers_are_read(value: bytes, travels: bool) -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: TE\r\nTE: %b\r\n\r\n" % value, 32768, 100)
    assert head is not None
    found = decoded(request_block(head, b"/", b"http", frozenset(), NOTHING, b""))
    assert found == [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test")] + (
        [(b"te", b"trailers")] if travels else []
    )


def test_a_request_of_http2_goes_on_in_http2() -> None:
    start = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/a")]
    more = [(b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"cookie", b"a=b"), (b"grpc-timeout", b"1S")]
    head = request_head(sized([*start, *more]), False, 100, 32768)
    found = decoded(request_block(head, b"/a", b"https", frozenset(), NOTHING, b""))
    assert sorted(found) == sorted([*start, *more])


def test_max_forwards_is_counted() -> None:
    head = parse_request(b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 5\r\n\r\n", 32768, 100)
    assert head is not None
    found = decoded(request_block(head, b"*", b"http", frozenset(), NOTHING, b"X-A: 1\r\n"))
    assert found[3:] == [(b":authority", b"a.test"), (b"max-forwards", b"4"), (b"x-a", b"1")]


def facts(head: ResponseHead) -> dict[str, object]:
    names = (
        "status",
        "minor",
        "content_length",
        "chunked",
        "until_close",
        "no_body",
        "keep_alive",
        "upgrade",
        "dated",
        "location",
        "dropped",
    )
    return {name: getattr(head, name) for name in names} | {"fields": list(head.fields), "special": list(head.special or ())}


OK = (b":status", b"200")
ACCEPTED: dict[str, tuple[Pairs, bytes, bool, bytes]] = {
    "a body with its length": ([OK, (b"content-length", b"5")], b"GET", False, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
    "a body of unknown length": (
        [OK, (b"x-a", b"1")],
        b"GET",
        False,
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    "no body": ([OK], b"GET", True, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "no body, and its length": ([OK, (b"content-length", b"0")], b"GET", True, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "an answer to HEAD": ([OK, (b"content-length", b"5")], b"HEAD", True, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
    "an answer to HEAD without a length": ([OK], b"HEAD", True, b"HTTP/1.1 200 OK\r\n\r\n"),
    "no content": ([(b":status", b"204")], b"GET", True, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not modified": (
        [(b":status", b"304"), (b"content-length", b"5")],
        b"GET",
        True,
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    ),
    "early hints": (
        [(b":status", b"103"), (b"link", b"</a>")],
        b"GET",
        False,
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    ),
    "an unregistered status": ([(b":status", b"299")], b"GET", True, b"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n"),
    "names that mean something in requests": (
        [OK, (b"host", b"a"), (b"cookie", b"a=b"), (b"expect", b"x")],
        b"GET",
        True,
        b"HTTP/1.1 200 OK\r\nhost: a\r\ncookie: a=b\r\nexpect: x\r\ncontent-length: 0\r\n\r\n",
    ),
    "cookies stay apart": (
        [OK, (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d"), (b"date", b"now"), (b"location", b"/a")],
        b"GET",
        True,
        b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nset-cookie: c=d\r\ndate: now\r\nlocation: /a\r\ncontent-length: 0\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("pairs", "method", "end", "data"), ACCEPTED.values(), ids=ACCEPTED)
def test_responses(pairs: Pairs, method: bytes, end: bool, data: bytes) -> None:
    """As if an HTTP/1.1 backend had sent these octets."""
    for _ in range(3):
        head = response_head(sized(pairs), method, end, 100, 32768)
        other = parse_response(data, method, 32768, 100)
        assert other is not None and facts(head) == facts(other)
        assert head.forward(NOTHING, (), b"") == other.forward(NOTHING, (), b"")


REFUSED: dict[str, tuple[Pairs, bool]] = {
    "nothing": ((), True),
    "no :status": ([(b"x-a", b"1")], True),
    ":status behind a field": ([(b"x-a", b"1"), OK], True),
    ":status twice": ([OK, OK], True),
    "another pseudo-field": ([OK, (b":path", b"/")], True),
    **{
        f":status {value!r}": ([(b":status", value)], True)
        for value in (b"", b"20", b"2000", b"abc", b"099", b"+20", b"600", b"200 OK")
    },
    "101": ([(b":status", b"101")], False),
    "an interim response that ends": ([(b":status", b"103")], True),
    "a capital": ([OK, (b"X-a", b"1")], True),
    "a line end in a value": ([OK, (b"x-a", b"1\r\nx: y")], True),
    "a line end in a name": ([OK, (b"x-a\r\n", b"1")], True),
    "a space at the start": ([OK, (b"x-a", b" 1")], True),
    "Connection": ([OK, (b"connection", b"close")], True),
    "Transfer-Encoding": ([OK, (b"transfer-encoding", b"chunked")], False),
    "Upgrade": ([OK, (b"upgrade", b"h2c")], True),
    "no body of this length": ([OK, (b"content-length", b"5")], True),
    "a length that is none": ([OK, (b"content-length", b"5x")], False),
    "two lengths": ([OK, (b"content-length", b"5"), (b"content-length", b"6")], False),
    "a length twice": ([OK, (b"content-length", b"5"), (b"content-length", b"5")], False),
    "many fields": ([OK, *[(b"x-%d" % number, b"") for number in range(101)]], True),
    "large fields": ([OK, (b"x-a", b"a" * 33000)], True),
}


@pytest.mark.parametrize(("pairs", "end"), REFUSED.values(), ids=REFUSED)
def test_refused(pairs: Pairs, end: bool) -> None:
    for _ in range(3):
        with pytest.raises(BadResponse):
            response_head(sized(pairs), b"GET", end, 100, 32768)


def test_trailers() -> None:
    assert response_trailers(sized([(b"grpc-status", b"0"), (b"content-length", b"5"), (b"x_a", b"")])) == [
        (b"grpc-status", b"0"),
        (b"x_a", b""),
    ]
    for pair in ((b":status", b"200"), (b"X-a", b"1"), (b"connection", b"close"), (b"x-a", b"1\n2")):
        with pytest.raises(BadResponse):
            response_trailers(sized([pair]))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((b":status", b"x-a", b"content-length", b"connection", b"date", b"set-cookie", b"host"))
            | st.binary(max_size=3),
            st.sampled_from((b"200", b"204", b"103", b"5", b"0", b"", b"a, b")) | st.binary(max_size=4),
        ),
        max_size=5,
    ),
    st.sampled_from((b"GET", b"HEAD")),
    st.booleans(),
)
def test_any_list_gives_a_head_or_one_clean_error(pairs: Pairs, method: bytes, end: bool) -> None:
    """And no octet of the list ends a line in HTTP/1."""
    for start in ([], [OK]):
        try:
            head = response_head(sized([*start, *pairs]), method, end, 100, 32768)
        except BadResponse:
            continue
        out = head.forward(NOTHING, (), b"")
        assert out.count(b"\r\n") == out.count(b"\n") == out.count(b"\r") <= len(pairs) + 3
        assert not (head.until_close or (end and (head.chunked or head.content_length > 0)))
