"""Processes: how Terraster starts, loses workers, drains and stops."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from ..harness.backends import ok
from ..harness.client import Connection, get
from ..harness.fault import refusing_port
from ..harness.readings import total
from ..harness.terraster_process import Terraster, service, wait_gone
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def test_a_port_in_use_stops_the_start(tmp_path, backend) -> None:
    origin = backend(answer=ok())
    with socket.create_server(("127.0.0.1", 0)) as taken, Terraster(tmp_path / "t", service(origin.url), start=False) as proxy:
        port = taken.getsockname()[1]
        proxy.base["listen"] = f"127.0.0.1:{port}"
        proxy.write(service(origin.url))
        proxy.start(wait=False)
        assert proxy.program is not None
        assert proxy.program.wait(15) == 1
        assert str(port) in proxy.said and "in use" in proxy.said.lower()


@pytest.mark.parametrize("text", ["servces: []\n", "services: [\n", "port: many\n"])
def test_a_bad_configuration_stops_the_start(tmp_path, text: str) -> None:
    with Terraster(tmp_path / "t", start=False) as proxy:
        proxy.config_file.write_text(text)
        proxy.start(wait=False)
        assert proxy.program is not None
        assert proxy.program.wait(15) == 2
        assert "terraster.yaml:" in proxy.said


def test_nobody_is_sent_to_a_backend_that_was_never_seen(fresh, backend) -> None:
    """The first round of probes is over before the first accept."""
    good = backend(answer=ok(b"good"))
    with refusing_port() as port:
        check = {"type": "http", "interval": "5s", "timeout": "1s", "thresholds": {"healthy": 2, "unhealthy": 4}}
        proxy = fresh(service(f"http://127.0.0.1:{port}", good.url, health_check=check))
        for _ in range(6):
            assert get(proxy.address).body == b"good"
        tries = [line["tries"] for line in proxy.log(6)]
    assert tries == [1] * 6


def test_a_killed_worker_is_replaced(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), workers=2)
    before = proxy.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(proxy.workers()) - {before[0]}) == 2, "not replaced", 5)
    for _ in range(6):
        assert get(proxy.address).status == 200
    assert before[1] in proxy.workers()
    assert proxy.metrics()["terraster_worker_restarts_total"] == 1


def test_a_killed_workers_requests_end_and_only_those(fresh, slow) -> None:
    """Its seat is emptied: what it was doing at a backend counts no longer."""
    proxy = fresh(slow, workers=1)
    (worker,) = proxy.workers()
    with proxy.connect() as client:
        client.send(GET.replace(b"/ ", b"/slow "))
        slow.wait()
        os.kill(worker, signal.SIGKILL)
        assert client.rest() == b""
    slow.go.set()
    wait_until(lambda: proxy.workers() not in ([], [worker]))
    assert get(proxy.address).status == 200
    wait_until(lambda: total(proxy, "terraster_backend_active_requests") == 0, "what the killed one did is still counted")


def test_workers_leave_at_once_when_the_master_dies_and_no_new_one_is_waited_for(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), workers=2, orphan_timeout="0s")
    family = [worker["pid"] for worker in proxy.status()["workers"]]
    os.kill(proxy.pid, signal.SIGKILL)
    assert proxy.program is not None
    proxy.program.wait()
    for pid in family:
        wait_gone(pid, 20)
    with pytest.raises(ConnectionRefusedError):
        proxy.connect()


def test_sigterm_drains(fresh, slow) -> None:
    """No new connections, idle ones closed after a grace, what is under way finished with ``Connection: close``, then the end."""
    proxy = fresh(slow)
    idle, busy = proxy.connect(), proxy.connect()
    idle.send(GET).response()
    busy.send(GET.replace(b"/ ", b"/slow "))
    slow.wait(2)
    proxy.signal(signal.SIGTERM)
    assert idle.is_closed()
    wait_until(lambda: _refuses(proxy), "still accepting")
    slow.go.set()
    answer = busy.response()
    assert (answer.status, answer.body, answer.get("connection")) == (200, b"/slow", "close")
    assert busy.is_closed()
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0
    assert proxy.log(2)[1]["uri"] == "/slow"


def test_a_drain_answers_new_and_kept_connections(fresh, backend) -> None:
    """Whoever was connected when the drain began gets an answer to a request that comes a little later."""
    proxy = fresh(backend(answer=ok()))
    kept, new = proxy.connect(), proxy.connect()
    kept.send(GET).response()
    wait_until(lambda: _connections(proxy) == 2)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: _refuses(proxy), "still accepting")
    for client in (kept, new):
        answer = client.send(GET).response()
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert client.is_closed()
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0


def _connections(proxy: Terraster) -> int:
    return sum(worker["connections"] for worker in proxy.status()["workers"])


def _refuses(proxy: Terraster) -> bool:
    try:
        Connection(proxy.address, deadline=1).close()
    except OSError:
        return True
    return False


def test_a_drain_has_a_deadline(fresh, slow) -> None:
    proxy = fresh(slow, drain_timeout="500ms")
    with proxy.connect() as client:
        client.send(GET.replace(b"/ ", b"/slow "))
        slow.wait()
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.program is not None
        proxy.program.wait(15)
        assert 0.3 < time.monotonic() - began < 8
    slow.go.set()


def test_sigquit_ends_at_once(fresh, slow) -> None:
    proxy = fresh(slow)
    with proxy.connect() as client:
        client.send(GET.replace(b"/ ", b"/slow "))
        slow.wait()
        proxy.signal(signal.SIGQUIT)
        assert proxy.program is not None
        proxy.program.wait(8)
        client.rest()
    slow.go.set()


def test_stop_by_command(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    result = proxy.ctl("stop")
    assert result.returncode == 0, result.stderr
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0
    assert proxy.ctl("status").returncode == 3


def test_usr1_reopens_the_access_log(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()))
    get(proxy.address, "/before")
    proxy.log()
    rotated = proxy.access_file.with_suffix(".1")
    proxy.access_file.rename(rotated)
    proxy.signal(signal.SIGUSR1)
    wait_until(proxy.access_file.exists)
    get(proxy.address, "/after")
    assert [line["uri"] for line in proxy.log()] == ["/after"]
    assert "/after" not in rotated.read_text()


def test_ttin_and_ttou_change_the_number_of_workers(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    proxy.signal(signal.SIGTTIN)
    wait_until(lambda: len(proxy.workers()) == 2)
    proxy.signal(signal.SIGTTOU)
    wait_until(lambda: len(proxy.workers()) == 1)
    assert get(proxy.address).status == 200


def test_new_connections_spread_over_the_workers(terraster, backend) -> None:
    """200 connections, 2 workers: neither holds more than 65 %."""
    proxy = terraster(backend(answer=ok()), workers=2)
    clients = [proxy.connect() for _ in range(200)]
    for client in clients:
        assert client.send(GET).response().status == 200
    held = [worker["connections"] for worker in proxy.status()["workers"] if worker["role"] == "proxy"]
    for client in clients:
        client.close()
    assert sum(held) == 200
    assert max(held) <= 130, held


def test_traffic_does_not_notice_the_end_of_the_admin_worker(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    (admin,) = [worker["pid"] for worker in proxy.status()["workers"] if worker["role"] == "admin"]
    with proxy.connect() as client:
        os.kill(admin, signal.SIGKILL)
        for _ in range(20):
            assert client.send(GET).response().status == 200
    wait_until(proxy.serves, "no new admin worker", 10)


def test_the_control_socket_is_not_for_everybody(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    sockets = [path for path in (proxy.folder / "run").rglob("*") if path.is_socket()]
    assert sockets
    for path in sockets:
        assert path.stat().st_mode & 0o007 == 0 or path.parent.stat().st_mode & 0o007 == 0


def test_status_as_a_table(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin)
    get(proxy.address)
    result = proxy.ctl("status")
    assert result.returncode == 0
    for word in ("site", origin.url, "up"):
        assert word in result.stdout, result.stdout
