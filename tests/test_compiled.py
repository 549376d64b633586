"""Which rooms run compiled. Most extensions here are not real ones: an import of one fails, and so shows which file Python took."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import terraster
from terraster.compiled import Rooms, rooms

SUFFIX = EXTENSION_SUFFIXES[0]
LIST = f"compiled{SUFFIX.removesuffix('.so')}.txt"
SOURCE = Path(terraster.__file__).parent


def write_list(package: Path, *names: str) -> None:
    """As setup.py does, of these sources."""
    lines = [f"{sha256((package / name).read_bytes()).hexdigest()}  {name}" for name in names]
    (package / LIST).write_text("\n".join(["# Cython 3, -O2", *lines, ""]))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a package `terraster` of two rooms that could be compiled, one of which is, and one that cannot."""
    package = tmp_path / "terraster"
    (package / "net").mkdir(parents=True)
    for name in ("__init__.py", "compiled.py", "extensions.py"):
        shutil.copy(SOURCE / name, package)
    for name in ("errors.py", "plan.py", "net/__init__.py", "net/stream.py"):
        (package / name).write_text("speed = 'pure'\n")
    for name in (f"net/stream{SUFFIX}", "net/stream.pyx", "plan.pxd", "net/clock.pxd", "net/other.cpython-30-cray.so"):
        (package / name).write_text("")
    write_list(package, "net/stream.py", "net/stream.pyx")
    return tmp_path


def told(site: Path, question: str, pure: str = "") -> str:
    """What Python answers there, or the last line of its error."""
    command = [sys.executable, "-c", f"import terraster.compiled as it; {question}"]
    environment = {**os.environ, "PYTHONPATH": str(site), "TERRASTER_PURE": pure}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60)
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]


def test_rooms_are_told_by_what_is_beside_them(site: Path) -> None:
    question = "print(it.rooms(), it.rooms().compiled, it.rooms().pure, it.rooms().off)"
    assert told(site, question) == "compiled: 1 of 2 rooms ('net.stream',) ('plan',) False"
    assert told(site, question, pure="1") == "pure Python (TERRASTER_PURE) () ('net.stream', 'plan') True"
    (site / "terraster" / "net" / f"stream{SUFFIX}").unlink()
    (site / "terraster" / LIST).unlink()
    assert told(site, question) == "pure Python () ('net.stream', 'plan') False"


@pytest.mark.parametrize("value", ["", "0"])
def test_python_takes_an_extension_where_there_is_one(site: Path, value: str) -> None:
    assert told(site, "import terraster.net.stream", pure=value).startswith("ImportError: ")


def test_terraster_pure_takes_the_source_of_every_room_and_leaves_other_packages_alone(site: Path) -> None:
    assert told(site, "import terraster.net.stream as room; print(room.speed)", pure="1") == "pure"
    assert told(site, "import math, gevent._gevent_cevent as other; print(other.__file__.endswith('.so'))", pure="1") == "True"


@pytest.mark.parametrize("fault", ["missing", "strange", "no list"])
def test_one_extension_that_is_not_of_the_build_switches_all_of_them_off(site: Path, fault: str) -> None:
    package = site / "terraster"
    unfit = {"missing": "plan", "strange": "errors", "no list": "net.stream"}[fault]
    if fault == "missing":
        write_list(package, "net/stream.py", "net/stream.pyx", "plan.py", "plan.pxd")
    elif fault == "strange":
        (package / f"errors{SUFFIX}").write_text("")
    else:
        (package / LIST).unlink()
    assert told(site, "import terraster.net.stream as room, terraster.errors; print(room.speed)") == "pure"
    words = f"pure Python (compiled rooms missing, or not of the build: {unfit})"
    assert told(site, "found = it.rooms(); print(found, found.compiled, found.unfit)") == f"{words} () ('{unfit}',)"


@pytest.mark.parametrize("name", ["net/stream.py", "net/stream.pyx"])
def test_a_source_that_was_edited_since_is_named_and_in_force(site: Path, name: str) -> None:
    source = site / "terraster" / name
    source.write_text("speed = 'edited'\n")
    words = "pure Python (edited since they were compiled: net.stream)"
    assert told(site, "found = it.rooms(); print(found, found.compiled, found.changed)") == f"{words} () ('net.stream',)"
    assert told(site, "import terraster.net.stream as room; print(room.speed)") == ("edited" if source.suffix == ".py" else "pure")


def test_a_source_that_is_not_installed_has_not_changed(site: Path) -> None:
    for name in ("stream.py", "stream.pyx"):
        (site / "terraster" / "net" / name).unlink()
    assert told(site, "print(it.rooms())") == "compiled: 1 of 2 rooms"


def test_why_a_build_compiled_nothing_is_told(site: Path) -> None:
    (site / "terraster" / "net" / f"stream{SUFFIX}").unlink()
    (site / "terraster" / LIST).write_text("# not compiled: command 'gcc' failed\n")
    assert told(site, "print(it.rooms())") == "pure Python (not compiled: command 'gcc' failed)"


@pytest.mark.parametrize("pure", ["", "1"])
def test_a_package_in_a_zip_is_imported_at_both_switches(site: Path, pure: str) -> None:
    packed = site / "packed.zip"
    with zipfile.ZipFile(packed, "w") as target:
        for path in (site / "terraster").rglob("*.py"):
            target.write(path, path.relative_to(site))
    question = "import terraster.net.stream as room; print(room.speed, 'packed.zip' in room.__file__, it.rooms().compiled)"
    assert told(packed, question, pure) == "pure True ()"


def test_a_package_without_sources_runs_pure_by_its_bytecode(site: Path) -> None:
    compileall.compile_dir(site / "terraster", quiet=2, legacy=True)
    for path in (site / "terraster").rglob("*.py"):
        path.unlink()
    assert told(site, "import terraster.net.stream as room; print(room.speed, room.__file__[-4:])", pure="1") == "pure .pyc"
    assert told(site, "import terraster.net.stream").startswith("ImportError: ")


def test_rooms_survive_the_way_to_the_status_and_back() -> None:
    found = Rooms(("net.stream",), ("plan",), changed=("net.stream",), reason="no compiler")
    assert Rooms.from_dict(found.as_dict()) == found
    assert str(Rooms.from_dict({"compiled": ["a"], "pure": [], "off": False, "later": 1})) == "compiled: 1 of 1 rooms"
    many = Rooms((), (), unfit=("a", "b", "c", "d", "e"))
    assert str(many) == "pure Python (compiled rooms missing, or not of the build: a, b, c and 2 more)"


def test_the_log_warns_of_an_installation_that_is_not_in_order() -> None:
    assert Rooms(("plan",), ()).remark == ""
    off, edited, broken = Rooms((), ("plan",), off=True), Rooms((), ("plan",), changed=("plan",)), Rooms((), (), unfit=("plan",))
    assert (off.is_faulty, edited.is_faulty, broken.is_faulty) == (False, True, True)
    assert off.remark == "pure Python (TERRASTER_PURE): complete, but slower than with compiled rooms"
    assert edited.remark.endswith("compiled: plan): complete, but slower, compile or install Terraster again")
    assert broken.remark.endswith("not of the build: plan): complete, but slower, install Terraster again")


@pytest.mark.skipif(not rooms().compiled, reason="the rooms are not compiled here")
def test_an_installed_package_with_an_extension_missing_runs_and_says_so(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "terraster", ignore=shutil.ignore_patterns("__pycache__", "*.pxd", "*.pyx"))
    question = "import terraster.proxy, terraster.wire.heads as heads; print(heads.__file__.endswith('.so'), it.rooms())"
    every = len(rooms().compiled)
    assert told(tmp_path, question) == f"True compiled: {every} of {every} rooms"
    (tmp_path / "terraster" / "wire" / f"heads{SUFFIX}").unlink()
    assert told(tmp_path, question) == "False pure Python (compiled rooms missing, or not of the build: wire.heads)"
