"""docs/api.md: its examples are called as they are written."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest

from terraster.api.operation import Operation

from ..harness.api import Told, call
from ..harness.api_manual import OPERATIONS, example
from ..harness.terraster_process import service
from ..harness.users_api import Client
from .test_edits import edited

__all__ = ["edited"]

BY_ID = {one.id: one for one in OPERATIONS}

SHOP = service(
    "http://127.0.0.1:9001",
    "http://127.0.0.1:9002",
    name="shop",
    host="shop.test",
    health_check={"type": "tcp"},
    middleware=[{"rate_limit": {"requests_per_second": 100}}],
)
SHOP["locations"].append({"path": "/old", "redirect": "/"})
"""The service that the page says the examples are about."""

OF_USERS = (
    "addUser",
    "getUser",
    "listUserSessions",
    "login",
    "refresh",
    "listSessions",
    "listTokens",
    "makeToken",
    "endToken",
    "unlockUser",
    "changePassword",
    "endSession",
    "revoke",
    "changeUser",
    "resetPassword",
    "endUserSessions",
    "removeUser",
)
"""Examples that users need, or that need a user, in an order in which all succeed: they are made with one user."""

AFTER_OTHERS = ("dropOverride", "adoptOverride", "rollback")

ENDLESS = ("streamStatus", "tailRequests")

ALONE = [one for one in OPERATIONS if one.id not in (*OF_USERS, *AFTER_OTHERS, *ENDLESS)]


def succeeded(one: Operation, told: Told) -> bool:
    tried = one.example.get("query", {}).get("dry_run") == "true"
    return told.status == (200 if tried else one.status)


def member(told: Told, path: str) -> str:
    return str(reduce(lambda value, key: value[int(key) if key.isdigit() else key], path.split("."), told.value))


def made(running: Any, one: Operation, done: dict[str, Told]) -> Told:
    """The answer to an example, for which those of ``done`` came before."""
    values = {word: member(done[one.example["after"]], path) for word, path in one.example.get("takes", {}).items()}
    target, body, head = example(one, values)
    if one.example.get("own"):
        client = Client(running, member(done["login"], "token"))
        return client.call(one.method, target, body, **{name.replace("-", "_"): value for name, value in head.items()})
    return call(running, one.method, target, body=body, head=head)


@pytest.mark.parametrize("one", ALONE, ids=lambda one: one.id)
def test_the_example_of_each_call_works(terraster, one: Operation) -> None:
    assert not set(one.example) & {"own", "after", "takes"}
    told = made(terraster(SHOP), one, {})
    assert succeeded(one, told), told


def test_the_examples_of_users_work(terraster, tmp_path) -> None:
    running = terraster(SHOP, auth={"db_path": str(tmp_path / "u.db")})
    done: dict[str, Told] = {}
    for name in OF_USERS:
        done[name] = made(running, BY_ID[name], done)
        assert succeeded(BY_ID[name], done[name]), (name, done[name])


def test_the_examples_of_edits_and_generations_work(edited) -> None:
    running = edited(SHOP)
    assert call(running, "POST", "/api/backends", {"url": "http://127.0.0.1:9003", "health_check": "off"}).status == 201
    for name in AFTER_OTHERS:
        before = BY_ID[name].example["after"]
        told = made(running, BY_ID[name], {before: made(running, BY_ID[before], {})})
        assert succeeded(BY_ID[name], told), (name, told)
