"""Two configurations compared by values: what each says of a key, and where. Pure.

A key that one side does not write has there the value of the nearest wider level that writes it, else its default. So a key that moved from the
top into a service, with the same value, makes that service no different.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .edits import LOCATION_REMOVE, REMOVE, Edit, same_url
from .language import Language
from .settings import ServiceSettings, Settings
from .written import Key, Path, Value, defaults, written

__all__ = ["MOST", "Side", "compared"]

MOST = 1000
"""Differences that are told."""

_DEEPEST = 8
"""Items within items."""

_ITEM = re.compile(r"\[([^]]*)\]")


class Side(NamedTuple):
    """One configuration. services: each with its path. place: of a path, as text. edits: in it, above its files"""

    top: Settings
    services: Sequence[tuple[Path, ServiceSettings]]
    place: Callable[[Path], str]
    edits: Sequence[Edit] = ()


def compared(known: Language, old: Side, new: Side) -> list[dict[str, Any]]:
    """The differences, in the order of the new side: ``service location key old new``, of which the last two have ``value`` (JSON, without
    secrets; None: not there) ``words`` ``origin`` ("file", "edit", "service", "top", "default", "none") and ``place``. The first 1000."""
    sides = written(known, old.top, old.services), written(known, new.top, new.services)
    default = defaults(known)
    found: list[dict[str, Any]] = []
    gone: list[Key] = []
    for key in sorted({**sides[1], **sides[0]}):
        first, second = sides[0].get(key), sides[1].get(key)
        if len(found) == MOST:
            break
        if any(_is_within(key, one) for one in gone) or _is_same(first, second):
            continue
        rows = (_row(key, first, sides[0], old, default), _row(key, second, sides[1], new, default))
        if (first is None or second is None) and rows[0]["words"] == rows[1]["words"]:
            continue
        found.append({"service": key[0], "location": key[1], "key": key[2], "old": rows[0], "new": rows[1]})
        there = first or second
        if (first is None or second is None) and there is not None and there.item:
            gone = [*gone[-_DEEPEST:], key]
    return found


def _is_within(key: Key, item: Key) -> bool:
    """True if a key is of an item that is told as a whole."""
    if key[0] != item[0]:
        return False
    if not item[2]:
        return not item[1] or key[1] == item[1]
    return key[1] == item[1] and key[2].startswith(f"{item[2]}.")


def _is_same(old: Value | None, new: Value | None) -> bool:
    """True if there is nothing to tell. Of the order of items that is so if there are others: the items tell it."""
    if old is None or new is None:
        return (old or new) is not None and bool((old or new).order)  # type: ignore[union-attr]
    return bool(old.value == new.value) or (old.order and set(old.value) != set(new.value))


def _row(key: Key, value: Value | None, all_of_side: Mapping[Key, Value], side: Side, default: Mapping[str, str]) -> dict[str, Any]:
    if value is not None:
        place = side.place(value.path)
        return {
            "value": value.shown,
            "words": value.words,
            "origin": "edit" if place.startswith("edit ") else "file",
            "place": place,
        }
    for wider, level in (((key[0], "", key[2]), "service"), (("", "", key[2]), "top")):
        if wider != key and (found := all_of_side.get(wider)) is not None and key[2] and not key[2].endswith("]"):
            return {"value": found.shown, "words": found.words, "origin": level, "place": side.place(found.path)}
    words = default.get(key[2], "")
    if words:
        return {"value": words, "words": words, "origin": "default", "place": ""}
    by = next((edit.label for edit in side.edits if _removes(edit, key)), "")
    return {"value": None, "words": "not there", "origin": "edit" if by else "none", "place": by}


def _removes(edit: Edit, key: Key) -> bool:
    if (edit.service, edit.location) != key[:2]:
        return False
    if edit.kind == LOCATION_REMOVE:
        return not key[2]
    items = _ITEM.findall(key[2])
    return edit.kind == REMOVE and bool(items) and same_url(items[-1], edit.url)
