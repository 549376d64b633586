"""The two phases of a reload: who is asked, in which order, and what is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError, Problem, StartError
from terraster.master.participant import Participant, Proposal, commit, prepare, rollback
from tests.harness.family import Family
from tests.harness.waiting import wait_until
from tests.harness.ward import Lines


class One(Participant):
    def __init__(self, name: str, calls: list[str], error: BaseException | None = None) -> None:
        self.name = name  # type: ignore[misc]
        self.calls = calls
        self.error = error

    def prepare(self, new: Proposal) -> None:
        self.calls.append(f"prepare {self.name}")
        if self.error is not None:
            raise self.error

    def rollback(self) -> None:
        self.calls.append(f"rollback {self.name}")

    def commit(self, new: Proposal) -> None:
        self.calls.append(f"commit {self.name}")


def go(error: BaseException | None, log: Any) -> list[str]:
    calls: list[str] = []
    three = One("a", calls), One("b", calls, error), One("c", calls)
    new = Proposal(Snapshot(1, (), ()))
    prepare(three, new, calls.append, log)
    commit(three, new, calls.append)
    return calls


def test_all_prepare_then_all_commit() -> None:
    assert go(None, Lines()) == [
        *("prepare a", "a prepared", "prepare b", "b prepared", "prepare c", "c prepared"),
        *("commit a", "a committed", "commit b", "b committed", "commit c", "c committed"),
    ]


@pytest.mark.parametrize("error", [StartError("no"), ConfigError([Problem("f", 1, 2, "no")]), SystemExit(1)])
def test_all_that_were_asked_roll_back_in_the_reverse_order(error: BaseException) -> None:
    calls: list[str] = []
    three = One("a", calls), One("b", calls, error), One("c", calls)
    with pytest.raises(type(error)) as raised:
        prepare(three, Proposal(Snapshot(1, (), ())), calls.append, Lines())  # type: ignore[arg-type]
    assert raised.value is error
    assert calls == ["prepare a", "a prepared", "prepare b", "rollback b", "rollback a"]


def test_a_defect_is_a_refusal_that_names_the_participant() -> None:
    log = Lines()
    log.strict = False
    with pytest.raises(StartError, match="b: cannot prepare the new configuration: ZeroDivisionError: x"):
        go(ZeroDivisionError("x"), log)
    assert log.take() == ["error b: cannot prepare the new configuration"]


def test_one_that_defines_nothing_takes_part() -> None:
    class Silent(Participant):
        name = "silent"

    new = Proposal(Snapshot(1, (), ()))
    prepare([Silent()], new, lambda step: None, Lines())  # type: ignore[arg-type]
    commit([Silent()], new, lambda step: None)
    rollback([Silent()])
    assert Silent().detail() is None


def test_a_new_participant_takes_part_in_start_reload_refusal_status_and_end(tmp_path: Path) -> None:
    """`Ledger` in tests/harness/toy_master.py is one class, and one name in the tuple."""
    ledger = tmp_path / "ledger"

    def calls() -> list[str]:
        lines = ledger.read_text().split("\n")[:-1]
        ledger.write_text("")
        return lines

    with Family(workers=1, services={"one": ["http://127.0.0.1:1"]}, ledger=str(ledger)) as family:
        assert calls() == ["prepare 1", "commit 1", "start"]
        assert family.ask("status")["ledger"] == {"generation": 1}
        family.write(services={"one": ["http://127.0.0.1:2"]})
        assert family.ask("reload")["ok"]
        assert calls() == ["prepare 2", "commit 2", "settle 2"]
        family.write(services={"two": ["http://127.0.0.1:2"]}, ledger_refuses=True)
        outcome = family.ask("reload")
        assert not outcome["ok"] and outcome["problems"] == ["the ledger is closed"] and outcome["generation"] == 2
        assert calls() == ["prepare 3", "rollback"]
        assert family.ask("status")["ledger"] == {"generation": 2}
        assert family.get()["services"] == ["one"]
        assert list(family.ask("status")["prober"]) == ["one/ http://127.0.0.1:2"]
        family.process.terminate()
        wait_until(lambda: family.process.poll() is not None)
        assert calls() == ["stop"]
