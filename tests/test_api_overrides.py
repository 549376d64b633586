"""The list of overrides, in pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from terraster.api.models.base import Paged
from terraster.api.operations.overrides import operations
from terraster.api.problem import Refused

EDITS = [{"number": number, "words": f"edit {number}"} for number in (9, 10, 11, 100)]
ORDERS = {
    "backends": {"shop/ http://b": {"order": "drain"}, "shop/ http://a": {"order": None}},
    "services": {"shop": {"by": "ada"}},
    "orphans": [{"id": "old/ http://z"}, {"id": "old/ http://y"}],
}


def page(cursor: str = "", limit: int = 100, edits: list[dict[str, Any]] = EDITS) -> dict[str, Any]:
    deps: Any = SimpleNamespace(ask=lambda verb: {"edits": edits, "orders": ORDERS})
    call: Any = SimpleNamespace(query=Paged(limit=limit, cursor=cursor))
    value: dict[str, Any] = operations(deps)[0].handle(call).value
    return value


def test_a_short_list_is_one_page() -> None:
    found = page()
    assert found["edits"] == EDITS and found["next"] is None
    assert found["orders"] == {**ORDERS, "orphans": ORDERS["orphans"][::-1]}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
def test_pages_together_are_the_list_and_none_is_longer_than_its_limit(limit: int) -> None:
    edits, backends, services, orphans = [], {}, {}, []
    cursor: str | None = ""
    while cursor is not None:
        found = page(cursor, limit)
        orders = found["orders"]
        assert 1 <= len(found["edits"]) + sum(map(len, orders.values())) <= limit
        edits += found["edits"]
        backends |= orders["backends"]
        services |= orders["services"]
        orphans += orders["orphans"]
        cursor = found["next"]
    assert (edits, backends, services) == (EDITS, ORDERS["backends"], ORDERS["services"])
    assert [one["id"] for one in orphans] == ["old/ http://y", "old/ http://z"]


def test_an_edit_that_goes_between_two_pages_shifts_no_other() -> None:
    first = page(limit=2)
    assert [one["number"] for one in page(first["next"], 2, EDITS[1:])["edits"]] == [11, 100]


def test_a_foreign_cursor_is_refused() -> None:
    with pytest.raises(Refused, match="not one that this list gave"):
        page("bm90aGluZw")
