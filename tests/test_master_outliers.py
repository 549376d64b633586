"""Health from traffic: reports and sums go in, states come out; with a clock, and once over the channel of a real family."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Breaker, Outlier
from terraster.state.cells import BackendCells, SeatBackend

from .harness.family import Family
from .harness.ward import Ward

BREAKER = Breaker(threshold=3, timeout=30.0, probes=2)
WITHOUT = Outlier(failures=0, connect_errors=0)


@pytest.mark.parametrize(
    ("kind", "status", "number"),
    [("connect", 0, 3), ("failure", 0, 5), ("status", 503, 0), ("status", 500, 0), ("failure", 200, 5)],
)
def test_so_many_in_a_row_eject(kind: str, status: int, number: int) -> None:
    ward = Ward(1, 1)
    ward.good(0, 100)
    for count in range(1, 9):
        ward.bad(0, kind, status)
        assert (ward.letters() == "eu") == bool(number and count >= number)
    assert ward.cell(0, BackendCells.EJECTIONS) == bool(number)


def test_a_good_response_at_any_worker_ends_the_row() -> None:
    ward = Ward(1, 1)
    for _ in range(5):
        ward.bad(0, count=4, seat=1)
        ward.good(0, seat=2)
    assert ward.letters() == "uu"
    ward.bad(0, count=2, seat=1)
    ward.bad(0, count=3, seat=2)
    assert ward.letters() == "eu"


def test_bodies_that_break_are_no_good_responses() -> None:
    ward = Ward(1, 1)
    for _ in range(5):
        ward.count(0, requests=1, bucket=1, failures=1)
        ward.now += 0.01
        ward.say(0, "failure", 200, text="the body broke off")
    assert ward.letters() == "eu"


def test_a_batch_among_good_ones_is_no_row() -> None:
    """1,000 requests in 5 ms, one of a hundred fails: what is reported together did not happen in a row."""
    ward = Ward(1, 1)
    for seat in (1, 2, 1, 2):
        ward.now += 0.005
        ward.count(0, seat=1, requests=500, bucket=495, failures=5)
        ward.count(0, seat=2, requests=500, bucket=495, failures=5)
        ward.outliers.receive([ward.report(0, "failure") for _ in range(5)], seat)
        ward.outliers.receive([ward.report(0, "failure") for _ in range(5)], 3 - seat)
    assert ward.letters() == "uu"


def test_ejected_and_back_by_time_and_longer_each_time() -> None:
    ward = Ward(1, 1, outlier=Outlier(time=10.0, max_time=25.0))
    lasted = []
    for _ in range(4):
        ward.bad(0, "connect", count=3, text="connection refused")
        assert (ward.letters(), ward.admits()) == ("eu", "na")
        began = ward.now
        while ward.state(0) == "ejected":
            ward.pass_(0.5)
        lasted.append(ward.now - began)
    assert lasted == [10.0, 20.0, 25.0, 25.0]
    lines = ward.log.take()
    assert lines[:3] == [
        "warning backend http://b0 of shop/ is ejected for 10 s: 3 attempts in a row made no connection: connection refused",
        "info backend http://b0 of shop/ is up: status 200 (10 s are over)",
        "warning backend http://b0 of shop/ is ejected for 20 s: 3 attempts in a row made no connection: connection refused",
    ]
    ward.pass_(100)
    ward.bad(0, "connect", count=3)
    assert "is ejected for 10 s" in ward.log.take()[-1]


def test_what_still_comes_in_of_before_says_nothing() -> None:
    ward = Ward(1, 1)
    ward.bad(0, "connect", count=30)
    ward.pass_(9.5)
    ward.bad(0, "connect", count=30)
    late = ward.report(0, "connect")
    ward.pass_(1.0)
    assert ward.letters() == "uu" and ward.cell(0, BackendCells.EJECTIONS) == 1
    ward.outliers.receive([late] * 9, 1)
    assert ward.letters() == "uu"


def test_a_good_check_after_the_ejection_ends_it() -> None:
    ward = Ward(1, 1)
    before = ward.now
    ward.bad(0, "connect", count=3)
    ward.outliers.checked(ward.id(0), before, True)
    ward.outliers.checked(ward.id(1), ward.now + 1, True)
    assert ward.letters() == "eu"
    ward.outliers.checked(ward.id(0), ward.now + 0.01, True)
    assert ward.letters() == "uu"
    assert ward.log.take()[-1].endswith("is up: status 200 (a health check passed)")
    ward.pass_(60)
    assert ward.log.take() == []


def test_checks_that_were_wrong_once_do_not_end_the_next_ejection() -> None:
    """The health page answers, requests fail: without this the backend would be back at each check."""
    ward = Ward(1, 1)
    ward.bad(0, "connect", count=3)
    ward.outliers.checked(ward.id(0), ward.now + 0.01, True)
    ward.bad(0, "connect", count=3)
    assert ward.letters() == "eu" and "is ejected for 20 s" in ward.log.take()[-1]
    ward.outliers.checked(ward.id(0), ward.now + 1, True)
    assert ward.letters() == "eu"
    ward.outliers.checked(ward.id(0), ward.now + 1, False)
    ward.outliers.checked(ward.id(0), ward.now + 2, True)
    assert ward.letters() == "uu", "it was really gone"
    ward.bad(0, "connect", count=3)
    ward.pass_(30.1)
    assert ward.letters() == "uu"
    ward.pass_(60)
    ward.bad(0, "connect", count=3)
    ward.outliers.checked(ward.id(0), ward.now + 1, True)
    assert ward.letters() == "uu"


def test_the_share_is_not_exceeded_and_a_refusal_is_told_once() -> None:
    ward = Ward(1, 1, 1, 1)
    for number in range(4):
        ward.bad(number, "connect", count=20, text="connection refused")
    assert ward.letters() == "eeuu"
    refusals = [line for line in ward.log.take() if "not ejected" in line]
    assert refusals == [
        f"warning backend http://b{number} of shop/ is not ejected: 3 attempts in a row made no connection: connection refused; "
        "but 3 of 4 would be ejected, more than max_ejected 0.5 allows"
        for number in (2, 3)
    ]
    assert set(ward.outliers.detail()) == {ward.id(2), ward.id(3)}
    ward.good(2)
    assert set(ward.outliers.detail()) == {ward.id(3)}
    ward.pass_(20)
    assert ward.letters() == "uuuu"
    ward.bad(3, "connect")
    assert ward.letters() == "uuue" and ward.outliers.detail() == {}


def test_the_only_backend_is_never_ejected() -> None:
    ward = Ward(1)
    ward.bad(0, "connect", count=50)
    assert (ward.letters(), ward.admits()) == ("u", "a")
    ward = Ward(1, outlier=Outlier(max_ejected=1.0))
    ward.bad(0, "connect", count=50)
    assert (ward.letters(), ward.admits()) == ("e", "n")


def test_reports_of_an_older_lease_and_of_nobody_are_dropped() -> None:
    ward = Ward(1, 1)
    for _ in range(9):
        ward.say(0, "connect", serial=ward.cell(0, BackendCells.LEASE) + 1)
        ward.outliers.receive([(60, 1, "connect", 0, "refused", ward.wall())], 1)
    assert ward.letters() == "uu" and ward.outliers.recent(ward.id(0)) == []


@pytest.mark.parametrize("batch", [[("what", 1)], [None], 7, [("0", 1, "connect", 0, "", 0.0)], [(0, 1, "connect", 0, None, 0.0)]])
def test_nonsense_is_told_of_and_does_no_harm(batch: Any) -> None:
    ward = Ward(1, 1)
    ward.log.strict = False
    ward.outliers.receive(batch, 3)
    assert ward.letters() == "uu"
    assert ward.log.take() in (["error what the worker in seat 3 says of traffic cannot be used"], [])
    ward.bad(0, "connect", count=3)
    assert ward.letters() == "eu"


def test_the_last_failures_are_kept() -> None:
    ward = Ward(1, 1, outlier=None)
    for number in range(12):
        ward.bad(0, "status", 500 + number, seat=1 + number % 2, text=f"answer\n{number}")
    recent = ward.outliers.recent(ward.id(0))
    assert [one["status"] for one in recent] == list(range(502, 512))
    assert recent[-1] == {"when": ward.wall(), "kind": "status", "status": 511, "text": "answer\\n11", "seat": 2}
    assert ward.letters() == "uu"


def test_weightless_backends_are_ejected_without_using_up_the_share() -> None:
    ward = Ward(1, 1, 0)
    ward.bad(2, "connect", count=3)
    ward.bad(0, "connect", count=3)
    assert ward.letters() == "eue"


def test_what_is_down_or_in_maintenance_is_not_judged() -> None:
    ward = Ward(1, 1, breaker=BREAKER)
    ward.states.probed(ward.id(0), False, ward.wall(), "refused")
    ward.bad(0, "connect", count=9)
    assert ward.letters() == "du"
    assert (ward.cell(0, BackendCells.EJECTIONS), ward.cell(0, BackendCells.OPENINGS)) == (0, 0)


def test_ratio_over_a_window() -> None:
    ward = Ward(1, 1, outlier=Outlier(failures=0, connect_errors=0, ratio=0.3, min_requests=20))
    for _ in range(40):
        ward.good(0, 3)
        ward.bad(0, "status", 503)
    assert ward.letters() == "uu"
    ward.pass_(60)
    for _ in range(40):
        ward.good(0, 1)
        ward.bad(0, "status", 503)
    assert ward.letters() == "eu"


# Circuits.


def test_a_circuit_opens_is_tried_and_closes() -> None:
    ward = Ward(1, 1, outlier=WITHOUT, breaker=BREAKER)
    ward.count(0, seat=2, trials=5)
    ward.bad(0, "status", 500, count=3, text="status 500")
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.CIRCUIT)) == ("eu", "na", 1)
    ward.outliers.checked(ward.id(0), ward.now + 1, True)
    ward.pass_(29)
    assert ward.admits() == "na"
    ward.pass_(1.1)
    assert (ward.admits(), ward.cell(0, BackendCells.TRIAL_LIMIT), ward.cell(0, BackendCells.CIRCUIT)) == ("ta", 7, 2)
    ward.count(0, trials=2)
    ward.now += 0.1
    ward.say(0, "good", 200)
    assert ward.admits() == "ta"
    ward.say(0, "good", 200)
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.CIRCUIT)) == ("uu", "aa", 0)
    assert ward.log.take() == [
        "warning backend http://b0 of shop/ is ejected: its circuit is open for 30 s: 3 attempts in a row failed: status 500",
        "info backend http://b0 of shop/: its circuit is half-open: 2 requests may try it",
        "info backend http://b0 of shop/ is up: status 200 (its circuit is closed: 2 trials went well)",
    ]
    ward.bad(0, count=2)
    assert ward.letters() == "uu"
    ward.bad(0)
    assert (ward.letters(), ward.cell(0, BackendCells.OPENINGS)) == ("eu", 2)


def test_one_bad_trial_opens_it_again() -> None:
    ward = Ward(1, outlier=WITHOUT, breaker=BREAKER)
    ward.bad(0, count=3)
    assert (ward.letters(), ward.admits()) == ("e", "n")  # a circuit is not bound by max_ejected
    ward.pass_(30)
    ward.now += 0.1
    ward.bad(0, count=1)
    assert ward.admits() == "t"  # it may have begun before
    ward.say(0, "bad", text="reset")
    assert (ward.admits(), ward.cell(0, BackendCells.OPENINGS)) == ("n", 2)
    assert ward.log.take()[-1] == "warning backend http://b0 of shop/: its circuit is open for 30 s: a trial failed: reset"
    ward.pass_(30)
    assert ward.admits() == "t"


def test_trials_that_vanish_are_granted_again() -> None:
    ward = Ward(1, outlier=WITHOUT, breaker=BREAKER)
    ward.bad(0, count=3)
    ward.pass_(30)
    ward.count(0, seat=2, trials=2)
    ward.pass_(29)
    assert ward.cell(0, BackendCells.TRIAL_LIMIT) == 2
    ward.pass_(1)
    assert ward.cell(0, BackendCells.TRIAL_LIMIT) == 4


def test_a_worker_that_dies_takes_its_trials_along() -> None:
    ward = Ward(1, outlier=WITHOUT, breaker=BREAKER)
    ward.count(0, seat=1, trials=40)
    ward.count(0, seat=2, trials=2)
    ward.bad(0, count=3, seat=2)
    ward.pass_(30)
    assert ward.cell(0, BackendCells.TRIAL_LIMIT) == 44
    ward.table.retire(1, ward.leases.backend_slots(), ward.leases.location_slots())
    ward.outliers.retired()
    assert ward.table.backend_sum(ward.backends()[0].slot, SeatBackend.TRIALS) == 2
    assert ward.cell(0, BackendCells.TRIAL_LIMIT) == 4


def test_an_ejected_backend_whose_circuit_opens_is_back_when_both_let_it() -> None:
    ward = Ward(1, 1, outlier=Outlier(time=40.0), breaker=Breaker(threshold=5, timeout=10.0))
    ward.bad(0, "connect", count=3)
    assert ward.cell(0, BackendCells.CIRCUIT) == 0 and ward.letters() == "eu"
    ward.pass_(40)
    ward.bad(0, "connect", count=2)
    assert (ward.letters(), ward.cell(0, BackendCells.CIRCUIT)) == ("eu", 1)
    ward.pass_(10)
    ward.now += 1
    ward.say(0, "good")
    assert ward.letters() == "uu"


# Reloads.


def test_what_is_known_survives_a_reload_and_new_rules_hold_from_then_on() -> None:
    ward = Ward(1, 1, 1)
    ward.bad(0, "connect", count=2)
    ward.bad(1, "connect", count=3)
    ward.again(outlier=Outlier(connect_errors=4, time=60.0))
    assert ward.letters() == "ueu"
    ward.bad(0, "connect")
    assert ward.letters() == "ueu"
    ward.pass_(10)
    assert ward.letters() == "uuu"
    ward.bad(0, "connect")
    assert ward.letters() == "euu"


def test_without_rules_nothing_stays_out() -> None:
    ward = Ward(1, 1, 1, breaker=BREAKER)
    ward.bad(0, "connect", count=3)
    ward.again(breaker=None, outlier=None)
    assert (ward.letters(), ward.cell(0, BackendCells.CIRCUIT)) == ("uuu", 0)
    ward.again(outlier=Outlier())
    ward.bad(1, "connect", count=3)
    ward.again(outlier=None)
    assert ward.letters() == "uuu"
    ward.bad(1, "connect", count=9)
    assert ward.letters() == "uuu"
    ward.pass_(100)
    assert ward.letters() == "uuu"


def test_a_smaller_location_lets_fewer_be_ejected() -> None:
    ward = Ward(1, 1, 1, 1)
    ward.bad(0, "connect", count=3)
    ward.bad(1, "connect", count=3)
    assert ward.letters() == "eeuu"
    ward.configure(1, 1, 1, names=("b0", "b1", "b2"))
    assert ward.letters() == "ueu"
    ward.configure(1, names=("b1",))
    assert ward.letters() == "u"


def test_what_is_gone_is_forgotten() -> None:
    ward = Ward(1, 1, breaker=BREAKER)
    name = ward.id(0)
    ward.bad(0, "connect", count=3)
    ward.configure(1, names=("b1",))
    assert ward.outliers.recent(name) == []
    ward.pass_(100)
    ward.configure(1, 1, breaker=BREAKER)
    assert (ward.letters(), ward.admits()) == ("uu", "aa")


def test_a_slot_leased_anew_begins_anew() -> None:
    """A worker that has not heard of the new lease still has the old one's counts for a moment."""
    ward = Ward(1, 1)
    ward.good(0, 1000, seat=2)
    ward.bad(0, count=1)
    ward.table.forget_backend(2, ward.backends()[0].slot)
    ward.good(0, 1)
    ward.bad(0, count=4)
    ward.good(0, 1)
    ward.bad(0, count=4)
    assert ward.letters() == "uu"


# Laws.


@given(
    st.lists(st.tuples(st.sampled_from(["c", "f", "s", "+", "w", "W", "ok"]), st.integers(0, 4), st.integers(1, 6)), max_size=80),
    st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.99, 1.0]),
    st.booleans(),
)
def test_never_more_than_the_share_and_nothing_is_out_for_good(story: Any, share: float, broken: bool) -> None:
    breaker = Breaker(threshold=8, timeout=5.0, probes=1) if broken else None
    ward = Ward(1, 1, 1, 1, 1, outlier=Outlier(max_ejected=share, bad_statuses=4, time=3.0, max_time=9.0), breaker=breaker)
    for what, number, count in story:
        match what:
            case "c":
                ward.bad(number, "connect", count=count)
            case "f":
                ward.bad(number, "failure", count=count)
            case "s":
                ward.bad(number, "status", 503, count=count)
            case "+":
                ward.good(number, count)
            case "w" | "W":
                ward.pass_(count * (0.2 if what == "w" else 4))
            case "ok":
                ward.now += 0.01
                ward.say(number, "good")
        ejected = [n for n in range(5) if ward.states._records[ward.id(n)].facts.ejected]
        assert len(ejected) <= share * 5 + 1e-9
        if ward.admits() == "nnnnn":
            assert share == 1 or all(ward.cell(n, BackendCells.CIRCUIT) == 1 for n in range(5) if n not in ejected)
    for _ in range(9):
        ward.pass_(5)
        for number in range(5):
            if ward.cell(number, BackendCells.CIRCUIT) == 2:
                ward.now += 0.01
                ward.say(number, "good")
    assert (ward.letters(), ward.admits()) == ("uuuuu", "aaaaa")


# Over a real channel.


def test_reports_of_a_real_worker_eject_for_all_and_time_brings_back() -> None:
    urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    with Family(workers=2, services={"one": urls}, outlier={"time": 1.0}) as family:
        started = time.monotonic()
        family.get("/fail/0/3/connect")
        family.until(r"backend http://127.0.0.1:1 of one/ is ejected for 1 s: 3 attempts in a row made no connection: refused")
        states = family.wait_until(
            lambda: (found := family.get("/states"))["states"] == [BackendCells.EJECTED, BackendCells.UP] and found
        )
        assert states["admits"] == [BackendCells.NONE, BackendCells.ALL]
        family.until(r"backend http://127.0.0.1:1 of one/ is up: no checks \(1(\.\d)? s are over\)")
        assert 1.0 <= time.monotonic() - started < 3.0
        assert family.get("/states")["admits"] == [BackendCells.ALL, BackendCells.ALL]


@pytest.mark.parametrize("breaker", [None, Breaker(threshold=3, timeout=600.0)])
def test_another_address_begins_anew(breaker: Breaker | None) -> None:
    ward = Ward(1, 1, breaker=breaker, outlier=Outlier(failures=3) if breaker is None else None)
    ward.bad(0, count=3)
    assert ward.letters() == "eu"
    (service,) = ward.snapshot.services
    first, second = service.locations[0].backends
    ward.again(backends=(replace(first, weight=2), second))
    assert ward.letters() == "eu"
    ward.again(backends=(replace(first, address="10.0.0.2"), second))
    assert (ward.letters(), ward.cell(0, BackendCells.CIRCUIT)) == ("uu", 0)
    ward.bad(0, count=2)
    assert ward.letters() == "uu"
    ward.bad(0)
    assert ward.letters() == "eu"
