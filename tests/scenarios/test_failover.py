"""Backends that fail: what the client sees of it, who is asked instead, and what is never sent twice."""

from __future__ import annotations

import threading

import pytest

from ..harness.backends import Backend, Peer, Request, ok
from ..harness.client import exchange, get
from ..harness.fault import FAULTS, refusing_port
from ..harness.readings import total
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from ..harness.workers import frozen

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"

BEFORE_AN_ANSWER = ["resets before the head", "closes before the head", "resets within the head", "closes within the head"]


def test_refused_connections_go_to_another_backend(terraster, backend) -> None:
    """Nothing was sent, so any method may be tried elsewhere."""
    origin = backend(answer=ok())
    with refusing_port() as port:
        proxy = terraster(service(f"http://127.0.0.1:{port}", origin.url))
        for request in (GET, POST) * 5:
            assert exchange(proxy.address, request).status == 200
    assert [request.body for request in origin.requests if request.method == "POST"] == [b"hi"] * 5


def test_all_refuse(terraster) -> None:
    with refusing_port() as one, refusing_port() as two:
        answer = get(terraster(service(f"http://127.0.0.1:{one}", f"http://127.0.0.1:{two}")).address)
    assert answer.status == 502
    assert "connection_refused" in (answer.get("proxy-status") or "")


def test_all_down(terraster) -> None:
    """Known from the first round of probes, before the first accept."""
    with refusing_port() as port:
        check = {"type": "tcp", "interval": "200ms", "timeout": "200ms", "thresholds": {"healthy": 1, "unhealthy": 1}}
        proxy = terraster(service(f"http://127.0.0.1:{port}", health_check=check))
        answer = get(proxy.address)
    assert answer.status == 503
    assert "destination_unavailable" in (answer.get("proxy-status") or "")


@pytest.mark.parametrize("fault", [*BEFORE_AN_ANSWER, "resets at once", "flaps", "closes idle at 1 s"])
def test_gets_never_notice_a_backend_that_fails_before_its_answer(terraster, backend, fault: str) -> None:
    bad, good = Backend(FAULTS[fault]), backend(answer=ok())
    with bad:
        proxy = terraster(bad, good)
        for _ in range(10):
            assert get(proxy.address).status == 200
        assert bad.peers, "the bad one was never asked: nothing was shown"


@pytest.mark.parametrize("fault", ["half a body", "half a chunk", "resets after the head"])
def test_what_breaks_after_its_head_is_broken_off_for_the_client_too(terraster, fault: str) -> None:
    """Half an answer is out: no second try can make it whole, and none is passed off as whole."""
    with Backend(FAULTS[fault]) as bad:
        proxy = terraster(bad)
        with proxy.connect() as client:
            answer = client.send(GET).rest()
        assert len(bad.requests) == 1
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 502 "))
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("fault", BEFORE_AN_ANSWER)
def test_posts_are_never_sent_twice(terraster, backend, fault: str) -> None:
    executed: list[Request] = []
    bad, good = Backend(FAULTS[fault]), backend(answer=lambda request: executed.append(request) or ok())
    with bad:
        proxy = terraster(bad, good)
        statuses = [exchange(proxy.address, POST).status for _ in range(10)]
    assert set(statuses) == {200, 502}
    assert len(bad.requests) + len(executed) == 10


@pytest.mark.parametrize("fault", ["garbage", "another protocol"])
def test_nonsense_is_a_502(terraster, fault: str) -> None:
    with Backend(FAULTS[fault]) as bad:
        answer = get(terraster(bad).address)
    assert answer.status == 502


def test_statuses_of_backends_are_passed_on(terraster, backend) -> None:
    """A 500 is an answer, not a failure to get one."""
    bad, good = backend(FAULTS["500s"]), backend(answer=ok())
    proxy = terraster(bad, good)
    assert sorted(get(proxy.address).status for _ in range(4)) == [200, 200, 500, 500]


def test_a_pooled_connection_that_the_backend_closed_is_not_used(terraster, backend) -> None:
    """A request that cannot be sent again, each time right after the backend's FIN."""
    go = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        assert peer.request() is not None
        peer.send(ok())
        assert go.acquire(timeout=10)

    origin = backend(script)
    with terraster(origin).connect() as client:
        for count in range(200):
            assert client.send(POST).response("POST").status == 200, f"after {count} closed connections"
            go.release()
            assert origin.wait_peer(count).ended.wait(5)
    assert len(origin.requests) == 200


def closes_in_the_last_instant(peer: Peer) -> None:
    """Answers the first request on a connection; reads the second and closes without a word, as if the two had crossed."""
    if peer.request():
        peer.send(ok())
        peer.request()
        if peer.number:  # from the second connection on it behaves
            peer.send(ok(b"second"))
            peer.rest()


@pytest.mark.parametrize("request_octets", [GET, GET.replace(b"GET", b"DELETE"), GET.replace(b"GET", b"OPTIONS")])
def test_a_close_in_the_last_instant_is_not_seen_by_idempotent_requests(terraster, backend, request_octets: bytes) -> None:
    origin = backend(closes_in_the_last_instant)
    method = request_octets.split()[0].decode()
    with terraster(origin).connect() as client:
        assert client.send(request_octets).response(method).status == 200
        assert client.send(request_octets).response(method).status == 200
    assert len(origin.peers) == 2
    assert len(origin.requests) == 3


def test_a_close_in_the_last_instant_does_not_send_a_post_twice(terraster, backend) -> None:
    origin = backend(closes_in_the_last_instant)
    with terraster(origin).connect() as client:
        assert client.send(POST).response("POST").status == 200
        assert client.send(POST).response("POST").status == 502
    assert len(origin.requests) == 2


def test_a_close_in_the_last_instant_with_an_idempotent_body(terraster, backend) -> None:
    """PUT is idempotent, and a small body is still here: it may be sent again."""
    origin = backend(closes_in_the_last_instant)
    put = b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"
    with terraster(origin).connect() as client:
        assert client.send(put).response("PUT").status == 200
        assert client.send(put).response("PUT").status == 200
    assert [request.body for request in origin.requests] == [b"hi"] * 3


@pytest.mark.parametrize("kept", [0, "64k"], ids=["at once", "held back"])
def test_what_comes_behind_an_answer_is_nobodys(terraster, backend, kept: int | str) -> None:
    """A second answer comes with the end of the first, and with them, all in one turn of the worker's, somebody else's request."""
    go, half, sent = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target != "/first":
                peer.send(ok(b"mine"))
                continue
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            half.set()
            assert go.wait(10)
            peer.send(b"hello" + ok(b"EVIL"))
            sent.set()

    proxy = terraster(backend(script), retry={"response_size": kept})
    (worker,) = proxy.workers()
    with proxy.connect() as other, proxy.connect() as client:
        assert other.send(GET).response().body == b"mine"
        client.send(GET.replace(b"/ ", b"/first "))
        assert half.wait(10)
        wait_until(lambda: total(proxy, "terraster_backend_idle_connections") == 0)
        with frozen(worker):
            other.send(GET)
            go.set()
            assert sent.wait(10)  # both are in the worker's sockets
        assert client.response().body == b"hello"
        assert other.response().body == b"mine"


def test_weight_of_failures_in_the_metrics(terraster, backend) -> None:
    with refusing_port() as port:
        proxy = terraster(service(f"http://127.0.0.1:{port}", backend(answer=ok()).url))
        for _ in range(4):
            get(proxy.address)
        metrics = proxy.metrics()
    failed = {name: value for name, value in metrics.items() if name.startswith("terraster_backend_failures_total")}
    assert sorted(failed.values())[0] == 0 and sorted(failed.values())[-1] >= 1


def test_health_checks_take_a_backend_out_and_back(terraster, backend) -> None:
    healthy = threading.Event()
    healthy.set()

    def answer(request: Request) -> bytes:
        if request.target == "/health":
            return ok(status=b"200 OK" if healthy.is_set() else b"503 Service Unavailable")
        return ok(b"moody")

    moody, steady = backend(answer=answer), backend(answer=lambda r: ok(b"steady"))
    check = {"type": "http", "interval": "100ms", "timeout": "1s", "thresholds": {"healthy": 2, "unhealthy": 2}}
    proxy = terraster(service(moody.url, steady.url, health_check=check))

    def answers() -> set[bytes]:
        return {get(proxy.address).body for _ in range(4)}

    assert answers() == {b"moody", b"steady"}
    healthy.clear()
    wait_until(lambda: answers() == {b"steady"})
    healthy.set()
    wait_until(lambda: answers() == {b"moody", b"steady"})
    changes = [line for line in proxy.said.splitlines() if str(moody.port) in line]
    assert len(changes) >= 2, proxy.said
