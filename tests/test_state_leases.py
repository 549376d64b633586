"""Leases: ids keep their slots, and a slot changes hands only when nobody alive knows its old owner."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Backend, Departed, Location, Service, Snapshot
from terraster.errors import StartError
from terraster.state.cells import MASTERS, BackendCells, LocationCells, Seat, SeatBackend, SeatLocation
from terraster.state.layout import size
from terraster.state.leases import BACKENDS, LOCATIONS, Leases, capacities
from terraster.state.table import Table
from terraster.worker.orphan import known_slots


def snapshot(generation: int, names: list[str]) -> Snapshot:
    """One location for each name's first letter, with a backend for each name."""
    locations = []
    for letter in sorted({name[0] for name in names}):
        backends = [
            Backend(id=name, url=f"http://{name}", scheme="http", host=name, port=80) for name in names if name[0] == letter
        ]
        locations.append(Location(id=letter, path=f"/{letter}", backends=tuple(backends)))
    return Snapshot(generation=generation, listeners=(), services=(Service("s", ("*",), (), tuple(locations)),))


def slots(leased: Snapshot) -> dict[str, int]:
    return {backend.id: backend.slot for location in leased.services[0].locations for backend in location.backends}


def location_slots(leased: Snapshot) -> dict[str, int]:
    return {location.id: location.slot for location in leased.services[0].locations}


def seat(table: Table, number: int, generation: int, oldest: int) -> None:
    at = table.seat(number)
    table.q[at + Seat.PID] = 1000 + number
    table.q[at + Seat.GENERATION] = generation
    table.q[at + Seat.OLDEST] = oldest


def apply(leases: Leases, generation: int, names: list[str]) -> dict[str, int]:
    leased = leases.assign(snapshot(generation, names))
    leases.commit(leased)
    return slots(leased)


def test_ids_keep_their_slots() -> None:
    leases = Leases(Table(8, 8, 4))
    first = apply(leases, 1, ["a", "b", "c"])
    second = apply(leases, 2, ["c", "d", "a"])
    assert second["a"] == first["a"] and second["c"] == first["c"]
    assert sorted(first.values()) == [0, 1, 2]
    assert apply(leases, 3, ["b"])["b"] == first["b"]


@pytest.mark.parametrize(
    ("generation", "oldest", "reused"),
    [(2, 2, True), (3, 2, True), (2, 1, False), (1, 1, False), (0, 2, False)],
    ids=["all new", "newer", "an old request", "an old plan", "a child that does not serve yet"],
)
def test_a_slot_is_reused_only_when_nobody_alive_knows_its_old_owner(generation: int, oldest: int, reused: bool) -> None:
    table = Table(8, 8, 4)
    leases = Leases(table)
    gone = apply(leases, 1, ["a", "b"])["b"]
    apply(leases, 2, ["a"])
    seat(table, 1, 2, 2)
    seat(table, 2, generation, oldest)
    assert (apply(leases, 3, ["a", "x"])["x"] == gone) is reused


def test_a_new_lease_has_a_new_serial_and_nothing_else() -> None:
    table = Table(2, 8, 4)
    leases = Leases(table)
    slot = apply(leases, 1, ["a"])["a"]
    at = table.backend(slot)
    serial = table.q[at + BackendCells.LEASE]
    table.q[at + BackendCells.ADMIT] = 1
    table.q[table.seat_backend(0, slot) + SeatBackend.REQUESTS] = 5
    apply(leases, 2, ["a", "b"])
    assert (table.q[at + BackendCells.LEASE], table.q[at + BackendCells.ADMIT]) == (serial, 1)
    apply(leases, 3, ["b"])
    assert apply(leases, 4, ["b", "c"])["c"] == slot
    assert table.q[at + BackendCells.LEASE] > serial and table.q[at + BackendCells.ADMIT] == 0
    assert table.q[table.seat_backend(0, slot) + SeatBackend.REQUESTS] == 0


def test_a_full_table_is_an_error_that_leases_nothing() -> None:
    table = Table(3, 8, 4)
    seat(table, 1, 1, 1)
    leases = Leases(table)
    apply(leases, 1, ["a"])
    with pytest.raises(StartError, match="no room for backend 'd'.*3 backends.*restart"):
        leases.assign(snapshot(2, ["a", "b", "c", "d"]))
    assert sorted(apply(leases, 2, ["a", "b", "c"]).values()) == [0, 1, 2]


def test_what_is_undone_is_free_again() -> None:
    leases = Leases(Table(2, 2, 4))
    apply(leases, 1, ["a"])
    for name in ("b", "c", "d"):
        leases.assign(snapshot(2, ["a", name]))
        leases.undo()
    assert leases.backend_slots() == [0] and leases.location_slots() == [0]
    assert apply(leases, 2, ["a", "e"])["e"] == 1


@pytest.mark.parametrize(("oldest", "reused"), [(2, True), (1, False)])
def test_a_location_slot_rests_and_is_leased_anew(oldest: int, reused: bool) -> None:
    table = Table(100, 2, 4)
    leases = Leases(table)
    apply(leases, 1, ["a", "b"])
    slot = location_slots(leases.assign(snapshot(1, ["a", "b"])))["b"]
    serial = table.q[table.location(slot) + LocationCells.LEASE]
    table.q[table.seat_location(0, slot) + SeatLocation.BYTES_IN] = 7
    apply(leases, 2, ["a"])
    seat(table, 1, 2, oldest)
    if not reused:
        with pytest.raises(StartError, match="no room for location 'c'"):
            leases.assign(snapshot(3, ["a", "c"]))
        return
    leased = leases.assign(snapshot(3, ["a", "c"]))
    assert location_slots(leased)["c"] == slot
    assert table.q[table.location(slot) + LocationCells.LEASE] > serial
    assert table.q[table.seat_location(0, slot) + SeatLocation.BYTES_IN] == 0


def test_services_can_be_renamed_for_ever() -> None:
    leases = Leases(Table(8, 8, 4))
    for generation in range(1, 100):
        apply(leases, generation, [chr(0x100 + generation)])


@given(st.lists(st.sets(st.sampled_from("abcdefghij"), min_size=1), max_size=12), st.data())
def test_no_two_known_ids_ever_share_a_slot(steps: list[set[str]], data: st.DataObject) -> None:
    table = Table(200, 200, 4)
    leases = Leases(table)
    plans: dict[int, dict[str, int]] = {}
    oldest = {1: 1, 2: 1}
    for generation, names in enumerate(steps, 1):
        for number in oldest:
            seat(table, number, max(1, generation - 1), oldest[number])
        leased = leases.assign(snapshot(generation, sorted(names)))
        if data.draw(st.booleans()):
            plans[generation] = slots(leased)
            leases.commit(leased)
        else:
            plans[generation] = plans.get(generation - 1, {})
            leases.undo()
        for number in oldest:
            oldest[number] = data.draw(st.integers(oldest[number], generation))
        known = [plan for old, plan in plans.items() if old >= min(oldest.values())]
        owners: dict[int, set[str]] = {}
        for plan in known:
            for name, slot in plan.items():
                owners.setdefault(slot, set()).add(name)
        assert all(len(names) == 1 for names in owners.values())


def test_capacities_leave_room_to_grow() -> None:
    assert capacities(3, 3, 2) == (BACKENDS, LOCATIONS, 1 + MASTERS * 64)
    assert capacities(40_000, 20_000, 32) == (160_000, 80_000, 1 + MASTERS * 128)


def test_a_table_is_smaller_where_the_address_space_is_limited() -> None:
    for room in (8 << 30, 1 << 30, 256 << 20):
        capacity = capacities(3, 3, 2, room)
        assert 256 <= capacity[1] < LOCATIONS and size(*capacity) <= room
    assert capacities(3000, 3000, 2, 1) == (6000, 6000, 1 + MASTERS * 64)


def test_the_sums_of_a_url_never_go_back() -> None:
    """A name of three addresses has one, then another two; a slot goes to somebody else; one comes back."""
    table = Table(8, 4, 3)
    leases = Leases(table)
    seen: dict[int, int] = {}
    last = 0
    for generation, names in enumerate(("abc", "a", "ade", "ad", "a", "abf", "b", "ba"), 1):
        seat(table, 1, generation - 1, generation - 1)
        backends = tuple(Backend(f"s/ http://n@{name}", "http://n", "http", "n", 80, address=name) for name in names)
        leased = leases.assign(Snapshot(generation, (), (Service("s", ("*",), (), (Location("s/", "/", backends=backends),)),)))
        leases.commit(leased)
        location = leased.services[0].locations[0]
        own = {one.id: one.slot for one in location.backends}
        (departed,) = location.departed or (Departed("http://n"),)
        assert not own.keys() & dict(departed.slots).keys()
        assert not set(own.values()) & set(dict(departed.slots).values())
        for slot in own.values():  # as workers do
            lease = table.q[table.backend(slot) + BackendCells.LEASE]
            if seen.setdefault(slot, lease) != lease:
                table.forget_backend(1, slot)
                seen[slot] = lease
        total = sum(table.backend_counters(slot)[0] for slot in (*own.values(), *dict(departed.slots).values()))
        total += departed.sums[0] if departed.sums else 0
        assert total == last
        for slot in own.values():
            table.q[table.seat_backend(1, slot) + SeatBackend.REQUESTS] += 7
        last += 7 * len(own)


def two_masters() -> tuple[Table, Leases, Table, Leases]:
    """A table and the leases of a master in it, and those of its successor."""
    table = Table(16, 16, 1 + 2 * MASTERS)
    leases = Leases(table)
    leased = leases.assign(snapshot(1, ["a", "b"]))
    leases.commit(leased)
    leases.closed = "an upgrade is under way"
    later = Table.adopt(os.dup(table.descriptor))
    later.sit(1)
    others = Leases(later)
    others.adopt(known_slots(leased))
    return table, leases, later, others


def test_what_a_successor_leased_is_nobody_elses_while_its_workers_may_count_there() -> None:
    table, leases, _later, others = two_masters()
    theirs = apply(others, 1, ["a", "b", "c", "d"])
    leases.outlived()
    with pytest.raises(StartError, match="location 'x' cannot be added now: workers of another master.* try again"):
        leases.assign(snapshot(2, ["a", "b", "x"]))
    assert apply(leases, 2, ["a", "b"]) == {name: theirs[name] for name in "ab"}
    table.retire_master(1, leases.backend_slots(), leases.location_slots())
    leases.release()
    ours = apply(leases, 3, ["a", "b", "x", "y", "z"])
    assert ours["a"] == theirs["a"] and len(set(ours.values())) == 5


def test_a_slot_that_only_a_successor_knew_is_beyond_those_of_the_master_that_outlives_it() -> None:
    _table, leases, _later, others = two_masters()
    theirs = apply(others, 1, ["a", "b", "c", "d"])
    leases.outlived()
    leases.closed = ""
    assert not {apply(leases, 2, ["a", "b", "x"])["x"]} & set(theirs.values())


def test_a_successor_with_a_table_of_its_own_holds_nothing_back() -> None:
    leases = Leases(Table(8, 8, 4))
    leases.closed = "an upgrade is under way"
    leases.outlived()
    assert apply(leases, 1, ["a"]) == {"a": 0}
