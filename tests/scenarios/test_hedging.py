"""A second backend is asked where the first takes longer than most: what it gains, what it costs, and that nothing is left of the loser."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from ..harness.backends import Peer, always, ok
from ..harness.client import exchange, get
from ..harness.fault import drips, hangs, resets_before_head
from ..harness.readings import quiet, total
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEDGES = "terraster_location_hedges_total"
KNOWN = 120  # requests after which the percentile is known

FREE = {"budget": "100%", "min_per_second": 1000}


def now_and_then(every: int, seconds: float, counted: threading.Event | None = None):
    """A script that answers each n-th request late, over all connections; with ``counted`` only those after it is set."""
    turns = itertools.count(1)
    lock = threading.Lock()

    def script(peer: Peer) -> None:
        while peer.request():
            with lock:
                late = (counted is None or counted.is_set()) and next(turns) % every == 0
            if late:
                time.sleep(seconds)
            peer.send(ok(b"late" if late else b"soon"))

    return script


def latencies(proxy, count: int) -> list[float]:
    """Of so many GETs on one connection, in order of size."""
    found = []
    with proxy.connect() as client:
        for _ in range(count):
            began = time.monotonic()
            assert client.send(GET).response().status == 200
            found.append(time.monotonic() - began)
    return sorted(found)


def warm(proxy) -> None:
    """Let it learn what is usual."""
    latencies(proxy, KNOWN)


def test_it_cuts_the_tail(terraster, backend) -> None:
    """One of two backends answers one in ten of its requests 200 ms late: 5 % of all."""
    figures = {}
    for name, retry in (("without", FREE), ("with", {"hedge": 90, **FREE})):
        erratic, steady = backend(now_and_then(10, 0.2)), backend(always(ok(b"soon")))
        proxy = terraster(erratic, steady, retry=retry)
        warm(proxy)
        seen = latencies(proxy, 300)
        figures[name] = seen[int(0.99 * len(seen))]
        hedges = total(proxy, HEDGES)
        print(
            f"{name}: p50 {seen[150] * 1e3:.1f} ms, p99 {figures[name] * 1e3:.0f} ms, {hedges:.0f} hedges of {KNOWN + 300} requests"
        )
        assert (hedges > 0) is (name == "with")
        assert hedges < 0.2 * (KNOWN + 300), "of 100 requests some ten take longer than 90 do"
        quiet(proxy)
    assert figures["without"] > 0.19
    assert figures["with"] < 0.1


def test_the_losers_connection_is_closed(terraster, backend) -> None:
    slow = threading.Event()
    erratic, steady = backend(now_and_then(1, 0.4, slow)), backend(always(ok(b"soon")))
    proxy = terraster(erratic, steady, retry={"hedge": 95, **FREE})
    warm(proxy)
    before = len(erratic.peers)
    slow.set()
    for _ in range(4):
        assert get(proxy.address).body == b"soon"
    assert len(erratic.peers) > before or any(peer.ended.is_set() for peer in erratic.peers)
    quiet(proxy)
    wait_until(lambda: all(peer.ended.is_set() for peer in erratic.peers))
    wait_until(lambda: total(proxy, "terraster_backend_open_connections") == total(proxy, "terraster_backend_idle_connections"))
    assert total(proxy, "terraster_backend_failures_total") == 0


def test_the_first_one_may_still_win(terraster, backend) -> None:
    """Then it is the second one that is given up."""
    slow = threading.Event()

    def script(seconds: float):
        def run(peer: Peer) -> None:
            while peer.request():
                if slow.is_set():
                    time.sleep(seconds)
                peer.send(ok(b"%.1f" % seconds))

        return run

    first, second = backend(script(0.3)), backend(script(3.0))
    proxy = terraster(first, second, retry={"hedge": 90, **FREE})
    warm(proxy)
    slow.set()
    began = time.monotonic()
    for _ in range(4):
        assert get(proxy.address).body == b"0.3"
    assert time.monotonic() - began < 4
    quiet(proxy)
    assert {line["status"] for line in proxy.log(KNOWN + 4)} == {200}


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_never_for_what_must_not_be_done_twice(terraster, backend, method: str) -> None:
    slow = threading.Event()
    origins = [backend(now_and_then(1, 0.3, slow)) for _ in range(2)]
    proxy = terraster(*origins, retry={"hedge": 50, **FREE})
    warm(proxy)
    before = total(proxy, HEDGES)
    slow.set()
    for _ in range(4):
        request = f"{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi".encode()
        assert exchange(proxy.address, request).status == 200
    assert total(proxy, HEDGES) == before
    assert sum(request.method == method for origin in origins for request in origin.requests) == 4


def test_never_for_an_upgrade(terraster, backend) -> None:
    """Each handshake may begin something at the backend: a client that asks for one gets one."""
    slow = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if slow.is_set():
                time.sleep(0.3)
            if request.get("upgrade") is not None:
                peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n")
                peer.rest()
                return
            peer.send(ok())

    origins = [backend(script) for _ in range(2)]
    proxy = terraster(*origins, retry={"hedge": 50, **FREE})
    warm(proxy)
    before = total(proxy, HEDGES)
    slow.set()
    with proxy.connect() as client:
        client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: chat\r\n\r\n")
        assert client.response(upgrade=True).status == 101
    assert total(proxy, HEDGES) == before
    assert sum(request.get("upgrade") is not None for origin in origins for request in origin.requests) == 1
    quiet(proxy)


def test_never_for_a_session(terraster, backend) -> None:
    """It belongs to its backend, however slow that is; the other one knows nothing of it."""
    slow = threading.Event()

    def named(name: bytes):
        def script(peer: Peer) -> None:
            while peer.request():
                if slow.is_set():
                    time.sleep(0.3)
                peer.send(ok(name))

        return script

    origins = [backend(named(b"one")), backend(named(b"two"))]
    location = {"lb_policy": "sticky-session", "sticky": {"secret": "x" * 32}, "retry": {"hedge": 50, **FREE}}
    proxy = terraster(service(*(origin.url for origin in origins), location=location))
    first = get(proxy.address)
    cookie = (first.get("set-cookie") or "").partition(";")[0].encode()
    request = GET[:-2] + b"Cookie: " + cookie + b"\r\n\r\n"
    with proxy.connect() as client:
        for count in range(KNOWN + 4):
            if count == KNOWN:
                slow.set()
            answer = client.send(request).response()
            assert (answer.body, answer.get("set-cookie")) == (first.body, None)
    assert total(proxy, HEDGES) == 0


def test_within_the_budget(terraster, backend) -> None:
    """All turn slow: every request would like a second attempt, one in five gets it."""
    slow = threading.Event()
    origins = [backend(now_and_then(1, 0.05, slow)) for _ in range(2)]
    proxy = terraster(*origins, retry={"hedge": 50, "budget": "20%", "min_per_second": 0})
    warm(proxy)
    slow.set()
    latencies(proxy, 60)
    made = total(proxy, HEDGES)
    assert 0 < made <= 0.2 * (KNOWN + 60)
    assert total(proxy, "terraster_location_retry_budget_refusals_total") > 0
    assert sum(len(origin.requests) for origin in origins) <= KNOWN + 60 + made
    quiet(proxy)


def test_not_before_enough_is_known(terraster, backend) -> None:
    origins = [backend(now_and_then(5, 0.2)) for _ in range(2)]
    proxy = terraster(*origins, retry={"hedge": 50, **FREE})
    latencies(proxy, 20)
    assert total(proxy, HEDGES) == 0


def test_one_backend_alone(terraster, backend) -> None:
    proxy = terraster(backend(now_and_then(5, 0.02)), retry={"hedge": 50, **FREE})
    latencies(proxy, KNOWN + 20)
    assert total(proxy, HEDGES) == 0


@pytest.mark.parametrize(
    "second", [hangs, resets_before_head, drips(b"HTTP/1.1 200 OK\r\n", 0.2)], ids=["hangs", "resets", "drips"]
)
def test_a_second_attempt_that_comes_to_nothing(terraster, backend, second) -> None:
    """The first one is waited for as if there were no other."""
    slow = threading.Event()

    def script(peer: Peer) -> None:
        if slow.is_set():
            second(peer)
            return
        while peer.request():
            if slow.is_set():  # on a connection that was kept from before
                return
            peer.send(ok())

    steady, bad = backend(now_and_then(1, 0.3, slow)), backend(script)
    proxy = terraster(
        service({"url": steady.url, "priority": 0}, {"url": bad.url, "priority": 1}),
        retry={"hedge": 90, **FREE},
        outlier=False,
    )
    warm(proxy)
    slow.set()
    for _ in range(4):
        answer = get(proxy.address)
        assert (answer.status, answer.body) == (200, b"late")
    assert bad.peers, "nobody asked the second one"
    quiet(proxy)


def test_a_client_that_leaves_while_both_are_asked(terraster, backend) -> None:
    slow = threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            if slow.is_set():
                peer.rest()
                return
            peer.send(ok())

    origins = [backend(script) for _ in range(2)]
    proxy = terraster(*origins, retry={"hedge": 90, **FREE})
    warm(proxy)
    before = sum(len(origin.requests) for origin in origins)
    slow.set()
    client = proxy.connect().send(GET)
    wait_until(lambda: sum(len(origin.requests) for origin in origins) == before + 2)
    client.close()
    quiet(proxy)
    assert proxy.log(KNOWN + 1)[-1]["status"] == 499
    wait_until(lambda: all(peer.ended.is_set() for origin in origins for peer in origin.peers[:1]))
    assert total(proxy, "terraster_backend_failures_total") == 0


def test_when_both_hang(terraster, backend) -> None:
    slow = threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            if slow.is_set():
                peer.rest()
                return
            peer.send(ok())

    origins = [backend(script) for _ in range(2)]
    proxy = terraster(*origins, retry={"hedge": 90, "attempts": 2, **FREE}, timeouts={"response": "400ms"}, outlier=False)
    warm(proxy)
    slow.set()
    assert get(proxy.address, "/hang").status == 504
    assert (
        sum(request.target == "/hang" for origin in origins for request in origin.requests) == 2
    )  # a late hedge of before counts not
    quiet(proxy)
    wait_until(lambda: total(proxy, "terraster_backend_open_connections") == total(proxy, "terraster_backend_idle_connections"))


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_leaks_under_load(terraster, backend, workers: int) -> None:
    origins = [backend(now_and_then(7, 0.03)) for _ in range(3)]
    proxy = terraster(*origins, workers=workers, retry={"hedge": 70, **FREE})

    def load() -> None:
        latencies(proxy, 150)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    quiet(proxy)
    assert total(proxy, HEDGES) > 10
    assert total(proxy, "terraster_backend_failures_total") == 0
    wait_until(lambda: total(proxy, "terraster_backend_open_connections") == total(proxy, "terraster_backend_idle_connections"))
    assert {line["status"] for line in proxy.log(1200)} == {200}
