"""Started by a program that takes no care of what it passes on: signals, descriptors, limits, environment, directories."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from ..harness.backends import ok
from ..harness.client import get
from ..harness.program import Program, wait_gone
from ..harness.terraster_process import ROOT, Terraster, service
from ..harness.waiting import wait_until

EVERY_SIGNAL = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"
IGNORED = "[signal.signal(getattr(signal, 'SIG' + name), signal.SIG_IGN) for name in '{}'.split()]"
PATH = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
BARE = """
os.umask(0o777)
reader, writer = os.pipe()
os.dup2(reader, 0)
os.environ = {"PYTHONPATH": os.environ["PYTHONPATH"], "LC_ALL": "C", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "1"}
os.environ |= {"PYTHONSTARTUP": "/nowhere", "GUNICORN_PID": "1", "GUNICORN_FD": "3"}
"""

CARELESS = {
    "all signals blocked": EVERY_SIGNAL,
    "signals ignored": IGNORED.format("TERM INT QUIT HUP CHLD USR1 USR2 TTIN TTOU PIPE ALRM"),
    "no stdout": "os.close(1)",
    "no stderr": "os.close(2)",
    "no standard descriptor": "os.closerange(0, 3)",
    "a bare environment": BARE,
    "small files, no umask": "os.umask(0); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))",
}


def careless(what: str) -> list[str]:
    """A launcher: a Python that does this, then becomes the command behind it."""
    code = f"import os, resource, signal, sys\n{what}\nos.execve(sys.argv[1], sys.argv[1:], os.environ)"
    return [sys.executable, "-c", code]


def start(proxy: Terraster, what: str) -> Terraster:
    proxy.launcher = careless(what)
    proxy.start()
    return proxy


def lives_well(proxy: Terraster) -> None:
    """It serves, replaces a killed worker, reloads on command and on signal, and stops; and does not turn in circles meanwhile."""
    assert proxy.program is not None
    assert get(proxy.address).status == 200
    (worker,) = proxy.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: proxy.workers() not in ([], [worker]), "no new worker")
    assert get(proxy.address).status == 200
    assert proxy.control("POST", "/reload", why="test")["ok"]
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.status()["last_reload"]["when"] and proxy.status()["reloads"] == 2, "HUP does not reload")
    family = [one["pid"] for one in proxy.status()["workers"]]
    proxy.signal(signal.SIGTERM)
    assert proxy.program.wait() == 0
    for pid in family:
        wait_gone(pid)


@pytest.mark.parametrize("what", CARELESS.values(), ids=CARELESS)
def test_whatever_the_parent_left_terraster_lives_as_always(fresh, backend, what: str) -> None:
    lives_well(start(fresh(backend(answer=ok()), start=False), what))


def _characters_read(pid: int) -> int:
    found = re.search(r"^rchar: (\d+)$", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("module", ["main", "ctl"])
def test_ctrl_c_while_the_configuration_is_read_prints_nothing(tmp_path: Path, module: str) -> None:
    large = tmp_path / "terraster.yaml"  # it takes seconds to understand
    services = "".join(
        f"  - {{name: s{n}, host: s{n}.test, locations: [{{path: /, respond: {{status: 204}}}}]}}\n" for n in range(20_000)
    )
    large.write_text(f"services:\n{services}" + f"# {'x' * 1000}\n" * 16_000)  # and is larger than all modules that are read before
    words = ["status"] if module == "ctl" else []
    command = [sys.executable, "-m", f"terraster.cli.{module}", "--config", str(large), *words]
    with Program(command, tmp_path / "output", PYTHONPATH=str(ROOT)) as program:
        wait_until(lambda: _characters_read(program.pid) > large.stat().st_size, "it does not read", 30)
        program.process.send_signal(signal.SIGINT)
        assert program.wait() == -signal.SIGINT
        assert program.said == ""


def test_a_hard_limit_of_file_sizes_stops_the_start_in_one_line(fresh, backend) -> None:
    """The table that all processes share counts as a file."""
    proxy = fresh(backend(answer=ok()), start=False)
    proxy.launcher = careless("resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))")
    proxy.start(wait=False)
    assert proxy.program is not None
    assert proxy.program.wait() == 1
    assert "File too large" in proxy.said and "ulimit -f" in proxy.said


def test_everything_at_once(fresh, backend, tmp_path: Path) -> None:
    """A stray supervisor: signals blocked, no standard descriptors, few open files, the working directory and then the runtime directory
    removed."""
    release = tmp_path / "release"
    release.mkdir()
    few = "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    gone = f"os.chdir({str(release)!r}); os.rmdir({str(release)!r})"
    proxy = start(fresh(backend(answer=ok()), start=False), "; ".join([EVERY_SIGNAL, few, gone, "os.closerange(0, 3)"]))
    shutil.rmtree(proxy.runtime_dir)
    wait_until(lambda: proxy.ctl("status").returncode == 0, "the runtime directory is not made again")
    lives_well(proxy)


def test_it_can_be_started_in_a_directory_that_has_gone(fresh, backend, tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    lives_well(start(fresh(backend(answer=ok()), start=False), f"os.chdir({str(release)!r}); os.rmdir({str(release)!r})"))


def upgraded(proxy: Terraster) -> int:
    """The pid of the master after an upgrade, when the old one has gone."""
    proxy.signal(signal.SIGUSR2)
    pid_file = Path(proxy.runtime_dir) / "terraster.pid"
    wait_until(lambda: proxy.said.count("ready: ") == 2, lambda: f"no new master:\n{proxy.said}", 30)
    proxy.signal(signal.SIGTERM)
    assert proxy.program is not None
    assert proxy.program.wait() == 0
    return wait_until(lambda: pid_file.exists() and (pid := int(pid_file.read_text())) != proxy.pid and pid, "not promoted")


def end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid, 20)


def test_an_upgrade_does_without_the_directory_of_the_start(fresh, backend, tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    proxy = start(fresh(backend(answer=ok()), start=False), f"os.chdir({str(release)!r})")
    release.rmdir()
    pid = upgraded(proxy)
    assert get(proxy.address).status == 200
    end(pid)
    assert f"cannot start in {release}" in proxy.said


def test_an_upgrade_follows_a_link_to_the_new_release(fresh, backend, tmp_path: Path) -> None:
    """The usual deployment: ``current`` leads to a release, and the paths of the command line are relative to it, or lead through it."""
    old, new = backend(answer=ok(b"old")), backend(answer=ok(b"new"))
    current = tmp_path / "current"
    proxy = fresh(old, start=False)
    for name, origin in (("1", old), ("2", new)):
        (tmp_path / name).mkdir()
        proxy.write(service(origin.url))
        proxy.config_file.rename(tmp_path / name / "terraster.yaml")
    current.symlink_to("1")
    proxy.launcher = careless(f"os.chdir({str(current)!r}); os.environ['PWD'] = {str(current)!r}; sys.argv[-1] = 'terraster.yaml'")
    proxy.start()
    assert get(proxy.address).body == b"old"
    current.unlink()
    current.symlink_to("2")
    shutil.rmtree(tmp_path / "1")
    pid = upgraded(proxy)
    assert get(proxy.address).body == b"new"
    end(pid)


def test_an_interpreter_that_has_gone_is_named_and_the_old_master_goes_on(fresh, backend, tmp_path: Path) -> None:
    release = tmp_path / "release"
    (release / "bin").mkdir(parents=True)
    python = release / "bin" / "python"
    python.symlink_to(sys.executable)
    proxy = start(fresh(backend(answer=ok()), start=False), f"sys.argv[1] = {str(python)!r}; os.environ['PYTHONPATH'] = {PATH!r}")
    shutil.rmtree(release)
    proxy.signal(signal.SIGUSR2)
    wait_until(lambda: ") ended; this one goes on" in proxy.said, lambda: proxy.said)
    assert f"cannot start a new master: {python}: No such file or directory" in proxy.said
    lives_well(proxy)
