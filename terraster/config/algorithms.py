"""The names of the balancing algorithms: which are known, and how they are spelt.

The file of an operator may say ``least_connections`` or ``least-connections``; everything after this module sees the canonical
spelling, under which `terraster.balance.registry` has it.
"""

from __future__ import annotations

import difflib

__all__ = ["ALGORITHMS", "WITHOUT_WEIGHTS", "algorithm"]

ALGORITHMS = {
    "round-robin": "round-robin",
    "weighted-round-robin": "weighted-round-robin",
    "least-connections": "least-connections",
    "weighted-least-connections": "weighted-least-connections",
    "response-time": "response-time",
    "least-response-time": "response-time",
    "ip-hash": "ip-hash",
    "consistent-hash": "consistent-hash",
    "adaptive": "adaptive",
    "sticky-session": "sticky-session",
    "random-two": "random-two",
    "first": "first",
}
"""Every spelling with "-", and the canonical name of what it means."""

WITHOUT_WEIGHTS = frozenset(("least-connections", "first"))
"""Those that take a backend's `weight` for nothing but 0, no new work."""


def algorithm(value: object) -> str:
    """The canonical name. ValueError for an unknown one, with the nearest known name."""
    if not isinstance(value, str):
        raise ValueError(f"must be the name of an algorithm ({', '.join(ALGORITHMS)})")
    name = value.strip().lower().replace("_", "-")
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    near = difflib.get_close_matches(name, ALGORITHMS, 1, 0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(ALGORITHMS)}"
    raise ValueError(f"names an unknown algorithm {value!r}; {hint}")
