"""curl, as people use it: what it says of an exchange is what happened."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from ..harness.backends import Peer, Request, ok
from ..harness.program import find

pytestmark = pytest.mark.needs("curl")


def curl(*arguments: str) -> str:
    """What curl prints; fails if it fails."""
    program = find("curl")
    assert program is not None
    command = [program, "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def proxy(terraster, backend):
    def answer(request: Request) -> bytes:
        return ok(f"{request.method} {request.target} {hashlib.md5(request.body).hexdigest()}".encode())

    return terraster(backend(answer=answer))


EMPTY = hashlib.md5(b"").hexdigest()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_get(proxy, version: str) -> None:
    assert curl(version, "--path-as-is", f"{proxy.url}/a/../b?c") == f"GET /b?c {EMPTY}"


def test_several_urls_on_one_connection(proxy) -> None:
    said = curl("--write-out", " %{num_connects}\\n", f"{proxy.url}/1", f"{proxy.url}/2", f"{proxy.url}/3")
    assert [line.rsplit(" ", 1)[1] for line in said.splitlines()] == ["1", "0", "0"]


@pytest.mark.parametrize("how", [["--data-binary"], ["--header", "Transfer-Encoding: chunked", "--data-binary"]])
def test_post_of_a_file_that_waits_for_100(proxy, tmp_path, how: list[str]) -> None:
    """curl asks before it sends more than a megabyte, and goes on after a second without an answer."""
    body = bytes(range(256)) * 8192
    (tmp_path / "body").write_bytes(body)
    assert curl(*how, f"@{tmp_path}/body", f"{proxy.url}/up") == f"POST /up {hashlib.md5(body).hexdigest()}"


def test_upload_from_a_pipe(proxy, tmp_path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 100_000)
    digest = hashlib.md5(b"x" * 100_000).hexdigest()
    assert curl("--upload-file", f"{tmp_path}/body", f"{proxy.url}/put") == f"PUT /put {digest}"


def test_head(proxy) -> None:
    assert curl("--head", proxy.url).startswith("HTTP/1.1 200 OK")


def test_a_body_that_is_cut_short_is_noticed(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    program = find("curl")
    assert program is not None
    done = subprocess.run([program, "--silent", terraster(backend(script)).url], capture_output=True, timeout=30)
    assert done.returncode in (18, 56)
