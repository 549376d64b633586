"""The large families of a scrape: each series has the sum of its slots, wherever they are, and many cost little."""

from __future__ import annotations

import gc
import time
from dataclasses import replace

import pytest

from terraster.admin import series
from terraster.admin.exposition import exposition, make_registry
from terraster.admin.metrics import TableCollector
from terraster.config.snapshot import Departed, Snapshot
from terraster.filters.contract import counted
from terraster.filters.registry import KINDS
from terraster.state.cells import WAITS, BackendCells, SeatBackend, SeatLocation

from .test_admin_metrics import samples, scrape
from .test_admin_readings import House


def without(house: House, *names: str) -> Snapshot:
    """The configuration of a house after these services went."""
    return replace(house.snapshot, services=tuple(one for one in house.snapshot.services if one.name not in names))


def test_each_series_has_its_own_slot_in_a_table_with_holes(monkeypatch):
    monkeypatch.setattr(series, "ROWS", 64)
    house = House({f"s{n}": {"/": [f"http://b:{n}"]} for n in range(200)})
    for n in range(200):
        house.answer(1, n, 200, 0.01, n + 1)
        house.used(2, n, REQUESTS=n, BUCKET=n + 2, CONNECT_BUCKET=n % 2)
        house.known(n, STATE=n % 5, WEIGHT=n, PROBES=n)
    gone = {f"s{n}" for n in (0, 5, *range(20, 60), *range(100, 105), 127, 128, 129, 199)}
    house.snapshot = without(house, *gone)
    found = samples(scrape(house))
    for n in range(200):
        shop = f"location=/,service=s{n}"
        backend = f"backend=http://b:{n},{shop}"
        expected = {
            f"terraster_requests_total{{code=200,{shop}}}": n + 1,
            f"terraster_request_duration_seconds_count{{{shop}}}": n + 1,
            f"terraster_backend_requests_total{{{backend}}}": n,
            f"terraster_backend_response_seconds_count{{{backend}}}": n + 2,
            f"terraster_backend_connect_seconds_count{{{backend}}}": n % 2 or None,
            f"terraster_backend_weight{{{backend}}}": n,
            f"terraster_backend_probes_total{{{backend}}}": n,
            f"terraster_backend_state{{{backend},state={BackendCells.STATES[n % 5]}}}": 1,
        }
        if f"s{n}" in gone:
            expected = dict.fromkeys(expected)
        assert {name: found.get(name) for name in expected} == expected


def test_the_times_of_addresses_that_dns_no_longer_returns_stay_in_the_sums_of_their_url():
    house = House({"shop": {"/": ["http://n", "http://n", "http://other"]}})
    for slot, first, last in ((0, 1, 2), (1, 10, 20), (2, 100, 200)):
        house.used(1, slot, REQUESTS=1, ACTIVE=first, BUCKET=first, CONNECT_TIME=first * 10**9, CONNECT_BUCKET=first)
        house.q[house.table.seat_backend(2, slot) + SeatBackend.CONNECT_BUCKET + len(WAITS)] = last
        house.known(slot, PROBES=last, WEIGHT=first)
    (service,) = house.snapshot.services
    (location,) = service.locations
    sums = house.table.backend_counters(0)
    for kept, left, active in (  # the second address is there; the first one has left, and its slot is given back or not yet
        (location.backends[1:], Departed("http://n", tuple(sums)), 10),
        (location.backends[1:], Departed("http://n", (), (("x", 0),)), 10),
        (location.backends, Departed("http://n"), 11),
    ):
        place = replace(location, backends=kept, departed=(left,))
        house.snapshot = replace(house.snapshot, services=(replace(service, locations=(place,)),))
        found = samples(scrape(house))
        for url, expected in (
            ("http://n", (11, 11, 11, 33, 22, active, active)),
            ("http://other", (100, 100, 100, 300, 200, 100, 100)),
        ):
            labels = f"backend={url},location=/,service=shop"
            names = (
                "response_seconds_count",
                "connect_seconds_sum",
                "connect_seconds_bucket",
                "connect_seconds_count",
                "probes_total",
            )
            got = [
                found[f"terraster_backend_{name}{{{labels.replace(',', ',le=5.0,', 1) if 'bucket' in name else labels}}}"]
                for name in names
            ]
            got += [found[f"terraster_backend_{name}{{{labels}}}"] for name in ("active_requests", "weight")]
            assert tuple(got) == expected, (url, left)


def test_a_slot_that_gets_another_owner_during_a_scrape_is_not_shown_under_the_old_name():
    house = House({f"s{n}": {"/": [f"http://b:{n}"]} for n in range(3)})
    for n in range(3):
        house.answer(1, n, 200)
        house.used(1, n, REQUESTS=n + 1)
    registry = make_registry(TableCollector(house.table, lambda: house.snapshot, 1, lambda: None))
    pieces = iter(exposition(registry))
    text = [next(pieces)]
    house.known(1, LEASE=7)
    house.q[house.table.location(2)] = 7  # its lease
    text.extend(pieces)
    found = samples(b"".join(text).decode())
    assert [found.get(f"terraster_backend_requests_total{{backend=http://b:{n},location=/,service=s{n}}}") for n in range(3)] == [
        1,
        None,
        3,
    ]
    assert [found.get(f"terraster_backend_up{{backend=http://b:{n},location=/,service=s{n}}}") for n in range(3)] == [0, None, 0]
    assert [found.get(f"terraster_requests_total{{code=200,location=/,service=s{n}}}") for n in range(3)] == [1, 1, None]
    assert [found.get(f"terraster_location_panic{{location=/,service=s{n}}}") for n in range(3)] == [0, 0, None]


def test_a_change_of_the_configuration_changes_the_series():
    house = House()
    registry = make_registry(TableCollector(house.table, lambda: house.snapshot, 1, lambda: None))
    assert any("service=blog" in name for name in samples(b"".join(exposition(registry)).decode()))
    house.snapshot = without(house, "blog")
    found = samples(b"".join(exposition(registry)).decode())
    assert any("service=shop" in name for name in found) and not any("service=blog" in name for name in found)


def test_values_as_large_as_a_cell_and_names_that_look_like_formats():
    house = House({"100%d %s": {"/": ['http://b/%2e"']}})
    house.used(1, 0, REQUESTS=2**63, CONNECTS=2**53 + 1)
    house.used(2, 0, REQUESTS=2**62)
    text = scrape(house)
    labels = r'backend="http://b/%2e\"",location="/",service="100%d %s"'
    assert f"terraster_backend_requests_total{{{labels}}} {2**63 + 2**62}\n" in text
    assert f"terraster_backend_connections_opened_total{{{labels}}} {2**53 + 1}\n" in text
    assert f'terraster_backend_state{{{labels},state="down"}} 1\n' in text


def test_lines_are_written_the_same_way_each_time():
    """Programs that compare lines find them again: with sorted labels, those of a code and a bucket first."""
    house = House()
    house.answer(1, 0, 200, 0.004)
    house.used(1, 0, REQUESTS=2, STATUS_2XX=2)
    text = scrape(house)
    for line in (
        'terraster_requests_total{code="200",location="/",service="shop"} 1',
        'terraster_request_duration_seconds_bucket{le="0.005",location="/",service="shop"} 1',
        'terraster_backend_requests_total{backend="http://10.0.0.1:80",location="/",service="shop"} 2',
        'terraster_backend_responses_total{code="2xx",backend="http://10.0.0.1:80",location="/",service="shop"} 2',
        'terraster_backend_state{backend="http://10.0.0.1:80",location="/",service="shop",state="down"} 1',
    ):
        assert f"\n{line}\n" in text


@pytest.fixture
def small_heap():
    """Keep the objects of all the tests away from the collector: its passes over them would be measured, and the admin worker has none."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def in_full_use(services: int) -> House:
    """A house of services with two backends each, of which every counter is in use."""
    house = House({f"s{n}": {"/": [f"http://10.0.0.1:{n}", f"http://10.0.0.2:{n}"]} for n in range(services)})
    q, table = house.q, house.table
    backend, location = (
        memoryview(bytearray(SeatBackend.CELLS * 8)).cast("Q"),
        memoryview(bytearray(SeatLocation.CELLS * 8)).cast("Q"),
    )
    for cell in (*SeatBackend.COUNTERS, *SeatBackend.GAUGES):
        backend[cell] = 1234
    for cell in (
        4,
        20,
        *range(SeatLocation.BYTES_IN, SeatLocation.SLOW_CLIENTS),
        *range(SeatLocation.QUEUE_TIME, SeatLocation.FILTERS),
    ):
        location[cell] = 1234
    for seat in (1, 2):
        for slot in range(services):
            at = table.seat_location(seat, slot)
            q[at : at + SeatLocation.CELLS] = location
            for one in (2 * slot, 2 * slot + 1):
                at = table.seat_backend(seat, one)
                q[at : at + SeatBackend.CELLS] = backend
    return house


@pytest.mark.alone
def test_ten_thousand_services_take_a_second_in_small_pieces(small_heap):
    house = in_full_use(10_000)
    turns = [time.process_time()]
    registry = make_registry(
        TableCollector(house.table, lambda: house.snapshot, 1, lambda: turns.append(time.process_time()), counted(KINDS))
    )
    largest = lines = 0
    for piece in exposition(registry):
        largest = max(largest, len(piece))
        lines += piece.count(b"\n")
    spent = turns[-1] - turns[0]
    longest = max(later - earlier for earlier, later in zip(turns, turns[1:], strict=False))
    assert lines > 1_500_000
    assert largest < 256 * 1024, "octets that are in memory at once"
    assert spent < 1.5, "CPU seconds; 0.5 on the machine where it was written"
    assert longest < 0.05, "CPU seconds between two pauses; 0.005 where it was written"
