"""Problems that many locations have for one reason, told once. Pure.

A dead backend that six locations use would be twelve problems: six times the backend, and six times a location without one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

__all__ = ["Told", "folded"]

Told = tuple[Hashable, dict[str, Any]]
"""A problem, and what it has in common with those that may be told together with it; None: nothing."""

_NAMED = 5  # services or locations that are named


def folded(told: Iterable[Told]) -> list[dict[str, Any]]:
    """The problems in their order. Those with the same key and the same words take the place of the first, if they are about several
    locations: ``locations`` says how many, ``service`` and ``location`` are only there if they are the same for all, and ``since`` is the
    time of the oldest."""
    groups: dict[Hashable, list[dict[str, Any]]] = {}
    for number, (key, problem) in enumerate(told):
        alone = key is None
        groups.setdefault((number,) if alone else (key, problem["kind"], problem["text"]), []).append(problem)
    found: list[dict[str, Any]] = []
    for group in groups.values():
        places = list(dict.fromkeys((one["service"], one["location"]) for one in group))
        found += group if len(places) == 1 else [_together(group, places)]
    return found


def _together(group: Sequence[dict[str, Any]], places: Sequence[tuple[str, str]]) -> dict[str, Any]:
    first = group[0]
    services = list(dict.fromkeys(service for service, _ in places))
    if len(services) == 1:
        words = f"in {len(places)} locations: {_some([location for _, location in places])}"
    else:
        words = f"in {len(places)} locations of {len(services)} services: {_some(services)}"
    ends = {one["until"] for one in group}
    return {
        **first,
        "text": f"{first['text']}; {words}" if first["text"] else words,
        "service": services[0] if len(services) == 1 else None,
        "location": None,
        "backend_name": first["backend_name"] if len({one["backend_name"] for one in group}) == 1 else None,
        "since": min((one["since"] for one in group if one["since"]), default=None),
        "until": first["until"] if len(ends) == 1 else None,
        "locations": len(places),
    }


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
