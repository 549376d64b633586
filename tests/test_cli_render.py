"""The table of `terrasterctl status`."""

from __future__ import annotations

import os
import re
import time

import pytest

from terraster.admin.processes import ProcessReading
from terraster.cli import output, phrases, render
from terraster.state.cells import Seat

from .test_admin_readings import NOW, House
from .test_admin_status import all_up, status, touch


def test_the_whole_picture():
    house = all_up(House())
    house.known(2, STATE=0, SINCE=int((NOW - 300) * 1e9))
    house.used(1, 0, REQUESTS=123456, FAILURES=7, ACTIVE=3, LATENCY=8_000_000, BUCKET=4, STATUS_5XX=31)
    failed = {"ok": False, "problems": ["a.yaml:1:2: unknown key"], "when": NOW - 9}
    text = render.status(
        status(house, last_reload=failed, prober={"blog/ http://10.0.0.3:80": {"reason": "connection refused", "seconds": -1.0}})
    )
    assert text.splitlines()[:17] == [
        "Terraster 9.9 (compiled: 2 of 3 rooms), pid 4711, up 60m, generation 4",
        "2 of 3 backends up (1 down), 2 of 2 workers serving",
        "",
        "3 problems:",
        "  blog/: no backend is up: every request is answered with 503",
        "  blog/: http://10.0.0.3:80 has been down for 5m: connection refused",
        "  Terraster: the last reload failed 9s ago: a.yaml:1:2: unknown key",
        "",
        "SERVICE, BACKENDS     STATE  FOR  WEIGHT  ACTIVE  ATTEMPTS  FAILED  5XX  LATENCY",
        "shop/",
        "  http://10.0.0.1:80  up     60s       1       3      123k       7   31    2.0ms",
        "  http://10.0.0.2:80  up     60s       1       0         0       0    0        -",
        "shop/old",
        "  -> https://new.example, 0 requests",
        "blog/",
        "  http://10.0.0.3:80  DOWN    5m       1       0         0       0    0        -",
        "",
    ]
    assert text.splitlines()[17].split() == ["PROCESS", "PID", "STATE", "AGE", "GENERATION", "CONNECTIONS", "ACCEPTED", "REQUESTS"]
    assert [line.split()[0] for line in text.splitlines()[18:]] == ["proxy-1", "proxy-2", "admin"]
    assert text.isascii() and max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def between_two_masters(old: tuple[int, int, int], new: tuple[int, int, int]) -> str:
    """The status of an upgrade from master 4711 to 4712. Of each master: workers that serve and that drain, open connections."""
    document = status(all_up(House()), wanted_workers=2)
    keys = ("serving", "draining", "connections")
    document["upgrade"] = {
        "old": {"pid": 4711, **dict(zip(keys, old, strict=True))},
        "new": {"pid": 4712, **dict(zip(keys, new, strict=True))},
    }
    lines = render.status(document, width=400).splitlines()
    return lines[lines.index("") + 1].strip()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ((2, 0, 9), (0, 0, 0), "the new master 4712 starts; the old master 4711 serves until then"),
        (
            (2, 0, 9),
            (1, 0, 1),
            "the new master 4712 and the old master 4711 both serve, with 1 worker and 2 workers; TERM to 4711 ends the old one, "
            "to 4712 the new one",
        ),
        (
            (0, 2, 9),
            (2, 0, 1),
            "the new master 4712 takes over from the old master 4711; 2 old workers drain, with 9 connections left",
        ),
        (
            (0, 1, 1),
            (2, 0, 1),
            "the new master 4712 takes over from the old master 4711; 1 old worker drains, with 1 connection left",
        ),
        (
            (0, 0, 0),
            (2, 0, 1),
            "the new master 4712 takes over from the old master 4711; 0 old workers drain, with 0 connections left",
        ),
        (
            (2, 0, 9),
            (0, 2, 4),
            "the new master 4712 leaves, and the old master 4711 goes on; 2 new workers drain, with 4 connections left",
        ),
    ],
)
def test_an_upgrade_is_told_in_one_sentence(old: tuple[int, int, int], new: tuple[int, int, int], words: str) -> None:
    assert between_two_masters(old, new) == f"upgrade in progress: {words}"


def test_what_filters_counted_stands_below_the_location():
    house = all_up(House())
    document = status(house)
    shop, old = document["services"][0]["locations"]
    shop["filters"] = {"methods": {"refused": 31, "let": 0, "seen": 7}, "headers": {}, "jwt": {"asked": 1, "no_keys": 1}}
    old["filters"], old["redirect"], old["requests"] = {"respond": {"answers": 1}}, None, 1
    lines = render.status(document).splitlines()
    assert lines[lines.index("shop/") + 1] == "  methods: 31 refused, 7 seen; jwt: 1 asked, 1 no_keys"
    assert lines[lines.index("shop/old") + 1] == "  1 request; respond: 1 answer"


def test_the_weights_of_a_split_stand_below_its_location():
    document = status(all_up(House()))
    _, old = document["services"][0]["locations"]
    old["split"], old["redirect"], old["backends"], old["filters"] = (
        {"stable": 95, "canary": 5},
        None,
        [],
        {"split": {"fallbacks": 7}},
    )
    lines = render.status(document).splitlines()
    assert lines[lines.index("shop/old") + 1] == "  arms: stable 95, canary 5; split: 7 fallbacks"


def test_the_fullest_process_is_named():
    house = all_up(House())
    house.sit(1, Seat.PROXY, CLIENTS_CLOSED=31)
    figures = {4711: ProcessReading(0.0, 0, 16, 64, 0.0), os.getpid(): ProcessReading(0.0, 0, 40, 64, 0.0)}
    text = render.status(status(house, processes=figures))
    assert "\nSaturation: 40 of 64 file descriptors open in proxy-1, 31 idle clients ended\n" in text
    assert "Saturation" not in render.status(status(all_up(House())))


def test_requests_without_a_location_have_a_line():
    house = all_up(House())
    assert "without a location" not in render.status(status(house))
    house.answer(1, house.table.unrouted, 421, times=2)
    house.answer(1, house.table.unrouted, 404, times=31)
    assert "\nRequests without a location: 31 answered 404, 2 answered 421\n" in render.status(status(house))


def test_a_worker_that_hangs_is_not_called_serving():
    house = all_up(House())
    house.q[house.table.seat(2) + Seat.HEARTBEAT] = time.monotonic_ns() - 7_000_000_000
    lines = render.status(status(house)).splitlines()
    assert lines[1] == "3 of 3 backends up, 1 of 2 workers serving"
    (hung,) = [line for line in lines if line.startswith("proxy-2")]
    assert "not responding for 7s" in hung and "serving" not in hung


def test_colours_change_nothing_but_colour():
    house = all_up(House())
    house.known(0, STATE=0)
    found = status(house)
    coloured = render.status(found, colour=True)
    assert "\x1b[31mDOWN" in coloured
    assert [line.rstrip() for line in re.sub(r"\x1b\[\d+m", "", coloured).splitlines()] == render.status(found).splitlines()


def test_a_circuit_that_is_tried_is_not_called_open():
    house = all_up(House())
    house.known(2, STATE=4, CIRCUIT=2, ADMIT=2)
    why = "its circuit is half-open: 1 request may try it"
    text = render.status(status(house, states={"blog/ http://10.0.0.3:80": {"why": why}}))
    assert f"1 problem:\n  blog/: http://10.0.0.3:80 is being tried: {why}\n" in text


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ({}, None),
        ({"QUEUED": 3}, "  queue: 3 of 100 waiting"),
        ({"QUEUE_REFUSED": 4}, "  queue: 4 refused (queue full)"),
        (
            {"QUEUED": 1, "QUEUE_REFUSED": 123456, "QUEUE_TIMEOUTS": 5},
            "  queue: 1 of 100 waiting, 123k refused (queue full), 5 timed out",
        ),
    ],
)
def test_what_a_queue_did_stands_below_its_location(cells, line):
    house = all_up(House())
    house.waited(1, 0, **cells)
    lines = render.status(status(house)).splitlines()
    below = lines[lines.index("shop/") + 1 :]
    assert [one for one in lines if "queue:" in one] == ([line] if line else [])
    assert (below[0] == line) == bool(line) and below[bool(line)].startswith("  http://10.0.0.1:80  ")


def test_refusals_where_none_may_wait_are_not_called_those_of_a_full_queue():
    house = all_up(House())
    house.waited(1, 0, QUEUE_REFUSED=4)
    found = status(house)
    found["services"][0]["locations"][0]["queue"] = 0
    assert "  queue: 4 refused\n" in render.status(found)


def test_nothing_wrong_is_said():
    assert "no problems" in render.status(status(all_up(House())))


def test_of_a_large_configuration_only_what_has_problems_is_shown():
    house = all_up(House({f"s{n}": {"/": [f"http://10.0.0.1:{n}"]} for n in range(1000)}))
    house.known(500, STATE=0)
    found = status(house)
    text = render.status(found)
    assert "s500/" in text and "s501/" not in text and "999 services without problems are not shown" in text
    assert "s501/" in render.status(found, everything=True)


def test_a_backend_that_is_down_in_several_services_is_one_line_and_all_of_these_are_shown():
    house = all_up(House({f"s{n}": {"/": ["http://10.0.0.1:1"], "/a": [f"http://10.0.0.2:{n + 1}"]} for n in range(100)}))
    for slot in (2 * 7, 2 * 8):
        house.known(slot, STATE=0, SINCE=int((NOW - 300) * 1e9))
    text = render.status(status(house), width=200)
    assert "  several services: http://10.0.0.1:1 has been down for 5m: in 2 locations of 2 services: s7, s8\n" in text
    assert (
        "\ns7/\n" in text and "\ns8/\n" in text and "\ns9/\n" not in text and "98 services without problems are not shown" in text
    )


@pytest.mark.parametrize("width", [80, 100, 160, 300])
def test_long_names_fit(width):
    names = ["search-frontend.eu-central-1", "media-transcoder-callbacks", "x" * 250]
    domain = "prod.eu-central-1.compute.internal.example.com:8080"
    house = all_up(House({name: {"/": [f"http://{name[:30]}-{n}.{domain}/v1" for n in (1, 2)], "/old": []} for name in names}))
    house.known(1, STATE=0, SINCE=int((NOW - 300) * 1e9))
    down = f"http://{names[0]}-2.{domain}/v1"
    reason = "HTTP 503 Service Unavailable, wanted is a status in 200-399, or in one of the other ranges that it was given"
    found = status(house, prober={f"{names[0]}/ {down}": {"reason": reason, "seconds": 0.1}})
    lines = render.status(found, width=width).splitlines()
    assert max(len(line) for line in lines if down not in line) <= width
    problem = " ".join(" ".join(lines[lines.index("1 problem:") + 1 :]).split())
    assert problem.startswith(f"{names[0]}/: {down} has been down for 5m: {reason} ")
    for name in names[:2]:
        at = lines.index(f"{name}/")
        step = 2 if width <= 100 else 1  # figures stand below a long URL
        first = lines[at + 1 : at + 1 + 2 * step : step]
        one, other = (line.split()[0] for line in first)
        assert one != other, "backends must be told apart"
        assert width == 80 or [url.endswith(f"{domain}/v1") for url in (one, other)] == [True, True]
        if step == 2:
            assert [line.split()[0] for line in lines[at + 2 : at + 5 : 2]] == ["up", "DOWN" if name == names[0] else "up"]


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"generation": 4, "changes": ["~ workers"]}, "generation 4 (reloaded 9s ago)"),
        ({"generation": 4, "changes": []}, "generation 4 (last reload 9s ago)"),  # it found nothing to do
        ({"generation": 3, "changes": ["~ workers"]}, "generation 4 (last reload 9s ago)"),  # a certificate was swapped since
    ],
)
def test_a_generation_is_called_reloaded_only_if_the_last_reload_made_it(last, words):
    found = render.status(status(all_up(House()), last_reload={"ok": True, "when": NOW - 9, **last}))
    assert found.splitlines()[0].endswith(words)


def test_one_worker_is_no_workers():
    found = status(all_up(House()))
    assert "1 of 1 worker serving" in render.status({**found, "wanted_workers": 1, "workers": found["workers"][:1]})


@pytest.mark.parametrize(("columns", "width"), [("", 100), ("80", 80), ("400", 400), ("x", 100), ("0", 100)])
def test_a_pipe_is_as_wide_as_the_environment_says(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert output.width() == width


def test_what_operators_changed_is_told_with_who_and_why():
    house = all_up(House())
    house.known(0, STATE=3)
    house.known(1, WEIGHT=5)
    orphan = {
        "service": "gone",
        "location": "/",
        "backend": "http://10.0.0.9:80",
        "gone": NOW,
        "order": touch("drain"),
        "weight_override": None,
    }
    none = {"order": None, "weight_override": None, "configured_weight": 1}
    overrides = {
        "backends": {
            "shop/ http://10.0.0.1:80": {**none, "order": touch("maintenance", until=NOW + 600), "order_after": [touch("drain")]},
            "shop/ http://10.0.0.2:80": {
                **none,
                "weight_override": touch("weight", weight=5, until=NOW + 600, reason=""),
                "weight_after": [touch("weight", weight=7, until=NOW + 900), touch("weight", weight=9)],
            },
        },
        "orphans": [orphan],
    }
    until = phrases.moment(NOW + 600, NOW)
    text = render.status(status(house, orders=overrides), width=200)
    assert text.split("\n\n")[2].splitlines() == [
        "Changed by operators:",
        f"  shop/: http://10.0.0.1:80: in maintenance, set 90s ago by alice, until {until} (in 10m), then draining again: disk",
        "  shop/: http://10.0.0.1:80 may be stopped: nothing is open, and nothing new comes",
        f"  shop/: http://10.0.0.2:80: weight 5 (configured: 1), set 90s ago by alice, until {until} (in 10m), "
        f"then weight 7 again until {phrases.moment(NOW + 900, NOW)}, then weight 9 again",
        "  gone/: http://10.0.0.9:80: draining, set 90s ago by alice: disk; no longer configured, kept for a day",
    ]
    lines = [line.split() for line in text.splitlines() if line.startswith("  http://10")]
    assert [(line[1], line[3]) for line in lines] == [("maint", "1"), ("up", "5*"), ("up", "1")]
    narrow = render.status(status(house, orders=overrides), width=80)
    assert max(map(len, narrow.splitlines())) <= 80


def test_shares_have_a_column_only_where_there_are_some():
    house = all_up(House())
    assert "SHARE" not in render.status(status(house))
    house.used(1, 0, SHARE=250)
    lines = render.status(status(house)).splitlines()
    header = next(line for line in lines if line.startswith("SERVICE"))
    assert header.endswith("SHARE")
    assert [line.split()[-1] for line in lines if line.startswith("  http")] == ["25%", "-", "-"]


def test_warnings_are_counted():
    document = status(all_up(House()))
    assert "warning" not in render.status(document)
    assert ", 2 configuration warnings (see terraster --check)" in render.status({**document, "warnings": ["a", "b"]})
    assert ", 1 configuration warning (see" in render.status({**document, "warnings": ["a"]})


def test_a_reason_says_until_when():
    house = all_up(House())
    house.known(0, STATE=4, SINCE=int((NOW - 5) * 1e9))
    found = status(house, states={"shop/ http://10.0.0.1:80": {"why": "5 in a row", "until": NOW + 25}})
    until = phrases.moment(NOW + 25, NOW)
    assert f"  shop/: http://10.0.0.1:80 has been ejected for 5s, until {until} (in 25s): 5 in a row\n" in render.status(found)
