"""Backends behind TLS: a real nginx with a certificate of its own, verified, not verified, and refused."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from ..harness.backends import Peer
from ..harness.client import exchange
from ..harness.nginx import Nginx
from ..harness.ports import free_port
from ..harness.terraster_process import service

pytestmark = pytest.mark.needs("nginx", "openssl")

GET = b"GET %b HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.fixture
def secure(tmp_path: Path, stack) -> str:
    """The URL of an nginx that speaks TLS as "localhost", with a file of 3 MB."""
    key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    tls = f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};"
    nginx = stack.enter_context(Nginx(tmp_path / "nginx", tls + 'location = /hello { return 200 "hello"; }'))
    (nginx.files / "large").write_bytes(bytes(range(256)) * 12_000)
    return f"https://localhost:{port}"


def test_without_verification(terraster, secure: str) -> None:
    proxy = terraster(service({"url": secure, "skip_tls_verify": True}))
    for _ in range(3):  # the second and third go over the pooled connection, past the session tickets that came after the first
        assert exchange(proxy.address, GET % b"/hello").body == b"hello"
    large = exchange(proxy.address, GET % b"/large").body
    assert hashlib.md5(large).hexdigest() == hashlib.md5(bytes(range(256)) * 12_000).hexdigest()
    assert exchange(proxy.address, b"POST /hello HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").status in (200, 405)


def test_a_proxy_header_goes_before_the_handshake(terraster, tmp_path: Path, secure: str, stack) -> None:
    key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
    tls = f"listen 127.0.0.1:{port} ssl proxy_protocol; ssl_certificate {certificate}; ssl_certificate_key {key};"
    stack.enter_context(Nginx(tmp_path / "told", tls + 'location = / { return 200 "$proxy_protocol_addr $proxy_protocol_port"; }'))
    check = {"type": "http", "path": "/", "interval": "1s", "timeout": "5s"}
    backend = {"url": f"https://localhost:{port}", "skip_tls_verify": True, "send_proxy": "v2"}
    with terraster(service(backend), health_check=check).connect() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert client.response().body == b"%b %d" % (b"127.0.0.1", client.sock.getsockname()[1])


def test_verified_against_a_known_authority(fresh, secure: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    assert exchange(fresh(service(secure)).address, GET % b"/hello").body == b"hello"


def test_probes_verify_the_name_too(fresh, secure: str, tmp_path: Path, monkeypatch) -> None:
    """The connection goes to the address; SNI, Host and what the certificate must say are those of the name."""
    check = {"type": "http", "path": "/hello", "interval": "1s", "timeout": "1s"}
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    right, wrong = (fresh(service(url), health_check=check) for url in (secure, secure.replace("localhost", "other.localhost")))
    assert exchange(right.address, GET % b"/hello").body == b"hello"
    assert exchange(wrong.address, GET % b"/hello").status == 503
    assert "the backend's certificate is not for this server name" in wrong.said


def test_probes_verify_where_requests_do_not(terraster, secure: str) -> None:
    backend = {"url": secure, "skip_tls_verify": True}
    check = {"type": "http", "path": "/hello", "interval": "1s", "timeout": "1s"}
    assert exchange(terraster(service(backend), health_check=check).address, GET % b"/hello").body == b"hello"
    strict = terraster(service(backend), health_check={**check, "skip_tls_verify": False})
    assert exchange(strict.address, GET % b"/hello").status == 503
    assert "the backend's certificate is self-signed" in strict.said


def test_an_unknown_authority_is_refused(terraster, secure: str) -> None:
    answer = exchange(terraster(service(secure)).address, GET % b"/hello")
    assert answer.status == 502
    assert b"error=tls_certificate_error" in dict(answer.fields)[b"proxy-status"]


def test_a_post_goes_elsewhere_if_a_handshake_breaks_off(terraster, backend, secure: str) -> None:
    """Nothing of the request was sent, so nothing can be executed twice."""

    def reset(peer: Peer) -> None:
        peer.sock.recv(65536)  # the first message of a handshake
        peer.reset()

    broken = backend(reset)
    proxy = terraster(
        service(
            {"url": f"https://127.0.0.1:{broken.port}", "skip_tls_verify": True},
            {"url": secure, "skip_tls_verify": True},
            location={"outlier": "off"},
        )
    )
    for _ in range(4):
        assert exchange(proxy.address, b"POST /hello HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").body == b"hello"
    assert broken.peers


def test_a_plain_backend_that_should_speak_tls(terraster, tmp_path: Path, stack) -> None:
    plain = stack.enter_context(Nginx(tmp_path / "plain"))
    answer = exchange(
        terraster(service({"url": plain.url.replace("http:", "https:"), "skip_tls_verify": True})).address, GET % b"/"
    )
    assert answer.status == 502
