"""Groups too large to look at every member at each pick: who may be picked, and that it is known at once."""

from __future__ import annotations

from collections import Counter
from math import ceil
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.balance import contract
from terraster.balance.admitted import FEW, Admitted
from terraster.balance.contract import Balancer, Member
from terraster.balance.registry import BALANCERS
from terraster.balance.ring import Ring
from terraster.balance.weighted import WeightedRoundRobin
from terraster.compiled import rooms
from terraster.config.snapshot import Location
from terraster.exchange import Exchange
from terraster.state.cells import CHANGES, BackendCells
from tests.harness.balancing import Service, World, backend, off, percentile, spread, steady

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


@pytest.mark.parametrize("policy", POLICIES)
@given(st.randoms(use_true_random=True))
@settings(max_examples=4)
def test_any_life_of_many(policy: str, chance: Random) -> None:
    """As with few: who is picked may be, somebody is if anybody can, and all are given back."""
    limits = [chance.choice([0, 1, 2]) for _ in range(MANY)]
    weights = [chance.randint(0, 4) for _ in range(MANY)]
    backends = tuple(backend(at, weights[at], max_connections=limit) for at, limit in enumerate(limits))
    world = World(weights, Location("s/", "/", policy, backends=backends), workers=2)
    up = chance.choice([0.02, 0.3, 1.0])
    held: list[tuple[Balancer, Member]] = []
    now = 0.0
    for turn in range(120):
        now += chance.choice([0.0, 0.001, 0.3])
        if turn % 40 == 0:
            for place in range(MANY):
                how = chance.choice([BackendCells.ALL, BackendCells.TRIAL, BackendCells.RAMPING])
                told(world, place, how if chance.random() < up else BackendCells.NONE)
                world.q[world.table.backend(place) + BackendCells.RAMP] = chance.randint(0, 1000)
                world.q[world.table.backend(place) + BackendCells.TRIAL_LIMIT] = chance.randint(0, 2)
        if held and chance.random() < 0.3:
            balancer, member = held.pop(chance.randrange(len(held)))
            if balancer.measures:
                balancer.answered(member, chance.uniform(0, 10), now)
            balancer.done(member, chance.random() < 0.5, now)
        worker = turn % 2
        members = world.members[worker]
        tried = [chance.choice(members) for _ in range(chance.randint(0, 2))]
        sure = [one for one in members if one.weight and one not in tried and one.has_room() and world.q[one.admit_at] == 1]
        picked = world.balancers[worker].pick(None, tried, now)
        if picked is None:
            assert not sure
        else:
            assert picked.weight and picked not in tried and picked.is_up()
            assert not picked.max_connections or picked.active() <= picked.max_connections
            held.append((world.balancers[worker], picked))
    for balancer, member in held:
        balancer.done(member, False, now)
    assert world.active() == [0] * MANY


class Counted:
    """The cells, and how often one was read."""

    def __init__(self, q: memoryview) -> None:
        self._q = q
        self.reads = 0

    def __getitem__(self, at: int) -> int:
        self.reads += 1
        return self._q[at]  # type: ignore[no-any-return]

    def __setitem__(self, at: int, value: int) -> None:
        self._q[at] = value


def reads(policy: str, count: int, up: int) -> float:
    """The cells that a pick reads, with so many of these backends up, on average."""
    world = World([1 + place % 3 for place in range(count)], policy)
    for place in range(up, count):
        told(world, place, BackendCells.NONE)
    (balancer, _), view = world.balancers, world.views[0]
    counted = view.q = Counted(world.q)  # type: ignore[assignment]
    picks = 2 * count
    for _ in range(picks):
        member = balancer.pick(None, (), 0.0)
        assert (member is None) == (not up)
        if member is not None:
            balancer.done(member, False, 0.0)
    return counted.reads / picks  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.skipif(
    "balance.contract" in rooms().compiled, reason="compiled rooms read the cells themselves, not this stand-in of them"
)
def test_a_pick_among_hundreds_reads_no_more_than_one_among_ten(policy: str) -> None:
    most = reads(policy, 10, 10) + 40
    for up in (300, 1, 0):
        assert reads(policy, 300, up) < most


WEIGHTS = [1 + place % 7 for place in range(MANY)]


@pytest.mark.parametrize("clients", [1, 300])
@pytest.mark.parametrize(
    "policy", ["weighted-round-robin", "weighted-least-connections", "random-two", "response-time", "adaptive"]
)
def test_shares_of_many_follow_the_weights_at_any_load(policy: str, clients: int) -> None:
    finished = World(WEIGHTS, policy).run(clients, 80 * MANY, spread(0.01 if clients > 1 else 0.0001))
    assert off(finished, WEIGHTS) < 0.25  # of the lightest ones, which have 20 requests


@pytest.mark.parametrize("policy", ["round-robin", "least-connections", "weighted-least-connections", "response-time"])
def test_equal_ones_of_many_have_equal_shares_exactly_while_there_is_little_to_do(policy: str) -> None:
    had = Counter(done.backend for done in World([1] * MANY, policy, workers=1).run(1, 20 * MANY, steady()))
    exactly = policy in ("round-robin", "least-connections")
    assert max(had.values()) - min(had.values()) <= (0 if exactly else 2)


def queued(speeds: list[float]) -> Service:
    """Each works on one request at a time, at its speed."""
    free = [0.0] * len(speeds)

    def service(place: int, now: float, chance: Random) -> tuple[float, bool]:
        free[place] = max(now, free[place]) + chance.expovariate(100) / speeds[place]
        return free[place] - now, True

    return service


@pytest.mark.parametrize(
    ("policy", "clients"),
    [("least-connections", 80), ("least-connections", 200), ("weighted-least-connections", 200), ("response-time", 200)],
)
def test_a_look_at_some_is_nearly_as_good_as_a_look_at_all(policy: str, clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 backends, of which those in one half of the configuration are ten times slower: with little to do, and at the edge."""
    speeds = [0.2] * 100 + [1.8] * 100
    runs = []
    for few in (FEW, 1000):
        monkeypatch.setattr(contract, "FEW", few)
        world = World([1] * 200, policy)
        assert (world.balancers[0].admitted is None) == (few == 1000)
        runs.append(world.run(clients, 6000, queued(speeds))[2500:])
    some, every = ([done.seconds for done in run] for run in runs)
    assert sum(some) / len(some) < 1.15 * sum(every) / len(every)
    assert percentile(runs[0], 0.99) < 1.25 * percentile(runs[1], 0.99)
    slow = [sum(done.backend < 100 for done in run) / len(run) for run in runs]
    assert slow[0] < slow[1] + 0.03


@given(st.randoms(use_true_random=True))
@settings(max_examples=15)
def test_any_window_of_the_turns_of_many_has_exactly_the_weights(chance: Random) -> None:
    weights = [chance.choice([1, 2, 3, 7, 10]) for _ in range(FEW + 8)]
    world = World(weights, "round-robin", workers=1)
    balancer, members = WeightedRoundRobin(world.members[0]), world.members[0]
    for _ in range(2):
        left = {member.slot: member.weight for member in members if member.is_up()}
        total = sum(left.values())
        turns = [member.slot for _ in range(3 * total) if (member := balancer.pick(None, (), 0.0))]
        for start in (0, 1, total // 2, total, 2 * total):
            assert Counter(turns[start : start + total]) == left
        for place in chance.sample(range(len(weights)), 5):
            told(world, place, BackendCells.NONE)


def test_the_turns_of_many_go_on_over_a_reload() -> None:
    weights = [1 + place % 3 for place in range(MANY)]
    old, both = (WeightedRoundRobin(World(weights, "round-robin", workers=1).members[0]) for _ in range(2))
    for _ in range(50):
        assert old.pick(None, (), 0.0) and both.pick(None, (), 0.0)
    new = WeightedRoundRobin(World(weights, "round-robin", workers=1).members[0])
    new.resume_from(old)
    turns = [[member.slot for _ in range(100) if (member := one.pick(None, (), 0.0))] for one in (new, both)]
    assert turns[0] == turns[1]


def test_a_ring_of_those_that_are_left_gives_keys_to_who_comes_next() -> None:
    whole = Ring([(f"b{place}", 1 + place % 2) for place in range(MANY)])
    left = {3, 50, 51, 90}
    part = whole.of(left)
    for number in range(200):
        place = whole.place(b"%d" % number)
        order = [one for one in (whole.owners[place], *whole.after(place)) if one in left]
        place = part.place(b"%d" % number)
        assert [part.owners[place], *part.after(place)] == order


@pytest.mark.parametrize("policy", ["ip-hash", "consistent-hash"])
def test_keys_of_those_that_are_up_stay_while_most_are_away(policy: str) -> None:
    world = World([1] * MANY, policy, workers=1)
    (balancer,) = world.balancers
    exchanges = [Exchange(0.0, 0.0, f"10.0.{number >> 8}.{number & 255}", "", "http", None) for number in range(400)]  # type: ignore[arg-type]

    def owners() -> list[int]:
        found = []
        for exchange in exchanges:
            member = balancer.pick(exchange, (), 0.0)
            assert member is not None
            balancer.done(member, False, 0.0)
            found.append(member.slot)
        return found

    before = owners()
    for place in range(MANY):
        told(world, place, BackendCells.ALL if place % 24 == 0 else BackendCells.NONE)
    first, *later = [owners() for _ in range(60)]  # in the meantime it makes a ring of those that are left
    assert balancer._left is not None  # type: ignore[attr-defined]
    assert all(one == first for one in later)
    assert all(now == then for now, then in zip(first, before, strict=True) if then % 24 == 0)
    for place in range(MANY):
        told(world, place, BackendCells.ALL)
    assert owners() == before


def test_the_bound_of_a_hash_over_many_is_one_off_at_most() -> None:
    world = World([1] * MANY, Location("s/", "/", "consistent-hash", hash_balance_factor=1.25))
    for number in range(6 * MANY):
        member = world.balancers[number % 2].pick(None, (), 0.0)
        assert member is not None and member.active() <= ceil(1.25 * (number + 1) / MANY) + 1
    assert max(world.active()) <= 9


def test_first_of_many_fills_from_the_front_and_comes_back_to_it() -> None:
    backends = tuple(backend(place, max_connections=2) for place in range(MANY))
    world = World([1] * MANY, Location("s/", "/", "first", backends=backends))
    here, there = world.balancers

    def slot(balancer: Balancer, now: float) -> int:
        member = balancer.pick(None, (), now)
        assert member is not None
        return member.slot

    assert [slot((here, there)[number % 2], 0.001) for number in range(120)] == [number // 2 for number in range(120)]
    here.done(world.members[0][7], False, 0.002)
    assert slot(here, 0.002) == 7
    there.done(world.members[1][9], False, 0.002)
    assert {slot(here, 0.1 + number / 1000) for number in range(4)} >= {9}
    assert here.pick(None, world.members[0][:80], 0.2) is world.members[0][80]
    assert slot(here, 0.3) < 64
