"""HTTP/2 connections while workers are killed, masters are exchanged and clients come back."""

from __future__ import annotations

import os
import signal

from ..harness.backends import Request, ok
from ..harness.http2_client import GOAWAY, Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from .test_upgrades import begin, master


def test_the_requests_of_a_killed_worker_end_and_the_next_one_serves(fresh, slow) -> None:
    proxy = fresh(slow, workers=1, http2=True)
    (worker,) = proxy.workers()
    with Http2(proxy.connect()) as client:
        assert client.get("/before").body == b"/before"
        client.open("/slow")
        client.open("/slow")
        slow.wait(3)
        os.kill(worker, signal.SIGKILL)
        while client.read() is not None:
            pass
    slow.go.set()
    wait_until(lambda: proxy.workers() not in ([], [worker]), "the next worker")
    with Http2(proxy.connect()) as client:
        assert client.get("/after").body == b"/after"
    active = f'terraster_backend_active_requests{{backend="{slow.url}",location="/",service="site"}}'
    wait_until(lambda: proxy.metrics()[active] == 0, "what the killed one did is still counted")


def test_an_upgrade_loses_no_request(fresh, slow) -> None:
    """What is under way, and what comes before the client has heard of it, is answered by the old workers; then the client comes back."""
    proxy = fresh(slow, http2=True)
    old = master(proxy)
    with Http2(proxy.connect()) as client:
        under_way = client.open("/slow")
        slow.wait()
        new = begin(proxy)
        try:
            os.kill(old, signal.SIGTERM)
            client.until(lambda: any(one.kind == GOAWAY for one in client.frames))
            late = client.open("/late")
            assert client.answer(late).body == b"/late"
            slow.go.set()
            assert client.answer(under_way).body == b"/slow"
            assert (client.goaway().code, client.goaway().last) == (0, late)
            with Http2(proxy.connect()) as other:
                assert other.get("/next").body == b"/next"
        finally:
            assert proxy.program.wait(30) == 0
            os.kill(new, signal.SIGTERM)
            wait_until(lambda: f"[{new}] stopped" in proxy.said, "the new master to end", 30)


def test_a_client_comes_back_to_its_backend_by_its_cookie(terraster, backend) -> None:
    """Also as one part of the cookies, which HTTP/2 may send in several fields."""

    def named(name: bytes):
        def answer(request: Request) -> bytes:
            return ok(name + b" " + (request.get("cookie") or "").encode())

        return backend(answer=answer).url

    sticky = service(
        named(b"a"), named(b"b"), named(b"c"), location={"lb_policy": "sticky-session", "sticky": {"secret": "x" * 32}}
    )
    proxy = terraster(sticky, http2=True)
    with Http2(proxy.connect()) as first, Http2(proxy.connect()) as second:
        answer = first.get("/")
        cookie = (answer.get("set-cookie") or "").partition(";")[0]
        home = answer.body.split()[0]
        for client in (first, second):
            for _ in range(3):
                answer = client.get("/", fields=[("cookie", "other=1"), ("cookie", cookie)])
                assert answer.body == home + b" other=1; " + cookie.encode()
                assert answer.get("set-cookie") is None
