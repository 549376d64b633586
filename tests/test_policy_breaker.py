"""The circuit breaker, as stories with a clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Breaker
from terraster.policy.breaker import CLOSED, HALF_OPEN, OPEN, Circuit
from terraster.policy.streak import BEFORE, FIRST, NEXT

RULES = Breaker(threshold=3, timeout=30.0, probes=2)
WORDS = {CLOSED: "closed", OPEN: "open", HALF_OPEN: "half-open"}


def tell(story: list[tuple[float, str]], rules: Breaker = RULES) -> list[str]:
    """What the state is after each step: (moment, what): c, f, 500, 404 reports; "+500" after a good response; "old" a report of
    before; good, bad: of a trial; "" only time goes by."""
    circuit, states = Circuit(), []
    for now, what in story:
        if what == "":
            circuit.advance(rules, now)
        elif what in ("good", "bad"):
            circuit.trial(rules, what == "good", now, now)
        else:
            place = FIRST if what[0] == "+" else BEFORE if what == "old" else NEXT
            plain = what.lstrip("+")
            kind = {"c": "connect", "f": "failure", "old": "failure"}.get(plain, "status")
            circuit.report(rules, place, kind, int(plain) if kind == "status" else 0, now)
        states.append(WORDS[circuit.state])
    return states


OPENED: list[tuple[float, str]] = [(1, "f"), (2, "c"), (3, "500")]


@pytest.mark.parametrize(
    ("story", "state"),
    [
        pytest.param(OPENED[:2], "closed", id="fewer than the threshold"),
        pytest.param(OPENED, "open", id="as many as the threshold"),
        pytest.param([*OPENED[:2], (3, "+500")], "closed", id="a good one in between"),
        pytest.param([*OPENED[:2], (3, "404"), (4, "f")], "closed", id="a status that is none of those"),
        pytest.param([*OPENED[:2], (3, "old")], "closed", id="one of before the good ones"),
        pytest.param([*OPENED, (32.9, "")], "open", id="before the timeout"),
        pytest.param([*OPENED, (33, "")], "half-open", id="after the timeout"),
        pytest.param([*OPENED, (10, "good")], "open", id="a trial of nobody"),
        pytest.param([*OPENED, (33, ""), (34, "good")], "half-open", id="one of two trials"),
        pytest.param([*OPENED, (33, ""), (34, "good"), (35, "good")], "closed", id="both trials"),
        pytest.param([*OPENED, (33, ""), (34, "good"), (35, "bad")], "open", id="one bad trial"),
        pytest.param([*OPENED, (33, ""), (34, "f"), (34, "f"), (34, "f")], "half-open", id="attempts of before it opened"),
        pytest.param([*OPENED, (33, ""), (34, "bad"), (63.9, "")], "open", id="open again as long"),
        pytest.param([*OPENED, (33, ""), (34, "bad"), (64, "")], "half-open", id="and tried again"),
        pytest.param([*OPENED, (33, ""), (34, "good"), (35, "good"), (36, "f"), (37, "f")], "closed", id="counted anew"),
    ],
)
def test_stories(story: list[tuple[float, str]], state: str) -> None:
    assert tell(story)[-1] == state


def opened() -> Circuit:
    circuit = Circuit()
    assert [circuit.report(RULES, NEXT, "failure", 0, 0.0) for _ in range(3)] == ["", "", "3 attempts in a row failed"]
    return circuit


def test_trials_are_granted_once_and_again_when_nothing_comes_of_them() -> None:
    circuit = opened()
    assert (circuit.due(RULES), circuit.advance(RULES, 29.0), circuit.advance(RULES, 30.0)) == (30.0, 0, 2)
    assert (circuit.due(RULES), circuit.advance(RULES, 59.9)) == (60.0, 0)
    circuit.trial(RULES, True, 40.0, 40.0)
    assert circuit.lacking(RULES) == 1
    assert circuit.advance(RULES, 60.0) == 1  # one has gone well, the other went lost
    assert circuit.state == HALF_OPEN
    assert circuit.trial(RULES, True, 61.0, 61.0) and circuit.state == CLOSED
    assert circuit.due(RULES) is None


def test_the_result_of_an_earlier_trial_says_nothing_of_this_one() -> None:
    circuit = opened()
    circuit.advance(RULES, 30.0)
    assert not circuit.trial(RULES, False, 29.0, 31.0)
    assert circuit.state == HALF_OPEN


@given(st.lists(st.tuples(st.sampled_from(["f", "500", "404", "+404", "+f", "good", "bad", ""]), st.floats(0, 100)), max_size=80))
def test_it_opens_only_by_what_is_bad_and_closes_only_by_good_trials(story: list[tuple[str, float]]) -> None:
    now, told = 0.0, []
    for what, pause in story:
        now += pause
        told.append((now, what))
    before = "closed"
    for (_moment, what), state in zip(told, tell(told), strict=True):
        allowed: dict[Any, Any] = {
            ("closed", "open"): ("f", "500", "+f"),
            ("open", "half-open"): ("",),
            ("half-open", "open"): ("bad",),
            ("half-open", "closed"): ("good",),
        }
        assert state == before or what in allowed[before, state]
        before = state


@given(st.lists(st.sampled_from(["good", "bad", ""]), max_size=40))
def test_it_never_rests_half_open(story: list[str]) -> None:
    """Whatever became of trials: there is a moment at which something happens by itself, unless it is closed."""
    circuit, now = opened(), 0.0
    for what in story:
        now += 31.0
        if what:
            circuit.trial(RULES, what == "good", now, now)
        else:
            circuit.advance(RULES, now)
        due = circuit.due(RULES)
        assert (due is None) == (circuit.state == CLOSED)
        if due is not None:
            assert due <= now + RULES.timeout
