"""Health checks as backends see them: what is asked, where, and how often."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import get
from ..harness.nginx import Nginx
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

QUICK = {"type": "http", "path": "/up", "interval": "100ms", "thresholds": {"healthy": 1, "unhealthy": 1}}


def state(proxy) -> str:
    (backend,) = proxy.status()["services"][0]["locations"][0]["backends"]
    return str(backend["state"])


def test_a_probe_has_the_method_the_fields_and_the_body_that_are_configured(terraster, backend) -> None:
    origin = backend(answer=ok(b"fine"))
    asked = {"method": "POST", "request_body": '{"née": 1}', "headers": {"Host": "a.test", "X-Token": "$$1", "user-agent": "me"}}
    proxy = terraster(service(origin.url), health_check={**QUICK, **asked, "body": "fine"})
    wait_until(lambda: state(proxy) == "up")
    request = origin.requests[0]
    assert (request.method, request.target, request.body) == ("POST", "/up", '{"née": 1}'.encode())
    assert [request.get(name) for name in ("host", "user-agent", "accept-encoding", "connection", "content-length")] == [
        "a.test",
        "me",
        "identity",
        "close",
        "11",
    ]
    assert request.get("x-token") == "$1"


def test_a_probe_by_head_waits_for_no_body(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
    proxy = terraster(service(origin.url), health_check={**QUICK, "method": "HEAD"})
    wait_until(lambda: state(proxy) == "up")
    assert {request.method for request in origin.requests} == {"HEAD"}


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_another_port_is_probed(terraster, backend, kind: str) -> None:
    """The port that answers probes is not asked for anything else, and the Host stays the backend's."""
    origin, checker = backend(answer=ok(b"work")), backend(answer=ok())
    proxy = terraster(service(origin.url), health_check={**QUICK, "type": kind, "port": checker.address[1]})
    wait_until(lambda: state(proxy) == "up")
    assert get(proxy.address).body == b"work"
    assert [request.target for request in origin.requests] == ["/"]
    wait_until(lambda: checker.peers)
    if kind == "http":
        assert {request.get("host") for request in checker.requests} == {origin.url.removeprefix("http://")}


@pytest.mark.needs("nginx")
def test_a_probe_that_a_real_server_lets_pass(terraster, tmp_path: Path) -> None:
    rules = """
        location = /up {
            if ($request_method != PUT) { return 405; }
            if ($http_x_token != "secret") { return 403; }
            return 204;
        }"""
    with Nginx(tmp_path / "nginx", rules) as origin:
        asked = {"method": "PUT", "request_body": "x", "headers": {"X-Token": "secret"}}
        proxy = terraster(service(origin.url), health_check={**QUICK, **asked})
        wait_until(lambda: state(proxy) == "up")
        for wrong, status in (
            ({"method": "GET", "headers": asked["headers"]}, 405),
            ({"method": "PUT", "headers": {"X-Token": "no"}}, 403),
        ):
            proxy.reload(service(origin.url), health_check={**QUICK, **wrong})
            wait_until(
                lambda status=status: "down for" in (said := proxy.ctl("why", origin.url).stdout) and f"status {status}" in said
            )


def test_a_state_that_is_about_to_change_is_probed_faster(fresh, backend) -> None:
    """Ten probes turn it, and come within a second or two, though the interval is two seconds."""
    good = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            peer.send(ok() if good.is_set() or request.target == "/" else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    origin = backend(script)
    check = {**QUICK, "interval": "2s", "fast_interval": "20ms", "thresholds": {"healthy": 10, "unhealthy": 10}}
    proxy = fresh(service(origin.url), health_check=check)
    assert state(proxy) == "down"
    good.set()
    wait_until(lambda: state(proxy) == "up", "not up", 12)
    good.clear()
    wait_until(lambda: state(proxy) == "down", "not down", 12)
