"""The timeline for people: one column of times, and a heading where another day begins."""

from __future__ import annotations

import time
from typing import Any

import pytest

from terraster.cli import events

NOON = time.mktime((2026, 11, 28, 12, 0, 0, 0, 0, -1))


def event(when: float, text: str = "is up") -> dict[str, Any]:
    return {"when": when, "kind": "backend", "target": "shop/ http://10.0.0.1:80", "text": text, "generation": 1}


def test_days_are_headings_and_times_are_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    found = [event(NOON - 86400), event(NOON - 86399), event(NOON)]
    assert events._print(found, "2026-11-28", False) == "2026-11-28"
    place = "backend     shop/ http://10.0.0.1:80 is up"
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-27",
        f"12:00:00  {place}",
        f"12:00:01  {place}",
        "2026-11-28",
        f"12:00:00  {place}",
    ]
    events._print([event(NOON)], "2026-11-28", False)
    assert capsys.readouterr().out == f"12:00:00  {place}\n", "today needs no heading"


def test_a_long_text_goes_on_below_its_begin() -> None:
    found = events.lines(event(NOON, "word " * 30), colour=False, width=80)
    assert len(found) > 2 and max(map(len, found)) <= 80
    assert all(line.startswith(" " * 22) and line[22] != " " for line in found[1:])
