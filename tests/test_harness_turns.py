"""A test that wants to be alone is alone, and it does not wait for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from .harness.turns import Turns
from .harness.waiting import wait_until


class Runner(threading.Thread):
    """A test that takes its turn. ``runs``: it has begun. ``over``: set to end it."""

    def __init__(self, turns: Turns, *, alone: bool = False) -> None:
        super().__init__(daemon=True)
        self.runs, self.over = threading.Event(), threading.Event()
        self._turns, self._alone = turns, alone
        self.start()

    def run(self) -> None:
        with self._turns.take(alone=self._alone):
            self.runs.set()
            self.over.wait(10)

    def waits(self) -> bool:
        return not self.runs.wait(0.1)

    def end(self) -> None:
        self.over.set()
        self.join(10)
        assert not self.is_alive()


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    for name in ("room", "door"):
        (tmp_path / name).mkdir()
    return Turns(tmp_path / "room", tmp_path / "door")


def test_others_run_side_by_side(turns: Turns) -> None:
    both = [Runner(turns), Runner(turns)]
    assert all(one.runs.wait(10) for one in both)
    for one in both:
        one.end()


def test_one_alone_waits_for_the_others_and_they_for_it(turns: Turns) -> None:
    first = Runner(turns)
    assert first.runs.wait(10)
    alone = Runner(turns, alone=True)
    assert alone.waits()
    later = Runner(turns)
    assert later.waits(), "it overtook the one that waits to be alone"
    first.end()
    assert alone.runs.wait(10)
    assert later.waits()
    alone.end()
    wait_until(later.runs.is_set)
    later.end()
