"""Which rooms run compiled. The extensions here are not real ones: an import of one fails, and so shows which file Python took."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import terraster

SUFFIX = EXTENSION_SUFFIXES[0]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a package `terraster` of two rooms that could be compiled, one of which is, and one that cannot."""
    source = Path(terraster.__file__).parent
    package = tmp_path / "terraster"
    (package / "net").mkdir(parents=True)
    for name in ("__init__.py", "compiled.py"):
        shutil.copy(source / name, package)
    for name in ("errors.py", "plan.py", "net/__init__.py", "net/stream.py"):
        (package / name).write_text("speed = 'pure'\n")
    for name in (f"net/stream{SUFFIX}", "net/stream.pyx", "plan.pxd", "net/clock.pxd", "net/other.cpython-30-cray.so"):
        (package / name).write_text("")
    return tmp_path


def told(site: Path, question: str, pure: str = "") -> str:
    """What Python answers there, or the last line of its error."""
    command = [sys.executable, "-c", f"import terraster.compiled as it; {question}"]
    environment = {**os.environ, "PYTHONPATH": str(site), "TERRASTER_PURE": pure}
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=60)
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]


def test_rooms_are_told_by_what_is_beside_them(site: Path) -> None:
    question = "print(it.rooms(), it.rooms().compiled, it.rooms().pure, it.rooms().off)"
    assert told(site, question) == "compiled: 1 of 2 rooms ('net.stream',) ('plan',) False"
    assert told(site, question, pure="1") == "pure Python (TERRASTER_PURE) () ('net.stream', 'plan') True"
    (site / "terraster" / "net" / f"stream{SUFFIX}").unlink()
    assert told(site, question) == "pure Python () ('net.stream', 'plan') False"


@pytest.mark.parametrize("value", ["", "0"])
def test_python_takes_an_extension_where_there_is_one(site: Path, value: str) -> None:
    assert told(site, "import terraster.net.stream", pure=value).startswith("ImportError: ")


def test_terraster_pure_takes_the_source_of_every_room_and_leaves_other_packages_alone(site: Path) -> None:
    assert told(site, "import terraster.net.stream as room; print(room.speed)", pure="1") == "pure"
    assert told(site, "import math, gevent._gevent_cevent as other; print(other.__file__.endswith('.so'))", pure="1") == "True"
