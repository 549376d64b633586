"""Clients at rest, whose connections have no greenlet, as real parties: the next requests, TLS messages without data, and the end."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority()
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
REST = 1.1  # seconds, after which they have none


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    chain, key = CA.issue("a.test").write(tmp_path_factory.mktemp("certificate"))
    return {"cert_file": str(chain), "key_file": str(key)}


def _served(proxy: Terraster, version: ssl.TLSVersion | None) -> Connection:
    """A client that was served once. version: None: in clear"""
    connection = proxy.connect()
    if version is not None:
        context = ssl.create_default_context(cadata=CA.root.decode())
        context.minimum_version = context.maximum_version = version
        connection = connection.secure(context, "a.test")
    assert connection.send(GET).response().body == b"here"
    return connection


def _start(make: Any, backend: Any, tls: dict[str, str] | None, **keys: Any) -> Terraster:
    here = backend(answer=lambda request: ok(b"here")).url
    return make(service(here, host="a.test", **({} if tls is None else {"tls": tls})), **keys)  # type: ignore[no-any-return]


def _refuses(proxy: Terraster) -> bool:
    """True if the worker drains: its listener is closed."""
    try:
        proxy.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("version", (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=("clear", "1.2", "1.3"))
def test_clients_that_rest_between_their_requests(terraster, backend, tls, version: ssl.TLSVersion | None) -> None:
    """One after the other asks once, twice at once, in pieces, and goes."""
    proxy = _start(terraster, backend, tls if version else None)
    once, twice, pieces, gone = (_served(proxy, version) for _ in range(4))
    time.sleep(REST)
    gone.close()
    assert once.send(GET).response().body == b"here"
    twice.send(GET + GET)
    assert [twice.response().body for _ in range(2)] == [b"here"] * 2
    for at in range(0, len(GET), 9):
        pieces.send(GET[at : at + 9])
        time.sleep(0.01)
    assert pieces.response().body == b"here"
    for connection in (once, twice, pieces):
        connection.close()


def test_the_end_of_a_worker(fresh, backend, tls) -> None:
    """Each end is a regular one, with a close_notify, without which reading raises an error. A request in time is answered."""
    proxy = _start(fresh, backend, tls)
    idle, late = (_served(proxy, ssl.TLSVersion.TLSv1_3) for _ in range(2))
    time.sleep(REST)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: _refuses(proxy), "a closed listener")
    answer = late.send(GET).response()
    assert (answer.body, answer.get("connection")) == (b"here", "close")
    assert late.is_closed() and idle.is_closed()


@pytest.mark.needs("openssl")
def test_a_key_update_of_openssl_is_no_request(terraster, backend, tls, tmp_path: Path) -> None:
    """`s_client` sends one for a line "K", and a request for other lines. It asks for one of ours as well, which it can read."""
    proxy = _start(terraster, backend, tls)
    root = tmp_path / "root.pem"
    root.write_bytes(CA.root)
    openssl = shutil.which("openssl")
    assert openssl is not None
    where = ["-connect", f"127.0.0.1:{proxy.port}", "-servername", "a.test", "-CAfile", str(root), "-tls1_3"]
    with subprocess.Popen(
        [openssl, "s_client", "-quiet", "-no_ign_eof", *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        assert running.stdin is not None and running.stdout is not None
        for turn in range(2):
            running.stdin.write(GET)
            running.stdin.flush()
            said = b""
            while not said.endswith(b"here"):
                piece = running.stdout.read1()
                assert piece, said
                said += piece
            if not turn:
                time.sleep(REST)
                running.stdin.write(b"K\n")
                running.stdin.flush()
                time.sleep(0.3)
        running.kill()
