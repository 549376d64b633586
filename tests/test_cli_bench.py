"""`terraster bench` as a command: what it refuses, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from terraster.bench.fleet import Fleet
from terraster.cli import bench, main, progress
from terraster.errors import StartError

from .harness.backends import Backend, always, ok
from .harness.load_runner import load_on
from .harness.waiting import wait_until

ROOT = Path(__file__).parent.parent


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "terraster.cli.main", "bench", *words]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--url", "ftp://a.test"], "must begin with http:// or https://"),
        (["--url", "http://"], "has no host"),
        (["--url", "http://a.test/ä"], "percent-encoded"),
        (["--url", "http://a.test:99999"], "Port out of range"),
        (["--url", "http://user:word@a.test"], "has a user"),
        (["-c", "0"], "at least 1"),
        (["-c", "1000000"], "at most 100,000"),
        (["-n", "ten"], "whole number"),
        (["-d", "soon"], "must be a duration"),
        (["--rate", "-5"], "more than 0"),
        (["--rate", "nan"], "more than 0"),
        (["--timeout", "0"], "more than 0"),
        (["-d", "0"], "--duration must be more than 0"),
        (["--streams", "2"], "--streams needs --http2"),
        (["--http2", "--no-keepalive"], "HTTP/1.1"),
        (["--arrivals", "random"], "needs --rate"),
        (["--connect", "a.test"], "must be HOST:PORT"),
        (["--connect", "[::1]:80", "--unix", "a"], "exclude each other"),
        (["-X", "GET /"], "cannot be sent"),
        (["-X", "CONNECT"], "cannot be sent"),
        (["-H", "no colon"], "needs NAME: VALUE"),
        (["-H", "A: b\r\nC: d"], "cannot be sent"),
        (["-H", "Content-Length: 5"], "follows from --body"),
        (["-H", "Connection: close"], "see --no-keepalive"),
        (["--insecure"], "needs an https:// URL"),
        (["--plot", "picture.png"], "must end in .svg or .html"),
        (["--conections", "5"], "unrecognized arguments"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words: list[str], text: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(words)
    said = capsys.readouterr()
    assert ended.value.code == 2 and text in said.err and not said.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--body", "@missing"], "No such file"),
        (["--url", "https://a.test", "--cacert", "missing"], "No such file"),
        (["--url", "http://nowhere.invalid"], "does not resolve"),
        (["--url", "http://127.0.0.1", "--plot", "missing/p.svg"], "No such file"),
    ],
)
def test_a_file_or_name_that_is_not_there_is_said(words: list[str], text: str, capsys) -> None:
    assert main.main(["bench", *words]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("terraster bench: ") and text in said.err and not said.out


def test_a_file_of_authorities_that_is_none_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(StartError):
        Fleet(load_on(1, "https", authorities=str(tmp_path / "none.pem")), 1).run(lambda: None)


@pytest.mark.parametrize(
    ("columns", "line"), [(80, "[############            ]  50%  12 requests"), (43, " 50%  12 requests"), (10, " 50%  12 ")]
)
def test_a_line_of_progress_fits_its_terminal(columns: int, line: str) -> None:
    assert progress.line(0.5, "12 requests", columns) == line


def test_stopped_and_interrupted_on_a_terminal_it_prints_what_it_has(tmp_path: Path) -> None:
    """The server answers all but every tenth request, and these not at all."""

    def answer(request) -> bytes:
        if request.get("x-load") and len(backend.requests) % 10 == 9:
            time.sleep(1.0)
        return ok(request.body)

    master, terminal = os.openpty()
    body = tmp_path / "body"
    body.write_bytes(b"octets")
    with Backend(always(answer), path=str(tmp_path / "socket")) as backend:
        words = command(
            "--url", "http://name.test/a?b", "--unix", str(backend.address), "--body", f"@{body}", "-d", "60s", "-c", "2"
        )
        with subprocess.Popen(
            [*words, "-H", "X-Load: 1", "--workers", "2"], stdout=subprocess.PIPE, stderr=terminal, text=True, cwd=ROOT
        ) as program:
            os.close(terminal)
            drawn = ""
            while "requests  " not in drawn:
                drawn += os.read(master, 65536).decode()
            program.send_signal(signal.SIGTSTP)
            wait_until(lambda: Path(f"/proc/{program.pid}/stat").read_text().split()[2] == "T")
            time.sleep(0.8)
            count = len(backend.requests)
            program.send_signal(signal.SIGCONT)
            wait_until(lambda: len(backend.requests) >= count + 10)
            program.send_signal(signal.SIGINT)
            printed = program.stdout.read()
        os.close(master)
    first = backend.requests[0]
    assert (first.method, first.target, first.get("host"), first.body) == ("POST", "/a?b", "name.test", b"octets")
    assert program.returncode == 1  # requests were unfinished
    assert (
        "Complete requests:     " in printed
        and "Error: unfinished: " in printed
        and "2 connections, HTTP/1.1, 2 processes" in printed
    )
    assert "Note: the load generator stood still for " in printed
    assert "[" in drawn and " requests  " in drawn and "p99" in drawn


def test_a_process_that_is_killed_is_told() -> None:
    with Backend(always(ok())) as backend:
        fleet = Fleet(load_on(backend.port, seconds=60.0), 2)

        def watch() -> None:
            if len(backend.requests) >= 10 and not fleet.stopped:
                fleet._processes[0].process.kill()
                fleet.stop()

        result = fleet.run(watch)
    assert len(result.faults) == 1 and "signal 9" in result.faults[0]
    assert len(result.shares) == 1


def test_json_says_all_and_the_exit_code_that_a_request_failed(tmp_path: Path) -> None:
    with Backend(always(ok(b"no", status=b"503 Service Unavailable"))) as backend:
        plot = tmp_path / "plot.html"
        done = subprocess.run(
            command(
                "--url",
                "http://a.test/",
                "--connect",
                f"127.0.0.1:{backend.port}",
                "-n",
                "25",
                "-c",
                "5",
                "--no-keepalive",
                "--json",
                "--plot",
                str(plot),
            ),
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
        )
    assert (done.returncode, done.stderr) == (1, "")
    figures = json.loads(done.stdout)
    assert (figures["complete"], figures["failed"], figures["statuses"]) == (25, 25, {"503": 25})
    assert figures["connect_seconds"]["count"] == len(backend.peers) == 25
    assert {request.get("host") for request in backend.requests} == {"a.test"}
    assert "<svg" in plot.read_text() and "Status 503" in plot.read_text()


def test_a_picture_that_cannot_be_written_costs_no_figure(tmp_path: Path) -> None:
    """The disk fills while the load runs."""
    plot = tmp_path / "plot.svg"
    plot.symlink_to("/dev/full")
    with Backend(always(ok(b"yes"))) as backend:
        words = ("--url", f"http://127.0.0.1:{backend.port}/", "-n", "5", "-c", "1", "--plot", str(plot))
        done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert (done.returncode, done.stderr) == (2, "terraster bench: the plot cannot be written: No space left on device\n")
        assert "Complete requests:" in done.stdout
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command(*words[:-2]), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stderr) == (2, "terraster bench: the result cannot be written: No space left on device\n")
