"""The layout of a split: shares that follow the weights, and clients that move only where a weight grew."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.policy.split import Layout

CLIENTS = [b"client %d" % number for number in range(20_000)]
FEW = CLIENTS[:400]

Weights = dict[str, int]


def assigned(weights: Weights, clients: list[bytes] = CLIENTS, salt: str = "x") -> list[str]:
    """The arm of each client."""
    layout, names = Layout(salt, list(weights.items())), list(weights)
    return [names[layout.arm(client)] for client in clients]


def moves(old: Weights, new: Weights, clients: list[bytes] = CLIENTS) -> dict[tuple[str, str], int]:
    """The numbers of clients that move from one arm to another."""
    found: dict[tuple[str, str], int] = {}
    for before, after in zip(assigned(old, clients), assigned(new, clients), strict=True):
        if before != after:
            found[before, after] = found.get((before, after), 0) + 1
    return found


def within(count: int, share: float, clients: int = len(CLIENTS)) -> bool:
    """True if a count is that of a share, but for chance: 5 standard deviations."""
    return abs(count - clients * share) <= 5 * (clients * share * (1 - share)) ** 0.5


@pytest.mark.parametrize(
    "weights",
    [{"a": 95, "b": 5}, {"a": 1, "b": 1}, {"a": 999, "b": 1}, {"a": 90, "b": 5, "c": 5}, {"a": 3, "b": 2, "c": 1, "d": 0, "e": 4}],
    ids=str,
)
def test_shares_follow_the_weights(weights: Weights) -> None:
    found = assigned(weights)
    for name, weight in weights.items():
        assert within(found.count(name), weight / sum(weights.values())), name
        assert bool(weight) or name not in found


def test_from_5_to_10_percent_only_the_new_share_moves_and_nobody_moves_back() -> None:
    found = moves({"stable": 95, "canary": 5}, {"stable": 90, "canary": 10})
    assert found.keys() == {("stable", "canary")} and within(found["stable", "canary"], 0.05)
    assert moves({"stable": 90, "canary": 10}, {"stable": 95, "canary": 5}) == {("canary", "stable"): found["stable", "canary"]}


def test_three_arms_of_which_two_change_move_little_more_than_the_share() -> None:
    """No layout that knows only the weights moves the least for each change of three arms; what this one moves is documented."""
    found = moves({"a": 90, "b": 5, "c": 5}, {"a": 85, "b": 10, "c": 5})
    assert found.keys() == {("a", "b"), ("a", "c"), ("c", "b")}
    assert within(sum(found.values()), 0.0524)
    assert found["a", "c"] + found["c", "b"] < len(CLIENTS) // 100


NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=6, unique=True)


@st.composite
def arms(draw: st.DrawFn, least: int = 0) -> Weights:
    names = draw(NAMES)
    weights = draw(st.lists(st.integers(least, 1000), min_size=len(names), max_size=len(names)).filter(any))
    return dict(zip(names, weights, strict=True))


@settings(max_examples=60, deadline=None)
@given(arms(), st.data())
def test_clients_move_only_to_an_arm_that_gained_on_theirs(old: Weights, data: st.DataObject) -> None:
    """The law, for any change of any weights."""
    new = {name: data.draw(st.integers(0, 1000)) for name in old}
    if not any(new.values()):
        return
    for before, after in moves(old, new, FEW):
        assert new[after] * old[before] > old[after] * new[before]


@settings(max_examples=60, deadline=None)
@given(arms(least=1), st.integers(1, 5000), st.data())
def test_an_arm_that_grows_takes_from_others_and_one_that_shrinks_gives_only_its_own(
    old: Weights, more: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.sampled_from(sorted(old)))
    grown = {**old, chosen: old[chosen] + more}
    assert all(after == chosen for _, after in moves(old, grown, FEW))
    assert all(before == chosen for before, _ in moves(grown, old, FEW))
    gone = {name: weight for name, weight in grown.items() if name != chosen}
    assert all(before == chosen for before, _ in moves(grown, gone, FEW)), "who was in another arm stays"
    assert all(after == chosen for _, after in moves(gone, grown, FEW)), "an arm that comes takes only for itself"


@settings(max_examples=30, deadline=None)
@given(arms(), st.integers(1, 900))
def test_neither_the_order_nor_a_factor_means_anything(weights: Weights, factor: int) -> None:
    found = assigned(weights, FEW)
    assert assigned({name: weight * factor for name, weight in weights.items()}, FEW) == found
    for other in list(permutations(weights))[:6]:
        assert assigned({name: weights[name] for name in other}, FEW) == found


def test_the_next_arm_is_the_one_without_the_first() -> None:
    weights = {"a": 5, "b": 3, "c": 2, "d": 0}
    layout, names = Layout("x", list(weights.items())), list(weights)
    for client in FEW:
        first, second, third = (names[index] for index in layout.ranked(client))
        assert assigned(weights, [client]) == [first]
        assert assigned({**weights, first: 0}, [client]) == [second]
        assert assigned({**weights, first: 0, second: 0}, [client]) == [third]


def test_splits_of_other_names_assign_independently() -> None:
    one, other = (assigned({"a": 1, "b": 1}, salt=salt) for salt in ("x", "y"))
    assert within(sum(map(str.__eq__, one, other)), 0.5)
    assert assigned({"a": 1, "b": 1}) == one


def test_an_assignment_outlives_releases() -> None:
    """Other octets in the hash would move the clients of all canaries at an upgrade."""
    found = "".join(assigned({"a": 60, "b": 30, "c": 10}, [b"%d" % number for number in range(40)], "shop/"))
    assert found == EXPECTED


EXPECTED = "aacbaaaaaabaacaaaaabaabaababaababcbabaaa"
