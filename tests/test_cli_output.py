"""A result that cannot be written ends a command with an error that says so, whatever it was and however Python keeps output back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .harness.terraster_process import ROOT

COMMANDS = (
    ("terraster.cli.main", "terraster", "--schema"),
    ("terraster.cli.main", "terraster", "--version"),
    ("terraster.cli.main", "terraster", "--check --config etc/terraster.yaml"),
    ("terraster.cli.main", "terraster", "--help"),
    ("terraster.cli.main", "terraster bench", "bench --help"),
    ("terraster.cli.ctl", "terrasterctl", "--version"),
    ("terraster.cli.ctl", "terrasterctl", "completion bash"),
)


def ended(redirection: str, module: str, words: str, **environment: str) -> tuple[int, str]:
    """Exit code of a command whose output a shell redirects, and the last line on standard error."""
    line = f"exec {sys.executable} -m {module} {words} {redirection}"
    done = subprocess.run(
        ["sh", "-c", line], stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.rstrip("\n").rpartition("\n")[2]


@pytest.mark.parametrize(("module", "name", "words"), COMMANDS, ids=lambda text: text.replace(" ", "-"))
def test_a_full_disk_is_an_error_with_a_reason(module: str, name: str, words: str) -> None:
    assert ended(">/dev/full", module, words) == (1, f"{name}: standard output: No space left on device")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_neither_way_to_keep_output_back_hides_it(unbuffered: str) -> None:
    for redirection, reason in ((">/dev/full", "No space left on device"), (">&-", "it was closed before the start")):
        code, said = ended(redirection, "terraster.cli.main", "--version", PYTHONUNBUFFERED=unbuffered)
        assert (code, said) == (1, f"terraster: standard output: {reason}")


def test_a_command_that_reads_nothing_needs_no_standard_input() -> None:
    assert ended("<&- >/dev/null", "terraster.cli.main", "--version") == (0, "")


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    script = f"{sys.executable} -m terraster.cli.main --schema | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")
