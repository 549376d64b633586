"""BackendStates on a real table: what is told of backends, and what workers see then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Breaker, Outlier
from terraster.master.backends.records import counts
from terraster.master.backends.states import Order
from terraster.policy.breaker import CLOSED, HALF_OPEN, OPEN
from terraster.state.cells import CHANGES, BackendCells

from .harness.ward import EPOCH, Ward

DRAIN, MAINTENANCE = Order("drain", 0.0, "a new disk", "ann"), Order("maintenance", EPOCH + 900, "a new kernel", "bob")


def probe(ward: Ward, number: int, up: bool) -> bool:
    return ward.states.probed(ward.id(number), up, ward.wall(), "status 200" if up else "status 500")


def test_what_is_new_is_down_until_it_was_probed() -> None:
    ward = Ward(3, 1, probe=False)
    assert (ward.letters(), ward.admits()) == ("dd", "nn")
    assert [ward.cell(number, BackendCells.WEIGHT) for number in (0, 1)] == [3, 1]
    assert ward.states.one(ward.id(0))["why"] == "no result yet"
    assert probe(ward, 0, True) and not probe(ward, 1, False)
    assert (ward.letters(), ward.admits(), ward.log.take()) == ("ud", "an", [])
    assert ward.cell(0, BackendCells.SINCE) == int((EPOCH + 100) * 1e9)


def test_nothing_new_is_no_change_and_a_new_reason_is_known() -> None:
    ward = Ward(1)
    ward.now += 5
    assert not probe(ward, 0, True)
    ward.states.probed(ward.id(0), True, ward.wall(), "status 204")
    known = ward.states.one(ward.id(0))
    assert (known["why"], known["since"]) == ("status 204", EPOCH + 100)


def test_no_time_stays_in_the_slot_of_a_backend_that_was_removed() -> None:
    """A later master, which reads the table of this one, may have another backend in that slot."""
    ward = Ward(1, 1)
    slot = ward.backends()[1].slot
    assert ward.q[ward.table.backend(slot) + BackendCells.SINCE] == int((EPOCH + 100) * 1e9)
    ward.configure(1)
    assert ward.q[ward.table.backend(slot) + BackendCells.SINCE] == 0


def test_orders_and_who_gave_them() -> None:
    ward = Ward(1, 1)
    ward.now += 5
    ward.states.ordered(ward.id(0), DRAIN)
    assert (ward.letters(), ward.admits()) == ("Du", "na")
    assert ward.log.take() == ["info backend http://b0 of shop/ is draining: a new disk (by ann)"]
    ward.states.ordered(ward.id(0), DRAIN)
    assert ward.log.take() == []
    ward.states.ordered(ward.id(0), MAINTENANCE)
    known = ward.states.detail()[ward.id(0)]
    assert {key: known[key] for key in ("state", "since", "why", "by", "until", "admit")} == {
        "state": "maintenance",
        "since": EPOCH + 105,
        "why": "a new kernel",
        "by": "bob",
        "until": EPOCH + 900,
        "admit": "none",
    }
    assert not probe(ward, 0, False)
    ward.log.take()
    ward.states.ordered(ward.id(0), None)
    assert ward.log.take() == ["warning backend http://b0 of shop/ is down: status 500 (enabled again)"]


def test_a_name_without_an_address_is_down_whatever_was_known() -> None:
    ward = Ward(1, panic_threshold=1.0)
    ward.states.resolved(ward.id(0), False, "no such name")
    assert (ward.letters(), ward.admits(), ward.panic) == ("d", "n", True)
    ward.states.resolved(ward.id(0), True, "")
    assert (ward.letters(), ward.admits(), ward.panic) == ("u", "a", False)
    assert "info backend http://b0 of shop/ is up: status 200 (its name resolves)" in ward.log.take()


def test_an_ejection_is_counted_and_told() -> None:
    ward = Ward(1, 1)
    ward.states.eject(ward.id(0), ward.wall() + 10, "5 attempts in a row failed: connection refused")
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.EJECTIONS)) == ("eu", "na", 1)
    assert ward.states.one(ward.id(0))["until"] == ward.wall() + 10
    ward.states.readmit(ward.id(0), "10 s are over")
    assert (ward.letters(), ward.admits()) == ("uu", "aa")
    assert ward.log.take() == [
        "warning backend http://b0 of shop/ is ejected for 10 s: 5 attempts in a row failed: connection refused",
        "info backend http://b0 of shop/ is up: status 200 (10 s are over)",
    ]


def test_a_circuit_shows_as_ejected_with_its_own_reason() -> None:
    ward = Ward(1, 1)
    name = ward.id(0)
    ward.states.circuit(name, OPEN, "its circuit is open for 30 s: x")
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.CIRCUIT), ward.cell(0, BackendCells.OPENINGS)) == (
        "eu",
        "na",
        1,
        1,
    )
    ward.states.circuit(name, HALF_OPEN, "its circuit is half-open", 7)
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.TRIAL_LIMIT)) == ("eu", "ta", 7)
    ward.states.circuit(name, HALF_OPEN, "its circuit is half-open", 9)
    assert (ward.admits(), ward.cell(0, BackendCells.TRIAL_LIMIT), ward.states.one(name)["circuit"]) == ("ta", 9, "half-open")
    ward.states.circuit(name, CLOSED, "its circuit is closed")
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.OPENINGS)) == ("uu", "aa", 1)
    assert ward.log.take() == [
        "warning backend http://b0 of shop/ is ejected: its circuit is open for 30 s: x",
        "info backend http://b0 of shop/: its circuit is half-open",
        "info backend http://b0 of shop/ is up: status 200 (its circuit is closed)",
    ]


@pytest.mark.parametrize("order", [DRAIN, MAINTENANCE])
def test_workers_can_tell_that_something_changed(order: Order) -> None:
    ward = Ward(1, 1)
    at = ward.table.master + CHANGES
    for change in (lambda: ward.states.ordered(ward.id(0), order), lambda: probe(ward, 1, False), lambda: bring_back(ward)):
        before, admits = ward.q[at], ward.admits()
        change()
        assert ward.admits() != admits and ward.q[at] > before


# Slow start.

AWAY: list[tuple[str, Any]] = [
    ("down", lambda ward: probe(ward, 0, False)),
    ("in maintenance", lambda ward: ward.states.ordered(ward.id(0), MAINTENANCE)),
    ("ejected", lambda ward: ward.states.eject(ward.id(0), ward.wall() + 10, "x")),
    ("circuit open", lambda ward: ward.states.circuit(ward.id(0), OPEN, "x")),
    ("without an address", lambda ward: ward.states.resolved(ward.id(0), False, "x")),
]


def bring_back(ward: Ward) -> None:
    probe(ward, 0, True)
    ward.states.ordered(ward.id(0), None)
    ward.states.readmit(ward.id(0), "x")
    ward.states.circuit(ward.id(0), CLOSED, "x")
    ward.states.resolved(ward.id(0), True, "")


@pytest.mark.parametrize("away", [away for _name, away in AWAY], ids=[name for name, _away in AWAY])
def test_what_was_away_starts_slowly(away: Any) -> None:
    ward = Ward(1, 1, slow_start=10.0)
    assert ward.admits() == "aa"
    away(ward)
    ward.pass_(5)
    assert ward.admits() == "na"
    bring_back(ward)
    ramps = []
    for _ in range(5):
        ramps.append((ward.admits(), ward.cell(0, BackendCells.RAMP)))
        ward.pass_(2.5)
    assert ramps == [("ra", 50), ("ra", 250), ("ra", 500), ("ra", 750), ("aa", 750)]
    assert ward.state(0) == "up" and ward.states.one(ward.id(0))["ramp"] == 1000


def test_a_clock_that_is_set_does_not_stop_a_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Ward(1, slow_start=30.0)
    probe(ward, 0, False)
    probe(ward, 0, True)
    monkeypatch.setattr(ward.states, "_clock", lambda: ward.wall() - 3600)
    ward.pass_(15)
    assert ward.cell(0, BackendCells.RAMP) == 500
    ward.pass_(16)
    assert ward.admits() == "a"


def test_a_drain_that_is_taken_back_does_not_start_slowly() -> None:
    ward = Ward(1, 1, slow_start=10.0)
    ward.states.ordered(ward.id(0), DRAIN)
    ward.states.ordered(ward.id(0), None)
    assert ward.admits() == "aa"


def test_a_drain_after_an_absence_does_not_make_up_for_slow_start() -> None:
    ward = Ward(1, 1, slow_start=10.0)
    ward.states.ordered(ward.id(0), MAINTENANCE)
    ward.states.ordered(ward.id(0), DRAIN)
    ward.states.ordered(ward.id(0), None)
    assert ward.admits() == "ra"


def test_what_a_reload_adds_starts_slowly_but_not_what_terraster_starts_with() -> None:
    ward = Ward(1, 1, slow_start=10.0, probe=False)
    probe(ward, 0, True)
    probe(ward, 1, False)
    assert ward.admits() == "an"
    probe(ward, 1, True)
    assert ward.admits() == "ar"  # it was found down
    ward.configure(1, 1, 1, slow_start=10.0)
    assert ward.admits() == "arr"
    ward.pass_(5)
    ward.configure(1, 1, 1, slow_start=0.0)
    ward.pass_(0.1)
    assert ward.admits() == "aaa"


def test_a_ramp_ends_with_its_backend() -> None:
    ward = Ward(1, 1, slow_start=10.0)
    probe(ward, 0, False)
    probe(ward, 0, True)
    ward.configure(1, names=("b1",), slow_start=10.0)
    ward.pass_(5)
    assert ward.admits() == "a"


# Reloads.


def test_what_stays_keeps_its_standing() -> None:
    ward = Ward(1, 1, 1)
    ward.states.ordered(ward.id(0), DRAIN)
    ward.states.eject(ward.id(1), ward.wall() + 10, "x")
    before = [ward.states.one(ward.id(number)) for number in range(3)]
    ward.now += 3
    ward.configure(1, 1, 2, 5, panic_threshold=0.1)
    assert [ward.states.one(ward.id(number)) for number in range(3)] == before
    assert (ward.letters(), [ward.cell(number, BackendCells.WEIGHT) for number in range(4)]) == ("Deuu", [1, 1, 2, 5])


def test_what_comes_back_to_its_slot_begins_anew() -> None:
    ward = Ward(1, 1)
    ward.states.circuit(ward.id(0), OPEN, "x")
    slot = ward.backends()[0].slot
    ward.configure(1, names=("b1",))
    ward.configure(1, 1, probe=False)
    assert ward.backends()[0].slot == slot
    assert (ward.letters(), ward.admits(), ward.cell(0, BackendCells.CIRCUIT)) == ("du", "na", 0)
    assert ward.cell(0, BackendCells.OPENINGS) == 1  # a counter


# Panic and last resort.


def test_too_few_are_well_so_all_are_used() -> None:
    ward = Ward(1, 1, 1, 1, 0, panic_threshold=0.5)
    probe(ward, 4, False)  # it has no weight
    probe(ward, 0, False)
    probe(ward, 1, False)
    assert (ward.admits(), ward.panic) == ("nnaan", False)
    ward.states.ordered(ward.id(0), MAINTENANCE)
    ward.log.take()
    probe(ward, 2, False)
    assert (ward.letters(), ward.admits(), ward.panic) == ("mddud", "naaan", True)
    assert ward.log.take() == ["warning shop/ entered panic mode: 1 of 3 backends is up, less than 50 %, using all of them"]
    assert ward.states.one(ward.id(1))["panic"] is True
    probe(ward, 2, True)
    assert (ward.admits(), ward.panic) == ("nnaan", False)
    assert ward.log.take() == ["info shop/ left panic mode: 2 of 3 backends are up"]


def test_nobody_panics_at_the_start() -> None:
    ward = Ward(1, 1, panic_threshold=0.9, probe=False)
    probe(ward, 0, True)
    assert not ward.panic
    probe(ward, 1, True)
    assert not ward.panic and ward.log.take() == []


def test_a_reload_may_begin_and_end_a_panic() -> None:
    ward = Ward(1, 1)
    probe(ward, 0, False)
    ward.again(panic_threshold=0.8)
    assert (ward.admits(), ward.panic) == ("aa", True)
    ward.again(panic_threshold=0.4)
    assert (ward.admits(), ward.panic) == ("na", False)


def test_in_a_panic_half_open_circuits_are_still_tried() -> None:
    ward = Ward(1, 1, panic_threshold=0.6)
    ward.states.circuit(ward.id(0), OPEN, "x")
    assert (ward.admits(), ward.panic) == ("aa", True)
    ward.states.circuit(ward.id(0), HALF_OPEN, "x", 1)
    assert (ward.admits(), ward.panic) == ("ta", True)
    ward.states.circuit(ward.id(0), CLOSED, "x")
    assert (ward.admits(), ward.panic) == ("aa", False)


def test_in_a_panic_every_request_is_a_trial_of_a_half_open_circuit() -> None:
    """Nobody is turned away for what recovers, and it recovers by trials all the same."""
    ward = Ward(1, 1, 1, panic_threshold=0.5, outlier=None, breaker=Breaker(threshold=2, timeout=30.0, probes=2))
    for number in (0, 1):
        ward.bad(number, count=2)
    assert (ward.admits(), ward.panic) == ("aaa", True)
    ward.pass_(30.1)
    assert ward.admits() == "tta"
    ward.count(0, trials=1000)
    assert ward.cell(0, BackendCells.TRIAL_LIMIT) > 10**9
    ward.now += 0.1
    ward.say(0, "bad")
    assert (ward.admits(), ward.cell(0, BackendCells.CIRCUIT)) == ("ata", OPEN)  # a bad one is used as before
    ward.pass_(30.1)
    ward.now += 0.1
    ward.count(1, trials=500)
    ward.say(0, "good")
    ward.say(0, "good")
    assert (ward.letters(), ward.admits(), ward.panic) == ("ueu", "ata", False)
    assert ward.cell(1, BackendCells.TRIAL_LIMIT) == 501  # the panic is over: one at a time, but one


def test_an_open_circuit_says_when_it_is_tried() -> None:
    ward = Ward(1, 1, outlier=None, breaker=Breaker(threshold=2, timeout=30.0))
    ward.bad(0, count=2)
    assert ward.states.one(ward.id(0))["until"] == pytest.approx(ward.wall() + 30)
    ward.pass_(30.1)
    assert (ward.states.one(ward.id(0))["circuit"], ward.states.one(ward.id(0))["until"]) == ("half-open", 0.0)


def test_reloads_do_not_pile_up_what_is_planned() -> None:
    ward = Ward(1, 1, outlier=None, breaker=Breaker(threshold=2, timeout=30.0))
    ward.bad(0, count=2)
    for _ in range(100):
        ward.commit()
    assert len(ward.agenda._heap) == 1
    ward.again(breaker=Breaker(threshold=2, timeout=10.0))
    ward.pass_(10.1)
    assert ward.admits() == "ta"  # and what a reload moves is moved


def test_where_only_ejected_ones_are_left_they_are_used() -> None:
    ward = Ward(1, 1)
    ward.states.eject(ward.id(0), ward.wall() + 10, "x")
    ward.log.take()
    probe(ward, 1, False)
    assert (ward.letters(), ward.admits()) == ("ed", "an")
    assert ward.log.take() == ["warning all backends that shop/ has left are ejected: using them"]
    probe(ward, 1, True)
    assert (ward.letters(), ward.admits()) == ("eu", "na")


def test_nobody_is_ejected_who_is_the_last() -> None:
    ward = Ward(1, 1, 1, 0)
    assert ward.states.may_eject(ward.id(0)) == ""
    probe(ward, 1, False)
    probe(ward, 2, False)
    assert ward.states.may_eject(ward.id(0)) == "no other backend is left"
    assert ward.states.may_eject(ward.id(3)) == ""
    probe(ward, 1, True)
    ward.states.eject(ward.id(0), ward.wall() + 10, "x")
    assert ward.states.may_eject(ward.id(1)).startswith("2 of 3 would be ejected")
    assert not ward.states.too_many(ward.id(0))
    ward.again(outlier=Outlier(max_ejected=0.2))
    assert ward.states.too_many(ward.id(0))


# Laws.

COUNTS = ("unknown", "weighty", "considered", "up", "usable", "ejected", "spare")
MOVES = (
    "up",
    "down",
    "drain",
    "maintenance",
    "enable",
    "eject",
    "readmit",
    "open",
    "half-open",
    "closed",
    "lost",
    "found",
    "wait",
    "reload",
)


@given(
    st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 3)), max_size=60),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 10.0]),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
)
def test_whatever_happens(moves: list[tuple[str, int]], threshold: float, slow_start: float, weights: list[int]) -> None:
    settings: dict[str, Any] = {"panic_threshold": threshold, "slow_start": slow_start, "breaker": Breaker()}
    ward = Ward(*weights, **settings)
    circuits, orders, gone = [CLOSED] * 4, [False] * 4, [False] * 4
    for move, number in moves:
        name, states = ward.id(number), ward.states
        match move:
            case "up" | "down":
                probe(ward, number, move == "up")
            case "drain" | "maintenance" | "enable":
                states.ordered(name, {"drain": DRAIN, "maintenance": MAINTENANCE}.get(move))
                orders[number] = move != "enable"
            case "eject":
                if ward.state(number) == "up" and not states.may_eject(name):
                    states.eject(name, ward.wall() + 10, "x")
            case "readmit":
                states.readmit(name, "x")
            case "open" | "half-open" | "closed":
                circuits[number] = {"open": OPEN, "half-open": HALF_OPEN, "closed": CLOSED}[move]
                states.circuit(name, circuits[number], "x", 1)
            case "lost" | "found":
                states.resolved(name, move == "found", "x")
                gone[number] = move == "lost"
            case "wait":
                ward.pass_(3)
            case "reload":
                ward.again(queue=ward.snapshot.services[0].locations[0].queue)
        letters, admits = ward.letters(), ward.admits()
        assert states.trouble() == {name: one for name, one in states.detail().items() if one["state"] != "up"}
        assert not any(admit != "n" and (orders[n] or gone[n]) for n, admit in enumerate(admits))
        assert all(admits[n] in "ar" for n in range(4) if letters[n] == "u")
        heavy = [n for n in range(4) if weights[n]]
        assert sum(states._records[ward.id(n)].facts.ejected != "" for n in heavy) <= 0.5 * len(heavy)
        if heavy and all(admits[n] == "n" for n in heavy):
            assert all(letters[n] in "dDm" or orders[n] or circuits[n] == OPEN for n in heavy)
        considered = [n for n in heavy if not orders[n]]
        assert ward.panic == (considered != [] and sum(letters[n] == "u" for n in considered) < threshold * len(considered))
        # what is counted as it goes is what a count from the start finds
        place = states._places["shop/"]
        kept = [getattr(place, name) for name in COUNTS]
        assert kept == [sum(column) for column in zip(*map(counts, place.members), strict=True)]
