"""HTTP/2, HPACK and the hellos of TLS are the same at both speeds (`tests/harness/http2_speeds.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from terraster.compiled import rooms

MODULE = "tests.harness.http2_speeds"
two_speeds = pytest.mark.skipif("wire.http2.session" not in rooms().compiled, reason="the rooms of HTTP/2 are not compiled here")


def told(pure: bool, seed: int, inputs: int) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TERRASTER_PURE"} | (
        {"TERRASTER_PURE": "1"} if pure else {}
    )
    command = [sys.executable, "-m", MODULE, str(seed), str(inputs)]
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=1800)
    assert not done.returncode, done.stderr[-2000:]
    return done.stdout.splitlines()


@two_speeds
@pytest.mark.parametrize("inputs", [300, pytest.param(50_000, marks=pytest.mark.night)])
def test_both_say_the_same(inputs: int) -> None:
    seed = 1 if inputs == 300 else int.from_bytes(os.urandom(4))
    compiled, pure = told(False, seed, inputs), told(True, seed, inputs)
    assert len(compiled) == len(pure) > 5 * inputs
    for number, (one, other) in enumerate(zip(compiled, pure, strict=True)):
        assert one == other, f"line {number} of {MODULE} {seed} {inputs}"
