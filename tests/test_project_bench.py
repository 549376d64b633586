"""The benchmark measures what it says: a process tree's CPU, and ratios within a round."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module bench/bench.py, imported as it is when it runs: with its own folder first on the path."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module("bench")
    for name in ("bench", "others", "peers", "place", "tree", "wrk"):
        sys.modules.pop(name, None)


SPIN = "import sys, time\nwhile time.process_time() < float(sys.argv[1]): pass\n"
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {SPIN!r}, "0.3"])            # buried: counts through its parent
child = subprocess.Popen([sys.executable, "-c", {SPIN + 'print("spun", flush=True); sys.stdin.read()'!r}, "0.4"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
"""


def test_cpu_of_a_tree_counts_the_living_and_the_buried(bench: ModuleType) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == b"ready\n"
        user, system = bench.cpu_seconds(parent.pid)
        rss, pss = bench.memory(parent.pid)
    finally:
        parent.communicate()
    assert 0.675 < user + system < 2.0
    assert rss >= pss > 1 << 20


PROGRAMS = [path for path in sorted(BENCH.glob("*.py")) if "__name__ ==" in path.read_text()]


def test_every_program_reads_its_command_line() -> None:
    assert len(PROGRAMS) > 20
    assert [path.name for path in PROGRAMS if "parse_args(" not in path.read_text()] == []


@pytest.mark.night
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_every_program_says_what_it_does(program: Path) -> None:
    done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: ") and len(done.stdout.split()) > 10


def sample(bench: ModuleType, cpu: float) -> object:
    return bench.Sample(cpu, cpu / 2, cpu / 2, 1000.0, 0.001, 0.002, 1 << 20, 1 << 20, 4000, 0)


def test_the_ratio_is_taken_within_each_round(bench: ModuleType) -> None:
    """A machine that is twice as slow in the second round does not change the ratio."""
    results = {
        ("small", False, "terraster"): [sample(bench, cpu) for cpu in (20.0, 40.0, 21.0)],
        ("small", False, "nginx"): [sample(bench, cpu) for cpu in (10.0, 20.0, 10.0)],
    }
    assert bench.ratio(results, "small", False, "terraster") == 2.0
    assert bench.summary(results).splitlines()[2] == "| GET 128 B, kept alive | off | 21.0 (2.00) | 10.0 (1.00) |"
    row = bench.table(results).splitlines()[2]
    assert "| 21.0 (20.0-40.0) | 2.00 |" in row


def test_without_nginx_there_is_no_ratio(bench: ModuleType) -> None:
    results = {("small", False, "terraster"): [sample(bench, 20.0)]}
    assert bench.ratio(results, "small", False, "terraster") is None


@pytest.mark.parametrize("bad", [["--cases", "tiny"], ["--peers", "apache"], ["--running", "x=ftp://y"]])
def test_unknown_names_are_refused(bench: ModuleType, bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.parse_arguments(bad)
    assert stopped.value.code == 2
    assert bad[1] in capsys.readouterr().err


def test_picks_prints_a_table() -> None:
    given = ["--members", "2", "--rounds", "1", "--algorithms", "first,adaptive"]
    said = subprocess.run([sys.executable, str(BENCH / "picks.py"), *given], capture_output=True, text=True, check=True)
    rows = [line.split("|")[1].strip() for line in said.stdout.splitlines() if line.startswith("|")]
    assert rows == ["ns per pick and done", "---", "first", "adaptive", "ring of", "---", "ms to build", "ns to look up"]
