"""Levels, times and durations as encoders write them."""

from __future__ import annotations

import logging
import time

import pytest

from terraster.logs import encoding


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0s"),
        (1.2e-8, "12ns"),
        (1.5e-6, "1.5µs"),
        (0.0015, "1.5ms"),
        (0.999999999, "999.999999ms"),
        (1.0, "1s"),
        (61.25, "1m1.25s"),
        (3600.0, "1h0m0s"),
        (90061.5, "25h1m1.5s"),
    ],
)
def test_durations_of_go(seconds: float, shown: str) -> None:
    assert encoding.duration(seconds, "string") == shown


def test_durations_as_numbers() -> None:
    assert [encoding.duration(0.0015, name) for name in ("seconds", "ms", "nanos")] == [0.0015, 1.5, 1500000]


@pytest.mark.parametrize(
    ("encoder", "shown"),
    [
        ("iso8601", "2023-11-14T23:13:20.125+01:00"),
        ("rfc3339", "2023-11-14T23:13:20+01:00"),
        ("rfc3339nano", "2023-11-14T23:13:20.125000000+01:00"),
        ("epoch", 1700000000.125),
        ("millis", 1700000000125),
        ("nanos", 1700000000125000000),
    ],
)
def test_times(encoder: str, shown: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    try:
        assert encoding.stamp(1700000000.125, encoder) == shown
    finally:
        monkeypatch.undo()
        time.tzset()


def test_levels() -> None:
    assert encoding.levels("lowercase") == {10: "debug", 20: "info", 30: "warn", 40: "error", 50: "critical"}
    assert encoding.level_word(logging.WARNING, "capital") == "WARN"
    assert encoding.level_word(logging.ERROR, "color") == "\x1b[31merror\x1b[0m"
    assert encoding.level_word(logging.INFO, "capitalColor") == "\x1b[34mINFO\x1b[0m"
    assert [encoding.level_of(status) for status in (101, 200, 399, 400, 499, 500, 599)] == [20, 20, 20, 30, 30, 40, 40]
