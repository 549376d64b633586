"""Metrics: right numbers, labels from the configuration only."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import exchange, get
from ..harness.program import find
from ..harness.waiting import wait_until


def total(proxy, name: str, *labels: str) -> float:
    """The sum of a metric's samples that carry all of these labels."""
    return sum(
        value for sample, value in proxy.metrics().items() if sample.startswith(name + "{") and all(x in sample for x in labels)
    )


def test_requests_are_counted_by_service_location_and_code(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(status=b"404 Not Found" if request.target == "/no" else b"200 OK"))
    proxy = terraster(origin)
    for target in ("/", "/", "/no"):
        get(proxy.address, target)
    wait_until(lambda: total(proxy, "terraster_request_duration_seconds_count", 'service="site"') == 3)
    assert total(proxy, "terraster_requests_total", 'service="site"', 'location="/"', 'code="200"') == 2
    assert total(proxy, "terraster_requests_total", 'service="site"', 'code="404"') == 1
    assert total(proxy, "terraster_backend_requests_total", str(origin.port)) == 3
    assert total(proxy, "terraster_backend_up", str(origin.port)) == 1


def test_octets_are_counted(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok(b"x" * 1000)))
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500\r\nConnection: close\r\n\r\n" + b"y" * 500
    with proxy.connect() as client:
        answer = client.send(request).rest()
    wait_until(lambda: total(proxy, "terraster_request_duration_seconds_count", 'service="site"') == 1)
    assert total(proxy, "terraster_bytes_total", 'direction="in"', 'service="site"') == len(request)
    assert total(proxy, "terraster_bytes_total", 'direction="out"', 'service="site"') == len(answer)


def test_gauges_rise_and_fall(terraster, backend) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            assert go.wait(20)
            peer.send(ok())

    origin = backend(script)
    proxy = terraster(origin)
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        origin.wait()
        assert total(proxy, "terraster_backend_active_requests") == 1
        assert total(proxy, "terraster_connections") >= 1
        go.set()
        client.response()
    wait_until(lambda: total(proxy, "terraster_backend_active_requests") == 0)
    wait_until(lambda: total(proxy, "terraster_connections") == 0)


def test_clients_cannot_invent_labels(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()))
    exchange(proxy.address, b'BREW /invented"} HTTP/1.1\r\nHost: invented.test\r\nX-Invented: 1\r\n\r\n')
    get(proxy.address, "/invented", host="invented")
    names = "".join(proxy.metrics())
    assert "invented" not in names.lower() and "brew" not in names.lower()


def test_counters_do_not_fall_when_a_worker_dies(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    for _ in range(5):
        get(proxy.address)
    wait_until(lambda: total(proxy, "terraster_requests_total", 'code="200"') == 5)
    (worker,) = proxy.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: proxy.workers() not in ([], [worker]))
    assert total(proxy, "terraster_requests_total", 'code="200"') == 5
    get(proxy.address)
    wait_until(lambda: total(proxy, "terraster_requests_total", 'code="200"') == 6)  # counted once the last octet has left


@pytest.mark.needs("promtool")
def test_promtool_has_no_complaints(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()))
    get(proxy.address)
    answer = exchange(("127.0.0.1", proxy.metrics_port), b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    promtool = find("promtool")
    assert promtool is not None
    result = subprocess.run([promtool, "check", "metrics"], input=answer.body, capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
