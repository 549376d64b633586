"""What a command makes of what it inherits, each seen in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SHOW = """
import fcntl, json
def is_open(number):
    try:
        return fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC == 0
    except OSError:
        return False
mask = os.umask(0)
shown = {
    "open": [number for number in range(3) if is_open(number)],
    "streams": [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "ignored": [one.name for one in signal.valid_signals() if hasattr(one, "name") and signal.getsignal(one) == signal.SIG_IGN],
    "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    "umask": mask,
    "pydantic": os.environ["PYDANTIC_DISABLE_PLUGINS"],
}
os.write(REPORT, json.dumps(shown).encode())
"""


def cleaned(before: str) -> dict:
    """What `SHOW` finds in a process that was started after ``before``, and has called `clean`."""
    inner = f"import os, signal, sys\nREPORT = 9\nfrom terraster.cli import inherited\nADJUST\ninherited.clean()\n{SHOW}"
    before, _, adjust = before.partition("// ")
    inner = inner.replace("ADJUST", adjust or "pass")
    outer = f"import os, signal, sys\nos.dup2(1, 9)\n{before}\nos.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    done = subprocess.run([sys.executable, "-c", outer, inner], stdout=subprocess.PIPE, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1", "0 2", "1 2", "0 1 2"])
def test_closed_standard_descriptors_are_opened_for_children_too(closed: str) -> None:
    found = cleaned(f"[os.close(int(one)) for one in '{closed}'.split()]")
    assert (found["open"], found["streams"]) == ([0, 1, 2], [])


def test_no_signal_stays_blocked() -> None:
    assert cleaned("signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())")["blocked"] == 0


def test_orders_are_ignored_no_longer_but_a_hangup_is_until_the_master_takes_it() -> None:
    names = "HUP TERM INT QUIT USR1 USR2 CHLD"
    found = cleaned(f"[signal.signal(getattr(signal, 'SIG' + one), signal.SIG_IGN) for one in '{names}'.split()]")
    assert sorted(found["ignored"]) == ["SIGHUP", "SIGPIPE", "SIGXFSZ"]  # the last two by Python
    assert found["term"]


@pytest.mark.parametrize(("given", "kept"), [(0o777, 0o077), (0o000, 0o000), (0o027, 0o027), (0o722, 0o022)])
def test_the_owner_may_always_use_new_files(given: int, kept: int) -> None:
    assert cleaned(f"os.umask({given})")["umask"] == kept


def test_process_1_ends_when_it_is_told_to_before_the_master_listens() -> None:
    """The kernel ignores the default action of signals to process 1."""
    assert not cleaned("// os.getpid = lambda: 1")["term"]


@pytest.mark.parametrize(
    ("before", "kept"), [("pop('PYDANTIC_DISABLE_PLUGINS', '')", "__all__"), ("update(PYDANTIC_DISABLE_PLUGINS='')", "")]
)
def test_plugins_of_pydantic_are_kept_out_unless_the_environment_says_otherwise(before: str, kept: str) -> None:
    assert cleaned(f"os.environ.{before}")["pydantic"] == kept
