"""`slo`: what may be written, and what a location gets of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraster.config.resolve import resolve
from terraster.config.slo import Slo
from terraster.errors import ConfigError

from .harness.configuration import Loader, load

DAY = 86400.0


def said(directory: Path, text: str) -> list[str]:
    """The problems of a file, else its warnings, each as "LINE:COL: words"."""
    file = directory / "t.yaml"
    file.write_text(text)
    try:
        found = list(Loader({}).load(str(file)).warnings)
    except ConfigError as error:
        found = [str(problem) for problem in error.problems]
    return [line.removeprefix(f"{file}:") for line in found]


def text(top: str = "", service: str = "", own: str = "") -> str:
    lines = [top, "services:", "- host: shop.example", f"  {service}" if service else "", "  locations:", "  - path: /"]
    lines += [f"    {own}" if own else "", "    backends: ['http://127.0.0.1:9001']", ""]
    return "\n".join(line for line in lines if line) + "\n"


@pytest.mark.parametrize(
    ("top", "service", "own", "slo"),
    [
        ("", "", "", None),
        ("", "", "slo: {availability: 99.9}", Slo(99.9)),
        ("", "", "slo: {availability: 99.9, latency: {95: 300ms}, window: 30d}", Slo(99.9, ((95.0, 0.3),), 30 * DAY)),
        ("slo: {availability: 99.9}", "", "", Slo(99.9)),
        ("slo: {availability: 99.9}", "slo: {window: 7d}", "", Slo(99.9, (), 7 * DAY)),
        (
            "slo: {availability: 99.9, latency: {95: 300ms}}",
            "",
            "slo: {latency: {'99.5%': 2s}}",
            Slo(99.9, ((95.0, 0.3), (99.5, 2.0))),
        ),
        ("slo: {availability: 99.9, latency: {95: 300ms}}", "", "slo: {latency: {95: 2}}", Slo(99.9, ((95.0, 2.0),))),
        ("slo: {availability: 99.9}", "", "slo: off", None),
        ("slo: {availability: 99.9}", "slo: off", "slo: on", Slo(99.9)),
        ("slo: {window: 1h}", "", "", None),
        ("middleware: [{slo: {availability: '99.9%'}}]", "", "", Slo(99.9)),
    ],
)
def test_what_a_location_gets(tmp_path: Path, top: str, service: str, own: str, slo: Slo | None) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text(top, service, own))
    assert resolve(load(str(file)), 1).services[0].locations[0].slo == slo


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "availability: 100",
            "1:21: `availability` must be a percentage above 0 and below 100: no service answers all requests well",
        ),
        (
            "availability: 0",
            "1:21: `availability` must be a percentage above 0 and below 100: no service answers all requests well",
        ),
        ("availability: high", "1:21: `availability` must be a percentage like 99.9"),
        ("availability: 99.12345678", "1:21: `availability` must have at most 6 digits behind the point"),
        ("avalability: 99", "1:7: unknown key `avalability`; did you mean `availability`?"),
        ("latency: 300ms", "1:16: `latency` must be a mapping of a percentage to a duration, such as {95: 300ms}"),
        ("latency: {}", "1:16: `latency` must be a mapping of a percentage to a duration, such as {95: 300ms}"),
        (
            "latency: {100: 1s}",
            "1:16: `latency` at 100: must be a percentage above 0 and below 100: no service answers all requests well",
        ),
        ("latency: {95: soon}", "1:16: `latency` at 95: must be a duration like 90s, 5m or 1h30m"),
        ("latency: {95: 0}", "1:16: `latency` at 95: must be above 0 and at most 30s, the longest time that is told apart"),
        ("latency: {95: 31s}", "1:16: `latency` at 95: must be above 0 and at most 30s, the longest time that is told apart"),
        ("latency: {95: 1s, 95.0: 2s}", "1:16: `latency` has 95 twice"),
        ("latency: {1: 1s, 2: 2s, 3: 3s, 4: 4s, 5: 5s}", "1:16: `latency` has more than 4 objectives"),
        ("window: 59m", "1:15: `window` must be between 1h and 90d"),
        ("window: 91d", "1:15: `window` must be between 1h and 90d"),
    ],
)
def test_what_is_refused(tmp_path: Path, written: str, problem: str) -> None:
    assert said(tmp_path, text(f"slo: {{{written}}}")) == [problem]


@pytest.mark.parametrize(
    ("top", "own", "warnings"),
    [
        (
            "slo: {window: 7d}",
            "",
            ["1:1: `slo` has no effect: it has neither `availability` nor `latency`, here or on a wider level"],
        ),
        ("slo: {window: 7d}", "slo: {availability: 99}", []),
        ("slo: off", "", []),
        (
            "slo: {latency: {95: 1s, 99: 500ms}}",
            "",
            ["1:7: `latency` at 95 has no effect: 99 % of the requests are to be faster than 1s anyway"],
        ),
    ],
)
def test_what_is_warned_of(tmp_path: Path, top: str, own: str, warnings: list[str]) -> None:
    assert said(tmp_path, text(top, "", own)) == warnings
