"""Addresses that may come in, seen by clients: from loopback's many addresses, behind a trusted proxy, over a unix socket, and with a file
that changes."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ..harness.backends import ok
from ..harness.client import Connection, get
from ..harness.http2_client import Http2
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


def guarded(url: str, **keys: Any) -> dict[str, Any]:
    return service(url, location={"middleware": [{"ip_access": keys}]})


def come(proxy: Terraster, address: str) -> int:
    """The status for a client with this address of loopback."""
    with socket.create_connection(proxy.address, timeout=10, source_address=(address, 0)) as sock:
        sock.sendall(GET)
        return int(sock.recv(65536).split(b" ", 2)[1])


def test_who_comes_in_and_how_others_are_told(terraster, backend) -> None:
    proxy = terraster(guarded(backend(answer=ok(b"in")).url, allow=["127.0.0.0/30"], deny=["127.0.0.3"]), http2=True)
    assert [come(proxy, f"127.0.0.{last}") for last in (1, 2, 3, 4)] == [200, 200, 403, 403]
    line = next(line for line in proxy.log(4) if line["client"] == "127.0.0.4")
    assert line["detail"] == "ip_access: the client's address is not one of those that are allowed"
    with Http2(proxy.connect()) as client:
        assert client.get("/").status == 200
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["filters"]["ip_access"] == {"refused": 2})
    refused = proxy.reload(guarded(backend(answer=ok(b"in")).url, deny="all"), http2=True) and get(proxy.address)
    assert refused.status == 403
    assert refused.get("proxy-status").startswith("terraster; error=http_request_denied; details=")


def test_behind_a_trusted_proxy(terraster, backend) -> None:
    url = backend(answer=ok(b"in")).url
    told = "X-Forwarded-For: 192.0.2.7\r\n"
    proxy = terraster(guarded(url, allow=["192.0.2.0/24"]), trusted_proxies=["127.0.0.1"])
    assert (get(proxy.address, fields=told).status, get(proxy.address).status) == (200, 403)
    proxy.reload(guarded(url, allow=["192.0.2.0/24"], on="peer"), trusted_proxies=["127.0.0.1"])
    assert get(proxy.address, fields=told).status == 403
    proxy.reload(guarded(url, allow=["192.0.2.0/24"]), trusted_proxies=[])
    assert get(proxy.address, fields=told).status == 403, "a stranger's word counts for nothing"


def test_a_unix_socket(terraster, backend, tmp_path: Path) -> None:
    url = backend(answer=ok(b"in")).url
    for keys, expected in (({"allow": ["127.0.0.1"]}, 403), ({"allow": ["unix"]}, 200), ({"deny": ["unix"]}, 403)):
        path = tmp_path / f"{expected}{next(iter(keys))}"
        terraster({**guarded(url, **keys), "listen": [f"unix:{path}"]})
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(GET)
            assert int(sock.recv(65536).split(b" ", 2)[1]) == expected


def test_a_file_that_changes(terraster, backend, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("# nobody\n")
    proxy = terraster(guarded(backend(answer=ok()).url, deny_files=[str(bad)]), cert_manager={"check_interval": "50ms"})
    with Connection(proxy.address) as kept:
        again = GET.replace(b"Connection: close\r\n", b"")
        assert kept.send(again).response().status == 200
        bad.write_text("127.0.0.1\n")
        wait_until(lambda: get(proxy.address).status == 403)
        assert kept.send(again).response().status == 403, "open connections are judged by the new list too"
    bad.write_text("localhost\n")
    wait_until(lambda: f"{bad}: line 1: 'localhost' is neither an address nor a network; what was read before stays" in proxy.said)
    assert get(proxy.address).status == 403
    bad.write_text("")
    wait_until(lambda: f"{bad}: has become empty, perhaps to be written anew; what was read before stays" in proxy.said)
    wait_until(lambda: get(proxy.address).status == 200)
