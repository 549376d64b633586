"""What reaches the other side of the fields that were sent, and what Terraster adds."""

from __future__ import annotations

import re

import pytest

from ..harness.backends import Request, ok
from ..harness.client import exchange, get
from ..harness.http2_client import Http2
from ..harness.terraster_process import service


def seen(terraster, backend, fields: str, **keys) -> Request:
    """What a backend gets of a GET with these fields."""
    origin = backend(answer=ok())
    assert get(terraster(service(origin.url, **keys)).address, fields=fields).status == 200
    return origin.requests[0]


def test_fields_arrive_as_they_were(terraster, backend) -> None:
    """Order, spelling and octets of what concerns nobody on the way."""
    fields = "X-B: 2\r\nx-a: 1\r\nX-B: 3\r\nAccept: */*\r\nCookie: a=1; b=2\r\nX-Obs: caf\xe9\r\nX-Empty:\r\nX-Tab: a\tb\r\n"
    request = seen(terraster, backend, fields)
    head = request.raw.decode("latin-1")
    assert fields.replace("X-Empty:\r\n", "") in head.replace("X-Empty:\r\n", "").replace("X-Empty: \r\n", "")
    assert request.get("host") == "a.test"


def test_hop_by_hop_fields_end_here(terraster, backend) -> None:
    ends = "Connection: X-Secret, keep-alive, x-other\r\nX-Secret: 1\r\nx-OTHER: 2\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n"
    request = seen(terraster, backend, ends + "Proxy-Connection: close\r\nUpgrade: x\r\nX-Stays: 3\r\n")
    for name in ("connection", "x-secret", "x-other", "keep-alive", "proxy-connection", "te", "upgrade"):
        assert request.all(name) == [], name
    assert request.get("x-stays") == "3"


def test_hop_by_hop_fields_of_responses_end_here(terraster, backend) -> None:
    ends = b"Connection: X-Internal\r\nX-Internal: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2\r\n"
    fields = ends + b"X-Stays: 2\r\n"
    answer = get(terraster(backend(answer=ok(fields=fields))).address)
    for name in ("connection", "x-internal", "keep-alive", "proxy-connection", "upgrade"):
        assert answer.all(name) == [], name
    assert answer.get("x-stays") == "2"


@pytest.mark.parametrize("name", ["Content-Length", "Host", "Transfer-Encoding", "X-Forwarded-For"])
def test_connection_cannot_take_out_what_others_rely_on(terraster, backend, name: str) -> None:
    """Naming such a field as an option is an attack: refused, or without effect."""
    origin = backend(answer=ok())
    request = f"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: {name}\r\nContent-Length: 2\r\n\r\nhi".encode()
    answer = exchange(terraster(origin).address, request)
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert origin.requests[0].body == b"hi"
        assert origin.requests[0].get("host") == "a.test"
        assert origin.requests[0].get("x-forwarded-for") == "127.0.0.1"


def test_what_is_added(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin)
    get(proxy.address, host=f"a.test:{proxy.port}")
    request = origin.requests[0]
    assert request.get("x-forwarded-for") == "127.0.0.1"
    assert request.get("x-real-ip") == "127.0.0.1"
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("x-forwarded-host") == f"a.test:{proxy.port}"
    assert request.get("x-forwarded-port") == str(proxy.port)
    assert request.get("host") == f"a.test:{proxy.port}"
    assert request.get("via") == "1.1 terraster"
    assert re.fullmatch(r"[\w-]{16,64}", request.get("x-request-id") or "")


def test_request_ids_differ(terraster, backend) -> None:
    origin = backend(answer=ok())
    with terraster(origin).connect() as client:
        for _ in range(5):
            client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
    assert len({request.get("x-request-id") for request in origin.requests}) == 5


@pytest.mark.parametrize(
    "spoofed",
    [
        "X-Forwarded-For: 10.0.0.1\r\n",
        "x-forwarded-for: 10.0.0.1\r\nX-FORWARDED-FOR: 10.0.0.2\r\n",
        "X-Real-IP: 10.0.0.1\r\n",
        "X-Forwarded-Proto: https\r\n",
        "X-Forwarded-Host: bank.test\r\n",
        "X-Forwarded-Port: 443\r\n",
        "X-Forwarded-Prefix: /admin\r\n",
        "X-Forwarded-Server: x\r\n",
        "Forwarded: for=10.0.0.1;host=bank.test;proto=https\r\n",
        "X_Forwarded_For: 10.0.0.1\r\n",
        "X-Forwarded_For: 10.0.0.1\r\n",
        "X-Request-ID: forged\r\n",
    ],
)
def test_strangers_are_not_believed(terraster, backend, spoofed: str) -> None:
    request = seen(terraster, backend, spoofed)
    text = request.raw.decode().lower()
    for word in ("10.0.0", "bank.test", "https", "port: 443", "/admin", "forged", "forwarded_for", "server: x"):
        assert word not in text, word
    assert request.get("x-forwarded-for") == "127.0.0.1"


@pytest.mark.parametrize("underscores", ["drop", "pass"])
@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]], ids=["stranger", "trusted proxy"])
def test_nobody_forges_a_client_certificate(terraster, backend, underscores: str, trusted: list[str]) -> None:
    """In a request, in a tunnel that it opens, and in the trailers of its body. CGI reads ``Client_Cert`` as ``Client-Cert``."""
    origin = backend(answer=ok())
    proxy = terraster(service(origin.url, underscores=underscores), trusted_proxies=trusted)
    forged = "".join(f"{name}: :Zm9yZ2Vk:\r\n" for name in ("Client-Cert", "CLIENT-cert-CHAIN", "Client_Cert", "client-cert_chain"))
    upgrade = "Connection: Upgrade, Client-Cert\r\nUpgrade: websocket\r\n"
    assert get(proxy.address, fields=forged).status == 200
    assert get(proxy.address, fields=upgrade + forged).status == 200
    with proxy.connect() as client:
        head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(f"{head}3\r\nabc\r\n0\r\n{forged}X-Sum: 1\r\n\r\n".encode())
        assert client.response("POST").status == 200
    requests = origin.requests
    assert len(requests) == 3
    assert "x-sum: 1" in requests[2].raw.decode().lower()
    for request in requests:
        assert b"zm9yz2vk" not in request.raw.lower(), request.raw


def test_via_is_extended(terraster, backend) -> None:
    request = seen(terraster, backend, "Via: 1.0 fred\r\n")
    assert ", ".join(request.all("via")) == "1.0 fred, 1.1 terraster"


def test_http10_is_named_in_via(terraster, backend) -> None:
    origin = backend(answer=ok())
    exchange(terraster(origin).address, b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
    assert origin.requests[0].get("via") == "1.0 terraster"


def test_host_of_an_absolute_target(terraster, backend) -> None:
    origin = backend(answer=ok())
    exchange(terraster(origin).address, b"GET http://A.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n")
    request = origin.requests[0]
    assert request.target == "/x?y"
    assert (request.get("host") or "").lower() == "a.test"


def test_date_is_added_where_it_is_missing(terraster, backend) -> None:
    assert re.match(r"\w{3}, \d\d \w{3} \d{4} ", get(terraster(backend(answer=ok())).address).get("date") or "")
    dated = ok(fields=b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
    assert get(terraster(backend(answer=dated)).address).get("date") == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_content_type_is_never_guessed(terraster, backend) -> None:
    assert get(terraster(backend(answer=ok(b"<html>"))).address).get("content-type") is None


def test_cookies_stay_apart(terraster, backend) -> None:
    answer = get(terraster(backend(answer=ok(fields=b"Set-Cookie: a=1\r\nset-cookie: b=2; Path=/\r\n"))).address)
    assert answer.all("set-cookie") == ["a=1", "b=2; Path=/"]


def test_reason_and_status_are_passed_on(terraster, backend) -> None:
    answer = get(terraster(backend(answer=ok(status=b"299 Quite Alright"))).address)
    assert (answer.status, answer.reason) == (299, b"Quite Alright")


RULES = {
    "request_headers": {"X-Facts": "${scheme} ${service} ${location} ${backend} <${status}> ${request_id} ${header.X-Mine}"},
    "response_headers": {
        "X-Facts": "${status} ${service} ${location} ${backend} ${request_id} ${header.x-mine} ${tls_version} $$5"
    },
}


def test_variables_of_header_rules(terraster, backend, stack) -> None:
    """In requests and responses, with HTTP/1.1 and HTTP/2, in answers of a backend and in those of Terraster's own."""
    origin = backend(answer=ok())
    site = service(origin.url, headers=RULES, http2=True)
    site["locations"] = [{**site["locations"][0], "path": "/a"}, {"path": "/b", "respond": {"status": 418, "body": "tea"}}]
    proxy = terraster(site)
    client = stack.enter_context(Http2(proxy.connect()))
    name = proxy.status()["services"][0]["name"]
    for http2 in (False, True):
        for path, status in (("/a/x", 200), ("/b", 418), ("/c", 404)):
            if http2:
                answer = client.get(path, host="a.test", fields=[("x-mine", "a\t1"), ("x-mine", "2")])
            else:
                answer = get(proxy.address, path, fields="X-Mine: a\t1\r\nx-mine: 2\r\n")
            assert answer.status == status
            facts = answer.get("x-facts") or ""
            where, to, known = path[:2] if status != 404 else "", origin.url if status == 200 else "", facts.split(" ")[4]
            assert facts == f"{status} {name} {where} {to} {known} a\t1, 2  $5", (http2, path)
            if status == 200:
                told = origin.requests[-1].get("x-facts")
                assert told == f"http {name} {where} {to} <> {known} a\t1, 2"
                assert known == origin.requests[-1].get("x-request-id")


def test_header_rules(terraster, backend) -> None:
    origin = backend(answer=ok(fields=b"Server: secret/1.0\r\nX-Powered-By: magic\r\nCache-Control: max-age=3600\r\n"))
    rules = {
        "request_headers": {"X-Custom": "on ${host} for ${remote_addr}: ${method} ${uri}", "User-Agent": "proxy"},
        "response_headers": {"Cache-Control": "no-cache"},
        "remove_request_headers": ["Accept-Encoding"],
        "remove_response_headers": ["Server", "x-powered-by"],
    }
    proxy = terraster(service(origin.url, headers=rules))
    answer = get(proxy.address, "/p?q=1", fields="User-Agent: me\r\nAccept-Encoding: gzip\r\nX-Custom: mine\r\n")
    request = origin.requests[0]
    assert request.get("x-custom") == "on a.test for 127.0.0.1: GET /p?q=1"
    assert request.get("user-agent") == "proxy"
    assert request.all("accept-encoding") == []
    assert answer.get("cache-control") == "no-cache"
    assert answer.all("server") == answer.all("x-powered-by") == []
