"""The pid file, the control socket and other unix sockets are removed while Terraster runs: they are made again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

from ..harness.backends import ok
from ..harness.client import Connection, get
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
SOON = 15.0  # seconds; 2 on an idle machine


def answers(path: Path | str) -> bool:
    try:
        with Connection(str(path)) as client:
            return client.send(GET).response().status == 200
    except OSError:
        return False


def test_a_cleaned_runtime_directory_is_made_again(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    run = Path(proxy.runtime_dir)
    with proxy.connect() as client:
        client.send(GET).response()
        shutil.rmtree(run)
        wait_until(lambda: proxy.ctl("status").returncode == 0, lambda: proxy.said, SOON)
        assert client.send(GET).response().status == 200
    assert int((run / "terraster.pid").read_text()) == proxy.pid
    assert (run.stat().st_mode & 0o777, (run / "control.sock").stat().st_mode & 0o777) == (0o700, 0o600)
    assert proxy.ctl("reload").returncode == 0
    assert proxy.said.count("made again") == 2
    assert proxy.ctl("stop").returncode == 0
    assert proxy.program is not None
    assert proxy.program.wait() == 0
    assert list(run.iterdir()) == []


def test_unix_listeners_are_made_again(fresh, backend, sockets: Path) -> None:
    """The traffic's, and those of metrics and administration; connections that are open stay."""
    traffic, metrics = sockets / "traffic", sockets / "metrics"
    proxy = fresh(backend(answer=ok()), listen=[f"unix:{traffic}"], metrics={"listen": f"unix:{metrics}"}, workers=2)
    with Connection(str(traffic)) as client:
        assert client.send(GET).response().status == 200
        traffic.unlink()
        metrics.unlink()
        wait_until(lambda: all(answers(traffic) for _ in range(8)), lambda: proxy.said, SOON)
        assert client.send(GET).response().status == 200
    wait_until(lambda: metrics.exists() and b"200" in scrape(metrics), lambda: proxy.said, SOON)
    before = proxy.workers()
    proxy.reload(service(backend(answer=ok(b"new")).url))
    with Connection(str(traffic)) as client:
        assert client.send(GET).response().body == b"new"
    assert proxy.workers() == before


def scrape(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(5)
        try:
            one.connect(str(path))
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return one.recv(100)
        except OSError:
            return b""


def test_a_path_that_another_process_listens_on_is_left_to_it(fresh, backend, sockets: Path) -> None:
    path = sockets / "traffic"
    proxy = fresh(backend(answer=ok()), listen=[f"unix:{path}"])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        inode = path.stat().st_ino
        wait_until(lambda: "cannot be made again yet: Address already in use" in proxy.said, lambda: proxy.said, SOON)
        assert path.stat().st_ino == inode
    wait_until(lambda: answers(path), lambda: proxy.said, SOON)
    assert proxy.said.count("cannot be made again") == 1


def test_a_socket_of_another_process_stays_when_terraster_ends(fresh, backend, sockets: Path) -> None:
    path = sockets / "traffic"
    proxy = fresh(backend(answer=ok()), listen=[f"unix:{path}"])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert proxy.program is not None
        assert proxy.program.stop() == 0
        assert path.exists()


def test_an_upgrade_survives_the_loss_of_its_files(fresh, backend) -> None:
    """Removed while two masters run, they are made again by the one that stays."""
    proxy = fresh(backend(answer=ok()))
    run = Path(proxy.runtime_dir)
    proxy.signal(signal.SIGUSR2)
    wait_until(lambda: proxy.said.count("ready: ") == 2, lambda: proxy.said, 30)
    shutil.rmtree(run)
    assert proxy.program is not None
    assert proxy.program.stop() == 0
    pid_file = run / "terraster.pid"
    pid = wait_until(lambda: pid_file.exists() and int(pid_file.read_text() or 0), lambda: proxy.said, SOON)
    assert pid != proxy.pid
    wait_until(lambda: proxy.ctl("status").returncode == 0, lambda: proxy.said, SOON)
    assert get(proxy.address).status == 200
    assert proxy.ctl("stop").returncode == 0
    assert not os.listdir(run)
