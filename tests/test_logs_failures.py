"""The last requests that came to a bad end: what is kept of them, of which kind, and how much."""

from __future__ import annotations

import json
from typing import Any

import pytest

from terraster.exchange import Exchange
from terraster.logs.failures import EACH, MOST, Failures

from . import test_logs_summary
from .test_logs_summary import exchange


def ended(number: int, status: int, detail: str = "") -> Exchange:
    """A request that is over. Its number is its path."""
    return exchange(b"/%d" % number, None, status=status, wall=float(number), detail=detail, host=detail.encode())


def paths(failures: Failures, kind: str = "", service: str = "", least: int = 0, most: int = 999, limit: int = 1000) -> list[str]:
    return [row["path"] for row in failures.told(kind, service, least, most, limit)]


def test_the_newest_come_first_by_kind_and_status() -> None:
    failures = Failures()
    for number, status in enumerate((429, 502, 499, 403, 503)):
        failures.note(ended(number, status), status)
    assert paths(failures) == ["/4", "/3", "/2", "/1", "/0"]
    assert paths(failures, limit=2) == ["/4", "/3"]
    assert (paths(failures, "refused"), paths(failures, "failed"), paths(failures, "aborted")) == (
        ["/3", "/0"],
        ["/4", "/1"],
        ["/2"],
    )
    assert (paths(failures, least=500), paths(failures, least=403, most=403)) == (["/4", "/1"], ["/3"])
    assert paths(failures, service="shop") == []


def test_one_that_was_broken_off_is_told_when_it_is_over() -> None:
    failures, one = Failures(), ended(1, 200)
    one.client = object()
    failures.note(one, 502)
    assert paths(failures) == []
    one.client, one.duration = None, 3.0
    (row,) = failures.told("", "", 0, 999, 9)
    assert (row["kind"], row["status"], row["duration"]) == ("failed", 200, 3.0)


def test_an_answer_that_is_broken_off_is_told_once_by_what_broke_it() -> None:
    failures, one = Failures(), ended(1, 503)
    one.client = object()
    failures.note(one, 503, "backend_status")
    failures.gather()
    one.error = "connection_terminated"
    failures.note(one, 499)
    one.client, one.status = None, 499
    assert [(row["kind"], row["reason"]) for row in failures.told("", "", 0, 999, 9)] == [("aborted", "connection_terminated")]


def test_a_flood_of_one_kind_does_not_push_out_the_others() -> None:
    failures = Failures()
    failures.note(ended(0, 502), 502)
    for number in range(1, 10 * MOST):
        failures.note(ended(number, 401), 401)
    assert paths(failures, "failed") == ["/0"] and len(paths(failures, "refused")) == MOST


class Alive(Exchange):
    """Counts those that are in memory."""

    __slots__ = ()
    count = 0

    def __new__(cls, *_: Any) -> Alive:
        Alive.count += 1
        return super().__new__(cls)

    def __del__(self) -> None:
        Alive.count -= 1


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_logs_summary, "Exchange", Alive)
    failures, most = Failures(), 0
    for number in range(10_000):
        status = (429, 502, 499)[number % 3]
        failures.note(ended(number, status, "y" * 10_000), status)
        if number % 1000 == 0:
            most = max(most, Alive.count)
            failures.gather()
    assert most <= 3 * MOST
    for _ in range(MOST // EACH):
        failures.gather()
    assert Alive.count == 0, "after half a second nothing keeps an exchange, and with it its head and its plan"
    rows = failures.told("", "", 0, 999, 10_000)
    assert [row["path"] for row in rows[:3]] == ["/9999", "/9998", "/9997"] and len(rows) == 3 * MOST
    assert max(len(json.dumps(row)) for row in rows) < 2500
