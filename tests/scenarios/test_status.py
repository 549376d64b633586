"""What `terrasterctl status` and `/readyz` say while something is wrong."""

from __future__ import annotations

from ..harness.backends import ok
from ..harness.client import get
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
