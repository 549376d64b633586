"""Single requests, as an operator sees them: those that are open, those that came to a bad end, and those that are over, live."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any

from terraster.api.models.requests import FailureList, OpenList

from ..harness.api import call
from ..harness.backends import Peer, ok, websocket_echo
from ..harness.client import exchange, get
from ..harness.http2_backend import Http2Backend
from ..harness.http2_client import Http2
from ..harness.terraster_process import ROOT, service
from ..harness.waiting import wait_until
from ..harness.workers import by_worker, frozen

SECRET = "hunter2"
RATE = {"requests_per_second": 0.01, "burst": 1}


def stuck(peer: Peer) -> None:
    """Reads requests, and never answers."""
    while peer.request():
        pass


def reset(peer: Peer) -> None:
    peer.request()
    peer.reset()


def opened(proxy: Any, **query: Any) -> list[dict[str, Any]]:
    value = call(proxy, "GET", "/api/requests", **query).value
    OpenList.model_validate(value)
    found: list[dict[str, Any]] = value["requests"]
    return found


def failures(proxy: Any, mark: str, **query: Any) -> list[dict[str, Any]]:
    """Those whose path begins so: a worker that is kept running remembers those of other tests."""
    value = call(proxy, "GET", "/api/failures", **query).value
    FailureList.model_validate(value)
    return [one for one in value["failures"] if one["path"].startswith(mark)]


class Followed:
    """The events of a tail, as they come."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._octets = b""

    def read(self) -> None:
        with suppress(OSError):
            while octets := self._sock.recv(65536):
                self._octets += octets

    def of(self, name: str) -> list[Any]:
        return [json.loads(data) for data in re.findall(rf"event: {name}\ndata: (.*)\n\n", self._octets.decode())]


@contextmanager
def followed(proxy: Any, query: str = "") -> Iterator[Followed]:
    """A tail that has begun."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.path.join(proxy.runtime_dir, "control.sock"))
        sock.sendall(f"GET /api/tail?{query} HTTP/1.1\r\nHost: terraster\r\n\r\n".encode())
        tail = Followed(sock)
        reader = threading.Thread(target=tail.read, daemon=True)
        reader.start()
        try:
            wait_until(lambda: tail.of("workers"), "the tail has not begun")
            yield tail
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            reader.join(20)


def test_those_that_came_to_a_bad_end_are_told_with_their_reasons(terraster, backend) -> None:
    hangs, resets, breaks = backend(stuck), backend(reset), backend(answer=ok(status=b"503 Busy"))
    proxy = terraster(
        service(hangs.url, name="slow", host="slow.test", retry="off"),
        service(resets.url, name="reset", host="reset.test", retry="off"),
        service(breaks.url, name="busy", host="busy.test", retry="off"),
        service(backend(answer=ok()).url, name="few", host="few.test", middleware=[{"rate_limit": RATE}]),
        {"name": "own", "host": "own.test", "locations": [{"path": "/", "respond": {"status": 410}}]},
        http2=True,
    )
    mark = f"/{token_hex(4)}"
    for host, status in (("few", 200), ("few", 429), ("reset", 502), ("busy", 503), ("own", 410), ("none", 421)):
        assert get(proxy.address, f"{mark}?b=c", host=f"{host}.test").status == status, host
    assert exchange(proxy.address, f"GET {mark} HTTP/1.1\r\nHost: a b\r\n\r\n".encode()).status == 400
    with proxy.connect() as client:
        client.send(f"GET {mark}/left HTTP/1.1\r\nHost: slow.test\r\n\r\n".encode())
        hangs.wait()
        client.reset()
        wait_until(lambda: failures(proxy, mark, kind="aborted"))
    found = wait_until(lambda: len(rows := failures(proxy, mark)) == 7 and rows, lambda: str(failures(proxy, mark)))
    told = {(one["service"], one["status"], one["kind"], one["reason"], one["path"].removeprefix(mark)) for one in found}
    assert told == {
        ("few", 429, "refused", "http_request_denied", "?b=c"),
        ("reset", 502, "failed", "connection_terminated", "?b=c"),
        ("busy", 503, "failed", "backend_status", "?b=c"),
        ("own", 410, "refused", "respond", "?b=c"),
        ("", 421, "refused", "destination_not_found", "?b=c"),
        ("", 400, "refused", "http_request_error", ""),
        ("slow", 499, "aborted", "connection_terminated", "/left"),
    }
    (lost,) = failures(proxy, mark, service_name="reset")
    assert lost["backend"] == resets.url and lost["client"] == "127.0.0.1" and lost["tries"] == 1 and 0 < lost["duration"] < 60
    assert len(lost["request_id"]) == 24 and lost["worker"] in proxy.workers() and lost["detail"]
    assert [one["service"] for one in failures(proxy, mark, status="5xx")] == ["busy", "reset"], "the newest first"
    assert [one["service"] for one in failures(proxy, mark, status="429")] == ["few"]
    assert call(proxy, "GET", "/api/failures", service_name="fwe").status == 404
    shown = proxy.ctl("failures", "--status", "502")
    assert shown.returncode == 0 and f"502  connection_terminated  GET reset.test{mark}?b=c" in shown.stdout, shown.stdout
    assert resets.url in shown.stdout and max(map(len, shown.stdout.splitlines())) <= 100
    assert json.loads(proxy.ctl("failures", "--kind", "aborted", "--json").stdout)["failures"][0]["path"] == f"{mark}/left"


def test_secrets_of_queries_and_headers_appear_nowhere(terraster, backend) -> None:
    hangs = backend(stuck)
    quiet = service("http://127.0.0.1:9", name="quiet", host="quiet.test", access_log="off", retry="off")
    proxy = terraster(service("http://127.0.0.1:9", host="site.test", retry="off"), quiet, service(hangs.url, name="slow"))
    fields = f"Authorization: Bearer {SECRET}\r\nCookie: a={SECRET}\r\n".encode()
    mark = f"/{token_hex(4)}"
    target = f"{mark}?token={SECRET}&plain=1".encode()
    with followed(proxy) as tail:
        for host in (b"site.test", b"quiet.test"):
            exchange(proxy.address, b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n%b\r\n" % (target, host, fields))
        with proxy.connect() as client:
            client.send(b"GET %b HTTP/1.1\r\nHost: x.test\r\n%b\r\n" % (target, fields))
            hangs.wait()
            shown = wait_until(lambda: opened(proxy))
        found = wait_until(lambda: len(rows := failures(proxy, mark, kind="failed")) == 2 and rows)
        wait_until(lambda: len(tail.of("request")) == 3)
    assert SECRET not in json.dumps([shown, found, tail.of("request")])
    assert [one["path"] for one in found] == [mark, f"{mark}?token=****&plain=1"], (
        "no access line has the query of a service without them"
    )
    assert shown[0]["path"] == f"{mark}?token=****&plain=1"


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def drip(peer: Peer) -> None:
    """Begins an answer, and does not end it."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
    peer.rest()


def test_open_requests_are_told_with_their_phase_backend_and_age(terraster, backend, stack, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    hangs, framed = backend(stuck), stack.enter_context(Http2Backend(lambda peer, request: None))
    full = {"url": backend(stuck).url, "max_connections": 1}
    proxy = terraster(
        service(hangs.url, name="slow", host="slow.test"),
        service(backend(drip).url, name="drips", host="drips.test"),
        service(backend(websocket_echo).url, name="chat", host="chat.test"),
        service(full, name="full", host="full.test"),
        service({"url": framed.url, "http2": True, "health_check": "off"}, name="framed", host="framed.test"),
        http2=True,
        queue={"timeout": "60s"},
    )
    with proxy.connect() as up, proxy.connect() as drips, proxy.connect() as chat, Http2(proxy.connect()) as two:
        up.send(b"POST /up HTTP/1.1\r\nHost: slow.test\r\nContent-Length: 10\r\n\r\nabc")
        wait_until(lambda: opened(proxy), "the first one")
        drips.send(b"GET /drip HTTP/1.1\r\nHost: drips.test\r\n\r\n").receive_until(b"x" * 1000)
        chat.send(UPGRADE).receive_until(b"\r\n\r\n")
        two.open("/in", host="full.test")
        wait_until(lambda: any(one["phase"] == "waiting" for one in opened(proxy, service_name="full")))
        two.open("/next", host="full.test")
        wait_until(lambda: len(opened(proxy)) == 5)
        two.open("/hangs", host="slow.test")
        two.open("/framed", host="framed.test")
        wanted = {
            ("/up", "sending", hangs.url),
            ("/hangs", "waiting", hangs.url),
            ("/in", "waiting", full["url"]),
            ("/next", "queued", ""),
            ("/framed", "waiting", framed.url),
        }

        def places() -> set[tuple[str, str, str]]:
            return {(one["path"], one["phase"], one["backend"]) for one in opened(proxy)}

        wait_until(lambda: wanted < places(), lambda: str(places()))
        assert {one[:2] for one in places() - wanted} == {("/drip", "streaming"), ("/ws", "tunnel")}
        rows = opened(proxy)
        assert [one["age"] for one in rows] == sorted([one["age"] for one in rows], reverse=True) and rows[0]["path"] == "/up"
        assert rows[0]["client"] == "127.0.0.1" and rows[0]["bytes_in"] > 3
        assert next(one for one in rows if one["path"] == "/drip")["bytes_out"] > 1000
        assert [one["path"] for one in opened(proxy, backend=hangs.url)] == ["/up", "/hangs"]
        told = call(proxy, "GET", "/api/requests", limit=1).value
        assert (told["open"], [one["path"] for one in told["requests"]], told["silent"]) == (7, ["/up"], [])
        assert opened(proxy, older=3600) == []
        shown = proxy.ctl("requests", "--service", "slow").stdout.splitlines()
        assert [line.split()[-2:] for line in shown] == [["OUT", "REQUEST"], ["POST", "slow.test/up"], ["GET", "slow.test/hangs"]]
        assert max(map(len, shown)) <= 100
    wait_until(lambda: opened(proxy) == [], lambda: str(opened(proxy)))
    assert proxy.ctl("requests").stdout == "no request is open\n"


def test_a_worker_that_hangs_is_named_and_the_others_are_not_waited_for_in_vain(terraster, backend) -> None:
    proxy = terraster(service(backend(stuck).url), workers=2)
    clients = by_worker(proxy)
    for pid, connections in clients.items():
        connections[0].send(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % pid)
    wait_until(lambda: len(opened(proxy)) == 2)
    hung, other = proxy.workers()
    with frozen(hung):
        began = time.monotonic()
        told = call(proxy, "GET", "/api/requests").value
        assert time.monotonic() - began < 10, "a second, on a machine that is not busy"
        assert told["silent"] == [hung] and [one["path"] for one in told["requests"]] == [f"/{other}"]
    wait_until(lambda: call(proxy, "GET", "/api/failures").value["silent"] == [])


def test_a_tail_has_each_request_of_all_workers_also_without_a_log(terraster, backend) -> None:
    origin = backend(answer=ok(b"hello"))
    site = service(origin.url, access_log="off")
    other = service("http://127.0.0.1:9", name="other", host="other.test", retry="off")
    proxy = terraster(site, other, access_log="off", workers=2)
    get(proxy.address, "/before")
    with followed(proxy, "service_name=site&status=2xx&path=/a") as tail, followed(proxy, "status=5xx") as bad:
        wait_until(lambda: len(tail.of("workers")[-1]["listening"]) == 2)
        clients = by_worker(proxy)
        for pid, connections in clients.items():
            for path in ("/a", "/b"):
                connections[0].send(b"GET %b/%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % (path.encode(), pid)).response()
        get(proxy.address, "/a", host="other.test")
        wait_until(lambda: len(tail.of("request")) == 2 and len(bad.of("request")) == 1, lambda: str(tail.of("workers")))
        assert {one["path"] for one in tail.of("request")} == {f"/a/{pid}" for pid in clients}
        first = tail.of("request")[0]
        assert (first["status"], first["service"], first["backend"], first["method"]) == (200, "site", origin.url, "GET")
        assert bad.of("request")[0]["reason"] == "connection_refused"
        victim = proxy.workers()[0]
        os.kill(victim, signal.SIGKILL)
        new = wait_until(lambda: set(tail.of("workers")[-1]["listening"]) - {victim, *clients} and proxy.workers())
        wait_until(lambda: set(new) == set(proxy.workers()) == set(tail.of("workers")[-1]["listening"]))
        again = by_worker(proxy)
        for pid, connections in again.items():
            connections[0].send(b"GET /a/new/%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % pid).response()
        wait_until(lambda: {one["path"] for one in tail.of("request")} >= {f"/a/new/{pid}" for pid in again})


def test_the_command_ends_with_an_interruption(terraster, backend) -> None:
    proxy = terraster(service(backend(answer=ok()).url))
    command = [sys.executable, "-m", "terraster.cli.ctl", "--runtime-dir", proxy.runtime_dir, "tail", "--path", "/a"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background jobs ignore it
    try:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        shown = select.poll()
        shown.register(program.stdout, select.POLLIN)
        wait_until(lambda: get(proxy.address, "/a").status == 200 and shown.poll(100))
        assert program.stdout is not None and " GET " in program.stdout.readline()
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=20)
        assert (program.returncode, said) == (-signal.SIGINT, ""), "nothing but what was shown"
    finally:
        program.kill()
        program.wait()
