"""Millions of requests through Terraster, everything that may go wrong among them, and every count compared.

    make bench-soak ARGS="--requests 100000"                             # a try: half a minute
    python bench/soak.py --requests 10000000 --seconds 3000              # 25 minutes on two cores with other work

Terraster has two workers and a dozen services: hedging, retries, limits with a queue, circuits, header rules, a fixed answer. The backends are
`soak_backends.py`, of which some are broken on purpose. The clients are `soak_client.py`: they pipeline, post, break off. Every few seconds the
configuration is reloaded with another header rule, and with one service more or less.

The exit code is 1 if an answer was not the one to its request, if a counter of Terraster is not what the clients counted, if a reload failed,
if a POST was executed twice, if something was still counted as under way at the end, or if memory or descriptors grew.

This is not a test: it takes long. README.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from soak_client import FIXED, MIX, PLACES
from tree import cpu_seconds

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.harness.terraster_process import Terraster  # noqa: E402

Process = subprocess.Popen[str]

CLIENTS = 2  # processes
CONNECTIONS = 32  # of each
RELOAD = 4.0  # seconds between two reloads
GROWTH = 0.03  # by which the last third may be above the middle third
SLACK = 1 << 20  # octets by which it may be above it in any case
SLACK_FDS = CLIENTS * CONNECTIONS  # descriptors, of both workers together: connections come and go
LEFT_FDS = 4  # descriptors that a worker may have more of after the load than before it
QUIET = 30.0  # seconds after the load within which nothing may be under way any more
SAMPLE = re.compile(r"(\w+)\{(.*)\}$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
FREE = {"budget": "100%", "min_per_second": 10000}

# Where an octet may be on one side only: an answer that is broken off within, and a request that failed before all of it was read.
BOUNDED = {("broken", "out"): "terraster", ("post", "in"): "clients"}


@dataclass
class Reading:
    """The memory of the workers at one moment. workers: for each one RSS, PSS (octets) and descriptors"""

    second: float
    requests: int
    workers: list[dict[str, int]]


@dataclass
class Watch:
    """The record of the load. problems: sentences; readings: every few seconds; reloads: their number;
    waiting: the most requests in a queue"""

    readings: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reloads: int = 0
    waiting: int = 0


# ----------------------------------------------------------------------------------------------------------------- configuration


def services(ports: Mapping[str, int], generation: int) -> list[dict[str, Any]]:
    """The services of a generation: its number is in the header rules, and every second one has one service more."""
    found = [
        _service("plain", ports, "good", "good2"),
        _service("hedge", ports, "tail", "good", retry={"hedge": 95, **FREE}),
        _service("retry", ports, "burst", "after", "good", retry={"on": [503], "backoff": "1ms", **FREE}, outlier=False),
        _service("queue", ports, "slow", "slow2", queue={"size": 200, "timeout": "10s"}, limit=1),
        _service("circuit", ports, "burst", "good", middleware=[{"circuit_breaker": {"threshold": 5, "timeout": "1s"}}]),
        _service(
            "rules",
            ports,
            "rules",
            headers={
                "request_headers": {"X-Rule": str(generation)},
                "response_headers": {"X-Generation": str(generation)},
            },
        ),
        _service("fancy", ports, "fancy"),
        _service("closing", ports, "closing"),
        _service("post", ports, "good", "closing", "after", outlier=False),
        _service("broken", ports, "broken", "broken2", outlier=False, retry={"backoff": "1ms", **FREE}),
        {
            "name": "respond",
            "host": "respond.test",
            "locations": [{"path": "/", "respond": {"body": FIXED.decode(), "headers": {"X-Fixed": "yes"}}}],
        },
    ]
    if generation % 2:
        found.append(_service("extra", ports, "good2"))
    return found


def _service(name: str, ports: Mapping[str, int], *behaviours: str, limit: int = 0, **keys: Any) -> dict[str, Any]:
    limits = {"max_connections": limit} if limit else {}
    backends = [{"url": f"http://127.0.0.1:{ports[behaviour]}", **limits} for behaviour in behaviours]
    return {
        "name": name,
        "host": f"{name}.test",
        **keys,
        "locations": [{"path": path, "backends": backends} for path in ("/", "/cut")],
    }


# -------------------------------------------------------------------------------------------------------------------- readings


def labelled(metrics: Mapping[str, float]) -> list[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of each sample that has labels."""
    return [(match[1], dict(LABEL.findall(match[2])), value) for name, value in metrics.items() if (match := SAMPLE.match(name))]


def total(samples: list[tuple[str, dict[str, str], float]], metric: str) -> float:
    """The sum of a metric over its labels."""
    return sum(value for name, _, value in samples if name == metric)


def read_worker(pid: int) -> dict[str, int]:
    """RSS and PSS in octets, and the number of descriptors. PSS is for the reader: it also grows when a stranger that has the same pages of
    Python ends."""
    found = {"fds": len(os.listdir(f"/proc/{pid}/fd"))}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            found[name.lower()] = int(value.split()[0]) * 1024
    return found


def grown(series: list[int], slack: float) -> str:
    """The fault of a series that must be flat, or "": the median of its last third may not be above that of its middle third."""
    third = len(series) // 3
    if third < 3:
        return ""
    middle, last = statistics.median(series[third : 2 * third]), statistics.median(series[2 * third :])
    return "" if last <= middle + max(GROWTH * middle, slack) else f"grew from {middle:.0f} to {last:.0f}"


# --------------------------------------------------------------------------------------------------------------------- running


def watch(terraster: Terraster, ports: Mapping[str, int], clients: list[Process], every: float, end: float) -> Watch:
    """Reload and read until all clients have ended."""
    found = Watch()
    begun = time.monotonic()
    pids = terraster.workers()
    next_reload, next_reading, generation = begun + RELOAD, begun + every, 1
    while any(client.poll() is None for client in clients):
        now = time.monotonic()
        if now >= end:
            found.problems.append("the clients did not end in time")
            break
        if now >= next_reload:
            next_reload = now + RELOAD
            generation += 1
            try:
                terraster.reload(*services(ports, generation))
                found.reloads += 1
            except Exception as error:  # a failed reload is a result, and the load goes on
                found.problems.append(f"reload {generation} failed: {error!r}")
        if now >= next_reading:
            next_reading += every
            samples = labelled(terraster.metrics())
            requests = int(total(samples, "terraster_requests_total"))
            found.waiting = max(found.waiting, int(total(samples, "terraster_location_queue_depth")))
            found.readings.append(Reading(now - begun, requests, [read_worker(pid) for pid in pids]))
            print(f"{now - begun:7.0f} s {requests:12,.0f} requests", file=sys.stderr, flush=True)
        time.sleep(0.1)
    if terraster.workers() != pids:
        found.problems.append(f"the workers were {pids} and are {terraster.workers()}")
    return found


def settle(terraster: Terraster) -> list[str]:
    """Wait until nothing is under way. Returns what still is after `QUIET` seconds."""
    names = {
        "terraster_backend_active_requests",
        "terraster_location_queue_depth",
        "terraster_backend_open_connections",
        "terraster_backend_idle_connections",
        "terraster_connections",
    }
    end = time.monotonic() + QUIET
    while True:
        left = [f"{name} {labels} is {value:g}" for name, labels, value in labelled(terraster.metrics()) if name in names and value]
        if not left or time.monotonic() > end:
            return [f"{QUIET:.0f} s after the load: {one}" for one in left]
        time.sleep(0.5)


# -------------------------------------------------------------------------------------------------------------------- comparing


def compare(metrics: Mapping[str, float], reports: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """(rows of a table, problems): Terraster's counters and what the clients counted."""
    statuses: dict[tuple[str, str], Counter[str]] = {}
    octets: dict[tuple[str, str, str], int] = {}
    attempts: Counter[tuple[str, str]] = Counter()
    retries: Counter[tuple[str, str]] = Counter()
    problems = []
    for name, labels, value in labelled(metrics):
        where = labels.get("service", ""), labels.get("location", "")
        if value < 0:
            problems.append(f"{name} {labels} is {value:g}")
        if name == "terraster_requests_total":
            statuses.setdefault(where, Counter())[labels["code"]] = int(value)
        elif name == "terraster_bytes_total":
            octets[(*where, labels["direction"])] = int(value)
        elif name == "terraster_backend_requests_total":
            attempts[where] += int(value)
        elif name == "terraster_location_retries_total":
            retries[where] += int(value)
    rows = ["| service | location | clients | terraster |", "|---|---|---|---|"]
    lost = statuses.get(("", ""), Counter())
    for place in PLACES:
        seen: Counter[str] = Counter()
        cut: Counter[str] = Counter()
        for report in reports:
            seen.update(report["statuses"][place])
            cut.update(report["cut_statuses"][place])
        asked = sum(report["cut_asked"][place] for report in reports)
        counted = statuses.get((place, "/"), Counter())
        if place == "extra":  # the counts of a removed service are gone; what came while it was missing is not
            rows.append(f"| {place} | none | 421 {seen['421']:,} | {_told(lost)} |")
            if lost != Counter({"421": seen["421"]}):
                problems.append(f"requests for no service: clients counted {seen['421']} 421, Terraster {dict(lost)}")
            continue
        rows.append(f"| {place} | / | {_told(seen)} | {_told(counted)} |")
        if seen != counted:
            problems.append(f"{place}: clients counted {dict(seen)}, Terraster {dict(counted)}")
        for direction in ("in", "out"):
            mine = sum(report[f"octets_{direction}"][place] for report in reports)
            its = octets.get((place, "/", direction), 0)
            more = BOUNDED.get((place, direction))
            if mine != its and not (more == "terraster" and mine <= its) and not (more == "clients" and mine >= its):
                problems.append(f"{place}: clients counted {mine} octets {direction}, Terraster {its}")
        if place not in ("respond", "queue", "circuit") and attempts[(place, "/")] - retries[(place, "/")] != sum(counted.values()):
            problems.append(
                f"{place}: {attempts[(place, '/')]} attempts, {retries[(place, '/')]} retries, {sum(counted.values())} requests"
            )
        if asked:
            counted = statuses.get((place, "/cut"), Counter())
            rows.append(f"| {place} | /cut | {_told(cut)} of {asked:,} sent | {_told(counted)} |")
            if sum(counted.values()) > asked:
                problems.append(f"{place}/cut: {sum(counted.values())} requests counted, {asked} sent")
            problems += [
                f"{place}/cut: clients had {count} whole answers with {status}, Terraster counted {counted[status]}"
                for status, count in cut.items()
                if counted[status] < count
            ]
    return rows, problems


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{status} {count:,}" for status, count in sorted(counts.items()) if count) or "none"


def compare_posts(folder: Path) -> tuple[str, list[str]]:
    """(a sentence, problems): POSTs as the backends executed them and as clients have them acknowledged."""
    executed = Counter(_ids(folder / "executed"))
    acknowledged = [number for file in sorted(folder.glob("acknowledged-*")) for number in _ids(file)]
    twice = [number for number, times in executed.items() if times > 1]
    never = [number for number in acknowledged if number not in executed]
    problems = [f"POST {number} was executed {executed[number]} times" for number in twice]
    problems += [f"POST {number} was answered with 200 but never executed" for number in never]
    return (
        f"POSTs executed {len(executed):,}, of which {len(acknowledged):,} were acknowledged to a client; {len(twice)} twice",
        problems,
    )


def _ids(file: Path) -> array[int]:
    found = array("q")
    found.frombytes(file.read_bytes())
    return found


def compare_memory(readings: list[Reading]) -> tuple[list[str], list[str]]:
    """(rows of a table, problems): memory and descriptors of the workers."""
    if not readings:
        return [], []
    count = len(readings[0].workers)
    titles = [f"worker {number + 1}: RSS MiB | PSS MiB | descriptors" for number in range(count)]
    rows = ["| s | requests | " + " | ".join(titles) + " |", "|---:|---:|" + "---:|---:|---:|" * count]
    step = max(1, len(readings) // 24)
    for reading in readings[::step]:
        cells = [f"{one['rss'] / 2**20:.1f} | {one['pss'] / 2**20:.1f} | {one['fds']}" for one in reading.workers]
        rows.append(f"| {reading.second:.0f} | {reading.requests:,} | " + " | ".join(cells) + " |")
    problems = []
    for number in range(count):
        if text := grown([reading.workers[number]["rss"] for reading in readings], SLACK):
            problems.append(f"worker {number + 1}: rss {text}")
    if text := grown([sum(worker["fds"] for worker in reading.workers) for reading in readings], SLACK_FDS):
        problems.append(f"descriptors of all workers: their number {text}")
    return rows, problems


# ------------------------------------------------------------------------------------------------------------------------ main


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--requests", type=int, default=1_000_000, metavar="N", help="answers after which the clients stop (1000000)"
    )
    parser.add_argument("--seconds", type=float, default=3000.0, metavar="N", help="… or after this time (3000)")
    parser.add_argument("--every", type=float, default=10.0, metavar="N", help="seconds between two readings of memory (10)")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="problems to print (20)")
    arguments = parser.parse_args(given)
    if min(arguments.requests, arguments.seconds, arguments.every, arguments.show) <= 0:
        parser.error("all numbers must be positive")
    return arguments


def told(
    wanted: int, took: float, used: float, reports: list[dict[str, Any]], metrics: Mapping[str, float], seen: Watch
) -> list[str]:
    """The head of the report. took: seconds of the load; used: CPU seconds of Terraster"""
    sums: Counter[str] = Counter()
    for report in reports:
        sums.update({name: value for name, value in report.items() if isinstance(value, int)})
    samples = labelled(metrics)
    done = sums["done"] or 1
    retries, hedges = total(samples, "terraster_location_retries_total"), total(samples, "terraster_location_hedges_total")
    openings = total(samples, "terraster_backend_circuit_openings_total")
    mix = ", ".join(f"{name} {share:.1%} in batches of {size}" for name, (share, size) in MIX.items())
    return [
        f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, {wanted:,} requests wanted.",
        f"Their mix: {mix}.",
        f"{sums['done']:,} answers in {took:.0f} s ({done / took:,.0f}/s), all compared with their requests;"
        f" {used / done * 1e6:.0f} µs of CPU of Terraster for each.",
        f"{sums['connects']:,} connections, {sums['aborted']:,} of them broken off by the client.",
        f"{sums['broken_off']:,} answers broken off by Terraster because the backend broke off; {sums['interims']:,} interim responses;"
        f" {sums['unserved']:,} pipelined requests not taken because the answer before them closed the connection.",
        f"{retries:,.0f} retries, of which {hedges:,.0f} hedges; {openings:,.0f} openings of circuits;"
        f" up to {seen.waiting} requests in a queue; {seen.reloads} reloads.",
    ]


def start_clients(arguments: argparse.Namespace, port: int, folder: Path) -> list[Process]:
    """Start the processes of clients. Each one writes its report to the file ``client-NUMBER``."""
    clients = []
    for number in range(1, CLIENTS + 1):
        given = {
            "port": port,
            "number": number,
            "requests": -(-arguments.requests // CLIENTS),
            "connections": CONNECTIONS,
            "seconds": arguments.seconds,
            "folder": str(folder),
        }
        with (folder / f"client-{number}").open("w") as stream:
            clients.append(
                subprocess.Popen([sys.executable, str(HERE / "soak_client.py"), json.dumps(given)], stdout=stream, text=True)
            )
    return clients


def soak(arguments: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """(lines of the report, problems)"""
    command = [sys.executable, str(HERE / "soak_backends.py"), str(folder)]
    backends = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    clients: list[Process] = []
    try:
        assert backends.stdout is not None
        ports = json.loads(backends.stdout.readline())
        keys = {"workers": 2, "access_log": "off", "connection_pool": {"idle_timeout": "2s"}}
        with Terraster(folder / "terraster", *services(ports, 1), **keys) as terraster:
            before = [read_worker(pid) for pid in terraster.workers()]
            begun, used = time.monotonic(), sum(cpu_seconds(terraster.pid))
            clients = start_clients(arguments, terraster.port, folder)
            seen = watch(terraster, ports, clients, arguments.every, begun + arguments.seconds + 120)
            took = time.monotonic() - begun
            used = sum(cpu_seconds(terraster.pid)) - used
            problems = seen.problems + settle(terraster)
            after = [read_worker(pid) for pid in terraster.workers()]
            metrics = terraster.metrics()
            terraster.expect_traceback = True  # a problem like any other, below
        if (at := terraster.said.find("Traceback")) >= 0:
            problems.append(
                f"Terraster logged {terraster.said.count('Traceback')} defects; the first: {terraster.said[at : at + 1500]}"
            )
        reports = []
        for number, client in enumerate(clients, 1):
            if client.poll() == 0:
                reports.append(json.loads((folder / f"client-{number}").read_text()))
                problems += reports[-1]["mismatches"]
            else:
                problems.append(f"client {number} has no report, its exit code is {client.poll()}")
        problems += [
            f"a worker had {one['fds']} descriptors before the load and {other['fds']} after it"
            for one, other in zip(before, after, strict=True)
            if other["fds"] > one["fds"] + LEFT_FDS
        ]
        if (done := sum(report["done"] for report in reports)) < arguments.requests:
            problems.append(f"{done:,} of {arguments.requests:,} requests were answered in time")
        counts = json.loads(backends.communicate(timeout=30)[0])
        rows, found = compare(metrics, reports)
        problems += found
        posts, found = compare_posts(folder)
        problems += found
        memory, found = compare_memory(seen.readings)
        problems += found
    finally:
        for process in (backends, *clients):
            if process.poll() is None:
                process.kill()
                process.wait()
    lines = [
        *told(arguments.requests, took, used, reports, metrics, seen),
        f"{posts}.",
        "Requests at the backends: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ".",
        "Descriptors of the workers before the load and after it: "
        + ", ".join(f"{one['fds']} and {other['fds']}" for one, other in zip(before, after, strict=True))
        + ".",
        "",
        *rows,
        "",
        *memory,
    ]
    return lines, problems


def main() -> int:
    """Run and report. Returns the exit code."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="terraster-soak-") as folder:
        lines, problems = soak(arguments, Path(folder))
    print("\n".join(lines))
    print()
    for problem in problems[: arguments.show]:
        print(f"WRONG: {problem}")
    print(f"{len(problems)} problems" if problems else "Nothing was wrong.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
