"""First, and tiers: who has to do with it only when nobody before has room."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.balance.registry import make
from terraster.balance.tiers import Tiers
from terraster.config.snapshot import Location
from terraster.state.cells import BackendCells
from tests.harness.balancing import World, backend


def world(policy: str, tiers: Sequence[int], limits: Sequence[int] = (), weights: Sequence[int] = ()) -> World:
    weights = weights or [1] * len(tiers)
    limits = limits or [0] * len(tiers)
    rows = zip(tiers, limits, weights, strict=True)
    backends = tuple(backend(at, weight, priority=tier, max_connections=limit) for at, (tier, limit, weight) in enumerate(rows))
    return World(weights, Location("s/", "/", policy, backends=backends))


def hold(here: World, count: int) -> list[int | None]:
    """The backends of requests that all last."""
    members = [here.balancers[number % 2].pick(None, (), 0.0) for number in range(count)]
    return [member.slot if member else None for member in members]


def test_first_fills_one_after_the_other() -> None:
    here = world("first", [0, 0, 0, 0], [2, 1, 5, 1], [1, 1, 0, 1])
    assert hold(here, 5) == [0, 0, 1, 3, None]


def test_first_goes_back_as_soon_as_there_is_room() -> None:
    here = world("first", [0, 0])
    here.admit(0, BackendCells.NONE)
    assert hold(here, 2) == [1, 1]
    here.admit(0, BackendCells.ALL)
    assert hold(here, 2) == [0, 0]
    first = here.members[0][0]
    member = here.balancers[0].pick(None, (first,), 0.0)
    assert member is here.members[0][1]


@pytest.mark.parametrize("policy", ["round-robin", "least-connections", "weighted-least-connections", "random-two", "first"])
def test_backups_are_for_when_nobody_else_has_room(policy: str) -> None:
    here = world(policy, [0, 0, 1, 1], [2, 1, 0, 0])
    assert sorted(slot for slot in hold(here, 3) if slot is not None) == [0, 0, 1]
    assert set(hold(here, 4)) <= {2, 3}


def test_tiers_in_the_order_of_their_numbers_not_of_the_configuration() -> None:
    here = world("round-robin", [7, 1, 3])
    assert hold(here, 2) == [1, 1]
    here.admit(1, BackendCells.NONE)
    assert hold(here, 2) == [2, 2]
    here.admit(2, BackendCells.NONE)
    assert hold(here, 2) == [0, 0]
    here.admit(0, BackendCells.NONE)
    assert hold(here, 1) == [None]


def test_a_retry_may_go_to_a_backup() -> None:
    here = world("round-robin", [0, 1])
    main, spare = here.members[0]
    assert here.balancers[0].pick(None, (main,), 0.0) is spare
    here.balancers[0].done(spare, True, 0.0)
    assert here.active() == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_nobody_below_while_somebody_above_has_room(rows: list[tuple[int, int, bool]]) -> None:
    here = world("least-connections", [row[0] for row in rows], [row[1] for row in rows])
    for place, row in enumerate(rows):
        here.admit(place, int(row[2]))
    for number in range(12):
        room = [member.backend.priority for member in here.members[0] if member.is_up() and member.has_room()]
        member = here.balancers[number % 2].pick(None, (), 0.0)
        assert (member is None) == (not room)
        assert member is None or member.backend.priority == min(room)


def test_one_tier_is_not_wrapped() -> None:
    assert not isinstance(world("round-robin", [4, 4]).balancers[0], Tiers)


def test_a_reload_that_adds_or_takes_away_a_tier_goes_on_with_the_turns() -> None:
    old = world("round-robin", [0, 0, 0])
    assert hold(old, 4) == [0, 0, 1, 1]
    new = world("round-robin", [0, 0, 0, 1])
    new.balancers[0].resume_from(old.balancers[0])
    member = new.balancers[0].pick(None, (), 0.0)
    assert member is not None and member.slot == 2
    back = make(Location("s/", "/", "round-robin"), old.members[0])
    back.resume_from(new.balancers[0])
    member = back.pick(None, (), 0.0)
    assert member is not None and member.slot == 0
