"""Lists in pages: at most `limit` items, and a cursor at which the next request goes on.

The items of a list have keys, tuples of texts, and the list is in their order. A cursor is the key of the last item in a form that is not
for reading. So an item that comes or goes between two pages does not shift the others.

A page is made in parts of `PART` items with a pause after each, so that the loop is free meanwhile.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from ..net.yielding import yield_to_loop
from .call import Answer
from .models.base import Listed, Paged
from .problem import Mistake, Refused

__all__ = ["PART", "chosen", "page", "sliced"]

PART = 50

Key = tuple[str, ...]
Item = dict[str, Any]


def page(
    keys: Sequence[Key],
    query: Listed,
    row: type[BaseModel],
    items: Callable[[Sequence[Key]], Sequence[Item]],
    accept: Callable[[Item], bool] = lambda item: True,
) -> Answer:
    """One page. keys: of all items, sorted. row: the model of an item. items: makes those of some keys, in their order. accept: True for an
    item that a filter of the query lets pass"""
    wanted = chosen(query, row)
    start = bisect_right(keys, _key(query.cursor, keys)) if query.cursor else 0
    made: list[str] = []
    last = start
    while last < len(keys) and len(made) < query.limit:
        part = keys[last : last + PART]
        for item in items(part):
            last += 1
            if accept(item):
                made.append(json.dumps(item if wanted is None else {name: item[name] for name in wanted}, allow_nan=False))
                if len(made) == query.limit:
                    break
        yield_to_loop()
    following = json.dumps(_cursor(keys[last - 1])) if last < len(keys) else "null"
    body = f'{{"items": [{", ".join(made)}], "next": {following}}}\n'.encode()
    return Answer(pieces=[body])


def sliced(keys: Sequence[Key], query: Paged) -> tuple[Sequence[Key], str | None]:
    """The keys of one page, and the cursor of the next, None if there is none. keys: of all items, sorted"""
    start = bisect_right(keys, _key(query.cursor, keys)) if query.cursor else 0
    found = keys[start : start + query.limit]
    return found, _cursor(found[-1]) if start + len(found) < len(keys) else None


def chosen(query: Listed, row: type[BaseModel]) -> list[str] | None:
    """The members that `fields` names; None: all. Raises `Refused` for one that an item does not have."""
    if not query.fields:
        return None
    names = list(dict.fromkeys(query.fields.split(",")))
    if unknown := [name for name in names if name not in row.model_fields]:
        words = f"there is no field {', '.join(unknown)}; there are {', '.join(row.model_fields)}"
        raise Refused(422, words, [Mistake(pointer="/fields", detail=words, where="query")])
    return names


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode()).decode().rstrip("=")


def _key(cursor: str, keys: Sequence[Key]) -> Key:
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        value = None
    length = len(keys[0]) if keys else None
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value) or len(value) != (length or len(value)):
        words = "the cursor is not one that this list gave"
        raise Refused(404, words, [Mistake(pointer="/cursor", detail=words, where="query")])
    return tuple(value)
