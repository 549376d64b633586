"""Shares: what each algorithm promises of weights, by simulation over workers, loads and kinds of backends of equal speed."""

from __future__ import annotations

import pytest

from tests.harness.balancing import Service, World, off, shares, spread, steady, uneven

BY_WEIGHT = ["weighted-least-connections", "random-two"]
WEIGHTS = [5, 3, 1, 1]


@pytest.mark.parametrize("clients", [1, 2, 7, 64, 128])
@pytest.mark.parametrize("service", [steady(), spread()], ids=["steady", "spread"])
@pytest.mark.parametrize("policy", BY_WEIGHT)
def test_shares_follow_the_weights_at_any_load(policy: str, service: Service, clients: int) -> None:
    world = World(WEIGHTS, policy, workers=2)
    assert off(world.run(clients, 20_000, service), WEIGHTS) < 0.05


@pytest.mark.parametrize("policy", BY_WEIGHT)
def test_shares_of_those_that_are_left(policy: str) -> None:
    world = World([5, 4, 3, 1, 1], policy)
    world.admit(1, 0)
    assert off(world.run(3, 20_000, spread()), [5, 0, 3, 1, 1]) < 0.05


@pytest.mark.parametrize("policy", ["round-robin", "weighted-round-robin"])
@pytest.mark.parametrize("clients", [1, 64])
def test_turns_keep_the_weights_whatever_the_backends_do(policy: str, clients: int) -> None:
    world = World(WEIGHTS, policy, workers=2)
    assert off(world.run(clients, 20_000, uneven()), WEIGHTS) < 0.01


def one_slow(factor: float) -> Service:
    return lambda place, now, chance: (0.01 * (factor if place == 0 else 1) * chance.lognormvariate(0.0, 0.4), True)


@pytest.mark.parametrize("policy", ["least-connections", *BY_WEIGHT])
def test_a_slow_backend_has_less(policy: str) -> None:
    had = shares(World([1, 1, 1, 1], policy).run(64, 20_000, one_slow(10)))
    assert had[0] < 0.12
