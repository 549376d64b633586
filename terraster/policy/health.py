"""Rise and fall: what a series of probes says about a backend.

A backend changes sides only after ``healthy`` successes or ``unhealthy`` failures in a row (HAProxy's ``rise`` and ``fall``);
any other result starts the count again. The first probe of a backend decides alone, either way: before it nothing is known of the backend,
and it gets no requests.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Verdict", "first", "observe"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """up: may be sent new work. streak: results in a row that contradict ``up``, fewer than it takes to turn it."""

    up: bool
    streak: int = 0


def first(ok: bool) -> Verdict:
    """After the first probe of a backend."""
    return Verdict(ok)


def observe(state: Verdict, ok: bool, healthy: int, unhealthy: int) -> Verdict:
    """After another probe. ``healthy``, ``unhealthy``: results in a row that it takes to go up and down, at least 1."""
    if ok == state.up:
        return state if not state.streak else Verdict(state.up)
    streak = state.streak + 1
    if streak >= (healthy if ok else unhealthy):
        return Verdict(ok)
    return Verdict(state.up, streak)
