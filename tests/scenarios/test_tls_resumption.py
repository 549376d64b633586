"""TLS sessions go on at every worker: over new connections, reloads, new certificates, changes of the keys and upgrades."""

from __future__ import annotations

import os
import re
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.program import wait_gone
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority()
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Client:
    """A client that keeps its last session."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        self.context = ssl.create_default_context(cadata=CA.root.decode())
        self.context.minimum_version = self.context.maximum_version = version
        self.session: Any = None

    def visit(self, proxy: Terraster, name: str = "a.test") -> bool:
        """A request over a new connection. True if the session went on."""
        one = proxy.connect()
        sock = self.context.wrap_socket(one.sock, server_hostname=name, session=self.session)
        one.sock = sock
        with one:
            assert one.send(GET.replace(b"a.test", name.encode())).response().status == 200
            self.session = sock.session
            return bool(sock.session_reused)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    chain, key = CA.issue("a.test", "b.test").write(tmp_path, "a")
    return {"cert_file": str(chain), "key_file": str(key)}


@pytest.fixture
def site(backend, files) -> tuple[Any, ...]:
    here = backend(answer=ok(b"x")).url
    return (
        service(here, name="a", host="a.test", tls=files),
        service(here, name="b", host="b.test", tls=files | {"session_tickets_disabled": True}),
    )


def served(proxy: Terraster) -> int:
    """How many workers have accepted a connection."""
    return sum(value > 0 for name, value in proxy.metrics().items() if name.startswith("terraster_connections_accepted_total"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_worker_and_every_generation(fresh, site, files, version) -> None:
    proxy = fresh(*site, workers=4, cert_manager={"check_interval": "100ms"})
    one = Client(version)
    assert not one.visit(proxy)
    assert [one.visit(proxy) for _ in range(30)] == [True] * 30
    assert served(proxy) > 1, "the connections did not reach several workers"
    assert proxy.reload(*site, service(name="c", host="c.test", respond={"status": 200}, tls=files))["ok"]
    assert [one.visit(proxy) for _ in range(20)] == [True] * 20
    CA.issue("a.test", "b.test").write(Path(files["cert_file"]).parent, "a")
    wait_until(lambda: ": changed;" in proxy.said, "the new certificate was not taken")
    assert [one.visit(proxy) for _ in range(20)] == [True] * 20
    other = Client(version)
    assert [other.visit(proxy, "b.test") for _ in range(8)] == [False] * 8, "resumed although sessions are off"
    assert resumed(proxy) == 70.0


def resumed(proxy: Terraster) -> float:
    """How many handshakes went on from a session, as the metrics say."""
    metrics = proxy.metrics().items()
    return sum(value for name, value in metrics if name.startswith("terraster_tls_handshakes") and 'resumed="yes"' in name)


@pytest.mark.parametrize("version", VERSIONS)
def test_old_keys_are_read_once_more_and_then_no_longer(fresh, site, version) -> None:
    proxy = fresh(*site, workers=4, cert_manager={"ticket_key_lifetime": "1h"})
    one = Client(version)
    one.visit(proxy)
    first = one.session
    rotate(proxy, site, 2)
    for _ in range(20):
        one.session = first
        assert one.visit(proxy)
    rotate(proxy, site, 3)

    def resumes() -> bool:
        one.session = first
        return one.visit(proxy)

    wait_until(lambda: not any(resumes() for _ in range(12)), "tickets of the key before the one before are read")
    assert [one.visit(proxy) for _ in range(8)] == [True] * 8


def rotate(proxy: Terraster, site: tuple[Any, ...], hours: int) -> None:
    """Have the keys change once."""
    assert proxy.reload(*site, cert_manager={"ticket_key_lifetime": f"{hours}h"})["ok"]


def test_an_upgrade_passes_the_keys_on(fresh, site) -> None:
    proxy = fresh(*site, workers=2)
    one = Client(ssl.TLSVersion.TLSv1_3)
    one.visit(proxy)
    proxy.signal(signal.SIGUSR2)
    wait_until(lambda: proxy.said.count("ready: generation") == 2, "the new master's workers")
    new = int((proxy.folder / "run" / "terraster.pid.2").read_text())
    try:
        proxy.signal(signal.SIGTERM)
        assert proxy.program is not None
        assert proxy.program.wait(30) == 0
        assert [one.visit(proxy) for _ in range(20)] == [True] * 20
    finally:
        os.kill(new, signal.SIGTERM)
        wait_gone(new)


def test_a_python_that_does_not_let_keys_be_set_is_said_once(fresh, site, files, tmp_path, monkeypatch) -> None:
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt/sitecustomize.py").write_text("import _ssl\ndel _ssl.__file__\n")
    monkeypatch.setattr(Terraster, "launcher", ["env", f"PYTHONPATH={tmp_path / 'spoilt'}:{Terraster.root}"])
    proxy = fresh(*site, workers=2)
    one = Client(ssl.TLSVersion.TLSv1_3)
    assert True in [one.visit(proxy) for _ in range(20)], "no session went on at its own worker"
    assert proxy.reload(*site, service(name="c", host="c.test", respond={"status": 200}, tls=files))["ok"]
    assert len(re.findall("TLS sessions are resumed only at the worker that began them", proxy.said)) == 1
