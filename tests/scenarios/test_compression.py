"""Compression with real parties: the tools that decompress, curl, HTTP/1 and HTTP/2, pauses, broken answers, memory."""

from __future__ import annotations

import subprocess
import threading
import zlib
from pathlib import Path
from time import monotonic

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import get
from ..harness.program import find
from ..harness.sizes import times
from ..harness.terraster_process import rss, service
from ..harness.waiting import wait_until

MEGABYTE = 1 << 20
PAGE = b"".join(b"<li>item %d of %x</li>\n" % (n, n * n * 7919) for n in range(8000))
HTML = b"Content-Type: text/html\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n"
TOOLS = {"gzip": "gzip", "zstd": "zstd", "br": "brotli"}


def curl(*arguments: object) -> str:
    """What curl prints; fails if it fails."""
    command = [str(find("curl")), "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs("curl", *TOOLS.values())
def test_the_tools_and_curl_read_it(terraster, backend, tmp_path: Path) -> None:
    origin = backend(answer=lambda request: ok(PAGE, HTML + b'ETag: "x"\r\n'))
    proxy = terraster(service(origin.url, http2=True, compression={"level": 2}))
    head, packed, plain = tmp_path / "head", tmp_path / "packed", tmp_path / "plain"
    for version in ("--http1.1", "--http2-prior-knowledge"):
        for coding, tool in TOOLS.items():
            accept = f"Accept-Encoding: {coding}"
            curl(version, "--dump-header", head, "--output", packed, "--header", accept, f"{proxy.url}/")
            lines = head.read_text().lower().splitlines()
            assert {f"content-encoding: {coding}", "vary: accept-encoding", 'etag: w/"x"'} <= set(lines), (version, lines)
            assert not any(line.startswith("content-length") for line in lines)
            with packed.open("rb") as file:
                unpacked = subprocess.run([tool, "-dc"], stdin=file, capture_output=True, check=True, timeout=30).stdout
            assert unpacked == PAGE and packed.stat().st_size < len(PAGE) / 2
            curl(version, "--compressed", "--header", accept, "--output", plain, f"{proxy.url}/")
            assert plain.read_bytes() == PAGE
    counters = wait_until(lambda: _counters(proxy)["responses"] == 12 and _counters(proxy))
    assert counters["bytes_in"] == 12 * len(PAGE) and counters["bytes_out"] < counters["bytes_in"] / 2
    for coding in TOOLS:
        assert (counters[f"responses_{coding}"], counters[f"bytes_in_{coding}"]) == (4, 4 * len(PAGE))
    assert sum(counters[f"bytes_out_{coding}"] for coding in TOOLS) == counters["bytes_out"]


def _counters(proxy) -> dict[str, int]:
    filters = proxy.status()["services"][0]["locations"][0]["filters"]
    return dict(filters["compression"])


def test_a_slow_backend_is_heard_at_once(terraster, backend) -> None:
    """Each word is sent only after the one before it was read."""
    seen = threading.Semaphore(0)
    waits: list[float] = []

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % HTML)
        for number in range(10):
            peer.send(b"6\r\nword %d\r\n" % number)
            began = monotonic()
            assert seen.acquire(timeout=10), f"word {number} did not arrive"
            waits.append(monotonic() - began)
        peer.send(b"0\r\n\r\n")

    with terraster(service(backend(script).url, compression=True)).connect() as client:
        client.send(GET)
        body, reader = b"", zlib.decompressobj(31)
        raw = client.receive_until(b"\r\n\r\n")
        while b"word 9" not in body:
            word = reader.decompress(_unchunked(client))
            body += word
            if word:
                seen.release()
    assert b"Content-Encoding: gzip" in raw
    assert min(waits) < 0.05, waits


def _unchunked(client) -> bytes:
    """The payload of the next chunk."""
    size = int(client.receive_until(b"\r\n"), 16)
    return bytes(client.receive_exactly(size + 2)[:-2])


@pytest.mark.parametrize("length", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 999999\r\n"])
def test_a_backend_that_breaks_off_breaks_the_answer_off(terraster, backend, length: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        part = b"x" * 3000
        peer.send(b"HTTP/1.1 200 OK\r\n%b%b\r\n%b" % (length, HTML, b"bb8\r\n%b\r\n" % part if b"chunked" in length else part))
        go.acquire(timeout=10)
        peer.reset()

    go = threading.Semaphore(0)
    with terraster(service(backend(script).url, compression=True)).connect() as client:
        client.send(GET).receive_until(b"\r\n\r\n")
        go.release()
        rest = client.rest()
        assert not rest.endswith(b"0\r\n\r\n")


@times(48, 256, 1024)
def test_a_long_stream_takes_constant_memory(terraster, backend, count: int) -> None:
    block = (PAGE * 8)[:MEGABYTE]

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (count * MEGABYTE, HTML))
            for _ in range(count):
                peer.send(block)

    proxy = terraster(service(backend(script).url, compression={"algorithms": "zstd", "level": 1}))
    (worker,) = proxy.workers()
    most = 0
    with proxy.connect(deadline=120) as client:
        client.send(GET.replace(b"gzip", b"zstd")).receive_until(b"\r\n\r\n")
        before, size = rss(worker), 0
        while not client.held.endswith(b"0\r\n\r\n"):
            got = client.sock.recv(1 << 18)
            assert got, "the answer was broken off"
            size += len(got)
            client.held = (client.held + got)[-5:]
            if size % 64 < 2:
                most = max(most, rss(worker))
    assert max(most, rss(worker)) - before < 3 * MEGABYTE
    assert wait_until(lambda: _counters(proxy)["bytes_in"] == count * MEGABYTE or None)


def test_get_without_compression_says_vary(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=lambda request: ok(PAGE, HTML)).url, compression="on"))
    answer = get(proxy.address, "/")
    assert (answer.body, answer.get("vary"), answer.get("content-encoding")) == (PAGE, "Accept-Encoding", None)
