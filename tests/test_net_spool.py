"""The spool: what goes in comes out in order, whatever the limits, the disk and the sizes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.net.spool import Spool

STEPS = st.lists(st.one_of(st.integers(1, 9000), st.integers(-9000, -1)), max_size=60)


@given(STEPS, st.sampled_from([0, 1, 3000, 20000]), st.sampled_from([0, 1, 5000, 1 << 30]), st.sampled_from([0, 0, 1, 5]))
def test_what_goes_in_comes_out(steps: list[int], memory: int, disk: int, breaks_after: int) -> None:
    """A step is octets to put, or the most to take."""
    octets = bytes(range(256)) * 3000
    writes, real = 0, os.pwrite

    def pwrite(file: int, data: bytes, at: int) -> int:
        nonlocal writes
        writes += 1
        if breaks_after and writes > breaks_after:
            raise OSError(errno.EDQUOT, "quota")
        return real(file, data[:4000], at)  # short writes are allowed

    made = Spool(memory, disk, "/var/tmp")
    put = taken = 0
    patched = pytest.MonkeyPatch()
    patched.setattr(os, "pwrite", pwrite)
    try:
        for step in steps:
            if step > 0:
                was_full = made.full
                made.put(octets[put : put + step])
                put += step
                assert not was_full or made.full
            else:
                got = made.take(-step)
                assert got == octets[taken : taken + len(got)] and len(got) <= -step
                assert got or made.size == 0
                taken += len(got)
            assert made.size == put - taken
            assert b"".join(made.part(number) for number in range(made.count())) == octets[taken:put]
            assert not (made.full and made.size == 0), "nobody would ever take what is not there"
    finally:
        made.close()
        patched.undo()
    assert made.size == 0


def test_memory_first_then_the_file_then_full(tmp_path: Path) -> None:
    made = Spool(1000, 2000, str(tmp_path))
    made.put(b"a" * 1000)
    assert not made.full and not made.spilled
    made.put(b"b" * 2000)
    assert not made.full and made.spilled
    made.put(b"c" * 10)
    assert made.full
    assert made.take(5000) == b"a" * 1000 and not made.full
    assert os.listdir(tmp_path) == [], "the file has no name"
    assert made.take(500) + made.take(5000) + made.take(5000) == b"b" * 2000 + b"c" * 10
    made.close()


def test_an_empty_file_gives_its_room_back(tmp_path: Path) -> None:
    made = Spool(0, 100_000, str(tmp_path))
    for _ in range(5):
        made.put(b"x" * 90_000)
        assert not made.full
        while made.take(1 << 16):
            pass
    assert os.fstat(made._file).st_size == 0 and not made.failed
    made.close()


def test_the_room_in_memory_is_bounded_where_there_is_no_disk(tmp_path: Path) -> None:
    made = Spool(1000, 0, str(tmp_path))
    while not made.full:
        made.put(b"x" * 300)
    assert made.size == 1200 and not made.spilled and not made.failed
    made.close()


@pytest.mark.parametrize("folder", ["/nowhere/at/all", "/proc", __file__])
def test_where_no_file_can_be_made_memory_is_all(folder: str) -> None:
    made = Spool(10, 1000, folder)
    made.put(b"x" * 20)
    assert made.full and made.failed and made.take(99) == b"x" * 20
    made.close()
