"""Interim answers: 100 (Continue) asked for, refused, unasked; 103 and others passed on."""

from __future__ import annotations

from ..harness.backends import Peer, ok
from ..harness.client import exchange

POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def test_continue_comes_from_the_backend(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        while request := peer.head():
            assert request.get("expect") == "100-continue"
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.body(request)
            peer.send(ok(request.body))

    origin = backend(script)
    with terraster(origin).connect() as client:
        for _ in range(2):
            assert client.send(POST).receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
            assert client.send(b"hello").response("POST").body == b"hello"


def test_a_backend_may_refuse_before_the_body(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(ok(b"no", status=b"403 Forbidden", fields=b"Connection: close\r\n"))
        assert peer.rest() == b""

    with terraster(backend(script)).connect() as client:
        answer = client.send(POST).response("POST")
        assert (answer.status, answer.body, answer.interim) == (403, b"no", [])
        assert client.is_closed()


def test_a_client_that_does_not_wait(terraster, backend) -> None:
    """It asks, and sends the body at once all the same."""

    def script(peer: Peer) -> None:
        request = peer.head()
        assert request is not None
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.body(request)
        peer.send(ok(request.body))

    with terraster(backend(script)).connect() as client:
        assert client.send(POST + b"hello").response("POST").body == b"hello"


def test_a_backend_that_never_says_continue_but_answers(terraster, backend) -> None:
    """A backend that ignores the expectation waits for the body: the client sends it after a while, as RFC 9110 10.1.1 says."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            peer.send(ok(request.body))

    with terraster(backend(script)).connect() as client:
        client.send(POST)
        assert client.is_open()
        assert client.send(b"hello").response("POST").body == b"hello"


def test_early_hints_arrive_before_the_answer(terraster, backend) -> None:
    import threading

    seen = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        assert seen.wait(10), "the hint did not arrive before the answer"
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n" + ok())

    with terraster(backend(script)).connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert b"a.css" in client.receive_until(b"\r\n\r\n")
        seen.set()
        answer = client.response()
        assert answer.body == b"hello"
        assert [status for status, _ in answer.interim] == [103]


def test_http10_clients_get_no_interim_answers(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + ok())
    answer = exchange(terraster(origin).address, b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
    assert (answer.status, answer.interim) == (200, [])


def test_unknown_interim_answers_are_passed_on(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\nX-A: 1\r\n\r\n" + ok())
    answer = exchange(terraster(origin).address, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert [status for status, _ in answer.interim] == [102, 199]
    assert answer.body == b"hello"
