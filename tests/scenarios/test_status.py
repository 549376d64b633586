"""What `terrasterctl status` and `/readyz` say while something is wrong."""

from __future__ import annotations

import os
import signal

from ..harness.backends import ok
from ..harness.client import get
from ..harness.readings import of
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from ..harness.workers import frozen


def _kinds(proxy) -> set[str]:
    return {problem["kind"] for problem in proxy.status()["problems"]}


def test_requests_that_no_location_takes_are_in_the_status(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url, host="a.test", path="/shop"))
    codes = proxy.status()["unrouted"]["codes"]
    assert get(proxy.address, "/shop", host="other.test").status == 421
    assert get(proxy.address, "/elsewhere", host="a.test").status == 404

    def risen() -> bool:
        now = proxy.status()["unrouted"]["codes"]
        return all(now.get(code, 0) == codes.get(code, 0) + 1 for code in ("421", "404"))

    wait_until(risen, "the two answers are not counted")
    assert "Requests without a location: " in proxy.ctl("status").stdout


def _backend(proxy, url: str) -> dict:
    (found,) = [
        one
        for service in proxy.status()["services"]
        for location in service["locations"]
        for one in location["backends"]
        if one["url"] == url
    ]
    return found


def test_a_backend_that_answers_nothing_but_500_is_a_problem(terraster, backend) -> None:
    bad = backend(answer=ok(status=b"500 Internal Server Error"))
    good = backend(answer=ok())
    proxy = terraster(bad, good)
    statuses = [get(proxy.address).status for _ in range(40)]
    assert statuses.count(500) == 20
    wait_until(lambda: _backend(proxy, bad.url)["responses"] == {"5xx": 20}, "the last answer is not counted")
    (problem,) = [one for one in proxy.status()["problems"] if one["kind"] == "backend-errors"]
    assert problem["backend"] == bad.url
    assert problem["text"].startswith("20 of 20 attempts in the last ")
    wait_until(
        lambda: _backend(proxy, bad.url)["responses"] == {"5xx": 20} and _backend(proxy, good.url)["responses"] == {"2xx": 20}
    )
    assert of(proxy, "terraster_backend_responses_total", bad.url, 'code="5xx"') == 20
    assert of(proxy, "terraster_backend_responses_total", bad.url, 'code="2xx"') == 0
    assert "\n  responses: 20 5xx\n" in proxy.ctl("why", bad.url).stdout


def test_a_failed_attempt_without_a_response_is_counted_as_none(terraster, backend) -> None:
    silent = backend(lambda peer: peer.request() and peer.close())
    proxy = terraster(silent, retry="off")
    assert get(proxy.address).status == 502
    wait_until(lambda: _backend(proxy, silent.url)["responses"] == {"none": 1})


def test_responses_by_class_are_exact_after_a_worker_is_killed(fresh, backend) -> None:
    codes = {"/a": b"200 OK", "/b": b"302 Found", "/c": b"404 Not Found", "/d": b"503 Service Unavailable", "/e": b"777 Odd"}
    origin = backend(answer=lambda request: ok(status=codes[request.target]))
    proxy = fresh(origin, retry="off")
    expected = {"2xx": 3, "3xx": 3, "4xx": 3, "5xx": 3, "other": 3}
    for target in [*codes] * 3:
        get(proxy.address, target)
    wait_until(lambda: _backend(proxy, origin.url)["responses"] == expected)
    (worker,) = proxy.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: proxy.workers() not in ([], [worker]))
    assert _backend(proxy, origin.url)["responses"] == expected
    get(proxy.address, "/a")
    wait_until(lambda: _backend(proxy, origin.url)["responses"] == {**expected, "2xx": 4})


def test_a_worker_that_hangs_is_named_within_seconds(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    (worker,) = proxy.workers()
    with frozen(worker):
        wait_until(lambda: "worker-silent" in _kinds(proxy), "the worker is still called well", 8)
        assert "not responding for " in proxy.ctl("status").stdout
        assert proxy.admin("/readyz").status == 503
        samples = proxy.metrics()
        assert samples['terraster_worker_silent_seconds{process="proxy-1"}'] >= 3
        assert samples["terraster_workers"] == 0
    wait_until(lambda: not _kinds(proxy) and proxy.serves(), "it runs again, and is still called silent")
    assert proxy.workers() == [worker]
