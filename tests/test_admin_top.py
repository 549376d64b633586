"""The locations and backends with most to do, from two readings of the shared table."""

from __future__ import annotations

import time
from typing import Any

import pytest

from terraster.admin.top import Counts, busiest, sample
from terraster.cli.top import shown
from terraster.config.snapshot import Backend, Location, Service, Snapshot
from terraster.state.cells import BUCKETS

from .test_admin_readings import House


def times(**counts: int) -> tuple[int, ...]:
    """Requests by the number of their bucket."""
    found = [0] * (len(BUCKETS) + 1)
    for name, count in counts.items():
        found[int(name.removeprefix("b"))] = count
    return tuple(found)


def services(count: int) -> Snapshot:
    made = []
    for number in range(count):
        name = f"s{number}"
        backend = Backend(f"{name}/ http://10.0.0.1:80", "http://10.0.0.1:80", "http", "10.0.0.1", 80)
        made.append(Service(name, ("*",), (":80",), (Location(f"{name}/", "/", backends=(backend,)),)))
    return Snapshot(1, (), tuple(made))


def counts(snapshot: Snapshot, requests: list[int], errors: list[int]) -> dict[str, Counts]:
    found = {}
    for service, asked, failed in zip(snapshot.services, requests, errors, strict=True):
        (location,) = service.locations
        found[location.id] = found[location.backends[0].id] = Counts(asked, failed, times(b3=asked), 1, 2)
    return found


TWO = services(2)
BEFORE, AFTER = counts(TWO, [100, 100], [0, 0]), counts(TWO, [120, 140], [10, 4])


@pytest.mark.parametrize(("sort", "first"), [("requests", "s1"), ("errors", "s0"), ("active", "s0"), ("p99", "s0")])
def test_the_most_is_at_the_top_and_backends_follow(sort: str, first: str) -> None:
    found = busiest(TWO, BEFORE, AFTER, 2.0, sort, 10)
    assert [row["service_name"] for row in found["rows"]] == [first] * 2 + [{"s0": "s1", "s1": "s0"}[first]] * 2
    assert [row["url"] for row in found["rows"]] == [None, "http://10.0.0.1:80"] * 2
    rates = {row["service_name"]: (row["requests_per_second"], row["errors_per_second"]) for row in found["rows"]}
    assert rates == {"s0": (10.0, 5.0), "s1": (20.0, 2.0)}
    assert BUCKETS[2] < found["rows"][0]["p50"] < found["rows"][0]["p99"] <= BUCKETS[3]
    assert found["total"] == {"requests_per_second": 30.0, "errors_per_second": 7.0, "active": 2, "open": 4} and found["more"] == 0


def test_without_requests_there_are_no_times() -> None:
    (row, _) = busiest(services(1), BEFORE, BEFORE, 1.0, "p99", 10)["rows"]
    assert (row["requests_per_second"], row["p50"], row["p99"]) == (0.0, None, None)


def test_a_place_that_is_new_counts_from_its_begin() -> None:
    (row, _) = busiest(services(1), {}, AFTER, 1.0, "requests", 10)["rows"]
    assert row["requests_per_second"] == 120.0


def test_only_so_many_rows_are_told() -> None:
    many = services(2_000)
    after = counts(many, [*range(2_000)], [0] * 2_000)
    began = time.process_time()
    found = busiest(many, {}, after, 1.0, "requests", 3)
    assert [row["service_name"] for row in found["rows"]] == ["s1999", "s1999", "s1998"] and found["more"] == 3_997
    assert time.process_time() - began < 5


def test_the_table_counts_for_locations_and_backends() -> None:
    house = House()
    before = sample(house.table, house.snapshot)
    house.answer(1, 0, 503)
    after = sample(house.table, house.snapshot)
    rows = busiest(house.snapshot, before, after, 1.0, "errors", 1000)["rows"]
    assert rows[0]["errors_per_second"] == 1.0 and rows[0]["url"] is None and rows[0]["p50"] > 0


def row(**keys: Any) -> dict[str, Any]:
    one = {"service_name": "shop", "path": "/", "url": None, "requests_per_second": 12.34, "errors_per_second": 0.0}
    return {**one, "p50": 0.0123, "p95": 1.5, "p99": None, "active": 3, "open": 17, **keys}


def test_the_text_fits_80_columns() -> None:
    long = "http://backend-with-a-very-long-name.in-a-cluster.internal.example.com:8080/base/path"
    rows = [row(), row(url=long, requests_per_second=123456.7, errors_per_second=99.99, p50=12.0), row(service_name="x" * 90)]
    total = {"requests_per_second": 123469.0, "errors_per_second": 99.99, "active": 3, "open": 1}
    text = shown({"total": total, "rows": rows, "more": 7}, "errors", colour=False, width=80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80, text
    assert lines[0] == "123k requests/s, 100.0 errors/s, 3 active, 1 backend connection"
    assert lines[1].split()[2:] == ["REQ/S", "ERR/S*", "P50", "P95", "P99", "ACTIVE", "OPEN"]
    assert lines[2].split() == ["shop/", "12.3", "0", "12.3ms", "1500ms", "-", "3", "17"] and lines[-1] == "7 more rows"
    assert "\x1b" not in text and "\x1b[31m" in shown({"total": total, "rows": rows, "more": 0}, "p99", colour=True, width=80)
