"""Clients that authenticate with certificates: who is let in, what the backend is told, and what a revocation ends."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority, Issued
from ..harness.backends import Request, ok
from ..harness.client import Connection
from ..harness.mail_server import MailServer
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

SITE, CLIENTS, OTHERS = Authority("Site"), Authority("Clients"), Authority("Others")
ME, SERVER, EXPIRED = CLIENTS.issue("me"), CLIENTS.issue("x", purpose="server"), CLIENTS.issue("old", days=-1, begun=30)
STRANGER = OTHERS.issue("me")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class House:
    """The files of a service that asks for certificates, and clients of it."""

    def __init__(self, folder: Path, terraster: Any, backend: Any) -> None:
        self.folder = folder
        self._terraster = terraster
        self.origin = backend(answer=lambda request: ok(request.raw))
        self.ca_file, self.crl_file = folder / "clients.pem", folder / "clients.crl"
        self.ca_file.write_bytes(CLIENTS.root)
        self.root = folder / "root.pem"
        self.root.write_bytes(SITE.root)
        self.proxy: Terraster | None = None

    def service(self, name: str = "a", client_auth: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
        """A service for NAME.test."""
        chain, key = SITE.issue(f"{name}.test").write(self.folder, f"site-{name}")
        tls: dict[str, Any] = {"cert_file": str(chain), "key_file": str(key)}
        if client_auth is not None:
            tls["client_auth"] = {"ca_file": str(self.ca_file), **client_auth}
        return service(self.origin.url, name=name, host=f"{name}.test", tls=tls, **keys)

    def run(self, *services: dict[str, Any], **keys: Any) -> Terraster:
        self.proxy = self._terraster(*services, **keys)
        return self.proxy

    def context(self, issued: Issued | None = None, version: str = "1.3", chain: bool = True) -> ssl.SSLContext:
        """The settings of a client. chain: with the intermediate"""
        context = ssl.create_default_context(cadata=SITE.root.decode())
        context.minimum_version = context.maximum_version = VERSIONS[version]
        if issued is not None:
            cert, key = issued.write(self.folder, "client")
            if not chain:
                cert.write_bytes(issued.alone)
            context.load_cert_chain(cert, key)
        return context

    def dial(self, *args: Any, name: str = "a.test", **keys: Any) -> Connection:
        assert self.proxy is not None
        return self.proxy.connect().secure(self.context(*args, **keys), name)

    def ask(self, *args: Any, **keys: Any) -> Request:
        """What the backend gets of a request."""
        with self.dial(*args, **keys) as one:
            assert one.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 200
        return self.origin.requests[-1]

    def is_refused(self, *args: Any, **keys: Any) -> bool:
        """True if the handshake fails: with TLS 1.3 the client sees it only when it reads."""
        try:
            with self.dial(*args, **keys) as one:
                one.sock.sendall(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
                return one.sock.recv(1) == b""
        except OSError:
            return True


@pytest.fixture
def house(tmp_path: Path, terraster, backend) -> House:
    return House(tmp_path, terraster, backend)


def item(issued: Issued) -> str:
    return f":{base64.b64encode(issued.der).decode()}:"


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_let_in_where_a_certificate_is_required(house: House, version: str) -> None:
    house.run(house.service(client_auth={"mode": "require"}))
    request = house.ask(ME, version=version)
    assert request.all("client-cert") == [item(ME)]
    intermediate = base64.b64encode(ssl.PEM_cert_to_DER_cert(CLIENTS.issuer.decode())).decode()
    assert request.all("client-cert-chain") == [f":{intermediate}:"]
    for bad in (None, STRANGER, SERVER, EXPIRED):
        assert house.is_refused(bad, version=version)
    assert house.is_refused(ME, version=version, chain=False), "nobody has the intermediate"
    assert len(house.origin.requests) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_let_in_where_a_certificate_is_requested(house: House, version: str) -> None:
    house.run(house.service(client_auth={"mode": "request"}))
    assert house.ask(version=version).all("client-cert") == []
    assert house.ask(ME, version=version).all("client-cert") == [item(ME)]
    assert house.is_refused(STRANGER, version=version)
    assert house.is_refused(EXPIRED, version=version)


def test_an_intermediate_is_trusted_without_its_root_and_several_authorities_side_by_side(house: House) -> None:
    house.ca_file.write_bytes(OTHERS.root + CLIENTS.issuer)
    house.run(house.service(client_auth={"mode": "require"}))
    house.ask(ME, chain=False)
    house.ask(STRANGER)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_depth_of_the_chain_is_bounded(house: House, version: str) -> None:
    """The chain is root, intermediate, client: one certificate is between."""
    house.run(
        house.service("a", {"mode": "require", "verify_depth": 0}), house.service("b", {"mode": "require", "verify_depth": 1})
    )
    assert house.is_refused(ME, version=version)
    with house.dial(ME, version=version, name="b.test") as one:
        assert one.send(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").response().status == 200
        assert one.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 421
    house.ca_file.write_bytes(CLIENTS.issuer)
    house.run(house.service("a", {"mode": "require", "verify_depth": 0}))
    house.ask(ME, version=version, chain=False)


def test_the_identity_is_that_of_the_handshake_and_not_what_the_client_writes(house: House) -> None:
    house.run(house.service(client_auth={"mode": "request"}))
    forged = b"GET / HTTP/1.1\r\nHost: a.test\r\nClient-Cert: :eA==:\r\nclient_cert: :eA==:\r\nClient-Cert-Chain: :eA==:\r\n\r\n"
    for issued, seen in ((None, []), (ME, [item(ME)])):
        with house.dial(issued) as one:
            assert [one.send(forged).response().status for _ in range(2)] == [200, 200]
        for request in house.origin.requests[-2:]:
            assert request.all("client-cert") == seen
            assert b"eA==" not in request.raw


def test_a_trusted_proxy_in_front_does_not_change_the_identity(house: House) -> None:
    house.run(house.service(client_auth={"mode": "require"}), trusted_proxies=["127.0.0.1"])
    with house.dial(ME) as one:
        head = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.7\r\nClient-Cert: :eA==:\r\n\r\n"
        assert one.send(head).response().status == 200
    assert house.origin.requests[-1].all("client-cert") == [item(ME)]


def test_header_rules_name_facts_of_the_certificate(house: House) -> None:
    facts = ("subject", "issuer", "serial", "fingerprint", "not_before", "not_after")
    rules = {"request_headers": {f"X-{fact}": f"${{client_cert_{fact}}}" for fact in facts}}
    house.run(house.service(client_auth={"mode": "request"}, headers=rules))
    request = house.ask(ME)
    seen = {fact: request.get(f"x-{fact}") for fact in facts}
    assert (seen["subject"], seen["issuer"]) == ("CN=me", "CN=Clients Authority")
    assert int(str(seen["serial"]), 16) == ME.serial
    assert len(str(seen["fingerprint"])) == 64
    assert str(seen["not_before"]) < str(seen["not_after"])
    request = house.ask()
    assert {request.get(f"x-{fact}") for fact in facts} == {""}


def test_a_host_with_another_policy_is_refused_on_this_connection(house: House) -> None:
    """Else a client without a certificate would reach a host that demands one, behind the name of another host."""
    other = house.folder / "others.pem"
    other.write_bytes(OTHERS.root)
    house.run(
        house.service("a", {"mode": "require"}),
        house.service("b"),
        house.service("c", {"mode": "request"}),
        house.service("d", {"mode": "require", "ca_file": str(other)}),
        house.service("e", {"mode": "require"}),
    )

    def status(name: str, host: str, issued: Issued | None) -> int:
        with house.dial(issued, name=f"{name}.test") as one:
            return one.send(f"GET / HTTP/1.1\r\nHost: {host}.test\r\n\r\n".encode()).response().status

    assert [status("b", host, ME) for host in "abcde"] == [421, 200, 421, 421, 421]
    assert [status("c", host, None) for host in "abcde"] == [421, 421, 200, 421, 421]
    assert [status("a", host, ME) for host in "abcde"] == [200, 421, 421, 421, 200]
    assert [status("d", host, STRANGER) for host in "abcde"] == [421, 421, 421, 200, 421]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_revocation_ends_sessions_and_kept_connections(house: House, version: str) -> None:
    other = CLIENTS.issue("other")
    house.crl_file.write_bytes(CLIENTS.crls(other.serial))
    house.run(
        house.service(client_auth={"mode": "require", "crl_file": str(house.crl_file)}), cert_manager={"check_interval": "200ms"}
    )
    get = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
    assert house.is_refused(other, version=version)
    context = house.context(ME, version)
    assert house.proxy is not None
    with house.proxy.connect().secure(context, "a.test") as kept:
        assert kept.send(get).response().status == 200
        sock: Any = kept.sock
        session = sock.session
        house.crl_file.write_bytes(CLIENTS.crls(other.serial, ME.serial))
        wait_until(lambda: house.is_refused(ME, version=version), "the new list was not taken")
        raw = house.proxy.connect().sock
        with pytest.raises(OSError):
            resumed = context.wrap_socket(raw, server_hostname="a.test", session=session)
            resumed.sendall(get)
            if resumed.recv(1) == b"":
                raise OSError("closed")
        raw.close()
        last = kept.send(get).response()
        assert (last.status, last.all("connection")) == (200, ["close"])
        assert kept.is_closed()


def test_a_changed_authority_ends_the_old_ones_clients(house: House) -> None:
    house.run(house.service(client_auth={"mode": "require"}), cert_manager={"check_interval": "200ms"})
    house.ask(ME)
    assert house.is_refused(STRANGER)
    house.ca_file.write_bytes(OTHERS.root[:200])
    wait_until(lambda: "client-auth-broken" in kinds(house), "a broken file is not told")
    house.ask(ME)
    house.ca_file.write_bytes(OTHERS.root)
    wait_until(lambda: house.is_refused(ME), "the new authority was not taken")
    house.ask(STRANGER)
    assert "client-auth-broken" not in kinds(house)


def kinds(house: House) -> set[str]:
    assert house.proxy is not None
    return {one["kind"] for one in house.proxy.status()["problems"]}


def test_an_expired_list_is_told_before_and_after_and_refuses_everybody(house: House, stack: ExitStack) -> None:
    house.crl_file.write_bytes(CLIENTS.crls(days=1, begun=6))
    one = house.service(client_auth={"mode": "require", "crl_file": str(house.crl_file)})
    server = stack.enter_context(MailServer(CLIENTS, house.folder))
    (house.folder / "mail-root.pem").write_bytes(CLIENTS.root)
    mail = {
        "smtp_host": "localhost",
        "smtp_port": server.port,
        "to_emails": ["ops@a.test"],
        "ca_file": str(house.folder / "mail-root.pem"),
    }
    proxy = house.run(one, cert_manager={"check_interval": "200ms", "alerting": mail})
    house.ask(ME)
    wait_until(lambda: server.mails, "no mail came")
    assert f"CRL {house.crl_file} (a) expires in " in str(server.mails[0]["Subject"])
    assert "crl-expiring" in kinds(house)
    assert abs(proxy.metrics()['terraster_crl_expiry_timestamp_seconds{name="a"}'] - time.time() - 86400) < 600
    house.crl_file.write_bytes(CLIENTS.crls(days=-1, begun=6))
    wait_until(lambda: "crl-expired" in kinds(house), "the end of the list is not told")
    wait_until(lambda: house.is_refused(ME), "the ended list was not taken")
    wait_until(lambda: len(server.mails) > 1, "no mail about its end came")
    assert f"CRL {house.crl_file} (a) expired at " in str(server.mails[1]["Subject"])


def test_files_that_cannot_be_used_refuse_the_configuration(house: House) -> None:
    proxy = house.run(house.service(client_auth={"mode": "require"}))
    for name, octets, why in (
        ("clients.crl", CLIENTS.crl(), "there is no CRL of CN=Clients Root"),
        ("clients.crl", b"", "the CRL file is empty"),
        ("clients.pem", ME.alone, "CN=me is not the certificate of an authority"),
    ):
        house.crl_file.write_bytes(CLIENTS.crls())
        house.ca_file.write_bytes(CLIENTS.root + CLIENTS.issuer)
        changed = {"ca_file": house.folder / f"new-{len(octets)}.pem", "crl_file": house.folder / f"new-{len(octets)}.crl"}
        changed["ca_file"].write_bytes(octets if name == "clients.pem" else CLIENTS.root + CLIENTS.issuer)
        changed["crl_file"].write_bytes(octets if name == "clients.crl" else CLIENTS.crls())
        proxy.write(house.service(client_auth={key: str(file) for key, file in changed.items()}))
        outcome = proxy.control("POST", "/reload", why="test")
        assert not outcome["ok"] and why in str(outcome["problems"]), outcome
    house.ask(ME)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_openssl(house: House, version: str) -> None:
    proxy = house.run(house.service(client_auth={"mode": "require"}))
    openssl = shutil.which("openssl")
    assert openssl is not None

    command = [openssl, "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-servername", "a.test", "-CAfile", str(house.root)]

    def talk(*more: str) -> bytes:
        result = subprocess.run(
            [*command, "-quiet", f"-{version}", *more],
            input=b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
            capture_output=True,
            timeout=30,
        )
        return result.stdout + result.stderr

    chain, key = ME.write(house.folder, "me")
    alone = house.folder / "alone.pem"
    alone.write_bytes(ME.alone)
    with_chain = ["-cert", str(alone), "-key", str(key), "-cert_chain", str(chain)]
    assert item(ME).encode() in talk(*with_chain)
    assert b"certificate required" in talk() or b"handshake failure" in talk()
    said = subprocess.run([*command, f"-{version}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30).stdout
    names = said.partition(b"Acceptable client certificate CA names")[2].partition(b"Requested Signature")[0]
    assert b"Clients Root" in names
    bad, bad_key = SERVER.write(house.folder, "server")
    assert b"alert" in talk("-cert", str(bad), "-key", str(bad_key), "-cert_chain", str(bad))


@pytest.mark.needs("curl")
def test_curl(house: House) -> None:
    proxy = house.run(house.service(client_auth={"mode": "require"}))
    chain, key = ME.write(house.folder, "me")
    command = [
        "curl",
        "-sS",
        "--cacert",
        str(house.root),
        "--resolve",
        f"a.test:{proxy.port}:127.0.0.1",
        f"https://a.test:{proxy.port}/x",
    ]
    good = subprocess.run([*command, "--cert", str(chain), "--key", str(key)], capture_output=True, timeout=30)
    assert good.returncode == 0, good.stderr
    assert f"Client-Cert: {item(ME)}".encode() in good.stdout
    bad = subprocess.run(command, capture_output=True, timeout=30)
    assert bad.returncode != 0 and b"certificate" in bad.stderr, bad.stderr


def test_a_session_does_not_outlive_its_certificate(house: House) -> None:
    proxy = house.run(house.service(client_auth={"mode": "require"}))
    end = time.time() + 8
    brief = CLIENTS.issue("brief", days=8 / 86400)
    get = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
    sessions = {}
    for version in VERSIONS:
        context = house.context(brief, version)
        session = None
        for resumed in (False, True):
            sock = context.wrap_socket(proxy.connect().sock, server_hostname="a.test", session=session)
            sock.sendall(get)
            assert sock.recv(1) == b"H"
            assert sock.session_reused is resumed
            session = sock.session
            sock.close()
        assert house.origin.requests[-1].all("client-cert") == [item(brief)]
        sessions[context] = session
    wait_until(lambda: time.time() > end + 1, "time stands still")
    for context, session in sessions.items():
        with pytest.raises(OSError):
            sock = context.wrap_socket(proxy.connect().sock, server_hostname="a.test", session=session)
            sock.sendall(get)
            if sock.recv(1) == b"":
                raise OSError("closed")
