"""terrasterctl at another host asks the API for what it asks of the host's control socket."""

from __future__ import annotations

from typing import Any

import pytest

from terraster.cli.translated import translated

PLACE = {"service": "shop", "location": "/", "etag": ""}


class Sender:
    """An API that takes every call, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any] | None]] = []

    def exchange(self, method: str, path: str, body: dict[str, Any] | None, head: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((method, body))
        return 200, {"locations": [PLACE], "changed": ["it"], "notes": [], "backends": [{"url": "http://a"}]}


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("drain", {"drain": True}),
        ("maintain", {"maintenance": True}),
        ("enable", {"drain": False}),
        ("force-up", {"health": "up"}),
        ("force-down", {"health": "down"}),
        ("pause-checks", {"health": "paused"}),
        ("resume-checks", {"health": "checks"}),
    ],
)
def test_each_order_is_the_order_that_was_asked_for(action: str, body: dict[str, Any]) -> None:
    sender: Any = Sender()
    query = {"action": action, "service": "shop", "url": "http://a", "reason": ""}
    assert translated(sender, "POST", "/backend", None, query)["changed"]
    assert sender.asked[0] == ("PATCH", body)


class Answers:
    """An API with answers by a word of the path. ``asked``: method, path and body of each call"""

    url = "https://lb.test"

    def __init__(self, **answers: Any) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._answers = answers

    def exchange(self, method: str, path: str, body: dict[str, Any] | None, head: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        return 200, next(value for word, value in self._answers.items() if word in path)


def test_all_pages_of_the_edits_are_shown() -> None:
    one = {"edits": [{"number": 1}], "orders": {"backends": {}, "orphans": [], "services": {}}, "next": "more"}
    two = {"edits": [{"number": 2}], "orders": {"backends": {"b": 1}, "orphans": [3], "services": {"s": 4}}, "next": None}
    found = translated(Answers(more=two, overrides=one), "GET", "/edits", None, {})
    assert [edit["number"] for edit in found["edits"]] == [1, 2]
    assert found["orders"] == {"backends": {"b": 1}, "orphans": [3], "services": {"s": 4}}


def test_the_reason_of_a_rollback_is_told() -> None:
    api = Answers(rollback={"changed": ["it"], "notes": []})
    translated(api, "POST", "/rollback", None, {"numbers": "7", "reason": "the disk"})
    assert api.asked == [("POST", "/api/generations/7/rollback", {"reason": "the disk"})]
