"""Limits of clients over all workers, over reloads, and when workers die or stand still."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from functools import partial

import pytest

from ..harness.backends import ok
from ..harness.client import Connection, get
from ..harness.crowd import ask
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from ..harness.workers import by_worker, frozen
from .test_dead_master import again, kill
from .test_upgrades import upgraded

REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
ONE_IN_TEN_MINUTES = {"requests_per_second": 1 / 600}


def statuses(connections: list[Connection], count: int) -> list[int]:
    """The statuses of so many requests, one after the other, over these connections in turn."""
    return [connections[at % len(connections)].send(REQUEST).response().status for at in range(count)]


def limited(origin, **rate: object):
    return service(origin.url, middleware=[{"rate_limit": {**ONE_IN_TEN_MINUTES, **rate}}])


def test_a_rate_holds_over_all_workers_when_one_is_killed_one_stands_still_and_after_a_reload(fresh, backend) -> None:
    origin = backend(answer=ok())
    proxy = fresh(limited(origin, burst=40), workers=4)

    def asked(count: int) -> list[int]:
        """The statuses of so many requests over new connections, which go to all workers that run."""
        with ExitStack() as stack:
            return statuses([stack.enter_context(proxy.connect()) for _ in range(8)], count)

    assert asked(20) == [200] * 20
    killed, stopped, *_ = proxy.workers()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in proxy.workers() and len(proxy.workers()) == 4, "a new worker")
    with frozen(stopped):
        assert asked(10) == [200] * 10
    proxy.reload(limited(origin, burst=40, mode="enforce"), limits={"header_count": 99})
    assert asked(16) == [200] * 10 + [429] * 6
    answer = get(proxy.address)
    assert (answer.status, answer.get("ratelimit")) == (429, '"default";r=0;t=24000')
    assert 500 < int(answer.get("retry-after")) <= 600
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["filters"]["rate_limit"]["refused"] == 7)


def test_places_of_a_client_over_all_workers(fresh, backend) -> None:
    """HTTP/1 and HTTP/2; a worker that is killed has no requests under way."""
    release = threading.Event()

    def answer(request):
        if request.target == "/held":
            release.wait(30)
        return ok()

    origin = backend(answer=answer)
    proxy = fresh(service(origin.url, middleware=[{"limit_connections": {"per_client": 3}}]), workers=2, http2=True)
    workers = by_worker(proxy, 2)
    with ExitStack() as stack:
        stack.callback(release.set)
        (one, (first, *_)), (_, (second, third, *_)) = workers.items()
        for connection in (first, second):
            connection.send(b"GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n")
        origin.wait(2)
        with Http2(third) as client:
            held = client.open("/held", host="a.test")
            origin.wait(3)
            refused = client.answer(client.open("/", host="a.test"))
            assert (refused.status, refused.get("retry-after")) == (429, "1")
            assert get(proxy.address).status == 429
            os.kill(one, signal.SIGKILL)
            wait_until(lambda: get(proxy.address).status == 200, "the place of the request that was killed")
            release.set()
            assert client.answer(held).status == 200
    wait_until(lambda: statuses([proxy.connect()], 1) == [200])


def test_the_management_port_has_a_rate_for_each_client(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), admin_api={"rate_limit": {"requests_per_second": 0.01, "burst": 2}})
    assert [proxy.admin("/").status for _ in range(3)] == [200, 200, 429]
    answer = proxy.admin("/metrics")
    assert (answer.status, 90 < int(answer.get("retry-after")) <= 100) == (429, True)
    assert [proxy.admin(path).status for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.nightly
def test_a_rate_goes_along_to_the_master_after_an_upgrade_and_after_a_kill(fresh, backend) -> None:
    origin = backend(answer=ok())
    proxy = fresh(limited(origin, burst=5), workers=2)
    assert [get(proxy.address).status for _ in range(3)] == [200] * 3
    kill(proxy)
    assert get(proxy.address).status == 200
    again(proxy)
    with upgraded(proxy):
        assert [get(proxy.address).status for _ in range(3)] == [200, 429, 429]


def test_a_rate_is_exact_through_real_workers_when_one_is_killed_and_one_stands_still(fresh) -> None:
    """2 s as fast as 24 clients can ask. Their clock says how many requests that is."""
    rate, burst, workers = 1000, 100, 4
    limit = {"rate_limit": {"requests_per_second": rate, "burst": burst}}
    proxy = fresh(
        {"name": "site", "host": "*", "middleware": [limit, {"respond": {"status": 204}}], "locations": [{"path": "/"}]},
        workers=workers,
    )
    killed, stopped, *_ = proxy.workers()
    signals = ((0.8, killed, signal.SIGKILL), (1.2, stopped, signal.SIGSTOP), (1.6, stopped, signal.SIGCONT))
    passed = ask(proxy.address, 24, 2.0, rate, burst, [(second, partial(os.kill, pid, number)) for second, pid, number in signals])
    least = burst + rate * (passed.shortest - passed.idle) - passed.left - passed.lost
    most = burst + rate * passed.longest + workers  # one more for each other process, and the killed one has a successor
    assert 0.99 * least <= passed.count <= most, passed
