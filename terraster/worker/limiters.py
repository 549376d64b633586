"""The clients that the limits of a worker remember, and the end of a client's debt: answers to questions of the master.

Numbers of clients are hashes, and only a process that has seen a client lately knows which client a number is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from terraster.filters.limit_connections import LimitConnections
from terraster.filters.rate_limit import RateLimit
from terraster.plan import Plan

__all__ = ["QUESTIONS", "tell"]

QUESTIONS = ("limits", "reset_limit")


def tell(plan: Plan, what: str, about: str) -> Any:
    """The answer to a question; about: JSON with ``service``, ``locations`` (ids), and of "reset_limit" ``name`` and ``number``.

    limits:      `RateLimit.held` and `LimitConnections.held` of each limit
    reset_limit: True
    """
    asked = json.loads(about)
    found = _limits(plan, asked["service"], frozenset(asked["locations"]))
    if what == "limits":
        return [{**one.held(), "numbers": one.numbers(asked["said"]) if isinstance(one, RateLimit) else ()} for one in found]
    for one in found:
        if isinstance(one, RateLimit):
            one.forget(asked["number"])
    return True


def _limits(plan: Plan, service: str, locations: frozenset[str]) -> Iterator[RateLimit | LimitConnections]:
    if service not in plan.services:
        return
    for location in plan.services[service].locations:
        if location.id in locations:
            for hook in location.on_request:
                owner = getattr(hook, "__self__", None)
                if isinstance(owner, RateLimit | LimitConnections):
                    yield owner
