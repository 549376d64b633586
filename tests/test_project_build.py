"""The build compiles again what is not of these sources, whatever the times of files say, and leaves nothing of an earlier one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from terraster.extensions import rooms_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """setup.py in a folder with a package of two rooms, and one module that cannot be compiled."""
    spec = importlib.util.spec_from_file_location("recipe", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(made, "way", lambda: "# Cython 3")
    monkeypatch.chdir(tmp_path)
    for name in ("net/stream.py", "net/stream.pyx", "plan.py", "plan.pxd", "errors.py"):
        path = tmp_path / "terraster" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(name)
        os.utime(path, (1e9, 1e9))
    yield made


def touched() -> list[str]:
    found = [path for path in Path("terraster").rglob("*.*") if path.stat().st_mtime != 1e9]
    for path in found:
        os.utime(path, (1e9, 1e9))
    return sorted(str(path.relative_to("terraster")) for path in found)


def test_a_build_is_done_afresh_if_it_is_the_first_or_is_done_in_another_way(
    recipe: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipe.look_back() and recipe.look_back(), "the first one may have ended before its time"
    recipe.BUILT.write_text(recipe.listed(recipe.PACKAGE, recipe.way()))
    assert not recipe.look_back() and touched() == []
    monkeypatch.setattr(recipe, "way", lambda: "# Cython 4")
    assert recipe.look_back()


def test_a_changed_source_is_made_new_until_a_build_ends_well(recipe: ModuleType) -> None:
    recipe.BUILT.parent.mkdir()
    recipe.BUILT.write_text(recipe.listed(recipe.PACKAGE, recipe.way()))
    Path("terraster/plan.pxd").write_text("another")
    os.utime("terraster/plan.pxd", (1e9, 1e9))
    assert not recipe.look_back() and touched() == ["plan.pxd"]
    Path("terraster/plan.pxd").write_text("plan.pxd")  # the C file may be of the other one
    os.utime("terraster/plan.pxd", (1e9, 1e9))
    assert not recipe.look_back() and touched() == ["plan.pxd"]
    recipe.BUILT.write_text(recipe.listed(recipe.PACKAGE, recipe.way()))
    assert not recipe.look_back() and touched() == []


def test_the_list_names_the_rooms_as_terraster_reads_it(recipe: ModuleType) -> None:
    listed = recipe.listed(recipe.PACKAGE, "# how")
    assert rooms_of({line.partition("  ")[2] for line in listed.splitlines()[1:]}) == {"net.stream", "plan"}
    Path("list").write_text(listed)
    assert (
        subprocess.run(["sha256sum", "--check", "--strict", "../list"], cwd="terraster", stdout=subprocess.DEVNULL).returncode == 0
    )
    from terraster import extensions

    assert Path(extensions._LIST).name == recipe.BUILT.name


def test_old_rooms_and_modules_are_removed(recipe: ModuleType) -> None:
    old = Path("build/lib.here/terraster")
    for path in (
        old / f"plan{recipe.ENDING}",
        old / f"gone{recipe.ENDING}",
        old / "gone.py",
        Path("terraster") / f"gone{recipe.ENDING}",
        Path("terraster") / recipe.BUILT.name,
    ):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    recipe.remove_modules(old.parent, recipe.rooms(recipe.PACKAGE))
    assert [path.name for path in old.iterdir()] == [f"plan{recipe.ENDING}"]
    recipe.remove_old()
    assert sorted(path.name for path in Path("terraster").iterdir()) == ["errors.py", "net", "plan.pxd", "plan.py"]


def built(mode: str, *words: str) -> None:
    """Run setup.py where there is no compiler, in a tree that was compiled before."""
    Path("setup.py").write_text((ROOT / "setup.py").read_text())
    Path("setup.cfg").write_text(
        "[metadata]\nname = terraster\n[options]\npackages = find:\n[options.packages.find]\ninclude = terraster*\n"
    )
    Path("terraster/__init__.py").touch()
    environment = {**os.environ, "CC": "/nowhere/cc", "TERRASTER_COMPILE": mode}
    command = [sys.executable, "setup.py", "-q", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("mode", "told"), [("try", True), ("no", False)])
def test_a_build_in_place_without_a_compiler_leaves_no_extension_of_before(recipe: ModuleType, mode: str, told: bool) -> None:
    old, said = Path(f"terraster/plan{recipe.ENDING}"), Path("terraster", recipe.BUILT.name)
    old.touch()
    said.write_text("# Cython 3\n")
    built(mode, "build_ext", "--inplace")
    assert not old.exists()
    assert said.exists() == told and (not told or "/nowhere/cc" in said.read_text())


def test_a_build_of_a_package_leaves_the_extensions_of_the_tree_alone(recipe: ModuleType) -> None:
    old, said = Path(f"terraster/plan{recipe.ENDING}"), Path("terraster", recipe.BUILT.name)
    old.touch()
    said.write_text("# Cython 3\n")
    built("try", "build")
    assert old.exists() and said.read_text() == "# Cython 3\n"


def test_a_build_without_a_compiler_puts_the_reason_into_the_package(recipe: ModuleType) -> None:
    built("try", "build")
    said = (Path("build/lib/terraster") / recipe.BUILT.name).read_text()
    assert said.startswith("# not compiled: ") and "/nowhere/cc" in said and said.count("\n") == 1
