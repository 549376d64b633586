"""How many descriptors are asked for, how many clients they are enough for, and who goes first."""

from __future__ import annotations

import pytest

from terraster.policy.descriptors import IDLE, MOST, aim, finite, idlest, most_clients, most_probes, spare


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (1024, 524288, 524288),
        (1024, 1024, 1024),
        (1024, -1, MOST),  # infinite
        (1024, 1 << 30, MOST),  # absurd
        (MOST + 5, -1, MOST + 5),  # it is never lowered
        (-1, -1, -1),
    ],
)
def test_the_limit_is_raised_within_reason(soft, hard, wanted):
    assert aim(soft, hard) == wanted


def test_no_limit_counts_as_a_large_one():
    assert (finite(-1), finite(64)) == (MOST, 64)


@pytest.mark.parametrize(("limit", "used", "most"), [(64, 12, 22), (1024, 12, 474), (MOST, 20, 524_246), (16, 12, 1)])
def test_each_client_has_room_for_a_backend(limit, used, most):
    assert most_clients(limit, used) == most
    assert limit < 32 or used + 2 * most + spare(limit) <= limit


@pytest.mark.parametrize(("limit", "most"), [(64, 16), (1024, 496), (20, 1)])
def test_probes_take_at_most_half(limit, most):
    assert most_probes(limit) == most


def test_the_idlest_go_first_and_nobody_who_asked_a_moment_ago():
    now = 100.0
    waiting = [(99.5, "used"), (90.0, "old"), (now - IDLE, "just old enough"), (50.0, "oldest"), (now + 0.2, "busy loop")]
    assert idlest(waiting, now, 64) == ["oldest", "old", "just old enough"]
    assert idlest(waiting, now, 32) == ["oldest", "old"]  # one in sixteen at a time
    assert idlest(waiting, now, 3) == ["oldest"]
    assert idlest(waiting[:1], now, 64) == []
    assert idlest([], now, 0) == []
