"""The process that explains a request: its answer, its bounds, and what the admin worker learns of its faults."""

from __future__ import annotations

import os
import time
from typing import Any

import gevent
import pytest

from terraster.admin import explainer
from terraster.admin.explainer import Explainer
from terraster.admin.site import Refusal
from terraster.config.snapshot import Snapshot
from terraster.explain.running import no_rules
from terraster.state.table import Table


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str, *values: object) -> None:
        self.lines.append(text % values)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def made(log: Log) -> Explainer:
    return Explainer(Table(1, 1, 2), 1, no_rules, log)


def ask(made: Explainer) -> dict[str, Any]:
    return made.explain({}, Snapshot.__new__(Snapshot), {})


def answers(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr("terraster.explain.running.answer", answer)


def test_the_answer_is_made_in_another_process(made: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(
        monkeypatch,
        lambda *_: {"ok": True, "pid": os.getpid(), "parent": os.getppid(), "nice": os.nice(0), "text": "\udcff" * 100_000},
    )
    found = ask(made)
    assert found["nice"] == min(os.nice(0) + 10, 19)  # it yields to workers
    assert found["pid"] != os.getpid() == found["parent"]
    assert found["text"] == "\udcff" * 100_000
    with pytest.raises(ChildProcessError):
        os.waitpid(found["pid"], os.WNOHANG)  # it has been reaped


def test_a_defect_is_logged_and_refused(made: Explainer, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("lost")

    answers(monkeypatch, broken)
    with pytest.raises(Refusal, match="internal error, see the log") as refusal:
        ask(made)
    assert refusal.value.status == 500
    assert "KeyError: 'lost'" in log.lines[0]


def test_a_process_that_takes_too_long_is_ended(made: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer, "_LONGEST", 0.2)
    answers(monkeypatch, lambda *_: time.sleep(60))
    began = time.monotonic()
    with pytest.raises(Refusal, match="could not be explained within 0.2 s"):
        ask(made)
    assert time.monotonic() - began < 30


def test_an_answer_that_is_too_large(made: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer, "_LARGEST", 100)
    answers(monkeypatch, lambda *_: {"ok": True, "text": "x" * 100_000})
    with pytest.raises(Refusal, match="too large"):
        ask(made)


def test_few_at_once(made: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are answered, eight wait, all others are refused at once; the loop goes on meanwhile."""
    monkeypatch.setattr(explainer, "_PATIENCE", 0.05)
    monkeypatch.setattr(explainer, "_LONGEST", 1.0)
    answers(monkeypatch, lambda *_: time.sleep(60))
    asked = [gevent.spawn(ask, made) for _ in range(2 + 8 + 1)]
    gevent.joinall(asked, timeout=30)
    words = sorted(str(one.exception) for one in asked)
    assert [words.count(text) for text in dict.fromkeys(words)] == [8, 2, 1]
    assert words[0] == "other requests are being explained; try again"
    assert words[-1] == "too many requests are being explained; try again"
