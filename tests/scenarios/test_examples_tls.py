"""The examples of etc/examples that name certificates: with an authority of the test they are a configuration without a warning, and serve."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.cli import main

from ..harness.authority import Authority, Issued
from ..harness.backends import ok
from ..harness.configuration import Loader
from ..harness.terraster_process import ROOT, Terraster
from ..harness.tls_backends import secure_nginx
from ..harness.waiting import wait_until

SITE, CLIENTS, INTERNAL, PAYMENTS = (Authority(name) for name in ("Site", "Clients", "Internal", "Payments"))
ME, LOST = CLIENTS.issue("me", purpose="client"), CLIENTS.issue("lost", purpose="client")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in place of /etc/terraster, with each file that the examples name."""
    SITE.issue("partners.example.com").write(tmp_path, "partners")
    (tmp_path / "clients-ca.pem").write_bytes(CLIENTS.root)
    (tmp_path / "clients-ca.crl").write_bytes(CLIENTS.crls(LOST.serial))
    (tmp_path / "internal-ca.pem").write_bytes(INTERNAL.root)
    (tmp_path / "payments-ca.pem").write_bytes(PAYMENTS.root)
    INTERNAL.issue("proxy", purpose="client").write(tmp_path, "proxy")
    return tmp_path


def written(folder: Path, name: str) -> Path:
    """The example as a file that names the files of this folder."""
    text = (ROOT / "etc" / "examples" / f"{name}.yaml").read_text()
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("/etc/terraster/", f"{folder}/"))
    return file


def services(file: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Its services, and its other top-level keys without the ports of the reader's host."""
    keys = {key: value for key, value in yaml.safe_load(file.read_text()).items() if key not in ("http_port", "https_port")}
    return keys.pop("services"), keys


def all_up(proxy: Terraster) -> bool:
    """True if each backend passes its health check."""
    return all(one["up"] for location in proxy.status()["services"][0]["locations"] for one in location["backends"])


@pytest.mark.parametrize("name", ["client-auth", "tls-backends"])
def test_check_has_nothing_to_say(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    file = written(folder, name)
    assert Loader({}).load(str(file)).warnings == (), "and the schema accepts it"
    assert main.main(["--check", "--config", str(file)]) == 0
    assert capsys.readouterr().err == ""


def test_clients_with_certificates_are_served_and_others_are_not(terraster: Any, backend: Any, folder: Path) -> None:
    (partners,), keys = services(written(folder, "client-auth"))
    origin = backend(answer=lambda request: ok(b"served"))
    partners["locations"][0]["backends"] = [origin.url]
    proxy = terraster(partners, **keys)
    wait_until(lambda: all_up(proxy), "all backends up")

    def ask(issued: Issued | None) -> bytes:
        context = ssl.create_default_context(cadata=SITE.root.decode())
        if issued is not None:
            context.load_cert_chain(*issued.write(folder, "client"))
        try:
            with proxy.connect().secure(context, "partners.example.com") as client:
                client.send(b"GET / HTTP/1.1\r\nHost: partners.example.com\r\nX-Client: forged\r\n\r\n")
                body: bytes = client.response().body
                return body
        except (OSError, AssertionError):
            return b"refused"

    assert [ask(issued) for issued in (ME, None, LOST)] == [b"served", b"refused", b"refused"]
    (request,) = origin.requests
    assert request.all("x-client") == ["CN=me"]
    (fingerprint,) = request.all("x-client-fingerprint")
    assert len(fingerprint) == 64
    assert len(request.all("client-cert")) == 1


@pytest.mark.needs("nginx", "openssl")
def test_backends_are_verified_and_shown_the_certificate(terraster: Any, folder: Path, stack: ExitStack) -> None:
    (shop,), keys = services(written(folder, "tls-backends"))
    asks = f"ssl_verify_client %s; ssl_client_certificate {folder}/internal-ca.pem; ssl_verify_depth 2;"
    urls = {}
    for name, authority, wants in (("app.internal.example", INTERNAL, "on"), ("payments.example.net", PAYMENTS, "optional")):
        nginx, port = secure_nginx(folder / name, *authority.issue(name).write(folder, name), asks % wants)
        stack.enter_context(nginx)
        urls[name] = f"https://127.0.0.1:{port}"
    for location in shop["locations"]:
        for one in location["backends"]:
            one["url"] = urls[one["sni"]]
    inside = shop["locations"][0]["backends"]
    del inside[1:]  # the second is like the first
    proxy = terraster(shop, **keys)

    wait_until(lambda: all_up(proxy), "all backends up")
    said = []
    for path in ("/", "/payments"):
        with proxy.connect() as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".encode())
            said.append(client.response().body.decode().split(" ", 2))
    (_, _, inner), (_, _, outer) = said
    assert inner == "app.internal.example SUCCESS CN=proxy"
    assert outer.strip() == "payments.example.net NONE"
