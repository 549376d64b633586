"""The JSON of answers about backends, with the same names and shapes in every command of terrasterctl.

A moment is a number of seconds since 1970, or None where there is none. A weight, a status or an end that does not exist is None, never 0 or
-1. An empty text means that nothing was said. docs/operations.md describes the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from terraster.policy.state import WHOLE

from .action import Action, Entry

__all__ = ["action_json", "failure_json", "overrides_json", "state_json", "work_json"]


def action_json(action: Action) -> dict[str, Any]:
    """One action of an operator."""
    return {
        "what": action.what,
        "when": action.when,
        "by": action.by,
        "reason": action.reason,
        "until": action.until or None,
        "weight": action.weight if action.weight >= 0 else None,
    }


def overrides_json(entry: Entry) -> dict[str, Any]:
    """The changes by operators: ``order``, ``weight_override`` and ``forced``, each an action or None; ``order_after``, ``weight_after`` and
    ``forced_after``: the actions that apply again when it ends, the next one first."""
    return {
        "order": action_json(entry.order) if entry.order else None,
        "order_after": [action_json(one) for one in reversed(entry.under_order)],
        "weight_override": action_json(entry.weight) if entry.weight else None,
        "weight_after": [action_json(one) for one in reversed(entry.under_weight)],
        "forced": action_json(entry.forced) if entry.forced else None,
        "forced_after": [action_json(one) for one in reversed(entry.under_forced)],
    }


def state_json(known: Mapping[str, Any], order: Action | None) -> dict[str, Any]:
    """A backend's state in short. An operator's order explains a state that it caused.

    known: from `terraster.master.backends.states.States.one`; a backend that nothing is known of is down
    """
    state = known.get("state", "down")
    if order is not None and state in ("draining", "maintenance"):
        return {"state": state, "since": order.when, "until": order.until or None, "reason": order.reason, "by": order.by}
    return {
        "state": state,
        "since": known.get("since") or None,
        "until": known.get("until") or None,
        "reason": known.get("why", ""),
        "by": known.get("by", ""),
    }


def work_json(known: Mapping[str, Any]) -> dict[str, Any]:
    """The new work that a backend gets. ``ramp``: its part of its full share in a slow start, 0 … 1."""
    return {
        "admit": known.get("admit", "none"),
        "ramp": known.get("ramp", WHOLE) / WHOLE,
        "panic": known.get("panic", False),
    }


def failure_json(failure: Mapping[str, Any]) -> dict[str, Any]:
    """A failed attempt. ``status`` is None if there was no response."""
    return {**failure, "status": failure["status"] or None}
