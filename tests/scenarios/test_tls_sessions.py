"""Sessions towards TLS backends, counted at a real nginx: they are resumed, and only between connections of the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.client import exchange
from ..harness.terraster_process import service
from ..harness.tls_backends import s_server, secure_nginx

pytestmark = pytest.mark.needs("nginx", "openssl")

CA = Authority()
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
FRESH = "keepalive_timeout 0;"  # a connection for each request


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return CA.issue("localhost").write(tmp_path_factory.mktemp("certificate"))


def answers(proxy, number: int) -> list[str]:
    return [exchange(proxy.address, GET).body.decode() for _ in range(number)]


@pytest.mark.parametrize(
    "version, sessions",
    [
        ("TLSv1.3", "ssl_session_tickets on;"),
        ("TLSv1.2", "ssl_session_tickets on;"),
        ("TLSv1.3", "ssl_session_tickets off; ssl_session_cache shared:s:1m;"),
        ("TLSv1.2", "ssl_session_tickets off; ssl_session_cache shared:s:1m;"),
    ],
)
def test_all_connections_after_the_first_resume(terraster, files, tmp_path: Path, stack, version: str, sessions: str) -> None:
    nginx, port = secure_nginx(tmp_path / "nginx", *files, f"{FRESH} ssl_protocols {version}; {sessions}")
    stack.enter_context(nginx)
    proxy = terraster(service({"url": f"https://localhost:{port}", "skip_tls_verify": True}))
    found = [" ".join(answer.split()[:2]) for answer in answers(proxy, 6)]
    if "off" in sessions and version == "TLSv1.3":  # nginx's tickets are then good for one connection each
        assert found[0] == f"{version} ."
        assert found.count(f"{version} r") >= 3
    else:
        assert found == [f"{version} .", *[f"{version} r"] * 5]


def test_a_backend_that_hands_out_no_sessions(terraster, files, tmp_path: Path, stack) -> None:
    nginx, port = secure_nginx(tmp_path / "nginx", *files, f"{FRESH} ssl_session_tickets off; ssl_session_cache off;")
    stack.enter_context(nginx)
    proxy = terraster(service({"url": f"https://localhost:{port}", "skip_tls_verify": True}))
    assert [answer.split()[1] for answer in answers(proxy, 4)] == ["."] * 4


def test_a_backend_that_restarts_with_other_ticket_keys(terraster, files, tmp_path: Path, stack) -> None:
    nginx, port = secure_nginx(tmp_path / "nginx", *files, FRESH)
    with nginx:
        proxy = terraster(service({"url": f"https://localhost:{port}", "skip_tls_verify": True}))
        assert [answer.split()[1] for answer in answers(proxy, 3)] == [".", "r", "r"]
    stack.enter_context(secure_nginx(tmp_path / "again", *files, FRESH, port)[0])
    assert [answer.split()[1] for answer in answers(proxy, 3)] == [".", "r", "r"]


def test_no_session_of_other_settings(terraster, files, tmp_path: Path, stack) -> None:
    """What was not verified must not become trusted by a session: two locations with other settings for the same URL, and a reload."""
    nginx, port = secure_nginx(tmp_path / "nginx", *files, FRESH)
    stack.enter_context(nginx)
    lax = {"url": f"https://localhost:{port}", "skip_tls_verify": True}
    proxy = terraster(service(lax))
    assert [answer.split()[1] for answer in answers(proxy, 2)] == [".", "r"]
    proxy = terraster(service({**lax, "skip_tls_verify": False}))
    answer = exchange(proxy.address, GET)
    assert answer.status == 502
    assert b"error=tls_certificate_error" in dict(answer.fields)[b"proxy-status"]
    proxy = terraster(service({**lax, "sni": "other.test"}))
    assert [answer.split()[1:3] for answer in answers(proxy, 2)] == [[".", "other.test"], ["r", "other.test"]]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_that_is_missing(terraster, backend, files, tmp_path: Path, stack, version: str) -> None:
    """With TLS 1.3 the alert comes after the handshake, when the request was sent. It is tried elsewhere all the same, a POST too: a server
    that refuses the client does not look at it."""
    server, port = s_server(tmp_path / "server", *files, "-Verify", "1", version)
    stack.enter_context(server)
    strict = {"url": f"https://localhost:{port}", "skip_tls_verify": True}
    proxy = terraster(service(strict))
    answer = exchange(proxy.address, GET)
    status = dict(answer.fields)[b"proxy-status"]
    assert answer.status == 502
    assert b"error=tls_alert_received; alert-id=" in status
    if version == "-tls1_3":
        assert b"alert-id=116" in status
        assert b"it wants a client certificate" in answer.body
    other = backend(answer=lambda request: ok(b"here"))
    proxy = terraster(service(strict, other.url, location={"outlier": "off"}))
    for _ in range(4):
        post = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        assert exchange(proxy.address, post).status == 200
