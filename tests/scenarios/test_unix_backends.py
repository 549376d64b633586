"""Backends on unix sockets: the same as any other backend, but for what can be wrong with a path."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..harness.backends import Peer, always, ok, websocket_echo
from ..harness.client import exchange, get
from ..harness.nginx import BACKEND, Nginx
from ..harness.program import Program
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
QUICK = {"type": "http", "interval": "0.1s", "timeout": "5s", "thresholds": {"healthy": 1, "unhealthy": 1}}


def state(proxy, at: int = 0) -> dict:
    """One backend of the only location, as the status has it."""
    return proxy.status()["services"][0]["locations"][0]["backends"][at]


def test_the_backend_is_told_what_any_backend_is_told(terraster, backend, sockets) -> None:
    origin = backend(answer=ok(), path=f"{sockets}/app")
    proxy = terraster(origin)
    for _ in range(3):
        assert get(proxy.address).status == 200
    assert exchange(proxy.address, b"GET / HTTP/1.0\r\n\r\n").status == 200
    request, *_, old = origin.wait(4)
    assert len(origin.peers) == 1, "its connection is kept"
    assert [request.get(name) for name in ("host", "x-forwarded-host", "x-real-ip", "x-forwarded-proto")] == [
        "a.test",
        "a.test",
        "127.0.0.1",
        "http",
    ]
    assert old.get("host") == "localhost"
    assert {line["upstream"] for line in proxy.log(4)} == {f"unix:{sockets}/app"}
    assert proxy.metrics()[f'terraster_backend_up{{backend="unix:{sockets}/app",location="/",service="site"}}'] == 1


def test_a_base_path_is_put_in_front_and_taken_away_from_redirects(terraster, backend, sockets) -> None:
    backend(answer=lambda request: ok(request.target.encode(), b"Location: http://localhost/base/there\r\n"), path=f"{sockets}/app")
    url = f"http+unix://{str(sockets).replace('/', '%2F')}%2Fapp/base/"
    answer = get(terraster(service(url)).address, "/x")
    assert (answer.body, answer.get("location")) == (b"/base/x", "http://a.test/there")


def test_bodies_and_tunnels_pass(terraster, backend, sockets) -> None:
    def script(peer: Peer) -> None:
        if peer.backend.peers.index(peer):
            websocket_echo(peer)
        else:
            always(lambda request: ok(request.body))(peer)

    origin = backend(script, path=f"{sockets}/app")
    proxy = terraster(origin)
    body = os.urandom(3 << 20)
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.response("POST").body == body
    origin.wait_peer(0).close()
    with proxy.connect() as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.response(upgrade=True).status == 101
        client.send(b"\x81\x82\0\0\0\0hi")
        assert client.receive_exactly(4) == b"\x81\x02hi"


def test_checks_go_through_the_socket_and_say_what_is_wrong_with_it(terraster, backend, sockets) -> None:
    path = f"{sockets}/app"
    proxy = terraster(service(f"unix:{path}"), health_check=QUICK)
    assert state(proxy)["state"] == "down"
    assert "there is no such socket (ENOENT)" in proxy.ctl("why", path).stdout
    assert get(proxy.address).status == 503
    with socket.socket(socket.AF_UNIX) as left:  # the file of a server that was killed
        left.bind(path)
        wait_until(lambda: "nothing listens on the socket (ECONNREFUSED)" in state(proxy)["reason"], lambda: state(proxy)["reason"])
    os.unlink(path)
    origin = backend(answer=ok(), path=path)
    wait_until(lambda: state(proxy)["up"], lambda: state(proxy)["reason"])
    assert origin.requests[0].target == "/health"
    assert origin.requests[0].get("host") == "localhost"
    assert get(proxy.address).status == 200
    assert state(proxy)["address"] is None


def test_a_tcp_check_is_a_connection(terraster, backend, sockets) -> None:
    backend(answer=ok(), path=f"{sockets}/app")
    proxy = terraster(service(f"unix:{sockets}/app"), health_check={**QUICK, "type": "tcp"})
    wait_until(lambda: state(proxy)["up"], lambda: state(proxy)["reason"])
    assert state(proxy)["reason"] == "it accepts connections"


def test_requests_are_tried_elsewhere_and_failures_name_the_code(terraster, backend, sockets) -> None:
    there = backend(answer=ok(b"there"), path=f"{sockets}/there")
    proxy = terraster(service(f"unix:{sockets}/gone", there.url))
    for _ in range(8):
        assert get(proxy.address).body == b"there"
    assert wait_until(lambda: state(proxy)["state"] == "ejected")
    told = [line["detail"] for line in proxy.log(8) if line["detail"]]
    assert set(told) == {f"unix:{sockets}/gone: no connection to the backend (ENOENT)"}
    assert "no connection to the backend (ENOENT)" in proxy.ctl("why", "site", f"unix:{sockets}/gone").stdout


def test_nobody_there_is_a_502_that_names_no_path(terraster, sockets) -> None:
    answer = get(terraster(service(f"unix:{sockets}/gone", location={"retry": "off"})).address)
    assert answer.status == 502
    assert "error=destination_unavailable" in answer.get("proxy-status")
    assert str(sockets).encode() not in answer.body


class Full:
    """A server on a unix socket that does not accept yet, and whose queue is full."""

    def __init__(self, path: str, stack: ExitStack) -> None:
        self.listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        self.listener.bind(path)
        self.listener.listen(0)
        self.waiting = 0
        while True:
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            try:
                one.connect(path)
            except BlockingIOError:
                return
            self.waiting += 1

    def answer(self) -> None:
        """Accept those who wait, and answer the one behind them."""
        for _ in range(self.waiting):
            self.listener.accept()[0].close()
        peer, _ = self.listener.accept()
        peer.settimeout(30)
        assert peer.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
        peer.sendall(ok(b"at last"))
        peer.close()


def test_a_full_queue_is_waited_for(terraster, sockets, stack) -> None:
    server = Full(f"{sockets}/app", stack)
    proxy = terraster(service(f"unix:{sockets}/app", location={"retry": "off"}))
    with proxy.connect() as client:
        client.send(GET)
        wait_until(lambda: state(proxy)["open"] == 1)
        server.answer()
        assert client.response().body == b"at last"


def test_a_queue_that_stays_full_is_a_timeout(terraster, sockets, stack) -> None:
    Full(f"{sockets}/app", stack)
    proxy = terraster(service(f"unix:{sockets}/app", location={"retry": "off"}, timeouts={"connect": "0.1s"}))
    answer = get(proxy.address)
    assert answer.status == 504
    assert "error=connection_timeout" in answer.get("proxy-status")
    assert state(proxy)["open"] == 0


def test_a_check_waits_for_a_full_queue(terraster, sockets, stack) -> None:
    server = Full(f"{sockets}/app", stack)
    proxy = terraster(service(f"unix:{sockets}/app"), health_check={**QUICK, "timeout": "30s", "interval": "1h"})
    assert state(proxy)["reason"] == "no result yet"
    while server.waiting:
        server.listener.accept()[0].close()
        server.waiting -= 1
    peer, _ = server.listener.accept()
    with peer:
        peer.settimeout(30)
        assert peer.recv(65536).startswith(b"GET /health HTTP/1.1\r\n")
        peer.sendall(ok())
    wait_until(lambda: state(proxy)["up"], lambda: state(proxy)["reason"])


def test_sessions_and_hashes_stay_over_a_reload(terraster, backend, sockets) -> None:
    origins = [backend(answer=ok(b"%d" % number), path=f"{sockets}/{number}") for number in range(3)]
    urls = [origin.url for origin in origins]
    sticky = service(*urls, name="sticky", host="s.test", location={"lb_policy": "sticky-session"})
    hashed = service(*urls, name="hashed", host="h.test", location={"lb_policy": "consistent-hash", "hash_on": "path"})
    proxy = terraster(sticky, hashed)
    first = get(proxy.address, host="s.test")
    cookie = (first.get("set-cookie") or "").partition(";")[0]
    places = [get(proxy.address, f"/{number}", host="h.test").body for number in range(30)]
    assert set(places) == {b"0", b"1", b"2"}
    sticky["locations"][0]["backends"].reverse()
    hashed["locations"][0]["backends"].reverse()
    changes = proxy.reload(sticky, hashed)["changes"]
    assert "~ service hashed: ~ order of the backends" in changes
    assert {get(proxy.address, host="s.test", fields=f"Cookie: {cookie}\r\n").body for _ in range(6)} == {first.body}
    assert [get(proxy.address, f"/{number}", host="h.test").body for number in range(30)] == places


def test_operators_name_it_by_its_path(terraster, backend, sockets) -> None:
    one, two = backend(answer=ok(b"one"), path=f"{sockets}/one"), backend(answer=ok(b"two"), path=f"{sockets}/two")
    proxy = terraster(service(one.url, two.url))
    for url in (f"{sockets}/one", one.url):
        assert proxy.ctl("backend", "drain", "site", url).returncode == 0
        assert state(proxy)["state"] == "draining"
        assert {get(proxy.address).body for _ in range(4)} == {b"two"}
        assert proxy.ctl("backend", "enable", "site", url).returncode == 0
    changes = proxy.reload(service(one.url))["changes"]
    assert f"~ service site: - backend {two.url}" in changes


@pytest.mark.needs("setpriv")
def test_a_socket_that_it_may_not_use_is_named_as_such(fresh, backend, sockets, monkeypatch) -> None:
    origin = backend(answer=ok(), path=f"{sockets}/app")
    os.chmod(origin.address, 0)
    if os.geteuid() == 0:  # root may connect to anything, unless it has given this up
        capabilities = "-dac_override,-dac_read_search"
        launcher = ("setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}")
        monkeypatch.setattr("tests.harness.terraster_process.Terraster.launcher", launcher)
    proxy = fresh(origin, health_check=QUICK, wait=False)
    wait_until(lambda: proxy.admin("/healthz").status == 200, tolerate=(OSError, AssertionError), deadline=30)
    assert "this user may not connect to the socket (EACCES)" in proxy.ctl("why", origin.url).stdout
    os.chmod(origin.address, 0o600)
    wait_until(lambda: state(proxy)["up"], lambda: state(proxy)["reason"])
    assert get(proxy.address).status == 200


_APPLICATION = """
def application(environ, start):
    body = environ["wsgi.input"].read()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_gunicorn(terraster, sockets, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_APPLICATION)
    path = f"{sockets}/gunicorn.sock"
    command = [sys.executable, "-m", "gunicorn", "--bind", f"unix:{path}", "--workers", "1", "app:application"]
    proxy = terraster(service(f"unix:{path}"))
    with Program(command, tmp_path / "gunicorn.log", PYTHONPATH=str(tmp_path)) as gunicorn:
        gunicorn.wait_ready(lambda: os.path.exists(path), 30)
        with proxy.connect() as client:
            for size in (0, 5, 200_000):
                body = os.urandom(size)
                client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size + body)
                answer = client.response("POST")
                assert (answer.status, answer.body) == (200, body)


@pytest.mark.needs("nginx")
def test_nginx(terraster, sockets, tmp_path: Path) -> None:
    path = f"{sockets}/nginx.sock"
    with Nginx(tmp_path / "nginx", locations=f"listen unix:{path};{BACKEND}"):
        proxy = terraster(service(f"unix:{path}"), health_check=QUICK)
        wait_until(lambda: state(proxy)["up"], lambda: state(proxy)["reason"])
        with proxy.connect() as client:
            for _ in range(5):
                assert client.send(b"GET /hello HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"hello"
        assert state(proxy)["open"] == 1


def test_check_needs_no_socket_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "terraster.yaml").write_text("health_check: {path: /}\nbackends: ['unix:/nowhere/app.sock']\n")
    command = [sys.executable, "-m", "terraster.cli.main", "--check", "--config", "terraster.yaml"]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert (run.returncode, run.stderr) == (0, ""), run
