"""`terraster bench` against a Terraster: what it counts is what the backend saw."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ..harness.backends import ok


@pytest.mark.parametrize("more", [["--rate", "500", "--arrivals", "random"], ["--http2", "--streams", "3", "--workers", "2"]])
def test_requests_through_a_terraster(terraster, backend, more: list[str]) -> None:
    origin = backend(answer=ok(b"x" * 1000))
    proxy = terraster(origin, http2=True)
    command = [
        sys.executable,
        "-m",
        "terraster.cli.main",
        "bench",
        "--url",
        f"{proxy.url}/a",
        "-n",
        "200",
        "-c",
        "4",
        "--json",
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    figures = json.loads(done.stdout)
    assert (figures["complete"], figures["failed"], figures["statuses"]) == (200, 0, {"200": 200})
    assert len(origin.requests) == 200 and {request.target for request in origin.requests} == {"/a"}
    times = figures["latency_seconds"]
    assert times["count"] == 200 and 0 < times["min"] <= times["p50"] <= times["p99"] <= times["p99.9"] <= times["max"]
