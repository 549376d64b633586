"""Whom Terraster believes: proxies in front of it, by their address, and nobody else."""

from __future__ import annotations

import struct

import pytest

from ..harness.backends import ok
from ..harness.client import exchange, get
from ..harness.terraster_process import service

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.mark.parametrize(
    ("said", "client", "chain"),
    [
        ("", "127.0.0.1", "127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7", "203.0.113.7, 127.0.0.1"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n", "203.0.113.7", "6.6.6.6, 203.0.113.7, 127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.7, 10.1.2.3\r\n", "203.0.113.7", "203.0.113.7, 10.1.2.3, 127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.1.2.3\r\n", "203.0.113.7", "203.0.113.7, 10.1.2.3, 127.0.0.1"),
        ("X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7", "2001:db8::7, 127.0.0.1"),
        ("X-Forwarded-For: 10.1.2.3, 10.1.2.4\r\n", "10.1.2.3", "10.1.2.3, 10.1.2.4, 127.0.0.1"),
    ],
)
def test_the_chain_is_walked_from_the_right(terraster, backend, said: str, client: str, chain: str) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1", "10.0.0.0/8"])
    assert get(proxy.address, fields=said).status == 200
    request = origin.requests[0]
    assert request.get("x-real-ip") == client
    assert ", ".join(request.all("x-forwarded-for")) == chain
    assert proxy.log()[0]["client"] == client
    assert proxy.log()[0]["peer"] == "127.0.0.1"


def test_garbage_in_the_chain_stops_the_walk(terraster, backend) -> None:
    """What is left of an entry that is no address was written by whoever wrote the garbage."""
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1", "10.0.0.0/8"])
    assert get(proxy.address, fields="X-Forwarded-For: 6.6.6.6, <script>, 10.1.2.3\r\n").status == 200
    assert origin.requests[0].get("x-real-ip") == "10.1.2.3"


def test_trusted_peers_are_believed_about_scheme_host_and_id(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"])
    said = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\nX-Forwarded-Port: 443\r\nX-Request-ID: from-the-edge\r\n"
    get(proxy.address, fields=said)
    request = origin.requests[0]
    for name, value in (("proto", "https"), ("host", "shop.test"), ("port", "443")):
        assert request.get(f"x-forwarded-{name}") == value
    assert request.get("x-request-id") == "from-the-edge"
    assert proxy.log()[0]["request_id"] == "from-the-edge"


def test_the_standard_field_is_read_where_there_is_no_other(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"])
    get(proxy.address, fields='Forwarded: for="[2001:db8::7]:4711";proto=https;host=shop.test\r\n')
    request = origin.requests[0]
    assert request.all("x-forwarded-for") == ["2001:db8::7, 127.0.0.1"]
    assert request.all("x-real-ip") == ["2001:db8::7"]
    assert request.all("x-forwarded-proto") == ["https"]
    assert request.all("x-forwarded-host") == ["shop.test"]
    assert proxy.log()[0]["client"] == "2001:db8::7"


@pytest.mark.parametrize("proto", ["wss", "https,http", "https, https", '"https"'])
def test_what_proxies_write_for_https_is_https(terraster, backend, proto: str) -> None:
    """Else `http_redirect` would send the client round for ever."""
    origin = backend(answer=ok())
    proxy = terraster(service(origin.url, http_redirect=True), trusted_proxies=["127.0.0.1"])
    assert get(proxy.address).status == 308
    assert get(proxy.address, fields=f"X-Forwarded-Proto: {proto}\r\n").status == 200


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2 + struct.pack("!BBH", 0x20, 0, 0)], ids=["unknown", "local"])
def test_a_client_that_the_proxy_header_does_not_name_is_a_stranger(terraster, backend, header: bytes) -> None:
    """The balancer in front says nothing of its client, so nothing that this client says of others is believed."""
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"], proxy_protocol=True)
    with proxy.connect() as connection:
        connection.send(header + b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n").response()
    assert origin.requests[0].all("x-forwarded-for") == ["127.0.0.1"]


def test_only_the_named_networks_are_trusted(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.2/32"])
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"
    for source in ("127.0.0.1", "127.0.0.2"):
        with proxy.connect(source=source) as client:
            client.send(request).response()
    assert [request.get("x-real-ip") for request in origin.requests] == ["127.0.0.1", "203.0.113.7"]


PROXY_HEADERS = [
    (b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 443\r\n", "203.0.113.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 443\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (
        V2 + struct.pack("!BBH", 0x21, 0x11, 12) + bytes([203, 0, 113, 7, 198, 51, 100, 1]) + struct.pack("!HH", 5555, 443),
        "203.0.113.7",
    ),
    (V2 + struct.pack("!BBH", 0x20, 0, 0), "127.0.0.1"),
]


@pytest.mark.parametrize(("header", "client"), PROXY_HEADERS, ids=["v1 IPv4", "v1 IPv6", "v1 unknown", "v2 IPv4", "v2 local"])
def test_proxy_protocol(terraster, backend, header: bytes, client: str) -> None:
    """The client's address holds for every request of the connection, not for the first one only."""
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"], proxy_protocol=True)
    with proxy.connect() as connection:
        connection.send(header + GET).response()
        connection.send(GET).response()
    assert [request.get("x-real-ip") for request in origin.requests] == [client, client]


def test_proxy_header_in_single_octets(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"], proxy_protocol=True)
    with proxy.connect() as connection:
        connection.send_slowly(PROXY_HEADERS[0][0] + GET, 1, 0.001).response()
    assert origin.requests[0].get("x-real-ip") == "203.0.113.7"


@pytest.mark.parametrize("first", [GET, b"PROXY TCP4 x y 1 2\r\n" + GET, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + GET])
def test_a_listener_that_asks_for_the_header_takes_nothing_else(terraster, backend, first: bytes) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"], proxy_protocol=True)
    with proxy.connect() as connection:
        answer = connection.send(first).rest()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert origin.requests == []


def test_proxy_header_from_a_stranger(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["10.0.0.0/8"], proxy_protocol=True)
    with proxy.connect() as connection:
        answer = connection.send(PROXY_HEADERS[0][0] + GET).rest()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert origin.requests == []


def test_proxy_header_where_nobody_asked(terraster, backend) -> None:
    origin = backend(answer=ok())
    answer = exchange(terraster(origin).address, PROXY_HEADERS[0][0] + GET, "GET")
    assert answer.status in (400, 505)
    assert origin.requests == []
