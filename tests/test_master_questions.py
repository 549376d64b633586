"""Questions of the master to its workers: who is asked, and who is not waited for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent

from terraster.errors import TerrasterError
from terraster.master.children import LEAVING, SERVING, STARTING
from terraster.master.questions import Questions


class Child:
    """A worker that answers with its pid, or `answers` not at all."""

    def __init__(self, pid: int, name: str = "proxy", answers: bool = True, gone: bool = False, state: str = SERVING) -> None:
        self.pid, self.name, self.answers, self.gone = pid, name, answers, gone
        self.state = state
        self.channel = self
        self.asked: list[Any] = []
        self.questions: Questions

    def send(self, message: tuple[Any, ...]) -> None:
        if self.gone:
            raise TerrasterError("gone")
        self.asked.append(message)
        if self.answers:
            _tell, number, what, about = message
            self.questions.hear(self, number, (self.pid, what, about))  # type: ignore[arg-type]


def house(*children: Child, ended: tuple[int, ...] = ()) -> Questions:
    by_pid = {child.pid: child for child in children if child.pid not in ended}
    questions = Questions(SimpleNamespace(serving=lambda: list(children), by_pid=by_pid))  # type: ignore[arg-type]
    for child in children:
        child.questions = questions
    return questions


def test_every_proxy_worker_is_asked() -> None:
    one, two, admin = Child(1), Child(2), Child(3, "admin")
    assert house(one, two, admin).ask("mirrors", "shop", 20.0) == {1: (1, "mirrors", "shop"), 2: (2, "mirrors", "shop")}
    assert admin.asked == []


def test_one_that_hangs_is_waited_for_so_long_and_no_longer() -> None:
    assert house(Child(1), Child(2, answers=False)).ask("mirrors", "", 0.1) == {1: (1, "mirrors", "")}


def test_one_that_has_ended_is_not_waited_for() -> None:
    with gevent.Timeout(20):
        assert house(Child(1), Child(2, gone=True), ended=(2,)).ask("mirrors", "", 1000.0) == {1: (1, "mirrors", "")}


def test_an_answer_that_comes_too_late_is_for_nobody() -> None:
    late = Child(1, answers=False)
    questions = house(late)
    assert questions.ask("mirrors", "", 0.05) == {}
    questions.hear(late, 1, "late")  # type: ignore[arg-type]
    late.answers = True
    assert questions.ask("mirrors", "", 20.0) == {1: (1, "mirrors", "")}


def test_a_poll_asks_those_that_drain_as_well_and_names_the_silent() -> None:
    serves, drains, hangs, starts = Child(1), Child(2, state=LEAVING), Child(3, answers=False), Child(4, state=STARTING)
    questions = house(serves, drains, hangs, starts, Child(5, "admin"))
    answers, silent = questions.poll("requests", "{}", 0.1)
    assert (sorted(answers), silent, starts.asked) == ([1, 2], [3], [])
