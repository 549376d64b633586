"""Groups too large to look at every member at each pick: who may be picked, and that it is known at once."""

from __future__ import annotations

import pytest

from terraster.balance.admitted import FEW, Admitted
from terraster.balance.registry import BALANCERS
from terraster.state.cells import CHANGES, BackendCells
from tests.harness.balancing import World

POLICIES = sorted(BALANCERS)
MANY = 3 * FEW + 1


def told(world: World, place: int, how: int) -> None:
    """What the master writes when it changes its mind about a backend."""
    world.admit(place, how)
    world.q[world.table.master + CHANGES] += 1


def test_who_is_let_in_is_looked_up_when_something_changed() -> None:
    world = World([1] * 3, "round-robin", workers=1)
    members = world.members[0]
    admitted = Admitted(members)
    assert admitted.look() == members
    seen = admitted.seen
    assert admitted.look() == members and admitted.seen == seen
    told(world, 1, BackendCells.NONE)
    assert admitted.look() == [members[0], members[2]] and admitted.seen != seen
    told(world, 1, BackendCells.RAMPING)
    told(world, 2, BackendCells.TRIAL)
    assert (admitted.look(), admitted.ramping, admitted.trials) == (members, [members[1]], [members[2]])
    members[0].suspend()
    assert admitted.look() == members[1:]
    members[0].resume()
    assert admitted.look() == members


def test_what_was_missed_is_seen_when_the_view_is_refreshed() -> None:
    world = World([1] * 3, "round-robin", workers=1)
    admitted = Admitted(world.members[0])
    admitted.look()
    world.admit(1, BackendCells.NONE)
    world.views[0].refresh()
    assert len(admitted.look()) == 2


@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("policy", POLICIES)
def test_others_trials_and_the_last_resort_of_few_and_many(policy: str, count: int) -> None:
    world = World([1] * count, policy, workers=1)
    (balancer,), (members,) = world.balancers, world.members
    assert (balancer.admitted is None) == (count == FEW)
    assert balancer.has_others(()) and balancer.has_others(members[1:]) and not balancer.has_others(members)
    assert balancer.on_trial() == []
    for place in range(count):
        told(world, place, BackendCells.NONE)
    assert not balancer.has_others(()) and balancer.last_resort(()) is None
    told(world, 5, BackendCells.RAMPING)
    told(world, 7, BackendCells.TRIAL)
    assert balancer.has_others((members[5],)) and not balancer.has_others((members[5], members[7]))
    assert balancer.on_trial() == [members[7]]
    assert balancer.last_resort((members[7],)) is members[5]
