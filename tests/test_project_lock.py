"""The lock: complete for every Python and machine that Terraster is installed on, within the ranges of setup.cfg, and bound by hashes."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^[a-z].*?(?=^[a-z]|\Z)", re.MULTILINE | re.DOTALL)
PARTS = ("test", "bench", "profile", "compile")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def ranges(part: str = "") -> list[Requirement]:
    config = setup_cfg()
    return [
        Requirement(one) for one in lines(config["options.extras_require"][part] if part else config["options"]["install_requires"])
    ]


def build() -> list[Requirement]:
    return [Requirement(one) for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]]


def lock(part: str = "") -> dict[str, str]:
    """Name → version."""
    text = (ROOT / (f"constraints-{part}.txt" if part else "constraints.txt")).read_text()
    return dict(block.split(None, 1)[0].split("==") for block in BLOCK.findall(text))


def machines() -> list[dict[str, str]]:
    """What markers see on the Pythons that setup.cfg names, on each machine."""
    versions = re.findall(r":: Python :: (3\.\d+)$", setup_cfg()["metadata"]["classifiers"], re.MULTILINE)
    fixed = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython"}
    fixed |= {"platform_python_implementation": "CPython", "extra": ""}
    return [
        {**fixed, "python_version": version, "python_full_version": f"{version}.0", "platform_machine": machine}
        for version in versions
        for machine in ("x86_64", "aarch64")
    ]


def needed(roots: list[Requirement], machine: dict[str, str]) -> dict[str, list[Requirement]]:
    """Everything that the roots need on a machine, by name, as the packages installed here say."""
    found: dict[str, list[Requirement]] = {}
    todo = list(roots)
    seen = set()
    while todo:
        one = todo.pop()
        if one.marker is not None and not one.marker.evaluate({**machine, "extra": ""}):
            continue
        name = canonicalize_name(one.name)
        found.setdefault(name, []).append(one)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in importlib.metadata.requires(name) or []:
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({**machine, "extra": extra}):
                    further.marker = None  # it may ask for the extra
                    todo.append(further)
    return found


@pytest.mark.parametrize("part", ["", *PARTS])
def test_every_range_has_a_pin_in_it(part: str) -> None:
    pins = {**lock(), **(lock(part) if part else {})}
    for one in ranges(part):
        assert one.specifier.contains(pins[canonicalize_name(one.name)]), f"{one}: locked is {pins[canonicalize_name(one.name)]}"


@pytest.mark.parametrize("machine", machines(), ids=lambda machine: f"{machine['python_version']}-{machine['platform_machine']}")
def test_what_runs_and_tests_is_locked_whole(machine: dict[str, str]) -> None:
    for roots, pins in ((ranges(), lock()), ([*ranges(), *ranges("test")], {**lock(), **lock("test")})):
        for name, wanted in needed(roots, machine).items():
            assert name in pins, f"{wanted[0]} is needed and not locked: make lock"
            assert all(one.specifier.contains(pins[name]) for one in wanted), f"{wanted}: locked is {pins[name]}"


def test_every_build_requirement_has_a_pin_in_it() -> None:
    pins = {**lock(), **lock("compile")}
    assert all(one.specifier.contains(pins[canonicalize_name(one.name)]) for one in build())


def test_what_compiles_is_required_to_build_and_not_locked_for_those_who_do_not() -> None:
    assert set(map(str, ranges("compile"))) <= set(map(str, build()))
    assert not set(lock("compile")) & {*lock(), *lock("test")}


def test_nothing_is_locked_that_nobody_needs() -> None:
    used = {name for machine in machines() for name in needed([*ranges(), *ranges("test")], machine)}
    assert {*lock(), *lock("test")} - used == {"setuptools"}


@pytest.mark.parametrize("part", ["", *PARTS])
def test_every_pin_is_bound_by_hashes_and_names_no_place(part: str) -> None:
    text = (ROOT / (f"constraints-{part}.txt" if part else "constraints.txt")).read_text()
    blocks = BLOCK.findall(text)
    pin = r"[a-z0-9-]+==[\w.]+(?: ; python_version < \"3\.\d+\")?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert blocks and all(re.fullmatch(pin, block) for block in blocks)
    rest = BLOCK.sub("", text)
    assert all(line.startswith("#") for line in rest.splitlines()) and "://" not in text


def test_no_part_repeats_what_another_has() -> None:
    names = [name for part in ("", *PARTS) for name in lock(part)]
    assert len(names) == len(set(names))
