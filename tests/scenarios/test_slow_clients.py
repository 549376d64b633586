"""Clients that are slower than `min_rate` lose their request, over HTTP/1 and HTTP/2; others, and tunnels, keep it."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

from ..harness.backends import Peer, ok
from ..harness.client import Connection
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

LARGE = 32 << 20
SETTINGS_INITIAL_WINDOW_SIZE = 4


def script(peer: Peer) -> None:
    """/large: 32 MiB. /ws: a tunnel that is silent. /wait: an answer after 2.5 s. Else the length of the body."""
    while (request := peer.head()) is not None:
        if request.target == "/ws":
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            peer.rest()
            return
        body = peer.body(request)
        if body is None:
            return
        if request.target == "/wait":
            time.sleep(2.5)
        if request.target == "/large":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            with suppress(OSError):
                for _ in range(LARGE >> 20):
                    peer.send(bytes(1 << 20))
        else:
            peer.send(ok(b"%d" % len(body.body)))


def head(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: a.test", *fields, "", "")).encode()


def test_who_is_too_slow_is_ended_and_nobody_else(terraster, backend) -> None:
    origin = backend(script)
    proxy = terraster(service(origin.url, limits={"min_rate": {"in": 1000, "out": 100_000, "grace": 1}}), http2=True)
    with ExitStack() as stack:

        def connected(**options: int) -> Connection:
            return stack.enter_context(proxy.connect(**options))

        sends = connected().send(head("POST", "/sends", "Content-Length: 100000") + b"x")
        connected(receive_buffer=4096).send(head("GET", "/large"))
        waits = connected().send(head("GET", "/wait"))
        tunnel = connected().send(head("GET", "/ws", "Connection: Upgrade", "Upgrade: x"))
        steady = connected().send(head("POST", "/steady", "Content-Length: 12500"))
        second = stack.enter_context(Http2(connected(), settings={SETTINGS_INITIAL_WINDOW_SIZE: 1000}))
        sends2 = second.open("/sends2", method="POST", host="a.test", end=False)
        takes2 = second.open("/large", host="a.test")
        assert tunnel.response(upgrade=True).status == 101
        for _ in range(25):
            steady.send(b"x" * 500)
            time.sleep(0.1)
        assert steady.response("POST").body == b"12500"
        assert waits.response().status == 200
        answer = sends.response("POST")
        assert (answer.status, answer.get("connection")) == (408, "close")
        assert second.answer(sends2).status == 408
        second.until(lambda: second.answers[takes2].reset is not None)
        lines = {line["uri"]: line for line in proxy.log(5)}
        assert lines["/sends"]["status"] == lines["/sends2"]["status"] == 408
        assert "sent less than `min_rate`" in lines["/sends"]["detail"]
        assert "took less than `min_rate`" in lines["/large"]["detail"]
        wait_until(lambda: proxy.status()["services"][0]["locations"][0]["slow_clients"] == 4)
        tunnel.send(b"still here")
        wait_until(lambda: b"still here" in b"".join(peer.received for peer in origin.peers))
