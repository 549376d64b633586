"""Redirects of our own, and those of backends mapped back to what the client can reach."""

from __future__ import annotations

import pytest

from ..harness.backends import ok
from ..harness.client import exchange, get
from ..harness.terraster_process import service


@pytest.mark.parametrize(
    ("host", "port", "location"),
    [
        ("a.test", 443, "https://a.test/x?y=1"),
        ("a.test:8080", 443, "https://a.test/x?y=1"),
        ("a.test", 8455, "https://a.test:8455/x?y=1"),
        ("b.a.test", 443, "https://b.a.test/x?y=1"),
        ("[::1]:80", 443, "https://[::1]/x?y=1"),
    ],
)
def test_http_redirect(terraster, host: str, port: int, location: str) -> None:
    """308 keeps the method; the host is the one that was asked for, never a pattern."""
    proxy = terraster({"name": "r", "host": "*", "http_redirect": True, "redirect_port": port})
    for method in ("GET", "POST"):
        answer = exchange(proxy.address, f"{method} /x?y=1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        assert (answer.status, answer.get("location")) == (308, location)


def test_http_redirect_keeps_the_connection(terraster) -> None:
    with terraster({"name": "r", "host": "*", "http_redirect": True}).connect() as client:
        for _ in range(2):
            client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
            assert client.response("POST").status == 308


@pytest.mark.parametrize(
    ("said", "mapped"),
    [
        ("{url}/login", "http://{front}/login"),
        ("{url}/", "http://{front}/"),
        ("{url}", "http://{front}"),
        ("/login", "/login"),
        ("login?next=/x", "login?next=/x"),
        ("https://elsewhere.test/login", "https://elsewhere.test/login"),
        ("http://{front}/x", "http://{front}/x"),
    ],
)
def test_location_of_a_backend_is_mapped_back(terraster, backend, said: str, mapped: str) -> None:
    answers = {}
    origin = backend(answer=lambda request: ok(status=b"302 Found", fields=b"Location: %b\r\n" % answers["said"].encode()))
    proxy = terraster(origin)
    front = f"a.test:{proxy.port}"
    answers["said"] = said.format(url=origin.url, front=front)
    answer = get(proxy.address, host=front)
    wanted = mapped.format(front=front)
    assert (answer.get("location") or "").rstrip("/") == wanted.rstrip("/")


def test_location_under_a_rewrite_is_mapped_back(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(status=b"302 Found", fields=b"Location: /v1/login\r\n"))
    proxy = terraster(service(origin.url, path="/api/", location={"rewrite": "/v1/"}))
    assert get(proxy.address, "/api/x").get("location") == "/api/login"
