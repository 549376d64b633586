"""A backend that takes no new work: what is left at it, and whether it may be stopped."""

from __future__ import annotations

import pytest

from terraster.policy.leaving import left


@pytest.mark.parametrize(
    ("state", "requests", "tunnels", "attempts", "seconds", "sticky", "safe", "words"),
    [
        ("draining", 0, 0, 40, 60.0, False, True, "nothing is open, and nothing new comes"),
        ("draining", 3, 1, 0, 60.0, False, False, "3 requests still open, 1 tunnel among them"),
        ("draining", 1, 0, 0, 60.0, False, False, "1 request still open"),
        ("draining", 0, 0, 4, 60.0, True, False, "4 requests came in the last 60 s: sticky sessions still come here"),
        (
            "draining",
            0,
            0,
            0,
            12.0,
            True,
            False,
            "sticky sessions may still come: requests are counted for 12 s only, not yet for 50 s",
        ),
        ("draining", 0, 0, 0, 60.0, True, True, "no sticky session has come for 60 s"),
        ("maintenance", 0, 0, 4, 60.0, True, True, "nothing is open, and nothing new comes"),
        ("maintenance", 2, 2, 4, 60.0, True, False, "2 requests still open, 2 tunnels among them"),
    ],
)
def test_when_it_may_be_stopped(
    state: str, requests: int, tunnels: int, attempts: int, seconds: float, sticky: bool, safe: bool, words: str
) -> None:
    found = left(state, requests, tunnels, 5, attempts, seconds, sticky)
    assert found is not None and (found.safe, found.words) == (safe, words)
    assert found.sessions == (sticky and state == "draining") and found.connections == 5


@pytest.mark.parametrize("state", ["up", "down", "ejected"])
def test_one_that_takes_work_or_is_down_is_not_leaving(state: str) -> None:
    assert left(state, 1, 0, 1, 0, 60.0, False) is None
