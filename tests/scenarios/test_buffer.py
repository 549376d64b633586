"""`buffer` with real parties: a backend with one worker, slow clients, a full disk, a killed worker."""

from __future__ import annotations

import errno
import gzip
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from ..harness.backends import Peer, Request, ok
from ..harness.client import get
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.program import find
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

MEGABYTE = 1 << 20
LARGE = bytes(range(256)) * (8 * MEGABYTE // 256)
GET = b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n"


def answer(request: Request) -> bytes:
    return ok(LARGE if request.target == "/large" else request.body or b"short")


def busy(url: str, **buffer: object) -> dict[str, object]:
    """A service whose backend has one worker."""
    return service({"url": url, "max_connections": 1}, buffer=buffer)


def counters(proxy) -> dict[str, int]:
    return dict(proxy.status()["services"][0]["locations"][0]["filters"]["buffer"])


def open_spools(pid: int, folder: Path) -> list[str]:
    """What a process has open of files without a name in a folder."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = os.readlink(link)
        except OSError as error:
            assert error.errno == errno.ENOENT
            continue
        if re.fullmatch(rf"{re.escape(str(folder))}/\S+ \(deleted\)", name):
            found.append(name)
    return found


def test_slow_clients_keep_no_backend_busy(terraster, backend, tmp_path: Path) -> None:
    folder = tmp_path / "spools"
    folder.mkdir()
    origin = backend(answer=answer)
    proxy = terraster(busy(origin.url, directory=str(folder)))
    (worker,) = proxy.workers()
    with proxy.connect() as slow, proxy.connect() as slower:
        slow.send(GET)
        slower.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70000)
        wait_until(lambda: counters(proxy) == {"requests": 1, "responses": 1, "spilled": 0, "disk_failures": 0})
        wait_until(lambda: open_spools(worker, folder))
        assert get(proxy.address, "/").body == b"short", "and the client of the large response has taken nothing yet"
        assert os.listdir(folder) == []
        slower.send(b"y" * 30000)
        assert slower.response().body == b"x" * 70000 + b"y" * 30000
        assert slow.response().body == LARGE
    wait_until(lambda: open_spools(worker, folder) == [])
    wait_until(lambda: counters(proxy)["spilled"] == 2)


def test_a_client_that_leaves_takes_its_file_with_it(terraster, backend, tmp_path: Path) -> None:
    proxy = terraster(busy(backend(answer=answer).url, directory=str(tmp_path)))
    (worker,) = proxy.workers()
    with proxy.connect() as slow:
        slow.send(GET)
        wait_until(lambda: open_spools(worker, tmp_path))
        slow.reset()
    wait_until(lambda: open_spools(worker, tmp_path) == [])
    assert get(proxy.address, "/").body == b"short"


def test_a_killed_worker_leaves_no_file(fresh, backend, tmp_path: Path) -> None:
    folder = tmp_path / "spools"
    folder.mkdir()
    proxy = fresh(busy(backend(answer=answer).url, directory=str(folder)))
    (worker,) = proxy.workers()
    with proxy.connect() as slow:
        slow.send(GET)
        wait_until(lambda: open_spools(worker, folder))
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: get(proxy.address, "/").body == b"short", tolerate=(OSError, AssertionError))
    assert os.listdir(folder) == []


def test_a_full_disk_only_makes_the_backend_wait(terraster, backend, disk: Path) -> None:
    proxy = terraster(busy(backend(answer=answer).url, directory=str(disk)))
    with proxy.connect() as slow:
        slow.send(GET)
        slow.receive_until(b"\r\n\r\n")
        wait_until(lambda: os.statvfs(disk).f_bavail < 8)
        assert slow.receive_exactly(len(LARGE)) == LARGE
    wait_until(lambda: counters(proxy)["disk_failures"] == 1)
    assert get(proxy.address, "/").body == b"short"
    wait_until(lambda: os.statvfs(disk).f_bavail > 60)


@pytest.mark.parametrize("field", [b"Content-Type: text/event-stream\r\n", b"X-Accel-Buffering: no\r\n"])
def test_what_must_not_be_held_back_is_not(terraster, backend, field: bytes) -> None:
    """Each word is sent only after the one before it was read."""
    seen = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % field)
        for number in range(5):
            peer.send(b"6\r\nword %d\r\n" % number)
            assert seen.acquire(timeout=10), f"word {number} did not arrive"
        peer.send(b"0\r\n\r\n")

    proxy = terraster(service(backend(script).url, buffer=True, compression=True))
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n").receive_until(b"\r\n\r\n")
        for number in range(5):
            client.receive_until(b"word %d" % number)
            seen.release()
        client.receive_until(b"0\r\n\r\n")
    wait_until(lambda: counters(proxy)["responses"] == 0)


def test_both_ways_over_http2_and_compressed(terraster, stack) -> None:
    """The body of the request goes through a file to a backend of HTTP/2, and its response through one and gzip."""

    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.answer(asked, 200, asked.body, [("content-type", "text/plain")])

    origin = stack.enter_context(Http2Backend(script))
    keys = {"buffer": {"memory": "1k"}, "compression": {"algorithms": "gzip"}}
    proxy = terraster(service({"url": origin.url, "http2": True}, **keys))
    body = LARGE[:300_000]
    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with proxy.connect() as client:
        answer = client.send(head).send(body).response("POST")
    assert answer.get("content-encoding") == "gzip" and gzip.decompress(answer.body) == body
    wait_until(lambda: counters(proxy)["spilled"] >= 1)


@pytest.mark.needs("curl")
@pytest.mark.parametrize("length", [[], ["--header", "Content-Length:"]], ids=["of known length", "of unknown length"])
def test_a_request_over_http2_is_read_ahead(terraster, backend, tmp_path: Path, length: list[str]) -> None:
    proxy = terraster(service(backend(answer=answer).url, http2=True, buffer={"memory": "1k"}))
    body, got = tmp_path / "body", tmp_path / "got"
    body.write_bytes(LARGE[:300_000])
    command = [
        str(find("curl")),
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        "--http2-prior-knowledge",
        *length,
    ]
    subprocess.run([*command, "--upload-file", str(body), "--output", str(got), f"{proxy.url}/up"], check=True, timeout=30)
    assert got.read_bytes() == LARGE[:300_000]
    wait_until(lambda: counters(proxy)["requests"] == 1 and counters(proxy)["spilled"] == 2)
