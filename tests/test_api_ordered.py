"""What the answer to an order for a backend says in words."""

from __future__ import annotations

import pytest

from terraster.api.operations.backends import ordered


@pytest.mark.parametrize(
    ("state", "action", "dry_run", "words"),
    [
        ("draining", "drain", False, "is draining"),
        ("down", "drain", False, "is down, and its drain holds also when it is up again"),
        ("ejected", "drain", False, "is ejected, and its drain holds also when it is up again"),
        ("down", "enable", False, "is down"),
        ("down", "drain", True, "drain"),
    ],
)
def test_a_drain_is_told_also_where_it_does_not_give_the_state(state: str, action: str, dry_run: bool, words: str) -> None:
    backend = {"url": "http://a:1", "service": "shop", "location": "/", "state": state}
    between = ": " if dry_run else " "
    assert ordered(backend, action, dry_run) == f"backend http://a:1 of shop/{between}{words}"
