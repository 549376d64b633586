"""One fetch of a document, from servers that are slow, huge, elsewhere or broken."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from terraster.admin.fetch import MOST, FetchError, fetch

from .harness.authority import Authority
from .harness.backends import Backend, Peer, always, ok


@contextlib.contextmanager
def server(answer: bytes) -> Iterator[Backend]:
    with Backend(always(answer)) as one:
        yield one


def test_a_document() -> None:
    with server(ok(b"{}")) as one:
        assert fetch(f"{one.url}/a/jwks?b=c") == b"{}"
        (request,) = one.requests
        assert (request.method, request.target, request.get("accept")) == ("GET", "/a/jwks?b=c", "application/json")


def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with server(ok(b"{}")) as one:
        assert fetch(one.url) == b"{}"


HEAD = b"HTTP/1.1 %b\r\nContent-Length: 2\r\nConnection: close\r\n%b\r\n{}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HEAD % (b"500 Oops", b""), "the server answers 500"),
        (HEAD % (b"404 Not Found", b""), "the server answers 404"),
        (HEAD % (b"204 No Content", b""), "the server answers 204"),
        (HEAD % (b"302 Found", b"Location: /elsewhere\r\n"), "the server answers 302; redirects are not followed"),
        (ok(b"x" * (MOST + 1)), "the server answers with more than 256 KiB"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MOST + 1), "the server answers with more than 256 KiB"),
        (b"nonsense\r\n\r\n", "the server cannot be asked: nonsense"),
    ],
    ids=range(7),
)
def test_answers_that_are_none(answer: bytes, words: str) -> None:
    with server(answer) as one, pytest.raises(FetchError) as error:
        fetch(f"{one.url}/jwks?secret=topsecret")
    assert str(error.value).startswith(words)
    assert "topsecret" not in str(error.value)
    assert len(one.requests) == 1


def test_an_answer_that_is_cut() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        peer.close()

    with Backend(script) as one, pytest.raises(FetchError, match="before its answer was complete"):
        fetch(one.url)


def test_nobody_listens() -> None:
    with server(ok()) as one:
        url = one.url
    with pytest.raises(FetchError, match="the server cannot be asked: Connection refused"):
        fetch(url)


DRIP = """
from gevent import monkey; monkey.patch_all()
import gevent, socket
from terraster.admin.fetch import FetchError, fetch
server = socket.create_server(("127.0.0.1", 0))
def drip():
    one = server.accept()[0]
    one.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 99999\\r\\n\\r\\n")
    while True:
        one.sendall(b"x")
        gevent.sleep(0.02)
gevent.spawn(drip)
try:
    fetch(f"http://127.0.0.1:{server.getsockname()[1]}/x", limit=0.3)
except FetchError as error:
    print(error)
"""


def test_the_whole_answer_has_to_come_in_time() -> None:
    done = subprocess.run([sys.executable, "-c", DRIP], capture_output=True, text=True, timeout=30, check=True)
    assert "no complete answer within 0.3 s" in done.stdout


class Keys(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """The URL of a server whose certificate is of the authority in ca.pem."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.root)
    (tmp_path / "other.pem").write_bytes(Authority().root)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost").write(tmp_path))
    server = HTTPServer(("127.0.0.1", 0), Keys)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://localhost:{server.server_port}/jwks"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_certificate_of_the_server_is_verified(secure: str, tmp_path: Path) -> None:
    assert fetch(secure, str(tmp_path / "ca.pem")) == b"{}"
    for url, ca_file, words in [
        (secure, str(tmp_path / "other.pem"), "certificate verify failed"),
        (secure, "", "certificate verify failed"),
        (secure.replace("localhost", "127.0.0.1"), str(tmp_path / "ca.pem"), "IP address mismatch"),
        (secure, str(tmp_path / "none.pem"), "No such file"),
    ]:
        with pytest.raises(FetchError, match=words):
            fetch(url, ca_file)
