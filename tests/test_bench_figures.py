"""What `terraster bench` decides and counts, without a socket: quantiles, schedules, turns, results, pictures."""

from __future__ import annotations

import json
import re
import socket
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from math import ceil, inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from terraster.bench.axis import linear, logarithmic
from terraster.bench.histogram import PARTS, Histogram
from terraster.bench.load import Load
from terraster.bench.picture import html, svg
from terraster.bench.record import TICK, Record
from terraster.bench.report import octets, report, span
from terraster.bench.result import Result
from terraster.bench.schedule import Schedule
from terraster.bench.target import target_of
from terraster.bench.turns import ClosedTurns, OpenTurns

TIMES = some.lists(some.floats(1e-6, 4000.0), min_size=1, max_size=200)
SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)


def load(**more: Any) -> Load:
    return Load("http://a.test/", "http", "a.test", "a.test", "/", socket.AF_INET, ("192.0.2.1", 80), **more)


def histogram(times: list[float]) -> Histogram:
    made = Histogram()
    for time in times:
        made.add(time)
    return made


# ------------------------------------------------------------------------------------------------------------------ histogram


@given(TIMES)
def test_a_quantile_is_the_exact_one_or_a_little_more(times: list[float]) -> None:
    found = histogram(times)
    for share in SHARES:
        exact = sorted(times)[ceil(Fraction(str(share)) * len(times)) - 1]
        assert exact <= found.quantile(share) <= exact * (1 + 1 / PARTS) * (1 + 1e-12), share
    assert (found.least, found.greatest, found.total) == (min(times), max(times), len(times))
    assert found.quantile(1.0) == max(times)


@given(TIMES, TIMES)
def test_histograms_add_up_and_travel(one: list[float], other: list[float]) -> None:
    merged = Histogram.from_json(json.loads(json.dumps(histogram(one).to_json())))
    merged.merge(histogram(other))
    whole = histogram(one + other)
    assert merged.parts() == whole.parts()
    assert (merged.total, merged.least, merged.greatest) == (whole.total, whole.least, whole.greatest)
    assert merged.mean == pytest.approx(sum(one + other) / len(one + other))


def test_times_outside_the_range_are_counted_at_its_ends() -> None:
    found = histogram([0.0, 1e-9, 1e6])
    assert (found.total, found.greatest, found.quantile(0.99)) == (3, 1e6, 1e6)
    assert found.quantile(0.5) <= 1e-6


def test_nothing_has_no_quantiles() -> None:
    found = Histogram.from_json(json.loads(json.dumps(Histogram().to_json())))
    assert (found.quantile(0.99), found.mean, found.deviation, found.parts()) == (0.0, 0.0, 0.0, [])


# ------------------------------------------------------------------------------------------------------------- schedule, turns


def dues(one: Load, count: int) -> list[float]:
    schedule, found = Schedule(one), []
    for _ in range(count):
        found.append(schedule.due)
        schedule.advance()
    return found


def test_even_times_of_all_shares_interleave() -> None:
    whole = load(rate=300.0)
    parts = [due for index in range(3) for due in dues(whole.share(index, 3), 100)]
    assert sorted(parts) == pytest.approx([at / 300 for at in range(300)])


def test_random_times_have_the_rate_of_all_shares() -> None:
    whole = load(rate=1000.0, random=True)
    shares = [dues(whole.share(index, 2), 2000) for index in range(2)]
    assert all(share == sorted(share) for share in shares) and shares[0] != shares[1]
    assert sum(share[-1] for share in shares) / 2 == pytest.approx(4.0, rel=0.15)
    gaps = [after - before for before, after in zip(shares[0], shares[0][1:], strict=False)]
    assert sum(gap < 0.002 for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.05)  # 1 - 1/e, of an exponential distribution


def test_shares_are_the_whole() -> None:
    whole = load(connections=10, requests=1001)
    shares = [whole.share(index, 4) for index in range(4)]
    assert sum(share.connections for share in shares) == 10 and sum(share.requests for share in shares) == 1001
    assert Load.from_json(shares[1].to_json()) == shares[1]


def test_a_closed_loop_ends_by_count_or_by_time() -> None:
    turns = ClosedTurns(load(requests=2, warm_up=1.0))
    turns.begin(100.0)
    assert [turns.take(now) for now in (100.5, 101.0, 102.0, 103.0)] == [100.5, 101.0, 102.0, inf]
    turns = ClosedTurns(load(seconds=5.0))
    turns.begin(100.0)
    assert [turns.take(now) for now in (104.9, 105.0)] == [104.9, inf]
    turns = ClosedTurns(load(seconds=5.0))
    turns.begin(100.0)
    turns.stop(101.0)
    assert turns.take(101.0) == inf


def test_an_open_loop_keeps_what_was_due_during_a_stall() -> None:
    turns = OpenTurns(load(rate=10.0, seconds=1.0))
    turns.begin(100.0)
    assert turns.take(100.0) == 100.0
    assert turns.take(100.05) == pytest.approx(100.1)  # not due yet, so not taken
    late = [turns.take(107.0) for _ in range(10)]
    assert late == pytest.approx([100.0 + at / 10 for at in range(1, 10)] + [inf])


def test_what_was_due_when_an_open_loop_was_stopped_is_not_forgotten() -> None:
    even, warm = OpenTurns(load(rate=10.0, requests=50)), OpenTurns(load(rate=10.0, warm_up=1.0, seconds=9.0))
    random = OpenTurns(load(rate=1000.0, random=True))
    for turns in (even, warm, random):
        turns.begin(100.0)
    assert [even.take(100.5) for _ in range(3)] == pytest.approx([100.0, 100.1, 100.2])
    for turns in (even, warm, random):
        turns.stop(102.05)
    assert (even.untaken(), warm.untaken()) == (18, 11)  # from 100.3 to 102.0, and from 101.0, when requests begin to count
    assert random.untaken() == pytest.approx(2050, rel=0.01)
    even.stop(110.0)
    assert [even.take(110.0) for _ in range(19)][-2:] == [pytest.approx(102.0), inf] and not even.untaken()


def test_a_few_requests_at_a_rate_take_as_long_as_the_rate_says() -> None:
    whole = load(rate=10.0, requests=5)
    shares = [OpenTurns(whole.share(index, 2)) for index in range(2)]
    for turns in shares:
        turns.begin(100.0)
        assert [turns.take(101.0) < inf for _ in range(4)].count(True) == turns._load.requests
    assert max(turns.seconds(101.0, 100.401) for turns in shares) == pytest.approx(0.5)
    assert max(turns.seconds(108.0, 107.0) for turns in shares) == pytest.approx(7.0)  # the last answer came later than that
    turns = OpenTurns(load(rate=1.0, seconds=3.0))
    turns.begin(100.0)
    assert [turns.take(now) for now in (100.0, 101.0, 102.0)] == [100.0, 101.0, 102.0] and turns.take(102.1) == inf
    assert turns.seconds(102.1, 102.1) == pytest.approx(3.0)


# ---------------------------------------------------------------------------------------------------------------------- result


def record(*times: float, status: int = 200, errors: int = 0) -> Record:
    made = Record()
    for time in times:
        made.latencies.add(time)
        made.statuses[status] += 1
    if errors:
        made.errors["reset"] = errors
        made.texts["reset"] = "the server closed the connection"
    return made


def share(seconds: float, cpu: float = 0.1, waited: float = 0.0, stood: float = 0.0) -> dict[str, float]:
    return {"seconds": seconds, "wall": seconds, "cpu": cpu, "waited": waited, "stood": stood}


def test_answers_after_the_time_of_the_load_are_not_in_its_rate() -> None:
    result = Result(load(seconds=1.0), 1)
    for at, one in ((TICK, record(0.1, 0.2)), (1.0, record(0.1)), (9.0, record(8.5))):
        one.received = 1000
        result.add(at, one, is_late=at > 1.0)
    result.ended(share(1.0))
    assert (result.total.complete, result.within, result.rate, result.octets_rate) == (4, 3, 3.0, 2000.0)
    assert result.total.latencies.greatest == 8.5
    assert [slot.record.complete for slot in result.slots()][:5] == [2, 0, 0, 0, 1]
    assert "Ended after the time:  1 requests" in report(result)


def test_a_long_load_has_wider_slots_and_loses_nothing() -> None:
    result = Result(load(seconds=400.0), 1)
    for tick in range(2000):
        result.add((tick + 1) * TICK, record(0.01))
    result.ended(share(400.0))
    slots = result.slots()
    assert len(slots) <= 240 and sum(slot.record.complete for slot in slots) == 2000
    assert sum(slot.width for slot in slots) == pytest.approx(400.0)


@pytest.mark.parametrize(
    ("end", "widths", "counts"),
    [(0.5, [0.2, 0.2, 0.1], [2, 2, 3]), (0.401, [0.2, 0.201], [2, 5]), (0.4, [0.2, 0.2], [2, 5]), (0.3, [0.2, 0.1], [2, 5])],
)
def test_the_last_time_of_the_course_is_as_long_as_it_was(end: float, widths: list[float], counts: list[int]) -> None:
    """A tick that is late has requests of the time before it, which a very short time must not be credited with."""
    result = Result(load(), 1)
    for at, some_ in ((TICK, 2), (min(2 * TICK, end), 2), (end, 3)):
        result.add(at, record(*[0.01] * some_))
    result.ended(share(end))
    slots = result.slots()
    assert [slot.width for slot in slots] == pytest.approx(widths) and [slot.record.complete for slot in slots] == counts


def test_a_generator_that_stood_still_says_so() -> None:
    result = Result(load(seconds=10.0), 2)
    result.ended(share(10.0))
    result.ended(share(10.0, stood=4.2))
    assert [text.split(":")[0] for text in result.limits()] == ["the load generator stood still for 4.2 s, as by Ctrl-Z"]


@pytest.mark.parametrize(
    ("cpu", "waited", "words"),
    [
        (9.7, 0.0, "the load generator was the limit: 97% of a core in the busiest of 2 processes"),
        (4.0, 5.5, "the load generator was the limit: it used 40% of a core"),
        (8.0, 0.5, "the load generator may have been the limit: 80% of a core"),
        (4.0, 1.0, ""),
    ],
)
def test_a_generator_without_time_to_spare_says_so(cpu: float, waited: float, words: str) -> None:
    result = Result(load(seconds=10.0), 2)
    result.ended(share(10.0))
    result.ended(share(10.0, cpu, waited))
    found = result.limits()
    assert found[0].startswith(words) if words else not found


def test_the_report_has_all_figures_and_failures() -> None:
    result = Result(load(seconds=1.0, rate=5.0), 1)
    result.add(1.0, record(0.0015, 0.1, 2.5, errors=2))
    result.add(1.0, record(0.01, status=503))
    result.total.received = 5 << 20
    result.ended(share(1.0))
    text = report(result)
    for line in (
        r"URL: +http://a.test/",
        r"Concurrency level: +10 \(10 connections, HTTP/1.1, 1 process\)",
        r"Time taken: +1.000 s",
        r"Complete requests: +4",
        r"Failed requests: +3 \(2 without a complete answer, 1 with a status of 400 or more\)",
        r"Requests per second: +4.0 \(asked for: 5\)",
        r"Received: +5.00 MiB",
        r"Latency mean: +653 ms",
        r"Latency min: +1.50 ms",
        r"Latency p50: +10.0 ms",
        r"Latency p99.9: +2.50 s",
        r"Latency max: +2.50 s",
        r"Status 503: +1",
        r"Error: reset: +2: the server closed the connection",
        r"Generator's CPU: +10% of a core",
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), line
    figures = result.to_json()
    assert (figures["complete"], figures["failed"], figures["statuses"], figures["errors"]) == (
        4,
        3,
        {"200": 3, "503": 1},
        {"reset": 2},
    )
    assert figures["latency_seconds"]["count"] == 4 and json.dumps(figures)


# --------------------------------------------------------------------------------------------------------------------- picture


@pytest.mark.parametrize(
    "records", [[], [record(0.01)], [record(*(0.001 * at for at in range(1, 900)), errors=5)], [record(errors=3)]]
)
def test_a_picture_is_well_formed_and_stays_within_its_frame(records: list[Record]) -> None:
    result = Result(load(seconds=1.0), 1)
    for at, one in enumerate(records):
        result.add(at * TICK + TICK, one)
    result.ended(share(1.0))
    picture = svg(result)
    root = ElementTree.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        for name, most in (("x", width), ("x1", width), ("x2", width), ("y", height), ("y1", height), ("y2", height)):
            if name in element.attrib:
                assert 0.0 <= float(element.attrib[name]) <= most, ElementTree.tostring(element)
    assert picture in html(result)


def test_a_picture_has_no_empty_panel_and_a_short_url_and_says_when_the_time_was_over() -> None:
    refused = Result(load(requests=3), 1)
    refused.add(0.1, Record.from_json({**Record().to_json(), "errors": {"refused": 3}}))
    refused.ended(share(0.1))
    assert svg(refused).count('class="name"') == 1 and "Latency" not in svg(refused) and "time over" not in svg(refused)
    late = Result(Load(f"http://a.test/{'W' * 500}", "http", "a", "a", "/", socket.AF_INET, ("192.0.2.1", 80), seconds=1.0), 1)
    late.add(1.0, record(0.1))
    late.add(3.0, record(2.0), is_late=True)
    late.ended(share(1.0))
    texts = [element.text or "" for element in ElementTree.fromstring(svg(late)).iter() if element.tag.endswith("text")]
    assert (
        max(map(len, texts)) <= 80
        and texts.count("time over") == 2
        and any(text.startswith("2 answers in 1.00 s, 1.0 per") for text in texts)
    )


def test_names_in_a_picture_are_text() -> None:
    result = Result(Load("http://a.test/?<b>&", "http", "a", "a", "/", socket.AF_INET, ("192.0.2.1", 80)), 1)
    assert "<b>" not in html(result) and "&lt;b&gt;&amp;" in svg(result)


@given(some.floats(1e-6, 1e4), some.floats(1e-6, 1e4))
def test_axes_have_what_they_show(one: float, other: float) -> None:
    axis = logarithmic(one, other)
    for value in (one, other):
        assert axis.low <= value * (1 + 1e-8) and value <= axis.high * (1 + 1e-8)
        assert 0.0 <= axis.share(value) <= 1.0
    assert 2 <= len(axis.ticks) <= 13
    axis = linear(one)
    assert one <= axis.high * (1 + 1e-8) and 2 <= len(axis.ticks) <= 8


# ---------------------------------------------------------------------------------------------------------------- words, target


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "0.00 us"), (4.2e-5, "42.0 us"), (1.234e-3, "1.23 ms"), (0.25, "250 ms"), (75.0, "75.0 s")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_sizes_in_words() -> None:
    assert [octets(count) for count in (0, 1023, 1024, 5 << 30, 5 << 50)] == ["0 B", "1023 B", "1.00 KiB", "5.00 GiB", "5120 TiB"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.test", ("a.test", 80, "a.test", "/")),
        ("https://a.test:8443/b?c=d#e", ("a.test", 8443, "a.test:8443", "/b?c=d")),
        ("http://[::1]:80/", ("::1", 80, "[::1]", "/")),
        ("http://a.test?x", ("a.test", 80, "a.test", "/?x")),
    ],
)
def test_a_url_has_parts(url: str, expected: tuple[str, int, str, str]) -> None:
    target = target_of(url)
    assert (target.host, target.port, target.authority, target.path) == expected


def test_requests_are_what_was_asked_for() -> None:
    one = load(method="POST", body=b"ab", fields=(("Accept", "x"), ("Host", "b.test")), keepalive=False)
    assert (
        one.http1_request() == b"POST / HTTP/1.1\r\nAccept: x\r\nHost: b.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
    )
    assert one.http2_fields() == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"b.test"),
        (b"accept", b"x"),
        (b"content-length", b"2"),
    ]
