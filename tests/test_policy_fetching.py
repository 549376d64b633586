"""When a document is fetched again."""

from __future__ import annotations

import pytest

from terraster.policy.fetching import Fetched, next_fetch


@pytest.mark.parametrize(
    ("known", "refresh", "at"),
    [
        (Fetched(), 300.0, 0.0),
        (Fetched(wanted=True), 300.0, 0.0),
        (Fetched(100.0), 300.0, 400.0),
        (Fetched(100.0, wanted=True), 300.0, 130.0),
        (Fetched(100.0, wanted=True), 10.0, 110.0),
        (Fetched(100.0, 1), 300.0, 101.0),
        (Fetched(100.0, 2), 300.0, 102.0),
        (Fetched(100.0, 5), 300.0, 116.0),
        (Fetched(100.0, 7), 300.0, 160.0),
        (Fetched(100.0, 10**6), 300.0, 160.0),
        (Fetched(100.0, 10**6), 20.0, 120.0),
        (Fetched(100.0, 3, True), 300.0, 104.0),
    ],
)
def test_the_next_fetch(known: Fetched, refresh: float, at: float) -> None:
    assert next_fetch(known, refresh) == at
