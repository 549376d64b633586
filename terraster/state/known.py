"""The slots of a shared table as one process knows them, for a later master that adopts the table (`terraster.state.leases`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .table import Table

__all__ = ["Known", "checked", "merged"]

Known = Mapping[str, tuple[int, Sequence[tuple[str, str, int]], Sequence[tuple[str, Sequence[int], Sequence[tuple[str, int]]]]]]
"""Location id → slot, [(backend id, URL, slot)], [(URL, sums, [(id, slot)])]: the last as `Departed` has them."""


def checked(told: Any, table: Table) -> Known:
    """The slots of a table as another process reported them. Raises ValueError if that cannot be true."""
    try:
        return {
            str(name): (
                _slot(at, table.locations),
                [(str(one), str(url), _slot(place, table.backends)) for one, url, place in backends],
                [
                    (str(url), [int(value) for value in sums], [(str(one), _slot(place, table.backends)) for one, place in slots])
                    for url, sums, slots in departed
                ],
            )
            for name, (at, backends, departed) in told.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("its report of slots cannot be understood") from error


def _slot(value: Any, room: int) -> int:
    if type(value) is not int or not 0 <= value < room:
        raise ValueError(f"{value!r} is not a slot of the table")
    return value


def merged(known: Sequence[Known]) -> Known:
    """The slots of one table as several masters knew them, the newest first.

    A slot belongs to the newest that names it, and an id has the slot that the newest knows. Sums are the newest's: a sum of an older one
    may hold what the newest still counts by slots.
    """
    found: dict[str, tuple[int, list[tuple[str, str, int]], list[tuple[str, Sequence[int], list[tuple[str, int]]]]]] = {}
    locations: set[int] = set()
    names: set[str] = set()
    taken: set[int] = set()
    for one in known:
        for location, (slot, backends, departed) in one.items():
            if location not in found:
                if slot in locations:
                    continue
                locations.add(slot)
                found[location] = slot, [], [(url, sums, []) for url, sums, _slots in departed]
            _at, active, left = found[location]
            for name, url, at in backends:
                if name not in names and at not in taken:
                    active.append((name, url, at))
                    names.add(name)
                    taken.add(at)
            by_url = {url: slots for url, _sums, slots in left}
            for url, _sums, slots in departed:
                for name, at in slots:
                    if name not in names and at not in taken:
                        if url not in by_url:
                            by_url[url] = []
                            left.append((url, (), by_url[url]))
                        by_url[url].append((name, at))
                        names.add(name)
                        taken.add(at)
    return found
