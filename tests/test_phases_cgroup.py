"""The memory of a cgroup and its limit, as files of the kernel say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.phases.cgroup import Cgroup


def cgroup(root: Path, line: str = "0::/a/b", **files: str) -> Cgroup:
    """files: by their name, with "_" for "/" """
    (root / "a" / "b").mkdir(parents=True)
    for name, text in files.items():
        (root / name.replace("_", "/").replace("memory/", "memory.")).write_text(text)
    itself = root / "itself"
    itself.write_text(f"{line}\n")
    return Cgroup(root, itself)


@pytest.mark.parametrize(
    ("files", "limited", "used"),
    [
        ({}, False, 0.0),
        ({"a_b_memory_max": "max\n", "a_b_memory_current": "50\n"}, False, 0.0),
        ({"a_b_memory_max": "100\n", "a_b_memory_current": "50\n"}, True, 0.5),
        (
            {"a_b_memory_max": "100\n", "a_b_memory_current": "50\n", "a_b_memory_stat": "anon 9\ninactive_file 20\nfile 1\n"},
            True,
            0.3,
        ),
        ({"a_b_memory_max": "100\n", "a_b_memory_current": "50\n", "a_b_memory_stat": "inactive_file 70\n"}, True, 0.0),
        ({"a_b_memory_max": "max\n", "a_memory_max": "200\n", "a_memory_current": "180\n"}, True, 0.9),
        (
            {"a_b_memory_max": "100\n", "a_b_memory_current": "50\n", "a_memory_max": "200\n", "a_memory_current": "180\n"},
            True,
            0.9,
        ),
        ({"memory_max": "100\n", "memory_current": "120\n"}, True, 1.2),
    ],
)
def test_the_fullest_of_the_cgroups_around_counts(tmp_path: Path, files: dict[str, str], limited: bool, used: float) -> None:
    one = cgroup(tmp_path, **files)
    assert (one.is_limited(), one.used()) == (limited, used)


@pytest.mark.parametrize("line", ["4:memory:/a/b", "", "1:name=systemd:/a"])
def test_version_1_is_not_read(tmp_path: Path, line: str) -> None:
    one = cgroup(tmp_path, line, a_b_memory_max="100\n", a_b_memory_current="50\n")
    assert (one.is_limited(), one.used()) == (False, 0.0)


def test_the_process_has_a_cgroup_that_can_be_read() -> None:
    assert 0.0 <= Cgroup().used() < 2.0
    assert Cgroup(Path("/nowhere"), Path("/nowhere/itself")).used() == 0.0
