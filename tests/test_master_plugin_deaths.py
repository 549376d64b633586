"""Plugins in which workers died: which one is named, and for how long no worker calls it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.snapshot import Plugin
from terraster.master.plugin_deaths import DEATHS, HOLD, WINDOW, PluginDeaths
from terraster.plugins.marks import mark
from terraster.state.cells import LocationCells, Seat
from terraster.state.table import Table

A = Plugin("a", "file", "/p/a.py", "A", digest="1", slot=3)
B = Plugin("b", "file", "/p/b.py", "B", digest="1", slot=4)
SEAT = 2


class House:
    """A table with a dead worker, and what reads it."""

    def __init__(self) -> None:
        self.table = Table(8, 8, 9)
        self.lines: list[str] = []
        self.deaths = PluginDeaths(self.table, self)
        self.commit(A, B)

    def error(self, text: str, *words: object) -> None:
        self.lines.append(text % words)

    def commit(self, *plugins: Plugin) -> None:
        new: Any = SimpleNamespace(snapshot=SimpleNamespace(plugins=plugins))
        self.deaths.commit(new)

    def die(self, now: float, hook: int = 0, *waiting: int) -> str:
        q, at = self.table.q, self.table.seat(SEAT)
        q[at + Seat.HOOK] = hook
        for number in range(Seat.MOST_WAITING_HOOKS):
            q[at + Seat.WAITING_HOOKS + number] = waiting[number] if number < len(waiting) else 0
        return self.deaths.died(SEAT, now)

    def cell(self, plugin: Plugin, cell: int) -> int:
        return int(self.table.q[self.table.location(plugin.slot) + cell])

    def held(self, plugin: Plugin) -> float:
        return self.cell(plugin, LocationCells.HELD) / 1e9


@pytest.fixture
def house() -> House:
    return House()


IN_A = mark(A, "on_request")


def test_the_hook_that_ran_is_named_else_those_that_waited(house: House) -> None:
    assert house.die(1.0) == ""
    assert house.die(1.0, IN_A, mark(B, "on_log")) == "on_request of the plugin a"
    assert house.die(1.0, 0, mark(B, "setup"), IN_A) == "setup of the plugin b, or on_request of the plugin a"
    assert house.die(1.0, 99 << 8 | 1) == "", "a plugin that is gone"
    assert (house.cell(A, LocationCells.DEATHS), house.cell(B, LocationCells.DEATHS)) == (2, 1)


def test_some_deaths_in_a_while_keep_a_plugin_from_all_workers(house: House) -> None:
    for now in (0.0, WINDOW * 2, WINDOW * 2 + 1):
        house.die(now, IN_A)
        assert house.held(A) == 0 and not house.lines
    now = WINDOW * 2 + 2
    house.die(now, IN_A)
    assert house.held(A) == now + HOLD and house.held(B) == 0
    (line,) = house.lines
    assert line == "plugin a: in quarantine in all workers for 300 s: 3 workers died in it within 600 s, the last one in on_request"


def test_after_it_one_death_suffices_and_the_time_doubles(house: House) -> None:
    now = 0.0
    for _ in range(DEATHS):
        house.die(now, IN_A)
    house.die(now + 1, IN_A)
    assert house.held(A) == HOLD, "a worker that had not heard of it"
    for times in (2, 4, 8, 16, 16):
        now = house.held(A) + 1
        house.die(now, IN_A)
        assert house.held(A) == now + HOLD * times
    before = house.held(A)
    house.die(before + WINDOW + 1, IN_A)
    assert house.held(A) == before, "long after it, deaths are counted anew"


def test_another_version_begins_anew(house: House) -> None:
    for _ in range(DEATHS):
        house.die(1.0, IN_A)
    house.commit(A, B)
    assert house.held(A) == 1.0 + HOLD
    house.commit(Plugin("a", "file", "/p/a.py", "A", digest="2", slot=3), B)
    assert house.held(A) == 0 and house.cell(A, LocationCells.DEATHS) == DEATHS
    house.die(2.0, IN_A)
    assert house.held(A) == 0
    house.commit(B)
    house.commit(A, B)
    assert house.cell(A, LocationCells.DEATHS) == 0
