"""Backends that are full: who waits, in which order, for how long, and what is told to those for whom there is no room."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from ..harness.backends import Backend, Peer, ok
from ..harness.client import Connection, get
from ..harness.fault import hangs
from ..harness.readings import quiet, total
from ..harness.terraster_process import service, wait_gone
from ..harness.waiting import wait_until
from ..harness.workers import by_worker, frozen
from ..harness.wrk import Wrk

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
DEPTH = "terraster_location_queue_depth"


class Gate:
    """A backend's script that answers one request whenever it is told to, and counts how many there are at once."""

    def __init__(self, seconds: float = -1.0) -> None:
        """``seconds``: answer by itself after so long."""
        self.seconds = seconds
        self.go = threading.Semaphore(0)
        self.served: list[str] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        while request := peer.request():
            with self._lock:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                self.served.append(request.target)
            if self.seconds < 0:
                assert self.go.acquire(timeout=30)
            else:
                time.sleep(self.seconds)
            with self._lock:
                self.at_once -= 1
            peer.send(ok(request.target.encode()))


@pytest.fixture
def gate(backend: Callable[..., Backend]) -> tuple[Gate, Backend]:
    gate = Gate()
    return gate, backend(gate)


def ask(proxy, target: str) -> Connection:
    return proxy.connect(deadline=30).send(f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())


def full(origin: Backend, limit: int = 1, **keys: object):
    return service({"url": origin.url, "max_connections": limit}, **keys)


@pytest.mark.parametrize("workers", [1, 2])
def test_first_come_first_served(terraster, gate, workers: int) -> None:
    """Whichever worker a client came to."""
    script, origin = gate
    proxy = terraster(full(origin), workers=workers, queue={"timeout": "30s"})
    clients = []
    for number in range(20):
        clients.append(ask(proxy, f"/{number}"))
        if number:
            wait_until(lambda number=number: total(proxy, DEPTH) == number)
        else:
            origin.wait()
    if workers == 2:
        spread = [value for name, value in proxy.metrics().items() if name.startswith("terraster_connections{")]
        assert min(spread) > 0, "all came to one worker: nothing would be shown"
    for number, client in enumerate(clients):
        script.go.release()
        assert client.response().body == b"/%d" % number
        client.close()
    assert script.served == [f"/{number}" for number in range(20)]
    assert script.most == 1
    quiet(proxy)


def test_who_comes_later_does_not_overtake(terraster, gate) -> None:
    """With two workers under a steady stream: a request is served at most a few milliseconds' arrivals out of its turn."""
    script, origin = gate
    script.seconds = 0.02
    proxy = terraster(full(origin), workers=2, queue={"timeout": "30s"})
    lock = threading.Lock()
    sent: dict[str, float] = {}
    ticket = itertools.count()

    def client() -> None:
        with proxy.connect(deadline=30) as connection:
            for _ in range(4):
                with lock:
                    target = f"/{next(ticket)}"
                    sent[target] = time.monotonic()
                    connection.send(f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
                assert connection.response().body == target.encode()

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(script.served) == 80
    moments = [sent[target] for target in script.served]
    worst = max(earlier - later for earlier, later in itertools.combinations(moments, 2))
    assert worst < 0.1, f"overtaken by one that was sent {worst:.3f} s later"
    assert script.most == 1
    quiet(proxy)


@pytest.mark.parametrize("workers", [1, 2])
def test_too_many_are_refused_at_once(terraster, gate, workers: int) -> None:
    script, origin = gate
    proxy = terraster(full(origin), workers=workers, queue={"size": 3, "timeout": "20s"})
    clients = [ask(proxy, f"/{number}") for number in range(4)]
    wait_until(lambda: total(proxy, DEPTH) == 3)
    for _ in range(4):
        began = time.monotonic()
        answer = get(proxy.address)
        assert time.monotonic() - began < 0.5
        assert (answer.status, answer.get("retry-after")) == (503, "20")
        assert "connection_limit_reached" in (answer.get("proxy-status") or "")
    assert total(proxy, "terraster_location_queue_refused_total") == 4
    for _ in clients:
        script.go.release()
    assert sorted(client.response().body for client in clients) == [b"/0", b"/1", b"/2", b"/3"]
    quiet(proxy)


def test_no_queue(terraster, gate) -> None:
    script, origin = gate
    proxy = terraster(full(origin), queue=False)
    first = ask(proxy, "/first")
    origin.wait()
    answer = get(proxy.address)
    assert answer.status == 503 and answer.get("retry-after")
    script.go.release()
    assert first.response().status == 200
    script.go.release()
    assert get(proxy.address).status == 200


def test_nobody_waits_for_longer_than_the_timeout(terraster, gate) -> None:
    script, origin = gate
    proxy = terraster(full(origin), queue={"timeout": "300ms"})
    first = ask(proxy, "/first")
    origin.wait()
    began = time.monotonic()
    answer = get(proxy.address, "/second")
    assert 0.3 <= time.monotonic() - began < 1
    assert (answer.status, answer.get("retry-after")) == (503, "1")
    assert total(proxy, "terraster_location_queue_timeouts_total") == 1
    script.go.release()
    assert first.response().status == 200
    quiet(proxy)
    assert [line["status"] for line in proxy.log(2)] == [503, 200]
    assert script.served == ["/first"]


def test_a_client_that_leaves_the_line_frees_its_place(terraster, gate) -> None:
    script, origin = gate
    proxy = terraster(full(origin), queue={"size": 2, "timeout": "20s"})
    first = ask(proxy, "/first")
    origin.wait()
    leaves = ask(proxy, "/leaves")
    wait_until(lambda: total(proxy, DEPTH) == 1)
    stays = ask(proxy, "/stays")
    wait_until(lambda: total(proxy, DEPTH) == 2)
    leaves.close()
    wait_until(lambda: total(proxy, DEPTH) == 1)
    assert proxy.log()[0]["status"] == 499
    late = ask(proxy, "/late")
    wait_until(lambda: total(proxy, DEPTH) == 2)
    for _ in range(3):
        script.go.release()
    assert [client.response().body for client in (first, stays, late)] == [b"/first", b"/stays", b"/late"]
    assert script.served == ["/first", "/stays", "/late"]
    quiet(proxy)


def test_room_that_a_hung_backend_frees(terraster, backend) -> None:
    """Each wait for it ends, and then the next one's turn comes."""
    hung = backend(hangs)
    proxy = terraster(full(hung), queue={"timeout": "20s"}, timeouts={"response": "200ms"}, retry=False, outlier=False)
    clients = [ask(proxy, "/") for _ in range(3)]
    assert [client.response().status for client in clients] == [504] * 3
    quiet(proxy)


def test_backends_that_are_down_are_not_waited_for(terraster, gate) -> None:
    """A line in front of nobody would only be a slower refusal."""
    script, origin = gate
    check = {"type": "tcp", "interval": "100ms", "timeout": "100ms", "thresholds": {"healthy": 1, "unhealthy": 1}}
    proxy = terraster(full(origin, health_check=check), queue={"timeout": "20s"})
    origin.close()
    wait_until(lambda: total(proxy, "terraster_backend_up") == 0)
    began = time.monotonic()
    assert get(proxy.address).status == 503
    assert time.monotonic() - began < 1


def test_waiting_for_the_other_one_after_a_failure(terraster, backend, gate) -> None:
    """The one that failed has room; the other one, which has none, is waited for all the same."""
    script, origin = gate

    def resets(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/fails":
                peer.reset()
                return
            peer.send(ok())

    bad = backend(resets)
    proxy = terraster(
        service({"url": origin.url, "max_connections": 1}, {"url": bad.url, "max_connections": 1}),
        queue={"timeout": "20s"},
        outlier=False,
    )
    first = ask(proxy, "/first")
    origin.wait()
    second = ask(proxy, "/fails")
    bad.wait()
    wait_until(lambda: total(proxy, DEPTH) == 1)
    script.go.release()
    assert first.response().body == b"/first"
    script.go.release()
    assert second.response().body == b"/fails"
    assert len(bad.requests) == 1
    quiet(proxy)


def test_the_total_timeout_counts_waiting_too(terraster, gate) -> None:
    script, origin = gate
    proxy = terraster(full(origin), queue={"timeout": "20s"}, timeouts={"total": "500ms"})
    first, second = ask(proxy, "/first"), ask(proxy, "/second")
    assert second.response().status == 504
    assert first.response().status == 504
    script.go.release()
    quiet(proxy)


@pytest.mark.needs("wrk")
@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_is_never_exceeded(terraster, backend, tmp_path, limit: int) -> None:
    """Counted at the backend, under load, with two workers; and the backend is kept busy."""
    script = Gate(0.005)
    origin = backend(script)
    proxy = terraster(full(origin, limit), workers=2, access_log="off")
    with Wrk(proxy.url, tmp_path / "wrk", connections=24) as wrk:
        time.sleep(3)
        most = script.most  # when wrk leaves, the backend goes on with what it was asked, and nobody counts it any more
        seen = wrk.stop()
    assert most == limit
    assert seen.failed == 0, seen
    assert seen.requests > 3 / 0.03 * limit, f"{seen.requests} requests: the backend was not kept busy"
    quiet(proxy)


def test_a_killed_worker_leaves_no_ghosts(fresh, gate) -> None:
    """Those who waited there are gone from the line, and what it held of the backend is free again."""
    script, origin = gate
    proxy = fresh(full(origin, 2), workers=2, queue={"timeout": "30s"})
    clients = [ask(proxy, f"/{number}") for number in range(24)]
    wait_until(lambda: total(proxy, DEPTH) == 22)
    victim = max((one for one in proxy.status()["workers"] if one["role"] == "proxy"), key=lambda one: one["connections"])
    os.kill(victim["pid"], signal.SIGKILL)
    wait_gone(victim["pid"])
    alive = []
    for client in clients:
        client.sock.settimeout(0.2)
        try:
            if client.sock.recv(1):
                raise AssertionError("an answer from nowhere")
        except TimeoutError:
            alive.append(client)
        except ConnectionResetError:
            pass
    assert 0 < len(alive) < 24
    for _ in range(30):
        script.go.release()
    for client in alive:
        client.sock.settimeout(10)
        assert client.response().status == 200
    quiet(proxy)
    assert script.most <= 2 + 2  # those of the killed worker were still there for a moment
    with suppress(OSError):
        for client in clients:
            client.close()


def test_a_reload_that_brings_room_helps_who_comes_then(terraster, gate, backend) -> None:
    """Nobody has to wait behind those who wait for a backend that is not there any more."""
    script, origin = gate
    spare = backend(answer=ok(b"spare"))
    proxy = terraster(full(origin), queue={"timeout": "5s"})
    clients = [ask(proxy, f"/{number}") for number in range(3)]
    wait_until(lambda: total(proxy, DEPTH) == 2)
    proxy.reload(service(spare.url), queue={"timeout": "5s"})
    began = time.monotonic()
    assert get(proxy.address).body == b"spare"
    assert time.monotonic() - began < 2
    for _ in clients:
        script.go.release()
    assert [client.response().status for client in clients] == [200] * 3
    quiet(proxy)


def test_a_reload_that_raises_the_limit_helps_who_comes_then(terraster, gate) -> None:
    script, origin = gate
    proxy = terraster(full(origin), queue={"timeout": "20s"})
    clients = [ask(proxy, f"/{number}") for number in range(3)]
    wait_until(lambda: total(proxy, DEPTH) == 2)
    proxy.reload(full(origin, 10), queue={"timeout": "20s"})
    late = ask(proxy, "/late")
    wait_until(lambda: len(script.served) >= 2, "the new room is not used", 3)
    for _ in range(4):
        script.go.release()
    assert {client.response().status for client in (*clients, late)} == {200}
    quiet(proxy)


def test_a_backend_that_a_reload_brings_serves_who_waits(terraster, gate, backend) -> None:
    """Whoever waits goes by the newest plan, not by the one that it came under."""
    script, origin = gate
    spare = backend(answer=ok(b"spare"))
    proxy = terraster(full(origin), queue={"timeout": "8s"})
    first, second = ask(proxy, "/first"), ask(proxy, "/second")
    wait_until(lambda: total(proxy, DEPTH) == 1)
    proxy.reload(service({"url": origin.url, "max_connections": 1}, spare.url), queue={"timeout": "8s"})
    waits, late = (first, second) if script.served == ["/second"] else (second, first)
    waits.sock.settimeout(2)
    assert waits.response().body == b"spare"
    script.go.release()
    assert late.response().status == 200
    quiet(proxy)


@pytest.mark.parametrize("replaced", [False, True], ids=["at the worker that is there", "at one that takes its place"])
def test_a_refused_reload_changes_no_limit(fresh, gate, replaced: bool) -> None:
    script, origin = gate
    script.seconds = 0.05
    proxy = fresh(full(origin), queue={"timeout": "20s"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        proxy.write(full(origin, 100), listen=[f"127.0.0.1:{proxy.port}", f"127.0.0.1:{port}"], queue={"timeout": "20s"})
        assert proxy.ctl("reload").returncode != 0
    if replaced:
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGKILL)
        wait_gone(worker)
        wait_until(lambda: proxy.workers() not in ([], [worker]) and proxy.serves())
    clients = [ask(proxy, f"/{number}") for number in range(6)]
    assert {client.response().status for client in clients} == {200}
    assert script.most == 1
    quiet(proxy)


def test_a_worker_that_stands_still_does_not_stop_the_line(terraster, gate) -> None:
    """The first in line waits there. After two seconds without a sign of life the others' turn has come."""
    script, origin = gate
    proxy = terraster(full(origin), workers=2, queue={"timeout": "20s"}, outlier=False)
    (still, one), (_, other) = by_worker(proxy).items()
    other[0].send(b"GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n")
    origin.wait()
    one[0].send(b"GET /still HTTP/1.1\r\nHost: a.test\r\n\r\n")
    wait_until(lambda: total(proxy, DEPTH) == 1)
    with frozen(still):
        script.go.release(2)
        assert other[0].response().body == b"/first"
        began = time.monotonic()
        assert other[0].send(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"/next"
        assert time.monotonic() - began < 3.5
    script.go.release()
    assert one[0].response().body == b"/still"
    quiet(proxy)


def test_a_request_that_waits_over_a_reload_was_let_in_before(terraster, gate) -> None:
    """Filters that the reload adds judge the requests that come after it."""
    script, origin = gate
    proxy = terraster(full(origin), queue={"timeout": "30s"})
    first = ask(proxy, "/first")
    origin.wait()
    waiting = ask(proxy, "/waits")
    wait_until(lambda: total(proxy, DEPTH) == 1)
    proxy.reload(full(origin, middleware=[{"ip_access": {"deny": "all"}}]), queue={"timeout": "30s"})
    assert get(proxy.address).status == 403
    script.go.release(2)
    assert [one.response().status for one in (first, waiting)] == [200, 200]
    assert get(proxy.address).status == 403
