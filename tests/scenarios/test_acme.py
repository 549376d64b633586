"""Certificates by ACME, against pebble: each kind of challenge, what goes wrong, what is not done twice, and renewals under load."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.pebble import Pebble
from ..harness.ports import free_port
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("pebble", "pebble-challtestsrv")

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


class Site:
    """Terraster, whose services get their certificates from a pebble."""

    def __init__(self, proxy: Terraster, pebble: Pebble, tls_port: int) -> None:
        self.proxy = proxy
        self.pebble = pebble
        self.tls_port = tls_port

    def shake(self, name: str = "a.test") -> list[str]:
        """The names in the certificate that a client gets, which it verifies."""
        context = ssl.create_default_context(cadata=self.pebble.root().decode())
        with Connection(("127.0.0.1", self.tls_port)).secure(context, name) as one:
            sock: Any = one.sock
            return [value for kind, value in sock.getpeercert()["subjectAltName"] if kind == "DNS"]

    def has_certificate(self, name: str = "a.test") -> bool:
        try:
            return bool(self.shake(name))
        except (OSError, AssertionError):
            return False


Make = Callable[..., Site]


@pytest.fixture
def site(fresh: Any, backend: Any, stack: ExitStack, tmp_path: Path) -> Make:
    def make(
        challenge: str = "http-01",
        hosts: tuple[str, ...] = ("a.test",),
        start: bool = True,
        tls: Any = None,
        acme: Any = None,
        **of_pebble: Any,
    ) -> Site:
        tls_port, http_port = free_port(), free_port()
        ports = {"http_port": http_port, "tls_port": tls_port}
        pebble = stack.enter_context(Pebble(tmp_path / "pebble", **ports, **of_pebble))
        here = backend(answer=lambda request: ok(b"served")).url
        proxy = fresh(
            service(here, name="a", host=list(hosts), listen=f"127.0.0.1:{tls_port}", tls={"auto_cert": True, **(tls or {})}),
            service(here, name="plain", host="*", listen=f"127.0.0.1:{http_port}", http_redirect=True),
            acme={"directory": pebble.directory, "ca_file": str(pebble.ca_file), "challenge": challenge, **(acme or {})},
            start=start,
        )
        return Site(proxy, pebble, tls_port)

    return make


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_certificate_is_obtained_and_put_into_effect(site: Make, challenge: str) -> None:
    one = site(challenge, ("a.test", "www.a.test"))
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)
    assert sorted(one.shake("www.a.test")) == ["a.test", "www.a.test"]
