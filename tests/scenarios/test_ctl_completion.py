"""bash completes names of services and backends that run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import ok
from ..harness.terraster_process import ROOT, Terraster, run_ctl, service
from ..harness.waiting import wait_until


@pytest.fixture
def path(tmp_path: Path) -> dict[str, str]:
    """An environment with a command `terrasterctl`."""
    command = tmp_path / "bin" / "terrasterctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m terraster.cli.ctl "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def bash(path: dict[str, str], *lines: str) -> list[list[str]]:
    """The words that bash offers for each line, in one bash."""
    script = [run_ctl("completion", "bash").stdout]
    for line in lines:
        script += [
            f"COMP_LINE={line!r} COMP_POINT={len(line)} _terrasterctl",
            'printf "%s " "${COMPREPLY[@]}"; echo',
        ]
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(["compopt() { :; }", *script])], env=path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return [one.split() for one in done.stdout.splitlines()]


def test_bash(path: dict[str, str], terraster: Any, backend: Any) -> None:
    one, two = backend(answer=ok()), backend(answer=ok())
    proxy: Terraster = terraster(service(one.url, two.url, name="shop"))
    here = f"terrasterctl --runtime-dir {proxy.runtime_dir} backend drain"
    wanted = [{"shop"}, {str(one.port), str(two.port)}]  # bash takes what is behind a colon for a word
    told: list[list[str]] = []

    def found() -> bool:
        """Names that do not come within a second, as on a busy machine, are not waited for."""
        told[:] = bash(path, f"{here} sh", f"{here} shop http://127.0.0.1:")
        return [set(words) for words in told] == wanted

    wait_until(found, lambda: str(told), 60)
