"""Workers of a master that is killed beside another one: during an upgrade, also one to a version whose table has another layout."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from terraster.state.cells import VERSION

from ..harness.backends import Peer, ok
from ..harness.client import Connection, get
from ..harness.terraster_process import ROOT, Terraster, is_gone, service, wait_gone
from ..harness.waiting import wait_until
from ..test_master_steps import relatives
from .test_upgrades import REQUESTS, begin

SLOW = b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n"


def of(master: int) -> list[int]:
    """The children of a master."""
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def kill(proxy: Terraster) -> None:
    """kill -9 of the master that was started here."""
    assert proxy.program is not None
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.program.wait()


@pytest.fixture
def release(fresh, tmp_path) -> Iterator[Callable[..., Terraster]]:
    """Start a Terraster from a link to its code, which then leads to a version with another layout of the table. ``other``: False: to the same
    code. All that it started is ended."""
    proxies: list[Terraster] = []

    def start(*parts, other: bool = True, **keys) -> Terraster:
        current = tmp_path / "current"
        current.symlink_to(ROOT)
        proxy = fresh(*parts, start=False, orphan_timeout="120s", **keys)
        proxies.append(proxy)
        proxy.root = current
        proxy.start()
        if other:
            shutil.copytree(ROOT / "terraster", tmp_path / "next" / "terraster")
            cells = tmp_path / "next" / "terraster" / "state" / "cells.py"
            text = cells.read_text()
            cells.write_text(text.replace(f"VERSION = {VERSION}\n", f"VERSION = {VERSION + 1}\n"))
            assert cells.read_text() != text
            current.unlink()
            current.symlink_to(tmp_path / "next")
        return proxy

    yield start
    for proxy in proxies:
        for pid in relatives(str(proxy.config_file)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_workers_of_another_layout_leave_when_their_master_is_killed(release, slow) -> None:
    """They cannot see in their table that the new master serves."""
    proxy = release(slow)
    new = begin(proxy)
    orphans = [pid for pid in of(proxy.pid) if pid != new]
    kill(proxy)
    for pid in orphans:
        wait_gone(pid, 30)
    wait_until(
        lambda: "2 workers of a master that has gone:" in proxy.said or proxy.said.count("1 worker of") == 2, lambda: proxy.said
    )
    assert get(proxy.address).status == 200
    assert proxy.status()["pid"] == new
    wait_until(lambda: sorted(os.listdir(proxy.runtime_dir)) == ["control.sock", "terraster.pid"], "no file is left")


def test_so_do_those_of_a_new_master(release, slow) -> None:
    proxy = release(slow)
    new = begin(proxy)
    orphans = of(new)
    os.kill(new, signal.SIGKILL)
    for pid in orphans:
        wait_gone(pid, 30)
    for _ in range(5):
        assert get(proxy.address).status == 200
    assert proxy.status()["pid"] == proxy.pid
    wait_until(lambda: sorted(os.listdir(proxy.runtime_dir)) == ["control.sock", "terraster.pid"], "no file is left")


@pytest.mark.parametrize("other", [False, True], ids=["the same layout", "another layout"])
def test_term_in_the_moment_of_the_old_masters_death_leaves_nobody(release, slow, other: bool) -> None:
    """The new master learns of both at once."""
    proxy = release(slow, other=other)
    new = begin(proxy)
    orphans = [pid for pid in of(proxy.pid) if pid != new]
    assert len(orphans) == 2
    os.kill(new, signal.SIGSTOP)
    kill(proxy)
    os.kill(new, signal.SIGTERM)
    os.kill(new, signal.SIGCONT)
    wait_gone(new, 30)
    assert all(is_gone(pid) for pid in orphans)
    with pytest.raises(ConnectionRefusedError):
        Connection(proxy.address)
    assert os.listdir(proxy.runtime_dir) == []


@pytest.mark.parametrize("other", [False, True], ids=["the same layout", "another layout"])
def test_a_new_master_that_is_stopped_while_it_starts_leaves_nobody(release, backend, other: bool) -> None:
    """Its first health checks are not over, and the old master is dead."""
    held = threading.Event()
    go = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/health" and held.is_set():
                go.wait(30)
            peer.send(ok())

    origin = backend(script)
    proxy = release(service(origin.url), other=other, health_check={"type": "http", "interval": "60s", "timeout": "30s"})
    held.set()
    proxy.signal(signal.SIGUSR2)
    pids = Path(proxy.runtime_dir) / "terraster.pid.2"
    wait_until(lambda: pids.exists() and pids.read_text().strip(), "the new master")
    new = int(pids.read_text())
    orphans = [pid for pid in of(proxy.pid) if pid != new]
    kill(proxy)
    os.kill(new, signal.SIGTERM)
    wait_gone(new, 40)
    go.set()
    assert all(is_gone(pid) for pid in orphans)
    with pytest.raises(ConnectionRefusedError):
        Connection(proxy.address)


def test_workers_of_a_new_master_that_is_killed_while_the_old_one_drains_wait_for_the_next(release, slow) -> None:
    """Nobody told them to leave: the old master was told to go because the new one serves."""
    proxy = release(slow, other=False)
    new = begin(proxy)
    orphans = of(new)
    with ExitStack() as clients:
        busy = [clients.enter_context(proxy.connect()).send(SLOW) for _ in range(12)]  # workers of both masters have some
        slow.wait(12)
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: "SIGTERM: stopping" in proxy.said, lambda: proxy.said)
        os.kill(new, signal.SIGKILL)
        wait_until(lambda: proxy.said.count("this worker serves on") == 2, lambda: proxy.said)
        slow.go.set()
        assert [one.response().status for one in busy] == [200] * 12
    assert proxy.program is not None
    assert proxy.program.wait(30) == 0
    for _ in range(5):
        assert get(proxy.address).status == 200
    assert not any(is_gone(pid) for pid in orphans)
    before = len(proxy.said)
    proxy.start(wait=False)
    wait_until(lambda: "ready: " in proxy.said[before:], lambda: proxy.said, 30)
    for pid in orphans:
        wait_gone(pid, 30)
    assert get(proxy.address).status == 200
    wait_until(lambda: proxy.metrics()[REQUESTS] == 18, lambda: str(proxy.metrics()))
