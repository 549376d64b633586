"""The loads of bench/drains.py count what is lost, and Terraster loses nothing when it is upgraded or restarted under them."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .harness.backends import Backend, Peer, ok
from .harness.ports import free_port
from .harness.program import Program, accepts, is_gone, wait_gone
from .harness.terraster_process import Terraster, service
from .harness.waiting import wait_until

BENCH = Path(__file__).resolve().parent.parent / "bench"
LOAD = {"kept": 20, "busy": 4, "fresh": 6, "sockets": 8}


@pytest.fixture
def drain_loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module bench/drain_loads.py."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module("drain_loads")
    sys.modules.pop("drain_loads", None)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[str]:
    """The URL of the backend that the loads need."""
    port = free_port()
    with Program([sys.executable, str(BENCH / "drain_loads.py"), str(port)], tmp_path / "echo") as program:
        program.wait_ready(lambda: accepts(("127.0.0.1", port)))
        yield f"http://127.0.0.1:{port}"


def asked(loads: Any) -> None:
    """Wait until more requests of each kind were answered."""
    before = {name: counts.answered for name, counts in loads.counts.items()}
    wait_until(
        lambda: all(counts.answered - before[name] >= 10 for name, counts in loads.counts.items()),
        lambda: f"answers; so far {loads.counts}",
        30,
    )


def nothing_lost(loads: Any) -> None:
    for name, counts in loads.counts.items():
        assert (counts.lost, counts.why) == (0, []), name


def upgrade(proxy: Terraster, old: int, count: int) -> int:
    """Upgrade in place: USR2, then TERM to the old master. Returns the pid of the new one."""
    run = Path(proxy.runtime_dir)
    os.kill(old, signal.SIGUSR2)
    wait_until(lambda: proxy.said.count("ready: generation") > count, "the new master's workers", 30)
    new = int((run / "terraster.pid.2").read_text())
    os.kill(old, signal.SIGTERM)
    if proxy.program is not None and old == proxy.program.pid:
        proxy.program.wait(30)
    wait_gone(old, 30)
    wait_until(lambda: (run / "terraster.pid").read_text().strip() == str(new), "the promotion", tolerate=(FileNotFoundError,))
    return new


@pytest.mark.alone
def test_upgrades_lose_nothing(drain_loads: ModuleType, echo: str, tmp_path: Path) -> None:
    with Terraster(tmp_path / "t", service(echo), drain_timeout="3s") as proxy:
        loads = drain_loads.Loads(proxy.address, **LOAD)
        loads.start()
        pid = proxy.pid
        try:
            for count in (1, 2):
                asked(loads)
                pid = upgrade(proxy, pid, count)
            asked(loads)
        finally:
            loads.stop()
            if pid != proxy.pid and not is_gone(pid):
                os.kill(pid, signal.SIGTERM)
                wait_gone(pid, 30)
        nothing_lost(loads)


@pytest.mark.alone
def test_restarts_under_socket_activation_lose_nothing(drain_loads: ModuleType, echo: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as held:
        environ = "LISTEN_FDS='1', LISTEN_PID=str(os.getpid())"
        script = (
            f"import os, sys; os.dup2({held.fileno()}, 3); os.environ.update(dict({environ})); os.execv(sys.argv[1], sys.argv[1:])"
        )
        kind = type("Activated", (Terraster,), {"launcher": (sys.executable, "-c", script), "keep": (held.fileno(),)})
        proxy = kind(tmp_path / "t", start=False, drain_timeout="3s")
        proxy.base["listen"] = f"127.0.0.1:{held.getsockname()[1]}"
        proxy.write(service(echo))
        with proxy:
            proxy.start()
            loads = drain_loads.Loads(held.getsockname(), **LOAD)
            loads.start()
            try:
                for _ in range(2):
                    asked(loads)
                    proxy.signal(signal.SIGTERM)
                    assert proxy.program.wait(30) == 0
                    proxy.start()
                asked(loads)
            finally:
                loads.stop()
            nothing_lost(loads)


def test_what_the_loads_count_as_lost(drain_loads: ModuleType) -> None:
    """Every other answer is missing, wrong or cut off."""
    answers = [
        None,
        ok(b"another"),
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n/1",
    ]

    def script(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        number = int(request.target[1:])
        if number % 2:
            peer.send(ok(request.target.encode()))
        elif answer := answers[number // 2 % len(answers)]:
            peer.send(answer)

    with Backend(script) as origin:
        loads = drain_loads.Loads(origin.address, kept=1, busy=0, fresh=0, sockets=0, think=0.001)
        loads.start()
        kept = loads.counts["kept"]
        wait_until(lambda: kept.answered >= 10, lambda: f"{kept}")
        loads.stop()
    assert abs(kept.answered - kept.lost) <= 1, kept
    words = " ".join(kept.why)
    assert "IncompleteReadError" in words and "another" in words and "502" in words
