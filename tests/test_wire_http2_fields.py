"""The field lists of HTTP/2 towards clients: each rule as a table, and that HTTP/1 says the same of every request and response."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import hpack
import pytest
from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.errors import BadRequest, BadResponse
from terraster.wire.answers import OwnHead
from terraster.wire.http1 import RequestHead, ResponseHead, parse_request, parse_response
from terraster.wire.http2 import fields as fields_module
from terraster.wire.http2.fields import (
    FIELD_LINES,
    Http2Head,
    Malformed,
    lines_block,
    request_head,
    response_block,
    trailer_block,
    trailer_lines,
)
from terraster.wire.names import TE

Pairs = Sequence[tuple[bytes, bytes]]

NOTHING: frozenset[bytes] = frozenset()
START = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/a?b"))
POST = ((b":method", b"POST"), *START[1:])
TUNNEL = ((b":method", b"CONNECT"), (b":authority", b"a.test:443"))
WEBSOCKET = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *START[1:])


def sized(pairs: Pairs) -> list[tuple[bytes, bytes, int]]:
    return [(name, value, len(name) + len(value) + 32) for name, value in pairs]


def read(pairs: Pairs, end: bool = True, count: int = 100, size: int = 32768) -> Http2Head:
    """The head, read twice: what is remembered changes nothing."""
    first = request_head(sized(pairs), end, count, size)
    for _ in range(2):
        again = request_head(sized(pairs), end, count, size)
        assert facts(again) == facts(first) and again.protocol == first.protocol
    return first


def octets(head: RequestHead) -> bytes:
    """The head as HTTP/1.1 would have it."""
    return b"%b %b%b" % (head.method, head.target, head._block._raw)


def facts(head: RequestHead) -> dict[str, object]:
    names = ("method", "target", "minor", "host", "content_length", "chunked", "keep_alive", "expect", "upgrade", "size", "dropped")
    found: dict[str, object] = {name: getattr(head, name) for name in names}
    return found | {"fields": list(head.fields), "special": list(head.special or ()), "max_forwards": head.max_forwards}


def without(name: bytes, pairs: Pairs = START) -> Pairs:
    return [pair for pair in pairs if pair[0] != name]


def changed(name: bytes, value: bytes, pairs: Pairs = START) -> Pairs:
    return [(one, value if one == name else other) for one, other in pairs]


def test_a_request() -> None:
    head = read([*START, (b"accept", b"*/*"), (b"cookie", b"a=b"), (b"x-empty", b""), (b"cookie", b"c=d"), (b"te", b"trailers")])
    assert octets(head) == (
        b"GET /a?b HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\ncookie: a=b; c=d\r\nx-empty:\r\nte: trailers\r\n\r\n"
    )
    assert (head.method, head.target, head.host, head.minor, head.major) == (b"GET", b"/a?b", b"a.test", 1, 2)
    assert (head.content_length, head.chunked, head.keep_alive, head.expect) == (-1, False, True, False)
    assert head.protocol is None and head.upgrade is None and head.dropped is None
    assert head.special == [(TE, b"te", b"trailers")]
    out = head.forward(b"/b", frozenset(), frozenset((b"x-empty",)), b"X-A: 1\r\n")
    assert out == b"GET /b HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\ncookie: a=b; c=d\r\nX-A: 1\r\n\r\n"
    older = parse_request(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 32768, 100)
    assert older is not None and (older.major, older.protocol) == (1, None)


MALFORMED: dict[str, tuple[Pairs, bool]] = {
    "no pseudo-field": ((), True),
    "no :method": (without(b":method"), True),
    "no :scheme": (without(b":scheme"), True),
    "no :path": (without(b":path"), True),
    "no :path, with Host": ([*without(b":path"), (b"host", b"a.test")], True),
    ":method twice": ([*START, START[0]], True),
    ":scheme twice": ([START[1], *START], True),
    ":path twice": ([*START, (b":path", b"/b")], True),
    ":authority twice": ([*START, START[2]], True),
    ":path in the place of :method": ([START[3], *START[1:]], True),
    "an unknown pseudo-field": ([*START, (b":unknown", b"1")], True),
    "a pseudo-field of responses": ([*START, (b":status", b"200")], True),
    "an empty pseudo-field": ([*START, (b":", b"")], True),
    "a pseudo-field in capitals": ([(b":Method", b"GET"), *START[1:]], True),
    "a pseudo-field behind a field": ([*START[:3], (b"x-a", b"1"), START[3]], True),
    "a repeated pseudo-field behind a field": ([*START, (b"x-a", b"1"), START[3]], True),
    "a name with a capital": ([*START, (b"X-a", b"1")], True),
    "an empty name": ([*START, (b"", b"1")], True),
    **{
        f"octet {octet:#x} in a name": ([*START, (b"x" + bytes((octet,)) + b"a", b"1")], True)
        for octet in (0, 9, 10, 13, 32, 0x22, 0x28, 0x2C, 0x3A, 0x40, 0x41, 0x5A, 0x7B, 0x7F, 0x80, 0xFF)
    },
    **{
        f"octet {octet:#x} in a value": ([*START, (b"x-a", b"1" + bytes((octet,)) + b"2")], True)
        for octet in (0, 1, 10, 11, 13, 27, 127)
    },
    **{
        f"octet {octet:#x} {where} a value": ([*START, (b"x-a", value)], True)
        for octet, where, value in ((32, "before", b" 1"), (9, "before", b"\t1"), (32, "behind", b"1 "), (9, "behind", b"1\t"))
    },
    "only a space": ([*START, (b"x-a", b" ")], True),
    "a space behind a cookie": ([*START, (b"cookie", b"a=b ")], True),
    "a second request in a value": ([*START, (b"x-a", b"1\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.test")], True),
    "a second field in a name": ([*START, (b"x-a: 1\r\nx-b", b"2")], True),
    "a field's end in a name": ([*START, (b"transfer-encoding: chunked\r\nx", b"2")], True),
    "a colon in a name": ([*START, (b"transfer-encoding:", b"chunked")], True),
    "a space in a name": ([*START, (b"transfer-encoding ", b"chunked")], True),
    "a line end in Content-Length": ([*POST, (b"content-length", b"5\r\nx: y")], False),
    "a line end in Host": ([*without(b":authority"), (b"host", b"a.test\r\nx: y")], True),
    "a line end in a cookie": ([*START, (b"cookie", b"a\r\nx: y")], True),
    **{
        f"{name.decode()}": ([*START, (name, value)], True)
        for name, value in (
            (b"connection", b"close"),
            (b"connection", b""),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-connection", b"keep-alive"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"websocket"),
            (b"te", b"gzip"),
            (b"te", b"trailers, deflate"),
            (b"te", b""),
        )
    },
    "Transfer-Encoding with a body": ([*POST, (b"transfer-encoding", b"chunked")], False),
    "Transfer-Encoding beside Content-Length": ([*POST, (b"transfer-encoding", b"chunked"), (b"content-length", b"5")], False),
    **{
        f"octet {octet:#x} in :path": (changed(b":path", b"/a" + bytes((octet,)) + b"b"), True)
        for octet in (0, 9, 10, 11, 13, 27, 32, 127)
    },
    "a request line in :path": (changed(b":path", b"/ HTTP/1.1\r\nHost: b.test\r\n\r\nGET /admin"), True),
    "a version in :path": (changed(b":path", b"/ HTTP/1.1"), True),
    "an empty :path": (changed(b":path", b""), True),
    ":path without a slash": (changed(b":path", b"a"), True),
    "an absolute :path": (changed(b":path", b"http://b.test/"), True),
    "an asterisk for GET": (changed(b":path", b"*"), True),
    "only a query": (changed(b":path", b"?a"), True),
    "an empty :method": (changed(b":method", b""), True),
    "a space in :method": (changed(b":method", b"GET /admin HTTP/1.1\r\nx:"), True),
    "a space behind :method": (changed(b":method", b"GET "), True),
    "a line end in :method": (changed(b":method", b"GET\r\n"), True),
    "a slash in :method": (changed(b":method", b"GET/"), True),
    "an empty :scheme": (changed(b":scheme", b""), True),
    "a line end in :scheme": (changed(b":scheme", b"https\r\nx: y"), True),
    "an authority in :scheme": (changed(b":scheme", b"http://b.test/?"), True),
    **{
        f"octet {octet:#x} in :authority": (changed(b":authority", b"a" + bytes((octet,)) + b"b"), True)
        for octet in (0, 9, 10, 13, 32, 0x23, 0x2F, 0x3F, 0x40, 0x5C, 127, 128)
    },
    "a user in :authority": (changed(b":authority", b"user@a.test"), True),
    "a user in Host": ([*without(b":authority"), (b"host", b"user:password@a.test")], True),
    "a line end in :authority": (changed(b":authority", b"a.test\r\nx: y"), True),
    "Host differs": ([*START, (b"host", b"b.test")], True),
    "Host differs by its port": ([*START, (b"host", b"a.test:443")], True),
    "Host is empty, and :authority is not": ([*START, (b"host", b"")], True),
    ":authority is empty, and Host is not": ([*changed(b":authority", b""), (b"host", b"a.test")], True),
    "Host twice": ([*START, (b"host", b"a.test"), (b"host", b"a.test")], True),
    "Host twice without :authority": ([*without(b":authority"), (b"host", b"a.test"), (b"host", b"a.test")], True),
    **{
        f"Content-Length {value!r}": ([*POST, (b"content-length", value)], False)
        for value in (b"", b"-1", b"+1", b"1.0", b"0x5", b"5, 5", b"5,5", b"1 0", b"a", b"1" * 19, "٥".encode())
    },
    "Content-Length twice": ([*POST, (b"content-length", b"5"), (b"content-length", b"5")], False),
    "two lengths": ([*POST, (b"content-length", b"5"), (b"content-length", b"6")], False),
    "no body of this length": ([*POST, (b"content-length", b"5")], True),
    "no body of a GET of this length": ([*START, (b"content-length", b"1")], True),
    ":protocol without CONNECT": ([*START, (b":protocol", b"websocket")], False),
    ":protocol in the place of :authority": ([*without(b":authority"), (b":protocol", b"websocket")], False),
    "CONNECT with :path": ([*TUNNEL, (b":path", b"/")], False),
    "CONNECT with :scheme": ([*TUNNEL, (b":scheme", b"https")], False),
    "CONNECT with :path and :scheme": (changed(b":method", b"CONNECT"), False),
    "CONNECT without :authority": ([TUNNEL[0], (b"host", b"a.test")], False),
    "CONNECT with an empty :authority": (changed(b":authority", b"", TUNNEL), False),
    "CONNECT with a length": ([*TUNNEL, (b"content-length", b"0")], False),
    "CONNECT with a user": (changed(b":authority", b"u@a.test:443", TUNNEL), False),
    "CONNECT with only :protocol": ([*TUNNEL, (b":protocol", b"websocket")], False),
    "an extended CONNECT without :path": (without(b":path", WEBSOCKET), False),
    "an extended CONNECT without :scheme": (without(b":scheme", WEBSOCKET), False),
    "an extended CONNECT without :authority": (without(b":authority", WEBSOCKET), False),
    "an extended CONNECT with a length": ([*WEBSOCKET, (b"content-length", b"0")], False),
    "an extended CONNECT for an asterisk": (changed(b":path", b"*", WEBSOCKET), False),
    "an empty :protocol": (changed(b":protocol", b"", WEBSOCKET), False),
    "a line end in :protocol": (changed(b":protocol", b"websocket\r\nx: y", WEBSOCKET), False),
}


@pytest.mark.parametrize(("pairs", "end"), MALFORMED.values(), ids=MALFORMED)
def test_malformed(pairs: Pairs, end: bool) -> None:
    """RFC 9113, sections 8.1.1, 8.2 and 8.3: also when it comes again."""
    for _ in range(3):
        with pytest.raises(Malformed):
            request_head(sized(pairs), end, 100, 32768)


REFUSED: dict[str, tuple[Pairs, int]] = {
    "no host at all": (without(b":authority"), 400),
    "an empty :authority": (changed(b":authority", b""), 400),
    "an empty :authority and an empty Host": ([*changed(b":authority", b""), (b"host", b"")], 400),
    "another scheme": (changed(b":scheme", b"ftp"), 400),
    "a scheme in capitals": (changed(b":scheme", b"HTTPS"), 400),
    "a long method": (changed(b":method", b"A" * 33), 501),
    "an unknown expectation": ([*START, (b"expect", b"200-ok")], 417),
    "a long path": (changed(b":path", b"/" + b"a" * 33000), 414),
    "large fields": ([*START, (b"x-a", b"a" * 33000)], 431),
    "many fields": ([*START, *[(b"x-%d" % number, b"") for number in range(100)]], 431),
}


@pytest.mark.parametrize(("pairs", "status"), REFUSED.values(), ids=REFUSED)
def test_refused(pairs: Pairs, status: int) -> None:
    for _ in range(3):
        with pytest.raises(BadRequest) as refusal:
            request_head(sized(pairs), True, 100, 32768)
        assert refusal.value.status == status


ACCEPTED: dict[str, tuple[Pairs, bool, bytes]] = {
    "any order": (list(reversed(START)), True, b"GET /a?b HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    "http": (changed(b":scheme", b"http"), True, b"GET /a?b HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    "Host in place of :authority": (
        [*without(b":authority"), (b"x-a", b"1"), (b"host", b"b.test:80")],
        True,
        b"GET /a?b HTTP/1.1\r\nhost: b.test:80\r\nx-a: 1\r\n\r\n",
    ),
    "Host beside :authority": ([*START, (b"host", b"A.test")], True, b"GET /a?b HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    "an address": (changed(b":authority", b"[::1]:8443"), True, b"GET /a?b HTTP/1.1\r\nhost: [::1]:8443\r\n\r\n"),
    "OPTIONS *": (
        changed(b":path", b"*", changed(b":method", b"OPTIONS")),
        True,
        b"OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n",
    ),
    "a method in small letters": (changed(b":method", b"get"), True, b"get /a?b HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    "a tab within a value": ([*START, (b"x-a", b"1\t2  3")], True, b"GET /a?b HTTP/1.1\r\nhost: a.test\r\nx-a: 1\t2  3\r\n\r\n"),
    "octets above 127 in a value": (
        [*START, (b"x-a", b"\x80\xff")],
        True,
        b"GET /a?b HTTP/1.1\r\nhost: a.test\r\nx-a: \x80\xff\r\n\r\n",
    ),
    "a body in chunks": (POST, False, b"POST /a?b HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"),
    "a body of a GET": (START, False, b"GET /a?b HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"),
    "a body with its length": (
        [*POST, (b"content-length", b"005")],
        False,
        b"POST /a?b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 005\r\n\r\n",
    ),
    "no body, and its length": (
        [*POST, (b"content-length", b"0")],
        True,
        b"POST /a?b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n",
    ),
    "no body of a GET, and its length": (
        [*START, (b"content-length", b"0")],
        True,
        b"GET /a?b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n",
    ),
    **{
        f"no body of a {method.decode()}": (
            changed(b":method", method),
            True,
            b"%b /a?b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n" % method,
        )
        for method in (b"POST", b"PUT", b"PATCH")
    },
    "no body of a DELETE": (changed(b":method", b"DELETE"), True, b"DELETE /a?b HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    "an empty cookie": ([*START, (b"cookie", b"")], True, b"GET /a?b HTTP/1.1\r\nhost: a.test\r\ncookie:\r\n\r\n"),
    "cookies keep their order": (
        [*START, (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"c=3")],
        True,
        b"GET /a?b HTTP/1.1\r\nhost: a.test\r\ncookie: a=1; b=2; c=3\r\n\r\n",
    ),
    "an expectation": (
        [*POST, (b"content-length", b"1"), (b"expect", b"100-continue")],
        False,
        b"POST /a?b HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n",
    ),
    **{
        f"Max-Forwards of {method.decode()}": (
            [*changed(b":method", method), (b"max-forwards", b"5")],
            True,
            b"%b /a?b HTTP/1.1\r\nhost: a.test\r\nmax-forwards: 5\r\n\r\n" % method,
        )
        for method in (b"GET", b"TRACE")
    },
    "a tunnel": (TUNNEL, False, b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n"),
    "an extended CONNECT": (
        [*WEBSOCKET, (b"sec-websocket-version", b"13")],
        False,
        b"CONNECT /a?b HTTP/1.1\r\nhost: a.test\r\nsec-websocket-version: 13\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("pairs", "end", "out"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(pairs: Pairs, end: bool, out: bytes) -> None:
    head = read(pairs, end)
    assert octets(head) == out
    agree(head)


def agree(head: Http2Head) -> None:
    """A reader of HTTP/1 finds the same facts in the octets that say the same."""
    data = octets(head)
    for junk in (b"", b"GET / HTTP/1.1\r\n"):
        again = parse_request(data + junk, 1 << 20, 1 << 10)
        assert again is not None and facts(again) == facts(head)


def h2_accepts(pairs: Pairs, is_trailer: bool = False) -> bool:
    """What h2 says of a list that a client sends."""
    try:
        list(validate_headers(list(pairs), HeaderValidationFlags(False, is_trailer, False, False)))
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize(("pairs", "end"), MALFORMED.values(), ids=MALFORMED)
def test_h2_refuses_no_more(pairs: Pairs, end: bool) -> None:
    """A second reader of lists refuses nothing that is accepted, when one field of a malformed list is left out."""
    for at in range(len(pairs)):
        fewer = [*pairs[:at], *pairs[at + 1 :]]
        try:
            request_head(sized(fewer), end, 100, 1 << 20)
        except (Malformed, BadRequest):
            continue
        assert h2_accepts(fewer)


def test_a_protocol_is_told() -> None:
    assert read(WEBSOCKET, False).protocol == b"websocket"
    assert read(TUNNEL, False).protocol is None


def test_limits_are_those_of_http1() -> None:
    pairs = [*START, (b"x-a", b"1"), (b"cookie", b"a"), *[(b"cookie", b"b")] * 50]
    head = read(pairs)
    data = octets(head)
    assert head.size == len(data) and len(head.fields) == 3
    read(pairs, size=len(data), count=3)
    for size, count in ((len(data) - 1, 3), (len(data), 2), (30, 3), (20, 3)):
        with pytest.raises(BadRequest) as mine:
            request_head(sized(pairs), True, count, size)
        with pytest.raises(BadRequest) as other:
            parse_request(data, size, count)
        assert mine.value.status == other.value.status


def test_what_is_remembered_is_bounded() -> None:
    for number in range(6000):
        pairs = [*changed(b":authority", b"a%d.test" % number), (b"x-a", b"%d" % number * 30)]
        for _ in range(1 + number % 2):
            with suppress(BadRequest):
                request_head(sized(pairs), True, 100, 32768)
        assert len(FIELD_LINES) <= 4096 and FIELD_LINES.held <= 1 << 19
        assert len(fields_module._HOST_LINES) <= 1024
    once = (b"x-once", b"only")
    request_head(sized([*START, once]), True, 100, 32768)
    assert (*once, 42) not in FIELD_LINES


NAMES = st.sampled_from(
    (
        b"x-a accept cookie te host content-length expect x-forwarded-for x_forwarded_for content_length transfer_encoding x-real-ip forwarded"
        b" max-forwards client-cert client_cert http2-settings x-request-id trailer content-type referer"
    ).split()
) | st.binary(max_size=4)
VALUES = (
    st.sampled_from(
        (b"", b"0", b"5", b"trailers", b"100-continue", b"a.test", b"a=b", b"1, 2", b"gzip", b"x y", b"\t", b"a\tb", b"chunked")
    )
    | st.binary(max_size=6)
    | st.text("abc /:;=,\r\n\t\0", max_size=12).map(str.encode)
)
STARTS = st.sampled_from((START, POST, TUNNEL, WEBSOCKET, without(b":authority"), changed(b":method", b"OPTIONS")))


@settings(max_examples=150, deadline=None)
@given(STARTS, st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans(), st.sampled_from(START), VALUES)
def test_any_list_gives_a_head_that_http1_reads_alike(
    start: Pairs, more: Pairs, end: bool, pseudo: tuple[bytes, bytes], value: bytes
) -> None:
    """Or it is refused. No octet of the list ends a line or a word in HTTP/1."""
    for begin in (start, changed(pseudo[0], value, start)):
        try:
            head = read([*begin, *more], end)
        except (Malformed, BadRequest):
            continue
        agree(head)
        assert h2_accepts([(name, value if name != b"host" else head.host) for name, value in (*begin, *more)])
        out = head.forward(b"/", frozenset(), NOTHING, b"")
        assert out.count(b"\r\n") == out.count(b"\n") == out.count(b"\r") <= 3 + len(more) + 1
        again = parse_request(out, 1 << 20, 1 << 10)
        assert again is not None and (again.content_length, again.chunked) == (head.content_length, head.chunked)
        assert again.upgrade is None and again.keep_alive


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from((b"GET", b"POST", b"DELETE", b"TRACE", b"OPTIONS")),
    st.lists(st.tuples(NAMES.filter(lambda name: name not in (b"host", b"te", b"cookie", b"content-length")), VALUES), max_size=6),
    st.sampled_from((None, 0, 7)),
)
def test_a_head_of_http1_gives_the_same_in_http2(method: bytes, more: Pairs, length: int | None) -> None:
    """What one protocol refuses the other does not accept, but for names in capitals and white space around values."""
    lines = [(b"host", b"a.test"), *more]
    if length is not None:
        lines.append((b"content-length", b"%d" % length))
    elif method == b"POST":
        lines.append((b"transfer-encoding", b"chunked"))
    data = b"%b /a HTTP/1.1\r\n%b\r\n" % (method, b"".join([b"%b: %b\r\n" % pair for pair in lines]))
    pairs = [(b":method", method), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/a"), *lines[1:]]
    pairs = [pair for pair in pairs if pair[0] != b"transfer-encoding"]
    older = head = None
    with suppress(BadRequest):
        older = parse_request(data, 32768, 100)
    with suppress(BadRequest, Malformed):
        head = read(pairs, not length and method != b"POST")
    if head is not None:
        assert older is not None
        told, same = facts(older), facts(head)
        told["fields"] = [(name, value) for name, value in older.fields]
        for key in set(told) - {"size"}:
            assert told[key] == same[key], key
    elif older is not None:
        strange = [name != name.lower() or value != value.strip(b" \t") for name, value in more]
        assert any(strange) or any(b"\r\n" in name + value for name, value in more)


TRAILERS: dict[str, tuple[Pairs, bytes | None]] = {
    "none": ((), b""),
    "a checksum": ([(b"x-checksum", b"1"), (b"grpc-status", b"")], b"x-checksum: 1\r\ngrpc-status:\r\n"),
    "those that none may send": (
        [
            (b"content-length", b"5"),
            (b"host", b"a"),
            (b"cookie", b"a"),
            (b"authorization", b"a"),
            (b"te", b"trailers"),
            (b"x_a", b"1"),
        ],
        b"",
    ),
    "a pseudo-field": ([(b":path", b"/")], None),
    "a capital": ([(b"X-a", b"1")], None),
    "a line end": ([(b"x-a", b"1\r\nx: y")], None),
    "a name with a line end": ([(b"x-a\r\n", b"1")], None),
    "a space at the end": ([(b"x-a", b"1 ")], None),
    "Transfer-Encoding": ([(b"transfer-encoding", b"chunked")], None),
    "Connection": ([(b"connection", b"close")], None),
    "a length that is none": ([(b"content-length", b"x")], None),
}


@pytest.mark.parametrize(("pairs", "lines"), TRAILERS.values(), ids=TRAILERS)
def test_trailers_of_requests(pairs: Pairs, lines: bytes | None) -> None:
    for _ in range(3):
        if lines is None:
            with pytest.raises(Malformed):
                trailer_lines(sized(pairs))
        else:
            assert trailer_lines(sized(pairs)) == lines
            assert h2_accepts(pairs, True)


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in hpack.Decoder(1 << 20).decode(block, raw=True)]


ABOUT_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


def as_http1(
    head: ResponseHead | OwnHead, drop: frozenset[bytes], replace: Sequence[tuple[bytes, bytes, bytes]], extra: bytes
) -> Pairs:
    """What HTTP/2 should say, after what HTTP/1 says."""
    first, *lines = head.forward(drop, replace, extra).split(b"\r\n")[:-2]
    pairs = [(b":status", first.split(b" ")[1])]
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() not in ABOUT_CONNECTION:
            pairs.append((name.lower(), value.strip(b" \t")))
    return pairs


RESPONSES = {
    "usual": b'HTTP/1.1 200 OK\r\nServer: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nETag: "1"\r\n\r\n',
    "without reason": b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nX-A: 1\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-a\r\n\r\n",
    "hop-by-hop": b"HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nTE: a\r\nUpgrade: h2c\r\nX-B: 2\r\n\r\n",
    "two cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    "white space": b"HTTP/1.1 200 OK\r\nX-A:  1 \t\r\nX-B:\r\nContent-Length: 0\r\n\r\n",
    "no body": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    "not modified, in chunks": b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "a length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nContent-Length: 5\r\n\r\n",
    "a location": b"HTTP/1.1 302 Found\r\nLocation: http://b.test/a\r\nContent-Location: /a\r\nContent-Length: 0\r\n\r\n",
    "a high status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("drop", [NOTHING, frozenset((b"x-a", b"etag")), frozenset((b"location", b"content-length"))], ids=len)
@pytest.mark.parametrize(
    "extra", [b"", b"Date: now\r\n", b"X-A: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nSet-Cookie: c=d\r\n"]
)
def test_responses_say_what_http1_says(data: bytes, drop: frozenset[bytes], extra: bytes) -> None:
    """Also again, for other names to drop, and when a name is mapped back."""
    for _ in range(3):
        head = parse_response(data, b"GET", 32768, 100, 0, False)
        assert head is not None
        for names in (drop, NOTHING, drop, frozenset(drop)):
            block = response_block(head, names, (), extra)
            assert decoded(block) == as_http1(head, names, (), extra)
            assert decoded(block) == decoded(response_block(head, names, (), extra))
            replace = [(name, value, b"/mapped") for name, value in head.location or ()]
            assert decoded(response_block(head, names, replace, extra)) == as_http1(head, names, replace, extra)


def test_a_known_head_has_one_block() -> None:
    head = parse_response(RESPONSES["usual"], b"GET", 32768, 100)
    assert head is not None
    for _ in range(2):
        response_block(head, NOTHING, (), b"")
    assert response_block(head, NOTHING, (), b"") is response_block(head, frozenset(), (), b"")
    assert response_block(head, frozenset((b"etag",)), (), b"") is not response_block(head, NOTHING, (), b"")
    assert not [pair for pair in decoded(response_block(head, NOTHING, (), b"")) if pair[0] != pair[0].lower()]


def test_switching_protocols_becomes_200() -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nX-A: 1\r\n\r\n"
    head = parse_response(data, b"GET", 32768, 100)
    assert head is not None
    block = response_block(head, NOTHING, (), b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    assert decoded(block) == [(b":status", b"200"), (b"x-a", b"1")]


@pytest.mark.parametrize("status", [200, 204, 304, 503])
def test_answers_of_our_own_say_what_http1_says(status: int) -> None:
    head = OwnHead(status, ((b"Content-Type", b"text/html"), (b"X-A", b"1"), (b"Retry-After", b"5")), 7)
    for drop in (NOTHING, frozenset((b"x-a",))):
        for extra in (b"", b"Date: now\r\nConnection: close\r\n"):
            assert decoded(response_block(head, drop, (), extra)) == as_http1(head, drop, (), extra)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                (b"X-A", b"x-a", b"Connection", b"Set-Cookie", b"Date", b"Location", b"Keep-Alive", b"Transfer-Encoding")
            ),
            st.sampled_from((b"", b"1", b"x-a", b"close", b"chunked", b"\xff", b"a, b")),
        ),
        max_size=6,
    ),
    st.sampled_from((b"200", b"204", b"304", b"103", b"404")),
    st.frozensets(st.sampled_from((b"x-a", b"date", b"set-cookie", b"location")), max_size=2),
)
def test_any_response_says_what_http1_says(pairs: Pairs, status: bytes, drop: frozenset[bytes]) -> None:
    data = b"HTTP/1.1 %b OK\r\n%b\r\n" % (status, b"".join([b"%b: %b\r\n" % pair for pair in pairs]))
    try:
        head = parse_response(data, b"GET", 32768, 100, 0, False)
    except BadResponse:
        return
    assert head is not None
    for replace in ((), [(name, value, b"/new") for name, value in head.location or ()]):
        assert decoded(response_block(head, drop, replace, b"")) == as_http1(head, drop, replace, b"")


def test_trailers_of_responses() -> None:
    trailers = [(b"Grpc-Status", b"0"), (b"X_A", b"1"), (b"X-B", b"2")]
    assert decoded(trailer_block(trailers)) == [(b"grpc-status", b"0"), (b"x_a", b"1"), (b"x-b", b"2")]
    assert decoded(trailer_block(trailers, frozenset((b"x-a", b"x-b")))) == [(b"grpc-status", b"0")]
    assert trailer_block([]) == b""
    assert decoded(lines_block(b"Grpc-Status: 0\r\nX-B:2\r\n")) == [(b"grpc-status", b"0"), (b"x-b", b"2")]
