"""The PROXY protocol towards backends: each connection begins with a header that names the client, and serves no other client."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.wire.proxy_protocol import ProxyHeader, parse

from ..harness.backends import Peer, always, ok, websocket_echo
from ..harness.client import Connection, exchange, get
from ..harness.nginx import Nginx
from ..harness.ports import free_port
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
QUICK = {"type": "http", "interval": "0.1s", "timeout": "5s", "thresholds": {"healthy": 1, "unhealthy": 1}}
V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"


def behind(script, headers: list[bytes]):
    """A script for connections that begin with a PROXY header, which goes into ``headers``."""

    def first(peer: Peer) -> None:
        data = b""
        while (header := parse(data) if data else None) is None:
            more = peer.sock.recv(1)
            if not more:
                return
            data += more
        assert header.size == len(data)
        headers.append(data)
        script(peer)

    return first


def read(header: bytes) -> ProxyHeader:
    found = parse(header)
    assert found is not None
    return found


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_connection_begins_with_the_addresses_of_its_client(terraster, backend, version: str) -> None:
    headers: list[bytes] = []
    origin = backend(behind(always(ok()), headers))
    proxy = terraster(service({"url": origin.url, "send_proxy": version}))
    with proxy.connect(source="127.0.0.2") as one, proxy.connect(source="127.0.0.3") as two:
        for _ in range(3):
            for client in (one, two):
                assert client.send(GET).response().status == 200
        expected = [
            (*client.sock.getsockname(), "127.0.0.1", proxy.port, len(header))
            for client, header in zip((one, two), headers, strict=True)
        ]
        assert [tuple(read(header)) for header in headers] == expected
        assert headers[0].startswith(V2 + b"\x21\x11\0\x0c" if version == "v2" else b"PROXY TCP4 127.0.0.2 127.0.0.1 ")
    assert len(origin.peers) == 2, "each client has one connection, which is kept"
    assert all(peer.ended.wait(10) for peer in origin.peers), "they end with their clients"
    assert [request.get("x-real-ip") for request in origin.requests[:2]] == ["127.0.0.2", "127.0.0.3"]


def test_clients_over_ipv6_and_over_a_unix_socket(fresh, backend, sockets) -> None:
    headers: list[bytes] = []
    origins = [backend(behind(always(ok()), headers)) for _ in range(2)]
    services = [
        service({"url": origin.url, "send_proxy": version}, host=f"{version}.test", name=version)
        for origin, version in zip(origins, ("v1", "v2"), strict=True)
    ]
    port = free_port("::1")
    fresh(*services, listen=[f"[::1]:{port}", f"unix:{sockets}/t"])
    for host in ("v1.test", "v2.test"):
        with Connection(("::1", port)) as client:
            assert client.send(GET.replace(b"a.test", host.encode())).response().status == 200
            assert tuple(read(headers[-1]))[:4] == ("::1", client.sock.getsockname()[1], "::1", port)
        assert get(f"{sockets}/t", host=host).status == 200
    assert headers[0].startswith(b"PROXY TCP6 ::1 ::1 ") and headers[2].startswith(V2 + b"\x21\x21\0\x24")
    assert (headers[1], headers[3]) == (V1_UNKNOWN, V2 + b"\x21\0\0\0")


@pytest.mark.parametrize(("version", "local"), [("v1", V1_UNKNOWN), ("v2", V2 + b"\x20\0\0\0")])
@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_checks_name_no_client(terraster, backend, version: str, local: bytes, kind: str) -> None:
    headers: list[bytes] = []
    origin = backend(behind(always(ok()), headers))
    proxy = terraster(service({"url": origin.url, "send_proxy": version}), health_check={**QUICK, "type": kind})
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["backends"][0]["up"])
    wait_until(lambda: len(headers) > 1)
    assert set(headers) == {local}


def test_checks_of_another_port_send_no_header(terraster, backend) -> None:
    headers: list[bytes] = []
    origin, health = backend(behind(always(ok()), headers)), backend(answer=ok())
    proxy = terraster(service({"url": origin.url, "send_proxy": "v2"}), health_check={**QUICK, "port": health.port})
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["backends"][0]["up"])
    assert health.wait()[0].target == "/health"
    assert get(proxy.address).status == 200
    assert len(headers) == 1


def test_uploads_tunnels_and_unix_sockets(terraster, backend, sockets) -> None:
    headers: list[bytes] = []
    body = bytes(3 << 20)
    echo = backend(behind(always(lambda request: ok(request.body)), headers), path=f"{sockets}/echo")
    chat = backend(behind(websocket_echo, headers))
    proxy = terraster(
        service({"url": echo.url, "send_proxy": "v2"}, host="echo.test", name="echo"),
        service({"url": chat.url, "send_proxy": "v1"}, host="chat.test", name="chat"),
    )
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: echo.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.response("POST").body == body
        assert read(headers[0])[:2] == client.sock.getsockname()
    with proxy.connect() as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.response(upgrade=True).status == 101
        client.send(b"\x81\x82\0\0\0\0hi")
        assert client.receive_exactly(4) == b"\x81\x02hi"
        assert read(headers[1])[:2] == client.sock.getsockname()


def test_an_attempt_elsewhere_has_a_header_of_its_own(terraster, backend) -> None:
    headers: list[bytes] = []
    bad = backend(behind(lambda peer: peer.request() and peer.reset(), headers))
    good = backend(behind(always(ok(b"good")), headers))
    proxy = terraster(
        service({"url": bad.url, "send_proxy": "v1"}, {"url": good.url, "send_proxy": "v2"}, location={"lb_policy": "first"})
    )
    with proxy.connect() as client:
        assert client.send(GET).response().body == b"good"
        assert [tuple(read(header))[:2] for header in headers] == [client.sock.getsockname()] * 2


def test_hedged_requests(terraster, backend) -> None:
    headers: list[bytes] = []
    origins = [backend(behind(always(ok()), headers)) for _ in range(2)]
    proxy = terraster(service(*({"url": one.url, "send_proxy": "v1"} for one in origins), location={"retry": {"hedge": 50}}))
    with proxy.connect() as client:
        for _ in range(200):
            assert client.send(GET).response().status == 200
        assert {tuple(read(header))[:2] for header in headers} == {client.sock.getsockname()}


def test_terraster_reads_what_terraster_writes(terraster, fresh, backend) -> None:
    origin = backend(answer=ok())
    inner = fresh(origin, proxy_protocol=True, trusted_proxies=["127.0.0.1"])
    outer = terraster(service({"url": inner.url, "send_proxy": "v2"}))
    with outer.connect(source="127.0.0.9") as client:
        assert client.send(GET).response().status == 200
    assert inner.log()[0]["client"] == "127.0.0.9"


_TOLD = """
        location / { return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port"; }
"""


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx(terraster, sockets, tmp_path: Path, version: str) -> None:
    path = f"{sockets}/nginx"
    with Nginx(tmp_path / "nginx", locations=f"listen unix:{path} proxy_protocol;{_TOLD}"):
        proxy = terraster(service({"url": f"unix:{path}", "send_proxy": version}), health_check={**QUICK, "path": "/"})
        wait_until(lambda: proxy.status()["services"][0]["locations"][0]["backends"][0]["up"])
        with proxy.connect(source="127.0.0.4") as client:
            for _ in range(2):
                host, port = client.sock.getsockname()
                assert client.send(GET).response().body.decode() == f"{host} {port} 127.0.0.1 {proxy.port}"
        assert exchange(proxy.address, GET).status == 200
