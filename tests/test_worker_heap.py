"""`Heap`: memory goes back to the kernel once many connections are parked and none follows."""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.worker.heap import CALM, MANY, Heap

from .harness.terraster_process import rss


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=made.append))
    return made


def swept(heap: Heap, *parked: int) -> None:
    for one in parked:
        heap.swept(one)


def test_memory_is_given_back_once_all_is_calm(given: list[int]) -> None:
    heap = Heap()
    swept(heap, MANY - 1, *[0] * 3 * CALM)
    assert given == [], "too few"
    swept(heap, 1, *[0] * (CALM - 1), 1, *[0] * (CALM - 1))
    assert given == [], "another one was parked meanwhile"
    swept(heap, 0)
    assert given == [0]
    swept(heap, *[0] * 3 * CALM)
    assert given == [0]
    swept(heap, MANY, *[0] * CALM)
    assert given == [0, 0]


def test_a_library_without_a_way_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    heap = Heap()
    swept(heap, MANY, *[0] * CALM, MANY, *[0] * CALM)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library")
def test_holes_between_what_is_kept_go_back() -> None:
    library: Any = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = (ctypes.c_void_p,)
    made = [library.malloc(16000) for _ in range(2000)]
    for one in made:
        ctypes.memset(one, 1, 16000)
    for one in made[::2]:
        library.free(one)
    before = rss(os.getpid())
    swept(Heap(), MANY, *[0] * CALM)
    assert before - rss(os.getpid()) > 1000 * 8000
    for one in made[1::2]:
        library.free(one)
