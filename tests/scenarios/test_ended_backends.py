"""A request that must not be sent twice, when its kept connection to the backend has ended and the worker has not seen that yet."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import get
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.terraster_process import service
from ..harness.workers import frozen

PING = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)


def _ends(peer: Any) -> None:
    peer.sock.shutdown(socket.SHUT_WR)


def _goes(peer: Http2Peer) -> None:
    peer.goaway(peer.asked and max(peer.asked) or 0)


def _goes_and_ends(peer: Http2Peer) -> None:
    _goes(peer)
    _ends(peer)


def _pings_and_ends(peer: Http2Peer) -> None:
    peer.raw(PING)
    _ends(peer)


WAYS = {"end": _ends, "goaway": _goes, "goaway and end": _goes_and_ends, "ping and end": _pings_and_ends}


def post(proxy: Any, peer: Any, end: Any, first: str) -> Any:
    """The answer to a POST that comes while the worker stands still, before or after the backend's connection ends."""
    (worker,) = proxy.workers()
    with proxy.connect() as client:
        client.send(b"GET /open HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
        with frozen(worker):
            if first == "end":
                end(peer)
            client.send(b"POST /once HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx")
            if first == "post":
                end(peer)
        return client.response("POST")


@pytest.mark.parametrize("first", ["end", "post"])
def test_over_http1(terraster, backend, first) -> None:
    def script(peer: Peer) -> None:
        while request := peer.request():
            peer.send(ok(b"%d" % peer.number + request.body))

    one = backend(script)
    proxy = terraster(one)
    get(proxy.address, "/")
    answer = post(proxy, one.peers[-1], _ends, first)
    assert answer.status == 200


@pytest.mark.parametrize("first", ["end", "post"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_over_http2(terraster, stack, way, busy, first) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        if asked.target != "/wait":
            peer.answer(asked, 200, b"%d" % peer.number)

    one = stack.enter_context(Http2Backend(script))
    proxy = terraster(service({"url": one.url, "http2": True, "health_check": "off"}))
    get(proxy.address, "/")
    if busy:
        stack.enter_context(proxy.connect()).send(b"GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n")
        one.wait(lambda: any(asked.target == "/wait" for asked in one.requests))
    answer = post(proxy, one.peers[-1], way, first)
    assert answer.status == 200, answer.fields
