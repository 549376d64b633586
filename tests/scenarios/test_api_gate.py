"""The management port and requests that must not get in: foreign addresses and names, and what a proxy worker forwards."""

from __future__ import annotations

import json

import pytest

from ..harness.client import exchange
from ..harness.ports import free_port
from ..harness.terraster_process import service


def ask(port: int, path: str = "/metrics", host: str = "localhost") -> tuple[int, str]:
    answer = exchange(("127.0.0.1", port), f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return answer.status, json.loads(answer.body)["detail"] if answer.status >= 400 else ""


@pytest.mark.parametrize("headers", [{}, {"remove_request_headers": ["Via"]}], ids=["marked", "unmarked"])
def test_a_backend_that_is_the_management_port_publishes_nothing(terraster, headers):
    running = terraster(service("http://127.0.0.1:9"))
    place = {"locations": [{"path": "/", "backends": [f"http://127.0.0.1:{running.admin_port}"]}]}
    running.reload({"name": "open", "host": "*", **place, "headers": headers})
    for path in ("/metrics", "/healthz", "/openapi.json", "/api/services", "/"):
        status, detail = ask(running.port, path)
        assert status == 403 and "came through Terraster itself" in detail
    assert ask(running.admin_port)[0] == 200


def test_addresses_names_and_debug_change_by_a_reload(terraster):
    running = terraster(service("http://127.0.0.1:9"))
    assert ask(running.admin_port, host="evil.example")[0] == 421
    running.reload(service("http://127.0.0.1:9"), api={"allowed_ips": ["192.0.2.0/24"]})
    assert (
        ask(running.admin_port)[0] == ask(running.admin_port, "/healthz")[0] == ask(running.admin_port, "/api/services")[0] == 403
    )
    running.reload(service("http://127.0.0.1:9"), api={"allowed_ips": ["127.0.0.1"], "debug": True})
    assert ask(running.admin_port)[0] == 200


def test_a_name_alone_is_answered_for_on_all_addresses(fresh):
    port = free_port()
    running = fresh(
        service("http://127.0.0.1:9"), api={"host": "admin.test", "port": port, "insecure": True}, admin_port=None, wait=False
    )
    running.admin_port = port
    running.program.wait_ready(running.serves, 30)
    assert ask(port, host="admin.test")[0] == 200
    assert ask(port, host=f"admin.test:{port}")[0] == 200
    assert ask(port, host="localhost")[0] == 421
