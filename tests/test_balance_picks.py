"""What every balancer must hold, and what each one promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.balance.contract import Balancer, Member
from terraster.balance.least_connections import LeastConnections
from terraster.balance.random_two import RandomTwo
from terraster.balance.registry import BALANCERS, make
from terraster.balance.round_robin import RoundRobin
from terraster.balance.weighted import LONGEST, WeightedRoundRobin
from terraster.config.algorithms import ALGORITHMS
from terraster.config.snapshot import Backend, Location
from terraster.errors import ConfigError
from terraster.state.cells import SeatBackend
from terraster.state.table import Table

from .harness.seats import seated

NAMES = "abcdefghijklmnopqrstuvwxyz"


class Field:
    """Members named a, b, c … in one seat, with the others' cells at hand."""

    def __init__(self, weights: Sequence[int], limits: Sequence[int] = (), names: str = NAMES) -> None:
        self.table = Table(len(NAMES), 1, 3)
        view, _ = seated(self.table, 2)
        limits = [*limits, *[0] * len(weights)]
        self.members = [
            Member(Backend(name, name, "http", name, 80, weight=weight, max_connections=limit, slot=NAMES.index(name)), view)
            for name, weight, limit in zip(names, weights, limits, strict=False)
        ]
        for member in self.members:
            self.set_up(member, True)

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self.members if member.backend.id == name)

    def set_up(self, member: Member, up: bool) -> None:
        self.table.q[member.admit_at] = int(up)

    def busy_elsewhere(self, member: Member, count: int) -> None:
        self.table.q[self.table.seat_backend(2, member.slot) + SeatBackend.ACTIVE] = count


def picks(balancer: Balancer, count: int, tried: Sequence[Member] = ()) -> str:
    """The names of ``count`` picks, each done before the next; "-" for none."""
    names = ""
    for _ in range(count):
        member = balancer.pick(None, tried, 0.0)
        names += "-" if member is None else member.backend.id
        if member is not None:
            balancer.done(member, False, 0.0)
    return names


POLICIES = sorted(BALANCERS)
KINDS = [RoundRobin, WeightedRoundRobin, LeastConnections]


# ----------------------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("policy", POLICIES)
@given(st.randoms(use_true_random=True))
def test_never_down_never_tried_never_full_never_without_weight(policy: str, chance: Random) -> None:
    """Chance is drawn once for each example: a draw of hypothesis costs more than a pick."""
    weights = [chance.randint(0, 5) for _ in range(chance.randint(0, 6))]
    field = Field(weights, [chance.randint(0, 2) for _ in weights])
    balancer = make(Location("s/", "/", policy), field.members)
    if isinstance(balancer, RandomTwo):
        balancer.seed(1)
    held: list[Member] = []
    for _ in range(20):
        for member in field.members:
            field.set_up(member, chance.random() < 0.5)
        tried = [chance.choice(field.members) for _ in range(chance.randint(0, 3))] if field.members else []
        usable = [m for m in field.members if m.is_up() and m.weight and m not in tried and m.has_room()]
        before = {member: member.active() for member in field.members}
        picked = balancer.pick(None, tried, 0.0)
        assert (picked is None) == (not usable)
        if picked is not None:
            assert picked in usable
            before[picked] += 1
            held.append(picked)
        assert {member: member.active() for member in field.members} == before
        if held and chance.random() < 0.5:
            balancer.done(held.pop(), chance.random() < 0.5, 0.0)
    for member in held:
        balancer.done(member, False, 0.0)
    assert not any(member.active() for member in field.members)


@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_there(policy: str) -> None:
    assert picks(make(Location("s/", "/", policy), []), 1) == "-"
    assert picks(make(Location("s/", "/", policy), Field([0, 0]).members), 1) == "-"
    field = Field([1, 1])
    assert picks(make(Location("s/", "/", policy), field.members), 1, field.members) == "-"


@pytest.mark.parametrize("kind", KINDS)
def test_equal_members_take_turns(kind: type[Balancer]) -> None:
    assert picks(kind(Field([2, 2, 2]).members), 7) == "abcabca"


@pytest.mark.parametrize("kind", KINDS)
def test_turns_of_one_that_is_down_go_to_all_others(kind: type[Balancer]) -> None:
    field = Field([1, 1, 1])
    balancer = kind(field.members)
    field.set_up(field["a"], False)
    assert picks(balancer, 6) == "bcbcbc"
    field.set_up(field["a"], True)
    assert sorted(picks(balancer, 6)) == list("aabbcc")


@pytest.mark.parametrize("kind", KINDS)
def test_retries_use_up_turns(kind: type[Balancer]) -> None:
    field = Field([1, 1, 1])
    balancer = kind(field.members)
    served: Counter[str] = Counter()
    for _ in range(30):  # a is up and refuses every request
        tried: list[Member] = []
        while (member := balancer.pick(None, tried, 0.0)) is not None:
            balancer.done(member, member is field["a"], 0.0)
            if member is not field["a"]:
                served[member.backend.id] += 1
                break
            tried.append(member)
    assert served == {"b": 15, "c": 15}


@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_goes_on_with_the_turn(kind: type[Balancer]) -> None:
    old = kind(Field([1, 1, 1]).members)
    assert picks(old, 1) == "a"
    new = kind(Field([1, 1, 1, 1], names="cabd").members)
    new.resume_from(old)
    assert picks(new, 4) == "bdca"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_that_drops_the_one_whose_turn_it_is(kind: type[Balancer]) -> None:
    old = kind(Field([1, 1, 1]).members)
    picks(old, 1)
    new = kind(Field([1, 1], names="ac").members)
    new.resume_from(old)
    assert picks(new, 2) in ("ca", "ac")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_reload_to_another_algorithm_or_to_nobody(kind: type[Balancer], other: type[Balancer]) -> None:
    old = kind(Field([1, 1, 1]).members)
    picks(old, 2)
    new = other(Field([3, 1]).members)
    new.resume_from(old)
    assert set(picks(new, 8)) == {"a", "b"}
    nobody = other([])
    nobody.resume_from(old)
    assert picks(nobody, 1) == "-"
    new.resume_from(nobody)


# ----------------------------------------------------------------------------------------------------------- round robin by weight


def nginx(weights: Sequence[int], count: int) -> str:
    """The turns of ngx_http_upstream_get_peer with everybody up, step by step."""
    current = [0] * len(weights)
    names = ""
    for _ in range(count):
        best = -1
        for at, weight in enumerate(weights):
            current[at] += weight
            if weight and (best < 0 or current[at] > current[best]):
                best = at
        current[best] -= sum(weights)
        names += NAMES[best]
    return names


@pytest.mark.parametrize(
    ("weights", "turns"),
    [([5, 1, 1], "aabacaa"), ([3, 1], "aaba"), ([1, 3], "babb"), ([2, 1, 0], "aba"), ([4, 3, 2, 1], "abcabdacba"), ([7], "a")],
)
def test_smooth_turns(weights: list[int], turns: str) -> None:
    assert nginx(weights, len(turns)) == turns
    assert picks(WeightedRoundRobin(Field(weights).members), 3 * len(turns)) == 3 * turns


WEIGHTS = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


@given(WEIGHTS, st.integers(1, 3), st.integers(0, 100))
def test_any_window_has_exactly_the_weights(weights: list[int], factor: int, start: int) -> None:
    balancer = make(Location("s/", "/", "weighted-round-robin"), Field([weight * factor for weight in weights]).members)
    total = sum(weights)
    turns = picks(balancer, start + 2 * total)
    assert turns == nginx(weights, start + 2 * total) or len(set(weights) - {0}) == 1
    assert Counter(turns[start : start + total]) == Counter({NAMES[at]: weight for at, weight in enumerate(weights) if weight})


@given(WEIGHTS, st.data())
def test_windows_of_those_that_are_left(weights: list[int], data: st.DataObject) -> None:
    field = Field(weights)
    balancer = make(Location("s/", "/", "round-robin"), field.members)
    picks(balancer, data.draw(st.integers(0, 30)))
    for member in field.members:
        field.set_up(member, data.draw(st.booleans()))
    left = {member.backend.id: member.weight for member in field.members if member.is_up() and member.weight}
    total = sum(left.values())
    turns = picks(balancer, 3 * total)
    for start in range(2 * total):
        assert Counter(turns[start : start + total]) == left
    if left:  # and smooth: over no stretch is anyone more than one and a bit ahead of its share for each that is away
        away = len(weights) - len(left)
        for name, weight in left.items():
            for end in range(total + 1):
                assert abs(turns[:end].count(name) - end * weight / total) < 2 + away


def test_weights_too_long_to_keep() -> None:
    weights = [LONGEST, 1, 1]
    field = Field(weights)
    balancer = WeightedRoundRobin(field.members)
    turns = picks(balancer, sum(weights))
    assert turns == nginx(weights, sum(weights))
    field.set_up(field["a"], False)
    assert picks(balancer, 4) in ("bcbc", "cbcb")
    assert balancer._turns is None


def test_the_same_weights_go_on_where_they_stood_over_a_reload() -> None:
    weights = [5, 3, 1]
    for at in range(20):
        old = WeightedRoundRobin(Field(weights).members)
        before = picks(old, at)
        new = WeightedRoundRobin(Field(weights).members)
        new.resume_from(old)
        assert before + picks(new, 9) == nginx(weights, at + 9)
        assert picks(old, 9) == nginx(weights, at + 9)[at:]  # requests under way still use the old one


# --------------------------------------------------------------------------------------------------------------- least connections


def test_the_least_busy_over_all_workers() -> None:
    field = Field([1, 1, 1])
    balancer = LeastConnections(field.members)
    for name, busy in zip("abc", (4, 1, 3), strict=True):
        field.busy_elsewhere(field[name], busy)
    held = [balancer.pick(None, (), 0.0) for _ in range(7)]
    assert "".join(member.backend.id for member in held if member) == "bbcbcab"


def test_ties_in_turn_at_any_level() -> None:
    field = Field([1, 1, 1, 1])
    balancer = LeastConnections(field.members)
    field.busy_elsewhere(field["c"], 9)
    held = [balancer.pick(None, (), 0.0) for _ in range(9)]
    assert "".join(member.backend.id for member in held if member) == "abdabdabd"


def test_weights_are_left_out_of_account() -> None:
    assert picks(LeastConnections(Field([100, 1]).members), 4) == "abab"


# ------------------------------------------------------------------------------------------------------------------------ registry


def test_the_registry_has_what_the_configuration_knows() -> None:
    assert set(BALANCERS) == set(ALGORITHMS.values())


@pytest.mark.parametrize("policy", ["round-robin", "weighted-round-robin"])
def test_rotation_where_weights_are_equal(policy: str) -> None:
    assert type(make(Location("s/", "/", policy), Field([3, 3, 0]).members)) is RoundRobin
    assert type(make(Location("s/", "/", policy), Field([3, 1]).members)) is WeightedRoundRobin


def test_an_unknown_algorithm() -> None:
    with pytest.raises(ConfigError, match="magic"):
        make(Location("s/", "/", "magic"), [])
