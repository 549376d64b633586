"""The management port over TLS: with its own certificate, which is swapped like those of services."""

from __future__ import annotations

import json
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority("Management")
GET = b"GET /%s HTTP/1.1\r\nHost: admin.test\r\n\r\n"


@pytest.fixture
def here(backend: Any) -> Any:
    return service(backend(answer=ok(b"served")).url)


@pytest.fixture
def proxy(fresh: Any, here: Any, tmp_path: Path) -> Terraster:
    CA.issue("admin.test").write(tmp_path, "admin")
    running: Terraster = fresh(here, api={"tls": secured(tmp_path)}, cert_manager={"check_interval": "200ms"}, wait=False)
    wait_until(lambda: "ready: generation 1" in running.said, lambda: running.said)
    return running


def secured(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"cert_file": str(folder / "admin.pem"), "key_file": str(folder / "admin.key"), **changes}


def context(**changes: Any) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=CA.root.decode())
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def serial(proxy: Terraster) -> str:
    with Connection(("127.0.0.1", proxy.admin_port)).secure(context(), "admin.test") as one:
        sock: Any = one.sock
        return str(sock.getpeercert()["serialNumber"])


def test_probes_and_scrapes_go_over_tls_and_the_control_socket_stays(proxy: Terraster) -> None:
    with Connection(("127.0.0.1", proxy.admin_port)).secure(context(), "admin.test") as one:
        for _ in range(2):  # on one connection
            assert one.send(GET % b"healthz").response().body == b"ok\n"
        scraped = one.send(GET % b"metrics").response().body.decode()
    assert 'terraster_certificate_expiry_timestamp_seconds{name="management API"}' in scraped
    assert proxy.ctl("status").returncode == 0
    (row,) = proxy.status()["certificates"]
    assert (row["service"], row["names"]) == ("management API", ["admin.test"])


def test_a_client_in_clear_gets_one_answer(proxy: Terraster) -> None:
    with Connection(("127.0.0.1", proxy.admin_port)) as one:
        answer = one.send(GET % b"healthz").response()
        assert (answer.status, answer.body) == (400, b"this port speaks TLS: use https://\n")
    wait_until(lambda: "management API: TLS handshake failed: the client speaks no TLS (client 127.0.0.1)" in proxy.said)


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(proxy: Terraster, tmp_path: Path) -> None:
    before = serial(proxy)
    CA.issue("admin.test").write(tmp_path, "admin")
    wait_until(lambda: serial(proxy) != before, lambda: proxy.said)
    now = serial(proxy)
    (tmp_path / "admin.key").write_bytes(CA.issue("admin.test").key)
    wait_until(lambda: "certificate-broken" in {one["kind"] for one in proxy.status()["problems"]}, lambda: proxy.said)
    assert serial(proxy) == now


def test_a_reload_changes_its_settings(proxy: Terraster, here: Any, tmp_path: Path) -> None:
    old = context(maximum_version=ssl.TLSVersion.TLSv1_2)
    with Connection(("127.0.0.1", proxy.admin_port)).secure(old, "admin.test") as kept:
        assert kept.send(GET % b"healthz").response().status == 200
        proxy.reload(here, api={"tls": secured(tmp_path, min_version="1.3")})
        with pytest.raises(ssl.SSLError):
            Connection(("127.0.0.1", proxy.admin_port)).secure(old, "admin.test")
        assert kept.send(GET % b"healthz").response().status == 200
    with Connection(("127.0.0.1", proxy.admin_port)).secure(context(), "admin.test") as one:
        assert one.send(GET % b"healthz").response().status == 200


def test_a_reload_to_tls_answers_no_connection_from_before(fresh: Any, here: Any, tmp_path: Path) -> None:
    CA.issue("admin.test").write(tmp_path, "admin")
    proxy = fresh(here)
    with Connection(("127.0.0.1", proxy.admin_port)) as plain:
        assert plain.send(GET % b"healthz").response().status == 200
        proxy.reload(here, api={"tls": secured(tmp_path)})
        answer = plain.send(GET % b"healthz").response()
        assert (answer.status, json.loads(answer.body)["error"]) == (400, "this port speaks TLS now: use https://")
    assert serial(proxy)


def test_half_open_handshakes_keep_nobody_out(proxy: Terraster, stack: ExitStack) -> None:
    silent = [stack.enter_context(socket.create_connection(("127.0.0.1", proxy.admin_port))) for _ in range(150)]
    begun = time.monotonic()
    with Connection(("127.0.0.1", proxy.admin_port)).secure(context(), "admin.test") as one:
        assert one.send(GET % b"healthz").response().status == 200
    assert time.monotonic() - begun < 8  # less than a silent client may take
    silent[0].settimeout(8)
    assert silent[0].recv(1) == b""
