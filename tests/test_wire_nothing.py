"""None in place of octets raises an error at both speeds, and a head that is written to cannot be made to read behind its octets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from terraster.net.reactor import Reactor
from terraster.net.stream import Stream
from terraster.route.target import canonical
from terraster.wire import http1
from terraster.wire.http2.hpack import huffman
from terraster.wire.http2.octets import unpack_head

REQUEST = b"GET /app?v=1 HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\nAccept: */*\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nServer: a\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello"
NOTHING: Any = None


def request() -> Any:
    return http1.parse_request(REQUEST, 8000, 100)


def response(octets: bytes = RESPONSE) -> Any:
    return http1.parse_response(octets, b"GET", 8000, 100)


def without_method() -> Any:
    head = request()
    head.method = None
    return head


@pytest.mark.parametrize(
    "call",
    [
        lambda: http1.parse_request(NOTHING, 8000, 100),
        lambda: http1.parse_request(NOTHING, 8000, 100, 7),
        lambda: http1.parse_response(NOTHING, b"GET", 8000, 100),
        lambda: http1.parse_response(NOTHING, b"GET", 8000, 100, 7),
        lambda: request().forward(None, (), frozenset(), b""),
        lambda: request().forward(b"/", (), frozenset(), None),
        lambda: without_method().forward(b"/", (), frozenset(), b""),
        lambda: response().forward(frozenset(), {}, None),
        lambda: response().forward(frozenset([b"server"]), {}, None),
        lambda: canonical(NOTHING, False),
        lambda: unpack_head(NOTHING, 0),
        lambda: huffman.decode(NOTHING),
        lambda: huffman.encode(NOTHING),
        lambda: Stream(NOTHING, None),
        lambda: Stream(Reactor(), None),
    ],
)
def test_nothing_in_place_of_octets_is_an_error(call: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        call()


@pytest.mark.parametrize("size", [-1, 0, 3, 10_000_000, 2**62])
def test_the_size_of_a_head_is_a_fact_for_others_and_no_bound(size: int) -> None:
    head, answer, plain = request(), response(RESPONSE + bytes([65 + size % 26])), RESPONSE[: RESPONSE.index(b"hello")]
    head.size = answer.size = size
    assert (head.size, answer.size) == (size, size)
    assert head.fields[0] == (b"Host", b"a.test") and len(head.fields) == 3
    assert head.forward(b"/b", (), frozenset(), b"").startswith(b"GET /b HTTP/1.1\r\nHost: a.test\r\n")
    assert head.lines((), frozenset([b"accept"]), b"")[0].endswith(b"a.test\r\n")
    assert len(answer.fields) == 3 and answer.forward(frozenset(), {}, b"") == plain.replace(b"Keep-Alive: timeout=5\r\n", b"")
    again = response(RESPONSE + bytes([65 + size % 26]))
    assert len(again.fields) == 3
    again.size = len(plain)  # compiled, it is the same object: heads of responses are remembered
