"""The program's log when nobody reads it: everything goes on, what was lost is counted, and the terminal keeps its flags."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .harness.family import Family
from .harness.program import is_gone

_CHATTER = """
import sys
from gunicorn.config import Config
from terraster.logs.program import ProgramLog
log = ProgramLog(Config())
for number in range(int(sys.argv[1])):
    log.info("line %d %s", number, "x" * 1000)
print("done", flush=True)
sys.stdin.readline()
log.flush()
log.info("after")
log.close()
"""


def chatter(count: int, stderr: int) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", _CHATTER, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environ,
    )


@pytest.mark.parametrize(("count", "lost"), [(200, False), (3000, True)])
def test_a_pipe_that_nobody_reads_holds_nobody_up(count: int, lost: bool) -> None:
    reader, writer = os.pipe()
    with chatter(count, writer) as child:
        os.close(writer)
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "done\n"
        text: list[str] = []
        thread = threading.Thread(target=lambda: text.append(os.fdopen(reader).read()))
        thread.start()
        child.stdin.write("\n")
        child.stdin.flush()
        thread.join(10)
        assert child.wait(10) == 0
    lines = text[0].splitlines()
    numbers = [int(line.split("line ")[1].split()[0]) for line in lines if " line " in line]
    assert numbers == list(range(len(numbers)))
    if lost:
        assert f"] {count - len(numbers)} lines of this log lost: the reader was too slow" in text[0] and len(numbers) > 1000
    else:
        assert len(numbers) == count and "lost" not in text[0]
    assert lines[-1].endswith("] after") or lines[-2].endswith("] after")


def test_the_flags_of_a_shared_descriptor_stay() -> None:
    reader, writer = os.pipe()
    with chatter(1, writer) as child:
        assert child.stdout is not None and child.stdout.readline() == "done\n"
        assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
        child.communicate("\n")
    os.close(reader)
    os.close(writer)


def test_the_family_serves_reloads_and_ends_with_a_log_that_nobody_reads(tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    keep = os.open(fifo, os.O_RDWR)
    fcntl.fcntl(keep, fcntl.F_SETPIPE_SZ, 4096)
    family = Family(workers=1, restless=True)
    family.log_path = fifo
    family.start()
    try:
        family.wait_until(lambda: family.get()["generation"] == 1)
        for generation in range(2, 30):
            assert family.ask("reload")["generation"] == generation
        (before,) = family.pids()
        os.kill(before, signal.SIGKILL)
        family.wait_until(lambda: family.pids() - {before})
        everybody = family.family()
        started = time.monotonic()
        family.process.terminate()
        assert family.process.wait(5) == 0 and time.monotonic() - started < 4
        assert all(is_gone(pid) for pid in everybody)
    finally:
        family.__exit__()
        os.close(keep)


def test_what_ends_a_greenlet_is_in_the_log() -> None:
    program = """
import gevent
from gevent import get_hub
from gunicorn.config import Config
from terraster.logs.program import ProgramLog
log = ProgramLog(Config())
get_hub().exception_stream = log.stream()
gevent.spawn(lambda: 1 / 0).join()
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=30)
    lines = done.stderr.splitlines()
    assert any(line.endswith("] ZeroDivisionError: division by zero") for line in lines)
    assert all(" error [" in line for line in lines)


_ON_A_FULL_DISK = """
import resource, signal
from gunicorn.config import Config
from terraster.logs.program import ProgramLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
log = ProgramLog(Config())
log.info("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
for number in range(50):
    log.info("line %d %s", number, "x" * 100)
    log.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.info("after")
log.close()
"""


def test_a_full_disk_leaves_whole_lines_and_the_true_number(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with open(tmp_path / "log", "ab") as stream:
        subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK], stderr=stream, env=environ, timeout=30, check=True)
    first, half, after, lost = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("] first") and after.endswith("] after") and len(first) + 1 + len(half) + 1 == 100
    assert lost.endswith("] 50 lines of this log lost: File too large")
