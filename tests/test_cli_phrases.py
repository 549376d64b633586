"""Sentences about one backend, and times and numbers in words."""

from __future__ import annotations

import pytest

from terraster.cli import phrases

from .test_admin_readings import NOW

DAY = {"attempts": 0, "failures": 0, "errors": 0, "minutes": [], "changes": []}
QUIET = "  in the last day: 0 attempts, 0 failed, 0 answered with 5xx"

ENDPOINT = {
    "endpoint": None,
    "address": None,
    "state": "up",
    "reason": "",
    "admit": "all",
    "circuit": "closed",
    "last_probes": [],
    "last_failures": [],
    "responses": {},
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h00m"),
        (90000, "25h00m"),
        (172800, "2d"),
    ],
)
def test_ages(seconds, text):
    assert phrases.age(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (99999, "99999"), (100000, "100k"), (4_500_000, "4.5M"), (45_000_000, "45M"), (7e9, "7.0G"), (3e18, "3000000T")],
)
def test_counts(number, text):
    assert phrases.count(number) == text


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        (
            0,
            [
                "  open:      0 requests, 0 connections (0 idle)",
                "  attempts:  0, 0 failed (0 without a connection), 0 with a bad status",
                "  responses: none yet",
                "  circuit:   closed, opened 0 times",
                "  ejections: 0",
                "  no health checks yet",
                "  no failures in traffic",
                QUIET,
            ],
        ),
        (
            1,
            [
                "  open:      1 request, 1 connection (1 idle)",
                "  attempts:  1, 1 failed (1 without a connection), 1 with a bad status",
                "  responses: 1 2xx, 1 attempt without a response",
                "  circuit:   closed, opened 1 time",
                "  ejections: 1",
                "  no health checks yet",
                "  no failures in traffic",
                QUIET,
            ],
        ),
    ],
)
def test_why_counts_in_good_grammar(number, lines):
    names = ("active", "open", "idle", "requests", "failures", "connect_errors", "bad_statuses", "circuit_openings", "ejections")
    endpoint = {**ENDPOINT, **dict.fromkeys(names, number)}
    endpoint["responses"] = {"none": number, "2xx": number} if number else {}
    backend = {
        "service": "shop",
        "location": "/",
        "url": "http://a",
        "state": "up",
        "since": None,
        "until": None,
        "by": "",
        "reason": "",
    }
    nothing = {"order": None, "weight_override": None, "configured_weight": 1, "history": [], "day": DAY, "endpoints": [endpoint]}
    assert phrases.explained({**backend, **nothing}, NOW).splitlines() == ["shop/ http://a is up", *lines]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"state": "up", "since": NOW - 60, "reason": "status 200"}, "has been up for 60s: status 200"),
        (
            {"state": "ejected", "since": NOW - 5, "until": NOW + 25, "reason": "5 in a row"},
            "has been ejected for 5s, until UNTIL: 5 in a row",
        ),
        ({"state": "draining", "since": NOW - 5, "until": NOW + 25, "by": "al"}, "is draining, set 5s ago by al, until UNTIL"),
        ({"state": "maintenance", "since": NOW - 5, "by": "al", "reason": "disk"}, "is in maintenance, set 5s ago by al: disk"),
    ],
)
def test_why_begins_with_the_state_its_age_and_its_reason(facts, line):
    backend = {"service": "shop", "location": "/", "url": "http://a", "until": None, "by": "", "reason": ""}
    nothing = {"order": None, "weight_override": None, "configured_weight": 1, "history": [], "day": DAY, "endpoints": []}
    until = f"{phrases.moment(NOW + 25, NOW)} (in 25s)"
    assert phrases.explained({**backend, **nothing, **facts}, NOW) == f"shop/ http://a {line.replace('UNTIL', until)}\n{QUIET}\n"


def test_health_checks_are_aligned_by_their_times():
    probes = [{"when": NOW, "ok": ok, "seconds": seconds, "reason": "why"} for ok, seconds in ((True, 0.0063), (False, 0.0137))]
    names = ("active", "open", "idle", "requests", "failures", "connect_errors", "bad_statuses", "circuit_openings", "ejections")
    endpoint = {**ENDPOINT, **dict.fromkeys(names, 0), "last_probes": probes}
    backend = {
        "service": "shop",
        "location": "/",
        "url": "http://a",
        "state": "up",
        "since": None,
        "until": None,
        "by": "",
        "reason": "",
    }
    text = phrases.explained(
        {
            **backend,
            "order": None,
            "weight_override": None,
            "configured_weight": 1,
            "history": [],
            "day": DAY,
            "endpoints": [endpoint],
        },
        NOW,
    )
    at = phrases.moment(NOW, NOW)
    assert f"    {at}  passed   6.3ms  why\n    {at}  FAILED  13.7ms  why\n" in text


@pytest.mark.parametrize(
    ("left", "text"),
    [(0.2, "1s"), (119, "119s"), (120, "2m"), (149, "2m"), (150, "3m"), (598, "10m"), (3571, "60m"), (21_599, "6h00m")],
)
def test_the_time_that_is_left_is_rounded_to_the_next_minute(left, text):
    change = {
        "service": "s",
        "location": "/",
        "url": "u",
        "state": "draining",
        "until": NOW + left,
        "weight_override": None,
        "active": 0,
    }
    assert phrases.changed(change, NOW) == [f"s/ u is draining until {phrases.moment(NOW + left, NOW)} (in {text})"]


@pytest.mark.parametrize("state", ["down", "ejected"])
def test_an_order_for_a_backend_that_is_not_up_is_told(state):
    change = {"service": "s", "location": "/", "url": "u", "state": state, "until": None, "weight_override": None, "active": 0}
    order = {"what": "drain", "until": NOW + 60}
    held = f"its drain holds until {phrases.moment(NOW + 60, NOW)} (in 60s), also when it is up again"
    assert phrases.changed({**change, "order": order}, NOW) == [f"s/ u is {state}", held]
    for other in (None, {"what": "enable", "until": None}):
        assert phrases.changed({**change, "order": other}, NOW) == [f"s/ u is {state}"]


def test_long_lines_of_why_are_wrapped_and_urls_stay_whole():
    backend = {"service": "shop", "location": "/", "url": "http://a.example:8080/a-long-path", "state": "up", "since": None}
    rest = {
        "until": None,
        "by": "",
        "order": None,
        "weight_override": None,
        "configured_weight": 1,
        "history": [],
        "day": DAY,
        "endpoints": [],
    }
    text = phrases.explained({**backend, **rest, "reason": "the check of a backend says a lot of words"}, NOW, 40)
    assert text.splitlines() == [
        "shop/ http://a.example:8080/a-long-path",
        "    is up: the check of a backend says a",
        "    lot of words",
        "  in the last day: 0 attempts, 0 failed,",
        "      0 answered with 5xx",
    ]
