"""Errors of our own: short, in the format that was asked for, traceable, and silent about what lies behind."""

from __future__ import annotations

import json

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import get
from ..harness.fault import hangs, refusing_port
from ..harness.terraster_process import service


def test_json_by_default(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url, host="a.test"))
    answer = get(proxy.address, host="unknown.test")
    assert answer.status == 421
    assert (answer.get("content-type") or "").startswith("application/json")
    content = json.loads(answer.body)
    assert content["status"] == 421
    assert content["request_id"] == answer.get("x-request-id") == proxy.log()[0]["request_id"]
    assert (answer.get("proxy-status") or "").startswith("terraster; error=")
    assert answer.get("content-length") == str(len(answer.body))


@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"])
def test_html_for_browsers(terraster, backend, accept: str) -> None:
    proxy = terraster(service(backend(answer=ok()).url, host="a.test"))
    answer = get(proxy.address, host="unknown.test", fields=f"Accept: {accept}\r\n")
    assert (answer.get("content-type") or "").startswith("text/html")
    assert b"421" in answer.body and (answer.get("x-request-id") or "?").encode() in answer.body


def test_what_a_client_sent_is_not_echoed_as_markup(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url, path="/only", host="a.test"))
    answer = get(proxy.address, "/<script>alert(1)</script>", fields="Accept: text/html\r\n")
    assert answer.status in (400, 404)
    assert b"<script>" not in answer.body


def test_head_gets_no_body(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url, host="a.test"))
    with proxy.connect() as client:
        answer = client.send(b"HEAD / HTTP/1.1\r\nHost: b.test\r\n\r\n").rest()
    assert answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("what", ["refused", "hangs", "unknown name", "no location"])
def test_nothing_internal_is_told(terraster, backend, what: str) -> None:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}" if what == "refused" else backend(hangs).url
        if what == "unknown name":
            url = "http://very-internal-name.invalid:8080"
        proxy = terraster(
            service(url, name="secret-service", host="a.test", path="/secret-path"), timeouts={"response": "300ms", "connect": "2s"}
        )
        answer = get(proxy.address, "/elsewhere" if what == "no location" else "/secret-path/x")
    assert answer.status == {"refused": 502, "hangs": 504, "unknown name": 503, "no location": 404}[what]
    told = answer.body.decode() + str(answer.fields)
    for word in ("127.0.0.1", "localhost", "secret-service", "very-internal", str(port), "Traceback", str(proxy.folder)):
        assert word not in told, word


def test_the_connection_is_kept_where_it_is_clear_where_the_next_request_starts(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url, host="a.test", path="/here"))
    with proxy.connect() as client:
        for _ in range(2):
            assert client.send(b"GET /there HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 404
        assert client.send(b"GET /here HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 200


def test_a_refused_body_does_not_become_the_next_request(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(service(origin.url, host="a.test", path="/here"))
    smuggled = b"GET /here HTTP/1.1\r\nHost: a.test\r\n\r\n"
    with proxy.connect() as client:
        client.send(b"POST /there HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        assert client.response("POST").status == 404
        client.half_close()
        assert client.rest() == b""
    assert origin.requests == []


@pytest.mark.parametrize("fault", ["resets before the head", "garbage"])
def test_a_failed_post_does_not_eat_the_next_request(terraster, backend, fault: str) -> None:
    """Its body was read already; what follows on the connection is another request, whole."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.method == "POST":
                peer.send(b"garbage\r\n\r\n") if fault == "garbage" else peer.reset()
                return
            peer.send(ok(request.target.encode()))

    origin = backend(script)
    with terraster(origin).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbodyGET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.response("POST").status == 502
        rest = client.rest() if not client.is_open() else client.response().body
    assert rest in (b"", b"/next")
    assert [request.target for request in origin.requests] in (["/"], ["/", "/next"])


def test_a_failed_post_keeps_the_connection(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"garbage\r\n\r\n")

    with terraster(backend(script)).connect() as client:
        for _ in range(3):
            client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody")
            assert client.response("POST").status == 502
