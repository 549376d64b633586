"""docs/api.md: its examples are called as they are written."""

from __future__ import annotations

import pytest

from terraster.api.operation import Operation

from ..harness.api import call
from ..harness.api_manual import OPERATIONS, example
from ..harness.terraster_process import service

OF_USERS = {"login", "listSessions", "listTokens"}
"""Calls of users that have logged in, which the control socket refuses: `test_api_users.py` makes them."""

EXAMPLES = [
    one for one in OPERATIONS if one.id not in OF_USERS and (one.example or (one.safe and not one.media and "{" not in one.path))
]


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.id)
def test_the_example_of_each_call_works(terraster, one: Operation) -> None:
    running = terraster(service("http://127.0.0.1:9001", name="shop", host="shop.test"))
    target, body, head = example(one)
    told = call(running, one.method, target, body=body, head=head)
    tried = one.example.get("query", {}).get("dry_run") == "true"
    assert told.status == (200 if tried else one.status), told
