"""The configurations that show certificates by ACME, as a reader has them: with an authority of the test, they serve over TLS."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.config.resolve import resolve

from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.configuration import Loader
from ..harness.pebble import Pebble
from ..harness.ports import free_port
from ..harness.terraster_process import ROOT
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("pebble", "pebble-challtestsrv")


def of_the_manual() -> str:
    page = (ROOT / "docs" / "tls.md").read_text().partition("## Certificates by ACME")[2]
    return page.partition("```yaml\n")[2].partition("```")[0]


def of_the_folder() -> str:
    return (ROOT / "etc" / "examples" / "acme.yaml").read_text()


@pytest.mark.parametrize(
    "text", [of_the_manual(), pytest.param(of_the_folder(), marks=pytest.mark.nightly)], ids=["tls.md", "acme.yaml"]
)
def test_it_obtains_its_certificate_and_serves(fresh: Any, backend: Any, stack: ExitStack, tmp_path: Path, text: str) -> None:
    """Other than the reader's are the ports, the authority and the backend, and so the challenge has to be named: 443 chooses it."""
    (tmp_path / "example.yaml").write_text(text)
    (as_written,) = resolve(Loader({}).load(str(tmp_path / "example.yaml")), 1).services
    assert as_written.tls is not None and as_written.tls.challenge == "tls-alpn-01"
    here = backend(answer=lambda request: ok(b"served"))
    ports = {"http_port": free_port(), "https_port": free_port()}
    pebble = stack.enter_context(Pebble(tmp_path / "pebble", tls_port=ports["https_port"]))
    keys = {**yaml.safe_load(text), **ports, "listen": None, "health_check": {}}
    (service,) = keys.pop("services")
    (location,) = service["locations"]
    assert len(location["backends"]) == 1
    location["backends"] = [here.url]
    authority = {"directory": pebble.directory, "ca_file": str(pebble.ca_file), "challenge": "tls-alpn-01"}
    proxy = fresh(service, **{**keys, "acme": {**keys["acme"], **authority}})
    (host,) = as_written.tls.domains

    def answer() -> bytes | None:
        context = ssl.create_default_context(cadata=pebble.root().decode())
        try:
            with Connection(("127.0.0.1", ports["https_port"])).secure(context, host) as client:
                body: bytes = client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).response().body
                return body
        except OSError:  # the certificate is not there yet
            return None

    wait_until(lambda: answer() == b"served", lambda: proxy.said, 60)
    with Connection(("127.0.0.1", ports["http_port"])) as plain:
        said = plain.send(f"GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).response()
    assert said.status in (301, 308)
    assert str(said.get("location")).startswith(f"https://{host}")
