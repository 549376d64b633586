"""`terrasterctl` against a real Terraster: true outcomes, and what it does when somebody is away."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from terraster.cli import control

from .harness.terraster_process import ROOT, Terraster, is_gone, run_ctl, service, wait_gone
from .harness.waiting import wait_until

BACKEND = "http://127.0.0.1:1"


def admin_pid(terraster: Terraster) -> int:
    return next(worker["pid"] for worker in terraster.status()["workers"] if worker["role"] == "admin")


def test_reload_says_what_changed(tmp_path):
    with Terraster(tmp_path, service(BACKEND)) as terraster:
        terraster.write(service(BACKEND), service(BACKEND, name="other", host="b.example"))
        result = terraster.ctl("reload", process=True)
        assert (result.returncode, result.stderr) == (0, "")
        *changes, last = result.stdout.splitlines()
        assert any("other" in line for line in changes)
        assert re.fullmatch(r"reloaded: all processes run the new configuration, generation 2; it took [\d.]+m?s", last)
        assert "reload (terrasterctl): generation 2 runs in all processes, after" in terraster.said
        again = terraster.ctl("reload")
        assert again.stdout == "nothing to reload: the configuration is what runs already, generation 2, and nothing was touched\n"
        assert "reload (terrasterctl): nothing to reload, generation 2 goes on" in terraster.said
        document = terraster.status()
        assert document["generation"] == 2 and document["last_reload"]["ok"]
        assert {one["name"] for one in document["services"]} == {"other", "site"}
        assert terraster.metrics()["terraster_config_generation"] == 2


def test_a_reload_that_is_refused_says_why_and_changes_nothing(tmp_path):
    with Terraster(tmp_path, service(BACKEND)) as terraster:
        terraster.write(service(BACKEND), wrokers=2)
        result = terraster.ctl("reload", process=True)
        assert (result.returncode, result.stdout) == (1, "")
        first, second = result.stderr.splitlines()
        assert first == "terrasterctl: not reloaded, generation 1 stays in effect:"
        assert second.startswith(f"  {terraster.config_file}:") and "unknown key `wrokers`" in second
        as_json = terraster.ctl("--json", "reload")
        assert as_json.returncode == 1 and json.loads(as_json.stdout)["ok"] is False
        assert terraster.metrics()["terraster_config_last_reload_successful"] == 0
        assert terraster.status()["problems"][-1]["kind"] == "reload-failed"
        terraster.reload(service(BACKEND))
        assert terraster.status()["problems"] == []


def test_status_for_people(tmp_path):
    with Terraster(tmp_path, service(BACKEND), health_check={"type": "tcp", "interval": "60s"}) as terraster:
        result = terraster.ctl("status", process=True)
        assert (result.returncode, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert lines[0].startswith("Terraster ") and f"pid {terraster.pid}" in lines[0] and "generation 1" in lines[0]
        assert "  site/: no backend is up: every request is answered with 503" in lines
        assert any(f"{BACKEND} has been down" in line and "refused" in line for line in lines)
        assert "\x1b" not in result.stdout


def test_stop_waits_until_it_has_stopped(tmp_path):
    with Terraster(tmp_path, service(BACKEND)) as terraster:
        workers = terraster.workers()
        result = terraster.ctl("stop", process=True)
        assert (result.returncode, result.stdout) == (0, f"stopped (pid {terraster.pid})\n")
        assert all(is_gone(pid) for pid in (terraster.pid, *workers))
        for command in ("status", "reload", "stop"):
            late = terraster.ctl(command)
            assert late.returncode == 3 and "not running" in late.stderr


def test_stop_waits_for_open_requests_unless_told_otherwise(tmp_path):
    with socket.socket() as slow:
        slow.bind(("127.0.0.1", 0))
        slow.listen()
        with Terraster(tmp_path, service(f"http://127.0.0.1:{slow.getsockname()[1]}"), drain_timeout="30s") as terraster:
            client = socket.create_connection(terraster.address)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            upstream, _ = slow.accept()
            early = terraster.ctl("stop", "--timeout", "0.5")
            assert early.returncode == 4 and "still runs" in early.stderr
            upstream.close()
            slow.close()
            wait_gone(terraster.pid)
            assert client.recv(65536).startswith(b"HTTP/1.1 50")
            client.close()


def test_stop_now(tmp_path):
    with socket.socket() as slow:
        slow.bind(("127.0.0.1", 0))
        slow.listen()
        with Terraster(tmp_path, service(f"http://127.0.0.1:{slow.getsockname()[1]}"), drain_timeout="30s") as terraster:
            client = socket.create_connection(terraster.address)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            slow.accept()
            assert terraster.ctl("stop", "--now", "--timeout", "10", process=True).returncode == 0
            client.close()


def test_the_admin_worker_is_killed_and_the_next_one_answers(tmp_path):
    with Terraster(tmp_path, service(BACKEND)) as terraster:
        for _ in range(2):
            os.kill(admin_pid(terraster), signal.SIGKILL)
            result = terraster.ctl("reload")
            assert (result.returncode, result.stderr) == (0, "")


def test_reload_while_the_admin_worker_is_away_goes_by_signal_and_still_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "AT_ONCE", 0.5)
    with Terraster(tmp_path, service(BACKEND)) as terraster:
        pid = admin_pid(terraster)

        def wake() -> None:
            """Once terrasterctl has given up on it."""
            try:
                wait_until(lambda: "SIGHUP: reloading" in terraster.said)
            finally:
                os.kill(pid, signal.SIGCONT)

        os.kill(pid, signal.SIGSTOP)
        waker = threading.Thread(target=wake)
        waker.start()
        try:
            terraster.write(service(BACKEND), service(BACKEND, name="other", host="b.example"))
            result = terraster.ctl("reload", deadline=60)
        finally:
            waker.join()
        assert result.returncode == 0, result
        assert "the admin worker does not answer; sent the master a signal instead" in result.stderr
        assert "new configuration, generation 2; it took " in result.stdout


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    line = [sys.executable, "-m", "terraster.cli.ctl", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, capture_output=True, text=True, timeout=30, env=environment, cwd=cwd)


@pytest.fixture
def somebody(tmp_path):
    """A process, and the runtime directory whose pid file names it."""
    (tmp_path / "terraster.pid").touch()
    with subprocess.Popen(["sleep", "60"]) as process:
        (tmp_path / "terraster.pid").write_text(f"{process.pid}\n")
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["reload", "stop", "status"])
@pytest.mark.parametrize("socket_left", [False, True])
def test_a_stale_pid_file_whose_number_is_somebody_elses_by_now(tmp_path, somebody, command, socket_left):
    if socket_left:
        with socket.socket(socket.AF_UNIX) as left:  # as after SIGKILL: the file is there, nobody listens
            left.bind(str(tmp_path / "control.sock"))
    result = run_ctl("--runtime-dir", str(tmp_path), command)
    assert result.returncode == 3 and "Terraster is not running: no process holds the lock on" in result.stderr
    assert somebody.poll() is None, "a process that is no master was signalled"


def test_whoever_holds_the_pid_file_is_the_master(tmp_path, somebody):
    with open(tmp_path / "terraster.pid") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status = run_ctl("--runtime-dir", str(tmp_path), "status")
        assert status.returncode == 1 and f"Terraster runs (pid {somebody.pid})" in status.stderr
        result = run_ctl("--runtime-dir", str(tmp_path), "stop")
    assert (result.returncode, result.stdout) == (0, f"stopped (pid {somebody.pid})\n")
    assert somebody.wait(10) == -signal.SIGTERM


def test_nobody_there(tmp_path):
    missing = command("--config", "none.yaml", "status", cwd=tmp_path)
    assert missing.returncode == 1 and "none.yaml: No such file or directory" in missing.stderr
    run = tmp_path / "run"
    run.mkdir()
    assert run_ctl("--runtime-dir", str(run), "status").returncode == 3
    (run / "terraster.pid").write_text(f"{2**22 + 1}\n")
    stale = run_ctl("status", "-runtime-dir", str(run), "--json")
    assert stale.returncode == 3 and "not running" in stale.stderr and json.loads(stale.stdout)["ok"] is False
    (run / "terraster.pid").write_text("x")
    assert run_ctl("stop", "--runtime-dir", str(run)).returncode == 3
    with open(run / "terraster.pid") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        unreadable = run_ctl("stop", "--runtime-dir", str(run))
        assert unreadable.returncode == 1 and "does not contain a pid" in unreadable.stderr
    assert run_ctl("nonsense").returncode == 2
    assert command().returncode == 2


@pytest.fixture(scope="module")
def terraster(tmp_path_factory):
    """One for all that only look."""
    with Terraster(tmp_path_factory.mktemp("terraster"), service(BACKEND)) as terraster:
        yield terraster


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/"])
def test_the_admin_port(terraster, path):
    wait_until(lambda: terraster.admin("/readyz").status == 200, "readiness")
    answer = terraster.admin(path)
    assert answer.status == 200 and answer.body
    assert terraster.admin("/status").status == 404, "steering is not for the TCP ports"


def test_a_scrape_counts_what_went_through(terraster):
    for _ in range(3):
        with socket.create_connection(terraster.address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 502 " in client.recv(65536)
    place = 'location="/",service="site"'
    wait_until(lambda: terraster.metrics().get(f'terraster_requests_total{{code="502",{place}}}') == 3, "three requests counted")
    found = terraster.metrics()
    assert found[f"terraster_request_duration_seconds_count{{{place}}}"] == 3
    assert found[f'terraster_backend_failures_total{{backend="{BACKEND}",{place}}}'] >= 3
    assert found[f'terraster_bytes_total{{direction="out",{place}}}'] > 300
    assert found["terraster_workers"] == 1
    line = terraster.log(3)[-1]
    assert (line["status"], line["service"], line["upstream"], line["error"] != "") == (502, "site", BACKEND, True)
