"""What holds for every algorithm, over several workers: limits, trials, slow starts, and that nobody is forgotten."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.balance.contract import Balancer, Member
from terraster.balance.registry import BALANCERS, make
from terraster.config.snapshot import Location
from terraster.policy.state import ramp
from terraster.state.cells import BackendCells
from tests.harness.balancing import World, backend, shares, steady

POLICIES = sorted(BALANCERS)
SPREADING = sorted(set(POLICIES) - {"first", "ip-hash", "consistent-hash"})  # those that use all there is


def limited(policy: str, limits: list[int], weights: list[int] | None = None) -> World:
    weights = weights or [1] * len(limits)
    backends = tuple(backend(at, weights[at], max_connections=limit) for at, limit in enumerate(limits))
    return World(weights, Location("s/", "/", policy, backends=backends), workers=3)


@pytest.mark.parametrize("policy", POLICIES)
@given(st.randoms(use_true_random=True))
def test_any_life(policy: str, chance: Random) -> None:
    """Picks, ends and what the master says, in any order, in three workers: who is picked may be, and all are given back.

    Chance is drawn once for each example: a draw of hypothesis costs more than a pick."""
    count = chance.randint(1, 5)
    limits = [chance.randint(0, 3) for _ in range(count)]
    weights = [chance.randint(0, 4) for _ in range(count)]
    world = limited(policy, limits, weights)
    held: list[tuple[Balancer, Member]] = []
    now = 0.0
    for _ in range(chance.randint(1, 40)):
        now += chance.choice([0.0, 0.001, 0.3, 5.0])
        what = chance.randint(0, 3)
        if what == 0:
            place = chance.randrange(count)
            how = chance.choice([BackendCells.NONE, BackendCells.ALL, BackendCells.TRIAL, BackendCells.RAMPING])
            world.admit(place, how, ramp=chance.randint(0, 1000), trials=chance.randint(0, 2))
        elif what == 1 and held:
            balancer, member = held.pop(chance.randrange(len(held)))
            if balancer.measures and chance.random() < 0.5:
                balancer.answered(member, chance.uniform(0, 10), now)
            balancer.done(member, chance.random() < 0.5, now)
        else:
            worker = chance.randint(0, 2)
            members = world.members[worker]
            tried = [chance.choice(members) for _ in range(chance.randint(0, 2))]
            sure = [one for one in members if one.weight and one not in tried and one.has_room() and world.q[one.admit_at] == 1]
            picked = world.balancers[worker].pick(None, tried, now)
            if picked is None:
                assert not sure
            else:
                assert picked in members and picked.weight and picked not in tried and picked.is_up()
                assert not picked.max_connections or picked.active() <= picked.max_connections
                held.append((world.balancers[worker], picked))
        assert sum(world.active()) == len(held)
    for balancer, member in held:
        balancer.done(member, False, now)
    assert world.active() == [0] * count


@pytest.mark.parametrize("policy", POLICIES)
def test_limits_over_workers_are_filled_and_never_passed(policy: str) -> None:
    world = limited(policy, [3, 1, 2])
    taken = [world.balancers[number % 3].pick(None, (), 0.0) for number in range(9)]
    assert sum(member is not None for member in taken) == 6
    assert world.active() == [3, 1, 2]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_half_open_circuit_lets_in_as_many_as_may_try_over_workers(policy: str) -> None:
    world = World([1, 1], policy, workers=3)
    world.admit(0, BackendCells.TRIAL, trials=2)
    world.admit(1, BackendCells.NONE)
    taken = [world.balancers[number % 3].pick(None, (), 0.0) for number in range(9)]
    assert [member.slot if member else None for member in taken] == [0, 0, *[None] * 7]
    world.admit(1, BackendCells.ALL)
    assert {member.slot for number in range(9) if (member := world.balancers[number % 3].pick(None, (), 0.0))} == {1}


@pytest.mark.parametrize("policy", SPREADING)
@pytest.mark.parametrize("clients", [1, 32])
def test_a_slow_start_is_slow_at_any_load(policy: str, clients: int) -> None:
    had = []
    for part in (100, 500):
        world = World([1, 1, 1, 1], policy)
        world.admit(0, BackendCells.RAMPING, ramp=part)
        had.append(shares(world.run(clients, 4000, steady())).get(0, 0.0))
    assert had[0] < 0.08 and had[0] < had[1] < 0.25
    assert had[1] > 0.05


@pytest.mark.parametrize("policy", SPREADING)
@pytest.mark.parametrize("clients", [1, 8, 32])
def test_a_slow_start_grows_evenly(policy: str, clients: int) -> None:
    """Four seconds, told to the balancers ten times a second, as the master does; looked at by half seconds."""
    world = World([1, 1, 1], policy)
    world.admit(2, BackendCells.NONE)
    world.run(clients, 1000, steady(0.002))
    begin, finished = world.clock, []
    while (passed := world.clock - begin) < 4.0:
        world.admit(2, BackendCells.RAMPING, ramp=ramp(passed, 4.0))
        finished += world.run(clients, 50 * clients, steady(0.002), seed=len(finished) + 1)
    for half in range(8):
        at = begin + half / 2
        had = shares([done for done in finished if at <= done.ended < at + 0.5]).get(2, 0.0)
        part = (half + 0.5) / 8
        assert had == pytest.approx(part / (2 + part), rel=0.15, abs=0.015)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_last_resort_may_be_one_that_starts_slowly(policy: str) -> None:
    world = World([1], policy, workers=1)
    world.admit(0, BackendCells.RAMPING, ramp=1)
    member = world.balancers[0].last_resort(())
    assert member is not None and member.active() == 1
    assert world.balancers[0].last_resort((member,)) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_retries_reach_everybody_once(policy: str) -> None:
    world = World([3, 1, 2, 1, 1], policy, workers=1)
    tried: list[Member] = []
    while (member := world.balancers[0].pick(None, tried, 0.0)) is not None:
        world.balancers[0].done(member, True, 0.0)
        tried.append(member)
    assert sorted(member.slot for member in tried) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_the_master_says_is_seen_by_the_next_pick(policy: str) -> None:
    world = World([1, 1, 1], policy, workers=1)
    for place in range(3):
        for other in range(3):
            world.admit(other, int(other == place))
        assert {member.slot for _ in range(5) if (member := world.balancers[0].pick(None, (), 0.0))} == {place}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("old", POLICIES)
def test_a_reload_from_any_to_any(policy: str, old: str) -> None:
    before, after = World([1, 2, 3], old), World([2, 0, 1, 1], policy)
    before.run(2, 50, steady())
    after.balancers[0].resume_from(before.balancers[0])
    after.balancers[0].prepare()
    assert {done.backend for done in after.run(2, 200, steady())} <= {0, 2, 3}


@pytest.mark.parametrize("policy", ["random-two", "adaptive"])
def test_children_of_one_master_draw_differently(policy: str) -> None:
    read, write = os.pipe()
    world = World([1] * 16, policy, workers=2)
    view = world.views[0]
    balancer = make(world.location, world.members[0])
    for seat in (1, 2):
        child = os.fork()
        if not child:
            view.sit(seat)
            slots = []
            for _ in range(24):
                if (member := balancer.pick(None, (), 0.0)) is not None:
                    balancer.done(member, False, 0.0)
                    slots.append(member.slot)
            os.write(write, bytes(slots))
            os._exit(0)
        os.waitpid(child, 0)
    os.close(write)
    drawn = os.read(read, 100)
    os.close(read)
    assert len(drawn) == 48
    assert drawn[:24] != drawn[24:]
