"""Lists of fields that must be refused (`tests/test_wire_http2_fields.py`), over a socket: no backend gets any of them, and the connection goes
on."""

from __future__ import annotations

from ..harness.backends import Peer, ok
from ..harness.http2_client import HEADERS, Answer, Http2, frame
from ..test_wire_http2_fields import MALFORMED, POST, REFUSED, Pairs

PROTOCOL_ERROR = 1
ALLOWED = 16000  # octets, so that the block is in one frame


def ask(client: Http2, pairs: Pairs, end: bool) -> int:
    """Send a list of fields as the head of a request."""
    number, client.next = client.next, client.next + 2
    client.answers[number] = Answer()
    block = client.block(list(pairs))  # type: ignore[arg-type]
    client.send(frame(HEADERS, 4 | end, number, block))
    return number


def test_what_is_malformed_is_reset_and_reaches_no_backend(terraster, backend) -> None:
    one = backend(answer=ok())
    with Http2(terraster(one, http2=True).connect()) as client:
        numbers = {what: ask(client, pairs, end) for what, (pairs, end) in MALFORMED.items()}
        for what, number in numbers.items():
            answer = client.answer(number)
            assert (what, answer.reset, answer.fields) == (what, PROTOCOL_ERROR, [])
        assert client.get("/last").status == 200
    assert [seen.target for seen in one.wait()] == ["/last"]


def test_what_is_refused_is_answered_and_reaches_no_backend(terraster, backend) -> None:
    one = backend(answer=ok())
    with Http2(terraster(one, http2=True).connect()) as client:
        for what, (pairs, status) in REFUSED.items():
            if sum(len(name) + len(value) for name, value in pairs) < ALLOWED:
                assert (what, client.answer(ask(client, pairs, True)).status) == (what, status)
        assert client.get("/last").status == 200
    assert [seen.target for seen in one.wait()] == ["/last"]


def test_trailers_that_are_malformed_end_the_request(terraster, backend) -> None:
    """A trailer that a server might believe is left out, as over HTTP/1.1."""
    one = backend(answer=ok())
    with Http2(terraster(one, http2=True).connect()) as client:
        for pairs in ([(b":path", b"/b")], [(b"X-A", b"1")], [(b"connection", b"close")], [(b"x-a", b"1\r\nx: y")]):
            number = ask(client, POST, False)
            client.send(frame(HEADERS, 5, number, client.block(pairs)))  # type: ignore[arg-type]
            assert client.answer(number).reset == PROTOCOL_ERROR
        number = ask(client, [*POST, (b"x-b", b"head")], False)
        more = [(b"x-a", b"1"), (b"x-b", b"2"), (b"authorization", b"3"), (b"x_c", b"4")]
        client.send(frame(HEADERS, 5, number, client.block(more)))  # type: ignore[arg-type]
        assert client.answer(number).status == 200
    assert one.wait()[-1].trailers == [(b"x-a", b"1")]


def test_a_trailer_of_a_name_that_a_rule_removes(terraster, backend) -> None:
    """Nor one that differs from it only by an underscore, as over HTTP/1.1."""

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\nX_A: 2\r\nX-B: 3\r\n\r\n")

    headers = {"remove_response_headers": ["X-A"]}
    with Http2(terraster(backend(script), http2=True, headers=headers).connect()) as client:
        assert client.get("/").trailers == [("x-b", "3")]
