"""The status document: what it says, and that the worst comes first."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from terraster.admin import readings, seat_readings
from terraster.admin.processes import ProcessReading
from terraster.admin.recent import RecentCounts
from terraster.admin.status import document
from terraster.admin.suspects import suspects
from terraster.config.snapshot import Service
from terraster.filters.contract import counted
from terraster.filters.registry import KINDS
from terraster.policy.server_errors import Count
from terraster.state.cells import Seat

from .test_admin_readings import NOW, House


def master_says(**changes) -> dict:
    return {
        "ok": True,
        "pid": 4711,
        "version": "9.9",
        "rooms": {"compiled": ["net.stream", "proxy"], "pure": ["plan"], "off": False},
        "started": NOW - 3600,
        "generation": 4,
        "wanted_workers": 2,
        "restarts": 0,
        "reloads": 3,
        "reload_failures": 0,
        "last_reload": None,
        "listeners": [":8080"],
        "workers": [],
        "prober": {},
        **changes,
    }


def all_up(house: House) -> House:
    for slot in range(house.slots):
        house.known(slot, STATE=1, SINCE=int((NOW - 60) * 1e9), WEIGHT=1)
    return house


def status(
    house: House,
    recent: dict[int, tuple[int, int]] | None = None,
    processes: dict[int, ProcessReading] | None = None,
    **changes,
) -> dict:
    """recent: slot → attempts and server errors of the last minute. processes: the kernel's figures, by pid

    Of the services that may have problems alone it has the same problems."""
    seats = seat_readings.seats(house.table)
    counts = RecentCounts(57.3, {slot: Count(*both) for slot, both in (recent or {}).items()})

    def of(shown: tuple[Service, ...]) -> dict:
        part = replace(house.snapshot, services=shown)
        return document(
            house.snapshot,
            shown,
            readings.backends(house.table, part),
            readings.locations(house.table, part),
            readings.unrouted(house.table),
            seats,
            processes or {},
            seat_readings.losses(house.table),
            {seat.seat: readings.requests(house.table, seat.seat) for seat in seats if seat.role == "proxy"},
            master_says(**changes),
            NOW,
            counted(KINDS),
            counts,
            seat_readings.lost_lines(house.table),
        )

    found = of(house.snapshot.services)
    assert of(suspects(house.table, house.snapshot, counts, master_says(**changes)))["problems"] == found["problems"]
    return found


def test_services_that_are_well_are_no_suspects():
    house = all_up(House())
    nothing = RecentCounts(57.3, {0: Count(10, 0)})

    def names(**changes) -> list[str]:
        return [one.name for one in suspects(house.table, house.snapshot, nothing, master_says(**changes))]

    assert names() == []
    assert names(failing={TWO: FAILED}) == names(orders={"backends": {TWO: {}}, "services": {}}) == ["shop"]
    assert names(orders={"backends": {}, "services": {"blog": {}}}) == ["blog"]
    house.known(2, STATE=0)
    house.waited(2, 0, QUEUED=1)
    assert names() == ["shop", "blog"]


def test_what_filters_counted_is_told_by_location():
    house = all_up(House())
    (redirects,) = (one for one in counted(KINDS) if one.kind == "redirect")
    house.table.q[house.table.seat_location(1, 1) + redirects.cell] = 7
    first, second = status(house)["services"][0]["locations"]
    assert (first["filters"], second["filters"]) == ({}, {"redirect": {"answers": 7}})


def test_requests_that_no_location_took_are_counted():
    house = all_up(House())
    assert status(house)["unrouted"]["requests"] == 0
    house.answer(1, house.table.unrouted, 404, times=3)
    house.answer(2, house.table.unrouted, 421, times=2)
    house.answer(0, house.table.unrouted, 404)
    found = status(house)["unrouted"]
    assert (found["requests"], found["responses"], found["codes"]) == (6, {"4xx": 6}, {"404": 4, "421": 2})


def test_responses_are_told_by_class():
    house = all_up(House())
    house.used(1, 0, STATUS_2XX=5, NO_RESPONSE=2)
    house.used(2, 0, STATUS_2XX=1, STATUS_5XX=299)
    one, other = status(house, {0: (300, 299)})["services"][0]["locations"][0]["backends"]
    assert one["responses"] == {"none": 2, "2xx": 6, "5xx": 299} and other["responses"] == {}
    assert one["recent_responses"] == {"seconds": 57.3, "attempts": 300, "5xx": 299} and other["recent_responses"] is None


def test_a_backend_whose_errors_stand_out_is_a_problem():
    house = all_up(House())
    found = status(house, {0: (300, 299), 1: (310, 3), 2: (5, 5)})
    (problem,) = found["problems"]
    assert (problem["kind"], problem["service"], problem["backend"]) == ("backend-errors", "shop", "http://10.0.0.1:80")
    assert problem["text"] == (
        "299 of 300 attempts in the last 57 s were answered with a server error (5xx), 3 of 310 at the other backends of its location"
    )
    house.known(0, STATE=3)  # in maintenance: an operator knows
    assert kinds(status(house, {0: (300, 299), 1: (310, 3)})) == []
    house.known(0, STATE=4)  # ejected: it has a line already
    assert kinds(status(house, {0: (300, 299), 1: (310, 3)})) == ["backend-ejected"]


def test_errors_of_all_backends_are_one_problem_of_their_location():
    house = all_up(House())
    (problem,) = status(house, {0: (30, 20), 1: (30, 18)})["problems"]
    assert (problem["kind"], problem["service"], problem["location"], problem["backend"]) == ("location-errors", "shop", "/", None)
    assert problem["text"] == "38 of 60 attempts in the last 57 s were answered with a server error (5xx)"
    assert kinds(status(house, {2: (40, 40)})) == ["location-errors"]  # a single backend has no siblings


def test_a_full_worker_is_a_problem():
    house = all_up(House())
    since = time.monotonic_ns() - 5_000_000_000
    house.sit(1, Seat.PROXY, FULL_SINCE=since, FULL_WHY=Seat.NO_DESCRIPTORS, CONNECTIONS=22)
    house.sit(2, Seat.PROXY, FULL_SINCE=since, FULL_WHY=Seat.CONNECTIONS_LIMIT, CONNECTIONS=5)
    pid = house.q[house.table.seat(1) + Seat.PID]
    found = status(house, processes={pid: ProcessReading(0.0, 0, 50, 64, 0.0)})
    assert kinds(found) == ["worker-full", "worker-full"]
    one, other = (problem["text"].partition(" has ")[2] for problem in found["problems"])
    assert one == (
        "22 client connections and cannot take another one, so new clients wait: its file descriptors (limit 64) are in use, and no "
        "client is idle (5 s so far)"
    )
    assert (
        other == "5 client connections and cannot take another one, so new clients wait: limits.connections is reached (5 s so far)"
    )
    assert [worker["full_why"] for worker in found["workers"]] == ["descriptors", "connections-limit", None]
    house.sit(2, Seat.PROXY, FULL_SINCE=time.monotonic_ns())
    house.q[house.table.seat(1) + Seat.FULL_SINCE] = 0
    assert kinds(status(house)) == []  # for a moment only


def test_a_want_of_descriptors_remains_a_problem_for_a_minute():
    house = all_up(House())
    house.sit(1, Seat.PROXY, SHORT_AT=time.monotonic_ns() - 30_000_000_000, CLIENTS_CLOSED=3, ACCEPT_ERRORS=2)
    house.q[house.table.seat(0) + Seat.CLIENTS_CLOSED] = 4
    found = status(house)
    assert kinds(found) == ["descriptors"]
    assert (found["saturation"]["idle_clients_ended"], found["saturation"]["accept_errors"]) == (7, 2)
    house.sit(1, Seat.PROXY, SHORT_AT=time.monotonic_ns() - 61_000_000_000)
    assert kinds(status(house)) == []


def test_descriptors_of_the_master_are_watched_too():
    house = all_up(House())
    few, many = ProcessReading(0.0, 0, 57, 64, 0.0), ProcessReading(0.0, 0, 58, 64, 0.0)
    assert kinds(status(house, processes={4711: few})) == []
    found = status(house, processes={4711: many})
    assert [problem["text"] for problem in found["problems"]] == ["the master process has 58 of 64 file descriptors open"]
    assert found["saturation"]["descriptors"] == [{"process": "master", "pid": 4711, "open": 58, "limit": 64}]


def kinds(found: dict) -> list[str]:
    return [problem["kind"] for problem in found["problems"]]


def test_nothing_wrong():
    house = all_up(House())
    house.answer(1, 0, 200, 0.01, 3)
    house.answer(1, 0, 404, 0.01)
    house.answer(2, 0, 299, 0.01)
    house.used(1, 0, REQUESTS=4, LATENCY=8_000_000, BUCKET=4)
    found = status(house, prober={"shop/ http://10.0.0.1:80": {"reason": "200 OK", "seconds": 0.002}})
    assert found["problems"] == []
    shop = found["services"][0]
    place = shop["locations"][0]
    assert (shop["name"], place["path"], place["requests"], place["responses"]) == ("shop", "/", 5, {"2xx": 4, "4xx": 1})
    assert place["mean_duration"] == 0.01 and sum(place["durations"]) == 5
    assert len(place["durations"]) == len(found["duration_bounds"]) + 1
    assert place["durations"][found["duration_bounds"].index(0.01)] == 5, "0.01 s is within the bucket that it ends"
    one, other = place["backends"]
    assert (one["up"], one["since"], one["reason"], one["requests"], one["latency"]) == (True, NOW - 60, "200 OK", 4, 0.002)
    assert (other["latency"], other["probe_seconds"], other["reason"]) == (None, None, "")
    assert shop["locations"][1]["redirect"] == "https://new.example" and shop["locations"][1]["policy"] is None
    assert [(worker["role"], worker["seat"], worker["requests"]) for worker in found["workers"]] == [
        ("proxy", 1, 4),
        ("proxy", 2, 1),
        ("admin", 3, 0),
    ]


def test_the_worst_comes_first():
    house = all_up(House())
    house.known(1, STATE=0)
    house.known(2, STATE=0, SINCE=int((NOW - 5) * 1e9))
    house.sit(2, Seat.PROXY, DRAINING=1)
    failed = {"ok": False, "problems": ["a.yaml:1:2: no", "a.yaml:3:4: nor this"], "when": NOW - 9}
    found = status(
        house, last_reload=failed, prober={"blog/ http://10.0.0.3:80": {"reason": "connection refused", "seconds": -1.0}}
    )
    assert kinds(found) == ["few-workers", "no-backends", "backend-down", "backend-down", "reload-failed"]
    by_kind = {problem["kind"]: problem for problem in found["problems"]}
    assert (by_kind["no-backends"]["service"], by_kind["no-backends"]["location"]) == ("blog", "/")
    down = [problem for problem in found["problems"] if problem["kind"] == "backend-down"]
    assert [(one["backend"], one["text"], one["since"]) for one in down] == [
        ("http://10.0.0.2:80", "", NOW - 60),
        ("http://10.0.0.3:80", "connection refused", NOW - 5),
    ]
    assert by_kind["reload-failed"]["text"] == "a.yaml:1:2: no; a.yaml:3:4: nor this"


def test_one_dead_backend_of_many_locations_is_told_once_and_so_are_the_locations_that_have_no_other():
    dead, well = "http://10.0.0.9:80", "http://10.0.0.1:80"
    services = {
        "shop": {"/": [dead], "/a": [dead], "/b": [dead, well]},
        "blog": {f"/{n}": [dead] for n in range(7)},
        "own": {"/": [well]},
    }
    house = all_up(House(services))
    slots = [
        one.slot for service in house.snapshot.services for place in service.locations for one in place.backends if one.url == dead
    ]
    for number, slot in enumerate(slots):
        house.known(slot, STATE=0, SINCE=int((NOW - 10 - number) * 1e9))
    nobody, down = status(house)["problems"]
    expected = {"service": None, "location": None, "backend": None, "backend_name": None, "since": None, "until": None}
    words = "no backend is up: every request is answered with 503; in 9 locations of 2 services: shop, blog"
    assert nobody == {**expected, "kind": "no-backends", "text": words, "locations": 9}
    words = "in 10 locations of 2 services: shop, blog"
    where = {"backend": dead, "since": NOW - 10 - 9}
    assert down == {**expected, **where, "kind": "backend-down", "text": words, "locations": 10}

    ids = [
        one.id for service in house.snapshot.services for place in service.locations for one in place.backends if one.url == dead
    ]
    reasons = {name: {"reason": "refused" if name.startswith("blog") else "too slow", "seconds": -1.0} for name in ids}
    shop, blog = (one for one in status(house, prober=reasons)["problems"] if one["kind"] == "backend-down")
    assert (shop["service"], shop["text"], shop["since"]) == ("shop", "too slow; in 3 locations: /, /a, /b", NOW - 12)
    assert (blog["service"], blog["text"], blog["locations"]) == (
        "blog",
        "refused; in 7 locations: /0, /1, /2, /3, /4 and 2 more",
        7,
    )


def test_addresses_of_one_name_are_told_each():
    house = all_up(House({"shop": {"/": ["http://n:80", "http://n:80", "http://o:80"]}}))
    for slot in (0, 1):
        house.known(slot, STATE=0)
    assert [(one["kind"], one["location"], one["locations"]) for one in status(house)["problems"]] == [
        ("backend-down", "/", None)
    ] * 2


def test_workers_that_are_gone_late_or_silent():
    house = all_up(House())
    house.sit(1, Seat.PROXY, GENERATION=3)
    house.q[house.table.seat(2) + Seat.HEARTBEAT] = time.monotonic_ns() - 4_000_000_000
    found = status(house)
    assert kinds(found) == ["few-workers", "worker-silent", "worker-behind"]
    assert [worker["responding"] for worker in found["workers"]] == [True, False, True]
    assert "has not responded for 4 s" in found["problems"][1]["text"]
    house.q[house.table.seat(1) + Seat.PID] = house.q[house.table.seat(2) + Seat.PID] = 0
    assert kinds(status(house)) == ["no-workers"]


def touch(what: str, **more) -> dict:
    return {"what": what, "when": NOW - 90, "by": "alice", "reason": "disk", "until": 0.0, "weight": -1, **more}


def test_what_operators_changed():
    house = all_up(House())
    house.known(0, STATE=2, WEIGHT=5)
    overrides = {
        "backends": {
            "shop/ http://10.0.0.1:80": {
                "order": touch("drain", until=NOW + 600),
                "weight_override": touch("weight", weight=5),
                "configured_weight": 1,
            }
        },
        "orphans": [
            {"backend": "gone/ http://10.0.0.9:80", "gone": NOW - 9, "order": touch("maintenance"), "weight_override": None}
        ],
    }
    found = status(house, orders=overrides)
    one, other = found["services"][0]["locations"][0]["backends"]
    assert (one["state"], one["up"], one["since"], one["until"], one["by"]) == ("draining", False, NOW - 90, NOW + 600, "alice")
    assert (one["weight"], one["configured_weight"], one["weight_override"]["weight"]) == (5, 1, 5)
    assert (other["state"], other["order"], other["weight_override"], other["configured_weight"]) == ("up", None, None, 1)
    assert found["problems"] == [] and found["orphans"][0]["backend"] == "gone/ http://10.0.0.9:80"


ONE, TWO, THREE = "shop/ http://10.0.0.1:80", "shop/ http://10.0.0.2:80", "blog/ http://10.0.0.3:80"
FAILED = {"attempts": 12, "failures": 11, "seconds": 7.2, "text": "reset", "not_ejected": ""}

WRONG = [
    (
        {"known": [(0, {"STATE": 4})]},
        {"states": {ONE: {"why": "5 in a row", "until": NOW + 9}}},
        ["backend-ejected"],
        "5 in a row",
    ),
    ({"known": [(0, {"STATE": 4, "CIRCUIT": 1})]}, {"states": {ONE: {"why": "opened"}}}, ["circuit-open"], "opened"),
    (
        {"known": [(0, {"STATE": 4, "CIRCUIT": 2, "ADMIT": 2})]},
        {"states": {ONE: {"why": "1 may"}}},
        ["circuit-half-open"],
        "1 may",
    ),
    ({"known": [(0, {"STATE": 4, "CIRCUIT": 2})]}, {}, ["backend-ejected"], ""),  # it is to drain: nobody tries it
    ({"known": [(2, {"STATE": 4, "CIRCUIT": 2, "ADMIT": 2})]}, {}, ["circuit-half-open"], ""),
    (
        {"known": [(2, {"STATE": 4, "CIRCUIT": 2, "ADMIT": 2, "WEIGHT": 0})]},
        {},
        ["no-backends", "circuit-half-open"],
        "no backend is",
    ),
    ({}, {"failing": {ONE: FAILED}}, ["backend-failing"], "11 of 12 attempts failed in the last 7 s; last failure: reset"),
    ({}, {"failing": {ONE: {**FAILED, "not_ejected": "the last"}}}, ["backend-failing"], "not ejected: the last"),
    ({}, {"failing": {ONE: {**FAILED, "attempts": 1000}}}, [], None),
    ({}, {"failing": {ONE: {**FAILED, "failures": 4}}}, [], None),
    ({"known": [(0, {"STATE": 3})]}, {"failing": {ONE: FAILED}}, [], None),
    ({"known": [(2, {"STATE": 0})], "panics": [2]}, {}, ["panic", "backend-down"], "0 of 1 backends are healthy"),
    ({"known": [(1, {"STATE": 0})], "panics": [0]}, {}, ["panic", "backend-down"], "1 of 2 backends is healthy"),
    ({"known": [(2, {"STATE": 2})]}, {}, ["no-backends"], "every backend is draining or in maintenance"),
    ({"known": [(2, {"WEIGHT": 0})]}, {}, ["no-backends"], "every backend that is up has weight 0"),
    ({"known": [(2, {"STATE": 4, "ADMIT": 1})]}, {}, ["panic", "backend-ejected"], "only ejected backends are left"),
    ({"known": [(2, {"STATE": 4})]}, {}, ["no-backends", "backend-ejected"], "no backend is up"),
    ({"waited": [(0, {"QUEUED": 1})]}, {}, ["queue"], "1 request waits for a backend with room (at most 100 may wait)"),
    ({"waited": [(0, {"QUEUED": 3})]}, {}, ["queue"], "3 requests wait"),
    (
        {"waited": [(0, {"QUEUED": 100})]},
        {},
        ["queue"],
        "(at most 100 may wait): the queue is full, further requests are answered with 503",
    ),
]


@pytest.mark.parametrize(("facts", "says", "expected", "text"), WRONG, ids=[f"{number}" for number in range(len(WRONG))])
def test_what_is_wrong_with_backends_and_locations(facts, says, expected, text):
    house = all_up(House())
    for slot, cells in facts.get("known", []):
        house.known(slot, **cells)
    for slot, cells in facts.get("waited", []):
        house.waited(1, slot, **cells)
    for slot in facts.get("panics", []):
        house.panics(slot)
    found = status(house, **says)
    assert kinds(found) == expected
    if text is not None:
        assert text in found["problems"][0]["text"]


def test_what_was_measured():
    house = all_up(House())
    house.used(1, 0, SHARE=250, KEEPALIVE=1000, EWMA=5_000_000, OPEN=4, IDLE=3)
    house.waited(1, 0, RETRIES=1, HEDGES=2, BUDGET_REFUSALS=3, QUEUE_REFUSED=4, QUEUE_TIMEOUTS=5)
    place = status(house)["services"][0]["locations"][0]
    one, other = place["backends"]
    assert [one[key] for key in ("share", "keepalive", "recent_latency", "open", "idle")] == [0.25, 1.0, 0.005, 4, 3]
    assert [other[key] for key in ("share", "keepalive", "recent_latency")] == [None, None, None]
    keys = ("retries", "hedges", "retry_budget_refusals", "queue_refused", "queue_timeouts")
    assert [place[key] for key in keys] == [1, 2, 3, 4, 5]


def test_names_that_fail_and_changes_that_are_not_in_effect():
    house = all_up(House())
    name = {"endpoints": ["10.0.0.1"], "since": 1.0, "asked": 9.0, "ttl": 60.0, "failure": "", "failing_since": 0.0}
    names = {
        "good.test": name,
        "old.test": {**name, "failure": "SERVFAIL", "failing_since": 5.0},
        "new.test": {**name, "endpoints": [], "failure": "no such name", "failing_since": 7.0},
    }
    refused = {"why": "names", "problems": ["no room"], "when": 8.0}
    found = [one for one in status(house, names=names, refused_refresh=refused)["problems"] if one["kind"] != "backend-down"]
    assert [(one["kind"], one["text"], one["since"]) for one in found] == [
        ("refresh-failed", "names: no room", 8.0),
        ("name-failing", "the DNS look-up of old.test fails: SERVFAIL; the last answer is still used", 5.0),
        ("name-failing", "the DNS look-up of new.test fails: no such name; its backends are down", 7.0),
    ]


def test_lost_log_lines_are_a_problem_for_a_minute():
    house = all_up(House())
    house.sit(1, Seat.PROXY, GENERATION=4)
    house.sit(2, Seat.PROXY, GENERATION=4)
    assert status(house)["lost_lines"] == {"access": 0, "program": 0, "last": None, "reason": ""}
    house.sit(1, Seat.PROXY, GENERATION=4, ACCESS_LINES_LOST=61777, LINE_LOST_AT=int((NOW - 3) * 1e9), LINE_LOST_WHY=28)
    house.sit(0, Seat.PROXY, PROGRAM_LINES_LOST=1, LINE_LOST_AT=int((NOW - 40) * 1e9))
    found = status(house)
    assert found["lost_lines"] == {"access": 61777, "program": 1, "last": NOW - 3, "reason": "No space left on device"}
    (problem,) = [one for one in found["problems"] if one["kind"] == "log-lines-lost"]
    assert problem["text"] == (
        "61777 lines of access logs and 1 line of the program's log were lost since the start, the last one 3 s ago: No space left on device"
    )
    house.sit(1, Seat.PROXY, GENERATION=4, ACCESS_LINES_LOST=61777, LINE_LOST_AT=int((NOW - 61) * 1e9), LINE_LOST_WHY=28)
    house.sit(0, Seat.PROXY, PROGRAM_LINES_LOST=1, LINE_LOST_AT=int((NOW - 70) * 1e9))
    assert "log-lines-lost" not in kinds(status(house)) and status(house)["lost_lines"]["access"] == 61777
