"""The rows of many greenlets: together on the disk, each in its turn."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from terraster.admin.auditor import Auditor
from terraster.audit.log import AuditLog


class Said:
    """A program's log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *words: Any) -> None:
        self.lines.append(text % words)

    error = warning = exception = info


class House:
    """An auditor whose first write waits until ``go`` is set."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[str] = []
        self.go = threading.Event()
        self.said = Said()
        self.log = AuditLog(str(folder / "audit"), str, step=self._step)
        self.auditor = Auditor(self.log, lambda: SimpleNamespace(audit_days=365), self.said)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        assert self.go.wait(10)

    def all(self, count: int) -> list[bool]:
        """Changes of so many greenlets, all of which begin before the first row is on the disk."""
        greenlets = [gevent.spawn(self._one, number) for number in range(count)]
        with gevent.Timeout(10):
            while not self.steps:
                gevent.sleep(0.001)
            self.go.set()
            return [bool(greenlet.get()) for greenlet in greenlets]

    def _one(self, number: int) -> bool:
        facts = {"user": "ada", "action": "weight", "request_id": f"r{number}"}
        return self.auditor.record({**facts, "outcome": "done"}, self.auditor.begin(facts))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_rows_that_come_during_a_write_share_the_next_one(house: House, tmp_path: Path) -> None:
    assert house.all(40) == [True] * 40
    assert sorted(row["request_id"] for row in house.log.rows()) == sorted(f"r{number}" for number in range(40))
    assert house.steps.count("head written") <= 4, "and not one for each row"
    assert house.log.verify().problem == "" and not list((tmp_path / "audit").glob("begun-*"))
    assert len([line for line in house.said.lines if line.startswith("audit: row ")]) == 40


def test_rows_wait_together_while_the_log_cannot_be_written(house: House, tmp_path: Path) -> None:
    house.go.set()
    (tmp_path / "audit").write_text("a file")
    assert [house.auditor.record({"action": f"a{number}"}) for number in range(3)] == [False] * 3
    assert house.auditor.failure is not None and "cannot be written" in house.auditor.failure["text"]
    (tmp_path / "audit").unlink()
    assert house.auditor.record({"action": "later"}) is False, "it does not overtake those that wait"
    house.auditor._look()
    assert [row["action"] for row in house.log.rows()] == ["later", "a2", "a1", "a0"] and house.auditor.failure is None
    assert house.auditor.record({"action": "now"}) and house.log.verify().problem == ""
