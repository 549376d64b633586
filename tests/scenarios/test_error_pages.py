"""Pages for errors, with clients of HTTP/1.1 and HTTP/2, and files that change."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..harness.backends import Request, ok
from ..harness.client import get
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.http2_client import Http2
from ..harness.terraster_process import backends, service
from ..harness.waiting import wait_until

NOT_FOUND = "<p>nichts hier: ü\n".encode()


def answer(request: Request) -> bytes:
    if request.target == "/a/gone":
        return ok(b"x" * 300_000, b"ETag: 1\r\nContent-Type: text/x\r\nX-Kept: 1\r\n", status=b"404 Not Found")
    return ok(b"one")


@pytest.fixture
def site(backend, tmp_path: Path):
    """A service with pages: its backend's errors are replaced below /a, and /down has no backend."""
    (tmp_path / "404.html").write_bytes(NOT_FOUND)
    (tmp_path / "down.txt").write_bytes(b"down")
    origin = backend(answer=answer)
    made = service(origin.url, http2=True)
    made["middleware"] = [{"error_pages": {"404": str(tmp_path / "404.html"), "5xx": str(tmp_path / "down.txt")}}]
    made["locations"] = [
        {"path": "/a", "backends": backends(origin.url), "middleware": [{"error_pages": {"intercept": True}}]},
        {"path": "/b", "backends": backends(origin.url)},
        {"path": "/down", "backends": backends("http://127.0.0.1:1"), "retry": "off"},
    ]
    return made


def test_clients(terraster, site, stack) -> None:
    proxy = terraster(site)
    client = stack.enter_context(Http2(proxy.connect()))
    for path, status, body, kind in [
        ("/nowhere", 404, NOT_FOUND, "text/html; charset=utf-8"),
        ("/a/gone", 404, NOT_FOUND, "text/html; charset=utf-8"),
        ("/down", 502, b"down", "text/plain; charset=utf-8"),
        ("/a/x", 200, b"one", None),
        ("/b/gone", 200, b"one", None),
    ]:
        for one in (get(proxy.address, path), client.get(path, host="a.test")):
            assert (one.status, one.body, one.get("content-type"), one.get("etag")) == (status, body, kind, None), path
            assert one.get("content-length") == str(len(body))
            assert one.get("x-kept") == ("1" if path == "/a/gone" else None)
            assert bool(one.get("proxy-status")) == (path in ("/nowhere", "/down"))
        for one in (get(proxy.address, path, method="HEAD"), client.get(path, host="a.test", method="HEAD")):
            assert (one.status, one.body, one.get("content-length")) == (status, b"", str(len(body))), path
    call = client.get("/down/t.T/M", host="a.test", method="POST", body=bytes(5), fields=[("content-type", "application/grpc")])
    assert (call.status, call.get("grpc-status"), call.body) == (200, "14", b"")
    places = {place["path"]: place["filters"] for place in proxy.status()["services"][0]["locations"]}
    assert [places[path]["error_pages"] for path in ("/a", "/down")] == [
        {"sent": 0, "intercepted": 4},
        {"sent": 4, "intercepted": 0},
    ]


def test_a_backend_of_http2(terraster, site, stack) -> None:
    """Its connection carries on, whether the body that is replaced has come or not."""

    def script(peer: Http2Peer, asked: Asked) -> None:
        status = 404 if asked.target != "/c/x" else 200
        peer.answer(asked, status, b"x" * (3_000_000 if asked.target == "/c/large" else 3))

    origin = stack.enter_context(Http2Backend(script))
    site["locations"].append({**site["locations"][0], "path": "/c", "backends": [{"url": origin.url, "http2": True}]})
    proxy = terraster(site)
    client = stack.enter_context(Http2(proxy.connect()))
    for path, status, body in [("/c/a", 404, NOT_FOUND), ("/c/large", 404, NOT_FOUND), ("/c/x", 200, b"xxx")]:
        for one in (get(proxy.address, path), client.get(path, host="a.test")):
            assert (one.status, one.body) == (status, body), path
    assert len(origin.peers) == 1


def test_a_reload_takes_what_a_file_says_now(terraster, site, tmp_path: Path) -> None:
    proxy = terraster(site)
    (tmp_path / "404.html").write_bytes(b"new")
    proxy.reload(site)
    assert get(proxy.address, "/nowhere").body == b"new"
    (tmp_path / "404.html").unlink()
    site["locations"][1]["middleware"] = [{"error_pages": {"403": str(tmp_path / "none.html")}}]
    outcome = proxy.write(site) or proxy.ctl("reload")
    assert outcome.returncode and "none.html" in outcome.stdout + outcome.stderr
    assert get(proxy.address, "/nowhere").body == b"new"


def test_a_changed_file_is_taken_without_a_reload(terraster, site, tmp_path: Path) -> None:
    proxy = terraster(site, cert_manager={"check_interval": "100ms"})
    (tmp_path / "404.html").write_bytes(b"other")
    wait_until(lambda: get(proxy.address, "/nowhere").body == b"other", "the new page")
