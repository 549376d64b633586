"""Connections to backends, over all workers: how many are kept, how many there are at once, and how old they may be to be used."""

from __future__ import annotations

import random
import threading
import time

import pytest

from ..harness.backends import Backend, Peer, always, ok
from ..harness.client import exchange
from ..harness.fault import goes_idle
from ..harness.readings import quiet, total
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from ..harness.workers import by_worker
from ..harness.wrk import Wrk

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"
IDLE, OPEN = "terraster_backend_idle_connections", "terraster_backend_open_connections"


def is_open(backend: Backend) -> int:
    """Connections that the backend has open."""
    return sum(not peer.ended.is_set() for peer in backend.peers)


class Together:
    """A script that answers when so many requests are there at once, and then at once."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.most = self.at_once = 0
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        while request := peer.request():
            with self._lock:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
            if request.target == "/together":
                self.barrier.wait(10)
            with self._lock:
                self.at_once -= 1
            peer.send(ok())


def at_once(proxy, count: int, spread: bool) -> None:
    """``count`` requests that are all under way at one moment, through all workers."""
    clients = [client for some in by_worker(proxy).values() for client in some[: count // 2]] if spread else []
    clients += [proxy.connect() for _ in range(count - len(clients))]
    for client in clients:
        client.send(GET.replace(b"/ ", b"/together "))
    for client in clients:
        assert client.response().status == 200
    for client in clients:
        client.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("most", "kept"), [(0, 0), (3, 3), (None, 20)])
def test_max_idle(terraster, backend, workers: int, most: int | None, kept: int) -> None:
    """Over all workers, counted at the backend."""
    origin = backend(Together(20))
    pool = {} if most is None else {"connection_pool": {"max_idle": most}}
    proxy = terraster(origin, workers=workers, **pool)
    at_once(proxy, 20, workers > 1)
    wait_until(lambda: is_open(origin) == kept)
    time.sleep(0.3)
    assert is_open(origin) == total(proxy, IDLE) == total(proxy, OPEN) == kept


def test_idle_timeout(terraster, backend) -> None:
    origin = backend(Together(4))
    proxy = terraster(origin, workers=2, connection_pool={"idle_timeout": "500ms"})
    at_once(proxy, 4, False)
    assert is_open(origin) == 4
    began = time.monotonic()
    wait_until(lambda: is_open(origin) == 0)
    assert 0.3 < time.monotonic() - began < 1.5
    wait_until(lambda: total(proxy, OPEN) == total(proxy, IDLE) == 0)


@pytest.mark.needs("wrk")
@pytest.mark.parametrize("most", [1, 4])
def test_max_open_is_never_exceeded(terraster, backend, tmp_path, most: int) -> None:
    """Under load, with two workers that want the same few; counted at the backend. Everybody gets an answer all the same."""
    lock = threading.Lock()
    counts = {"now": 0, "most": 0}

    def script(peer: Peer) -> None:
        while peer.request():
            with lock:
                counts["now"] += 1
                counts["most"] = max(counts["most"], counts["now"])
            time.sleep(0.002)
            with lock:
                counts["now"] -= 1
            peer.send(ok())

    origin = backend(script)
    proxy = terraster(origin, workers=2, access_log="off", connection_pool={"max_open": most})
    with Wrk(proxy.url, tmp_path / "wrk", connections=16) as wrk:
        opened = 0.0
        for _ in range(10):
            time.sleep(0.2)
            opened = max(opened, total(proxy, OPEN))
        at_once = counts["most"]  # when wrk leaves, the backend goes on with what it was asked, and nobody counts it any more
        seen = wrk.stop()
    print(f"max_open {most}: {seen}")
    assert at_once <= most and opened <= most + 1  # one may be counted in for a moment, to be refused
    assert seen.failed == 0, seen
    assert seen.requests > 100
    quiet(proxy)
    assert total(proxy, OPEN) <= most


def test_idle_connections_of_another_worker_starve_nobody(terraster, backend) -> None:
    """All that may be open lie idle at one worker; the other one gets one all the same."""
    origin = backend(always(ok()))
    proxy = terraster(origin, workers=2, connection_pool={"max_open": 1})
    slowest = 0.0
    one, other = (some[:10] for some in by_worker(proxy, 3).values())
    for client in one:
        client.send(GET)
        assert client.response().status == 200
    clients = other + one
    for client in clients + clients[::-1]:
        began = time.monotonic()
        assert client.send(POST).response("POST").status == 200
        slowest = max(slowest, time.monotonic() - began)
    print(f"slowest {slowest:.3f} s")
    assert slowest < 1.5
    assert is_open(origin) <= 1
    for client in clients:
        client.close()
    quiet(proxy)


def test_when_all_are_in_use_requests_wait(terraster, backend) -> None:
    go = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        while peer.request():
            assert go.acquire(timeout=10)
            peer.send(ok())

    origin = backend(script)
    proxy = terraster(origin, connection_pool={"max_open": 2}, queue={"timeout": "10s"})
    clients = [proxy.connect() for _ in range(6)]
    for client in clients:
        client.send(GET)
    wait_until(lambda: total(proxy, "terraster_location_queue_depth") == 4)
    assert len(origin.peers) == 2
    for _ in clients:
        go.release()
    assert [client.response().status for client in clients] == [200] * 6
    assert len(origin.peers) == 2
    for client in clients:
        client.close()
    quiet(proxy)


def test_connections_that_failed_are_not_counted_for_good(terraster) -> None:
    def script(peer: Peer) -> None:
        if peer.number % 2:
            peer.reset()
        elif peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with Backend(script) as bad:
        proxy = terraster(
            bad, connection_pool={"max_open": 2}, outlier=False, retry={"min_per_second": 1000}, timeouts={"connect": "500ms"}
        )
        for _ in range(20):
            with proxy.connect() as client:
                client.send(GET)
                assert client.receive()
        wait_until(lambda: total(proxy, OPEN) == 0)
        assert len(bad.peers) >= 20
        quiet(proxy)


# ------------------------------------------------------------------------------------------------------------------------------ reloads


def test_a_raised_max_open_holds_for_backends_that_are_in_use(terraster, backend) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/hold":
                go.wait(10)
            peer.send(ok())

    origin = backend(script)
    proxy = terraster(origin, connection_pool={"max_open": 1}, queue={"timeout": "2s"})
    assert exchange(proxy.address, GET).status == 200
    proxy.reload(service(origin.url), connection_pool={"max_open": 2}, queue={"timeout": "2s"})
    holds = proxy.connect().send(GET.replace(b"/ ", b"/hold "))
    origin.wait(2)
    began = time.monotonic()
    assert exchange(proxy.address, GET).status == 200
    assert time.monotonic() - began < 1, "it waited for the one that is in use"
    go.set()
    assert holds.response().status == 200
    quiet(proxy)


@pytest.mark.parametrize("pool", [{"max_idle": 0}, {"idle_timeout": "300ms"}], ids=["max_idle", "idle_timeout"])
def test_lowered_limits_hold_for_backends_that_are_in_use(terraster, backend, pool: dict[str, object]) -> None:
    origin = backend(always(ok()))
    proxy = terraster(origin)
    assert exchange(proxy.address, GET).status == 200
    assert is_open(origin) == 1
    proxy.reload(service(origin.url), connection_pool=pool)
    assert exchange(proxy.address, GET).status == 200
    wait_until(lambda: is_open(origin) == total(proxy, OPEN) == total(proxy, IDLE) == 0, "kept for longer than is configured", 3)


# ---------------------------------------------------------------------------------------------------------------- learning its timeout


def learnt(proxy) -> set[float]:
    """What status says of after how long the backend closes idle connections, seconds."""
    found: set[float] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if "keepalive" in key and isinstance(inner, int | float):
                    found.add(float(inner))
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(proxy.status())
    return found


def test_after_it_has_learnt_no_post_is_lost(terraster, backend) -> None:
    """A backend that closes idle connections after a second, and a POST about every second: the worst moment, again and again."""
    origin = backend(goes_idle(1.0))
    proxy = terraster(origin)
    with proxy.connect() as client:
        rounds = 0
        while not any(learnt(proxy)):  # three ends at about the same age, which a busy machine may need more than three rounds for
            rounds += 1
            assert rounds <= 12, "nothing was learnt"
            assert client.send(POST).response("POST").status == 200
            wait_until(lambda: total(proxy, OPEN) == 0, "the worker has not noticed the end")
        (seconds,) = learnt(proxy)
        assert 0.9 < seconds < 1.25
        chance = random.Random(7)
        for count in range(7):
            assert client.send(POST).response("POST").status == 200, f"lost after {count} more"
            time.sleep(1.0 + chance.uniform(-0.01, 0.03))
    assert len(origin.requests) == rounds + 7
    assert {line["tries"] for line in proxy.log(rounds + 7)} == {1}


def test_young_connections_are_used_still(terraster, backend) -> None:
    origin = backend(goes_idle(1.0))
    proxy = terraster(origin)
    with proxy.connect() as client:
        for _ in range(3):
            client.send(GET).response()
            wait_until(lambda: total(proxy, OPEN) == 0, "the worker has not noticed the end")
        before = len(origin.peers)
        for _ in range(20):
            client.send(POST).response("POST")
            time.sleep(0.05)
        assert len(origin.peers) == before + 1


def test_restarts_teach_nothing(terraster) -> None:
    """Each ends all connections at once, whatever their age."""
    port = 0
    proxy = None
    for pause in (0.15, 0.5, 0.3, 0.8):
        with Backend(always(ok()), port=port) as origin:
            port = origin.port
            if proxy is None:
                proxy = terraster(origin)
            for number in range(6):
                if number == 3:
                    time.sleep(0.3)
                assert exchange(proxy.address, GET).status == 200
            time.sleep(pause)
    assert learnt(proxy) <= {0.0}


def test_two_workers(terraster, backend) -> None:
    """Each learns for itself; a service that is asked every second loses nothing once both know."""
    origin = backend(goes_idle(1.0))
    proxy = terraster(service(origin.url), workers=2)
    clients = [proxy.connect() for _ in range(20)]
    for _ in range(4):
        for client in clients:
            client.send(GET)
            assert client.response().status == 200
        wait_until(lambda: total(proxy, OPEN) == 0, "the workers have not noticed the ends")
    for _ in range(3):
        for client in clients:
            assert client.send(POST).response("POST").status == 200
        time.sleep(1.0)
    (seconds,) = learnt(proxy)
    assert 0.9 < seconds < 1.25
    for client in clients:
        client.close()
