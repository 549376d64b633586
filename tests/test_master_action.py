"""What operators did to one backend: what of it holds, what holds again later, and that nothing is lost in the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.master.operator.action import DRAIN as DRAINED
from terraster.master.operator.action import ENABLE as ENABLED
from terraster.master.operator.action import HISTORY, WEIGHT, WEIGHT_OF_FILE, Action, Entry, parsed, written
from terraster.master.operator.action import MAINTENANCE as MAINTAINED

NOW = 1_700_000_000.0

DRAIN = Action("drain", NOW, "alice", "disk", NOW + 60)
MAINTENANCE = Action("maintenance", NOW, "alice")
ENABLE = Action("enable", NOW, "bob")
FIVE = Action("weight", NOW, "bob", "", NOW + 30, 5)
OF_FILE = Action("weight file", NOW, "bob")

SECONDS = st.integers(0, 20)
ORDERS = st.builds(Action, st.sampled_from([DRAINED, MAINTAINED]), st.just(NOW), until=SECONDS.map(lambda one: one and NOW + one))
WEIGHTS = st.builds(
    Action, st.just(WEIGHT), st.just(NOW), until=SECONDS.map(lambda one: one and NOW + one), weight=st.integers(0, 3)
)
ENDS = st.builds(Action, st.sampled_from([ENABLED, WEIGHT_OF_FILE]), st.just(NOW))


@pytest.mark.parametrize(
    ("actions", "order", "weight"),
    [
        ([DRAIN], DRAIN, None),
        ([DRAIN, MAINTENANCE], MAINTENANCE, None),
        ([DRAIN, FIVE, ENABLE], None, FIVE),
        ([DRAIN, FIVE, OF_FILE], DRAIN, None),
        ([ENABLE], None, None),
    ],
)
def test_what_touches_leave(actions: list[Action], order: Action | None, weight: Action | None) -> None:
    entry = Entry()
    for action in actions:
        entry = entry.after(action)
    assert (entry.order, entry.weight, entry.history) == (order, weight, tuple(actions))


LATER = NOW + 20
PROLONGED = [
    # what there was, what is asked for LATER, what holds
    (DRAIN, Action("drain", LATER, "bob", "", NOW + 90), Action("drain", NOW, "alice", "disk", NOW + 90)),
    (DRAIN, Action("drain", LATER, "bob", "fan", NOW + 90), Action("drain", NOW, "bob", "fan", NOW + 90)),
    (FIVE, Action("weight", LATER, "eve", "", NOW + 90, 5), Action("weight", NOW, "bob", "", NOW + 90, 5)),
    (DRAIN, Action("drain", LATER, "bob"), None),  # without an end it replaces all
    (DRAIN, Action("maintenance", LATER, "bob", "", NOW + 90), None),
    (FIVE, Action("weight", LATER, "eve", "", NOW + 90, 6), None),
    (DRAIN, Action("drain", NOW + 60, "bob", "", NOW + 90), None),  # its time was over
]


@pytest.mark.parametrize(("first", "again", "holds"), PROLONGED)
def test_the_same_once_more_only_changes_its_end(first: Action, again: Action, holds: Action | None) -> None:
    entry = Entry().after(first).after(again)
    assert (entry.order or entry.weight) == (holds or again)
    assert entry.history == (first, again)


def test_only_the_last_touches_are_kept() -> None:
    entry = Entry()
    for number in range(HISTORY + 5):
        entry = entry.after(Action("weight", NOW, weight=number))
    assert [action.weight for action in entry.history] == list(range(5, HISTORY + 5))


def test_weights_come_back_too_and_no_heap_of_them_grows() -> None:
    entry = Entry().after(Action("weight", NOW, weight=7))
    for number in range(100):
        entry = entry.after(Action("weight", NOW, until=NOW + 1000 - number, weight=number))
    assert len(entry.under_weight) < 10
    assert entry.ended(NOW + 1000).weight == Action("weight", NOW, weight=7)
    assert entry.after(OF_FILE).ended(NOW + 1000).weight is None


@given(st.lists(ORDERS | WEIGHTS | ENDS, max_size=30), SECONDS, SECONDS)
def test_ends_come_in_any_steps_and_the_file_loses_nothing(actions: list[Action], sooner: int, later: int) -> None:
    entry = Entry()
    for action in actions:
        entry = entry.after(action)
    for one in (entry, entry.ended(NOW + sooner)):
        assert parsed(written({"a": one})) == ({"a": one}, {})
    at = NOW + max(sooner, later)
    assert entry.ended(NOW + sooner).ended(at) == entry.ended(at) == entry.ended(at).ended(at)
    for action in (entry.ended(at).order, entry.ended(at).weight):
        assert action is None or not action.until or action.until > at


@given(st.lists(ORDERS, max_size=30), SECONDS)
def test_what_was_asked_for_last_and_lasts_is_what_holds(actions: list[Action], seconds: int) -> None:
    """Unless the same was asked for again: then it lasts as long as was said last."""
    entry = Entry()
    for action in actions:
        entry = entry.after(action)
    kept: list[Action] = []
    for action in actions:
        # what ends no later than what is laid above it is not kept, so it is not back either if that is then ended sooner
        kept = (
            [one for one in kept if not one.until or (one.until > action.until and one.what != action.what)] if action.until else []
        )
        kept.append(action)
    left = [one for one in kept if not one.until or one.until > NOW + seconds]
    assert entry.ended(NOW + seconds).order == (left[-1] if left else None)
