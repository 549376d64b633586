"""Faults of HTTP/2 clients are counted, and the log has the first of a kind."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.admin.seat_readings import http2
from terraster.phases.http2_faults import Http2Faults
from terraster.phases.quiet import QUIET
from terraster.state.cells import HTTP2_FAULTS
from terraster.state.leases import capacities
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.http2.bounds import BOUNDS


class Worker:
    """One worker's faults, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.table = Table(*capacities(1, 1, 1))
        self.faults = Http2Faults(SeatView(self.table), lambda: self.now)
        self.faults.log = self.said.append
        self.faults.warn = lambda line: self.said.append(f"WARNING {line}")


@pytest.fixture
def worker() -> Worker:
    return Worker()


def peer(address: str = ":443", client: str = "10.0.0.7") -> Any:
    return SimpleNamespace(listener=SimpleNamespace(address=address), client_ip=client)


def test_each_kind_is_counted(worker: Worker) -> None:
    for number, kind in enumerate(HTTP2_FAULTS[:-1], 1):
        for _ in range(number):
            worker.faults.ended(peer(), kind, "too many")
    worker.faults.ended(peer(), "", "a frame of no stream")
    for _ in range(30):
        worker.faults.began()
    expected = {kind: number for number, kind in enumerate(HTTP2_FAULTS[:-1], 1)} | {"protocol": 1}
    assert http2(worker.table) == (30, expected)


def test_there_is_a_kind_for_each_bound_and_the_manual_has_its_numbers() -> None:
    assert (*BOUNDS, "protocol") == HTTP2_FAULTS
    page = (Path(__file__).parent.parent / "docs" / "http2.md").read_text().partition("## Floods")[2]
    found = re.findall(r"^\| `(\w+)` \| .+ \|(.*)\|(.*)\|$", page, re.MULTILINE)
    rows = {kind: (rate.strip(), most.strip()) for kind, rate, most in found}
    assert rows.pop("kind") == ("per second, in the long run", "at once")
    assert rows.pop("resets") == ("`http2.resets_per_second`", "three times that")
    assert rows.pop("protocol") == ("", "")
    assert rows == {kind: (f"{rate:g}" if rate else "", f"{most:g}") for kind, (rate, most, _) in BOUNDS.items() if most}


def test_the_log_names_the_first_client_of_a_kind_and_counts_the_others(worker: Worker) -> None:
    worker.faults.ended(peer(), "pings", "too many PING frames")
    for _ in range(3):
        worker.faults.ended(peer(client="10.0.0.8"), "pings", "too many PING frames")
    worker.faults.ended(peer(":80"), "pings", "too many PING frames")
    worker.faults.ended(peer(), "", "a frame of no stream")
    assert worker.said == [
        "WARNING HTTP/2 connection ended on :443: pings (too many PING frames; client 10.0.0.7)",
        "WARNING HTTP/2 connection ended on :80: pings (too many PING frames; client 10.0.0.7)",
        "HTTP/2 connection ended on :443: protocol (a frame of no stream; client 10.0.0.7)",
    ]
    worker.said.clear()
    worker.now += QUIET - 1
    worker.faults.sweep(worker.now)
    assert worker.said == []
    worker.now += 1
    worker.faults.sweep(worker.now)
    assert worker.said == ["WARNING HTTP/2 connections ended on :443: 3 more within 60 s: pings"]
    worker.said.clear()
    for _ in range(2):
        worker.faults.ended(peer(), "pings", "too many PING frames")
    worker.faults.finish()
    assert worker.said == [
        "WARNING HTTP/2 connection ended on :443: pings (too many PING frames; client 10.0.0.7)",
        "WARNING HTTP/2 connections ended on :443: 1 more within 60 s: pings",
    ]


def test_a_kind_that_comes_again_before_a_sweep_is_told_first(worker: Worker) -> None:
    for seconds in (0.0, 1.0, QUIET):
        worker.now = 100.0 + seconds
        worker.faults.ended(peer(), "resets", "too many")
    assert [line.partition(" ended on ")[2] for line in worker.said] == [
        ":443: resets (too many; client 10.0.0.7)",
        ":443: 1 more within 60 s: resets",
        ":443: resets (too many; client 10.0.0.7)",
    ]
