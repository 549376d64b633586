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
