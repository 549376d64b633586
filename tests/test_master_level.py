"""Operators give the log another level: in the next generation, for its time, over a restart; what cannot be kept or applied is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from terraster.master.operator.account import overridden
from terraster.master.operator.level_commands import LevelCommands
from terraster.master.participant import Proposal

from .harness.waiting import wait_until
from .test_master_commands import Master


class Leveled(Master):
    """A master whose configurations pass the overrides as a reload does."""

    def run(self, loaded: Any) -> None:
        proposal = Proposal(loaded)
        self.overrides.prepare(proposal)
        super().run(loaded)
        self.running.snapshot = replace(self.running.snapshot, log_level=proposal.snapshot.log_level)

    def level(self, level: str, **more: Any) -> dict[str, Any]:
        running: Any = self.running
        log: Any = self.log
        return LevelCommands(running, self.overrides, self.orders, log, self.reloader.refresh).log_level(level, by="ann", **more)

    def end(self) -> None:
        self.agenda.stop()
        self.orders.stop()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Leveled]:
    made = Leveled(tmp_path)
    yield made
    made.end()


def test_it_holds_until_it_is_taken_back(master: Leveled, tmp_path: Path) -> None:
    answer = master.level("debug", reason="ticket 7")
    assert (answer["level"], answer["configured"], answer["changed"], answer["before"]) == ("debug", "info", True, None)
    assert answer["order"]["reason"] == "ticket 7" and master.running.snapshot.log_level == "debug"
    running: Any = master.running
    shown = overridden(running, master.overrides)
    assert (shown["log_level"], shown["orphans"], shown["backends"]) == (answer["order"], [], {})
    again = Leveled(tmp_path)
    assert again.running.snapshot.log_level == "debug", "it outlives a restart"
    assert again.overrides.entries["log level"].gone == 0.0
    again.end()
    answer = master.level("file")
    assert (answer["level"], answer["order"], answer["before"]["reason"]) == ("info", None, "ticket 7")
    assert not master.level("file")["changed"]


def test_it_ends_by_itself(master: Leveled) -> None:
    assert master.level("error", seconds=0.05)["order"]["until"]
    master.orders.start()
    wait_until(lambda: master.running.snapshot.log_level == "info", pause=gevent.sleep)
    assert master.reloader.asked[-1] == "the time of a level of the log was over"


def test_refusals(master: Leveled) -> None:
    assert "there are debug" in master.level("loud")["problems"][0]
    assert not master.level("debug", seconds=-1.0)["ok"]
    master.reloader.problems = ["the file is gone"]
    answer = master.level("debug")
    assert answer["problems"] == ["the file is gone; nothing was changed"] and master.overrides.entries == {}
    master.reloader.problems = []
    os.mkdir(f"{master.overrides.path}.new")
    assert "nothing was changed" in master.level("debug")["problems"][0] and master.running.snapshot.log_level == "info"
