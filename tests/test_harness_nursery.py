"""The nursery of toy masters: a fork of it is like a process that was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .harness.family import Family
from .harness.nursery import TOY, Nursery
from .harness.program import is_gone
from .harness.waiting import wait_until


def pipes(pid: int) -> set[str]:
    """The pipes that a process holds."""
    return {target for one in Path(f"/proc/{pid}/fd").iterdir() if (target := os.readlink(one)).startswith("pipe:")}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_fork_is_like_a_process_that_was_started() -> None:
    family = Family(workers=1)
    with family:
        place = Path("/proc", str(family.pid))
        words = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        assert words == [os.fsencode(one) for one in (sys.executable, TOY, family.path)]
        assert os.readlink(place / "cwd") == family.directory.name
        assert os.readlink(place / "fd/0") == "/dev/null" and os.readlink(place / "fd/1") == family.log_path
        assert pipes(family.pid).isdisjoint(pipes(parent(family.pid)))
        assert family.process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            family.process.wait(0.01)
        family.process.kill()
        assert family.process.wait(20) == family.process.poll() == family.process.returncode == -signal.SIGKILL
        family.process.kill()  # nobody


def test_its_exit_status_is_told(tmp_path: Path) -> None:
    family = Family(problem="unusable")
    family.start()
    try:
        assert family.process.wait(20) == 2
    finally:
        family.__exit__()


def test_it_ends_with_the_tests(tmp_path: Path) -> None:
    nursery = Nursery()
    child = nursery.start([str(tmp_path / "none.json")], tmp_path, tmp_path / "output", dict(os.environ))
    assert child.wait(20) == 1 and "FileNotFoundError" in (tmp_path / "output").read_text()
    process = nursery._process
    assert process is not None and process.stdin is not None
    process.stdin.close()
    wait_until(lambda: is_gone(process.pid))
    assert process.wait() == 0
