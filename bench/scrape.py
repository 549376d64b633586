"""The cost of a scrape of many services for the admin worker: its CPU, its memory, and how long it keeps others waiting.

    .venv/bin/python bench/scrape.py [--services 10000] [--backends 2] [--seats 4] [--unused] [--rounds 5]

A process has a shared table in which every service is in full use, as if each of some workers had answered requests, and serves it at
/metrics as the admin worker does. Another process scrapes it over loopback. No request is proxied. The figures: user and system time
of the serving process, the growth of its resident memory at its highest, lines and octets of a scrape, and the longest answer of
/healthz in a last scrape that is not counted. The first scrape after a reload has a row of its own.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gevent

from terraster.admin.exposition import CONTENT_TYPE, exposition, make_registry
from terraster.admin.metrics import TableCollector
from terraster.admin.server import Server
from terraster.admin.site import Response, Site, json_response
from terraster.config.snapshot import Backend, Listener, Location, Service, Snapshot, backend_id, location_id
from terraster.filters.contract import counted
from terraster.filters.registry import KINDS
from terraster.net.yielding import yield_to_loop
from terraster.state.cells import STATUS_CELL, BackendCells, Seat, SeatBackend, SeatLocation
from terraster.state.table import Table

_USED = {
    SeatLocation: (
        *(STATUS_CELL[status] for status in (200, 304, 404, 503)),
        *range(SeatLocation.BYTES_IN, SeatLocation.QUEUED),
        *range(SeatLocation.QUEUE_REFUSED, SeatLocation.SLOW_CLIENTS + 1),
        *range(SeatLocation.QUEUE_TIME, SeatLocation.QUEUE_BUCKET + 9),
    ),
    SeatBackend: tuple(
        cell
        for cell in (*SeatBackend.COUNTERS, *SeatBackend.GAUGES)
        if cell not in (SeatBackend.STATUS_1XX, SeatBackend.STATUS_OTHER)
    ),
}


def configuration(services: int, backends: int) -> Snapshot:
    """So many services, with one location each."""
    made = []
    for number in range(services):
        name = f"service-{number}"
        urls = [f"http://10.{place}.{number // 250}.{number % 250}:8080" for place in range(backends)]
        rows = (
            Backend(backend_id(name, "/", url), url, "http", url[7:-5], 8080, slot=number * backends + place)
            for place, url in enumerate(urls)
        )
        made.append(
            Service(
                name, (f"{name}.example",), (":8080",), (Location(location_id(name, "/"), "/", backends=tuple(rows), slot=number),)
            )
        )
    return Snapshot(1, (Listener(":8080"),), tuple(made), workers=4)


def table_of(snapshot: Snapshot, seats: int, used: bool) -> Table:
    """A table with these proxy workers, and the counts that they would have made. Every other cell is random, from 1 to a million."""
    locations = [location for service in snapshot.services for location in service.locations]
    backends = [backend for location in locations for backend in location.backends]
    table = Table(len(backends), len(locations), seats + 2)
    q, chance = table.q, random.Random(1)
    counts = [chance.randrange(1, 1_000_000) for _ in range(4096)]
    for backend in backends:
        at = table.backend(backend.slot)
        q[at + BackendCells.STATE], q[at + BackendCells.WEIGHT], q[at + BackendCells.SINCE] = BackendCells.UP, 1, time.time_ns()
        for cell in BackendCells.COUNTERS:
            q[at + cell] = chance.choice(counts)
    for seat in range(1, seats + 2):
        at = table.seat(seat)
        q[at + Seat.PID], q[at + Seat.ROLE] = os.getpid(), Seat.ADMIN if seat > seats else Seat.PROXY
        q[at + Seat.GENERATION], q[at + Seat.HEARTBEAT] = 1, time.monotonic_ns()
    for seat in range(1, seats + 1) if used else ():
        for row in (table.seat_location(seat, location.slot) for location in locations):
            for cell in _USED[SeatLocation]:
                q[row + cell] = counts[chance.getrandbits(12)]
        for row in (table.seat_backend(seat, backend.slot) for backend in backends):
            for cell in _USED[SeatBackend]:
                q[row + cell] = counts[chance.getrandbits(12)]
    return table


def memory(word: str) -> int:
    """Octets of this process, VmRSS or VmHWM of proc(5)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(word))


def serve(listener: socket.socket, table: Table, snapshot: Snapshot) -> None:
    """Serve scrapes, and what they cost, until the process is killed."""
    registry = make_registry(TableCollector(table, lambda: snapshot, os.getppid(), yield_to_loop, counted(KINDS)))

    def facts(query: dict[str, str]) -> Response:
        found = {"cpu": time.process_time(), "now": memory("VmRSS"), "highest": memory("VmHWM")}
        Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
        return json_response(found)

    routes: dict[str, Any] = {
        "/metrics": {"GET": lambda query: Response(exposition(registry), CONTENT_TYPE)},
        "/healthz": {"GET": lambda query: Response(b"ok\n")},
        "/facts": {"GET": facts},
    }
    sum(table.q[start] for start in range(0, len(table.q), 512))  # its pages are resident before the first scrape
    gevent.reinit()
    Server(listener, Site(routes, None), None).serve_forever()


def ask(port: int, path: str) -> bytes:
    """A whole body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    answer = connection.getresponse()
    body: list[bytes] = []
    if path == "/metrics":  # counted, not kept
        octets = lines = 0
        while piece := answer.read1(1 << 18):
            octets += len(piece)
            lines += piece.count(b"\n")
        body.append(b"%d %d" % (lines, octets))
    else:
        body.append(answer.read())
    connection.close()
    return b"".join(body)


def facts_of(port: int) -> dict[str, float]:
    """See `serve`."""
    import json

    found: dict[str, float] = json.loads(ask(port, "/facts"))
    return found


def longest_answer(port: int) -> float:
    """The longest time to an answer of /healthz during a scrape, seconds."""
    scrape = threading.Thread(target=ask, args=(port, "/metrics"))
    scrape.start()
    longest = 0.0
    while scrape.is_alive():
        began = time.perf_counter()
        ask(port, "/healthz")
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.003)
    scrape.join()
    return longest


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--services", type=int, default=10_000)
    options.add_argument("--backends", type=int, default=2)
    options.add_argument("--seats", type=int, default=4)
    options.add_argument("--unused", action="store_true", help="no request was ever made")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    snapshot = configuration(chosen.services, chosen.backends)
    table = table_of(snapshot, chosen.seats, not chosen.unused)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    child = os.fork()
    if not child:
        serve(listener, table, snapshot)
    try:
        rows = []
        facts_of(port)
        for _ in range(chosen.rounds + 1):
            before, began = facts_of(port), time.perf_counter()
            lines, octets = map(int, ask(port, "/metrics").split())
            took, after = time.perf_counter() - began, facts_of(port)
            rows.append((after["cpu"] - before["cpu"], took, after["highest"] - before["now"], lines, octets))
        print("| | CPU s | time s | memory MiB | lines | MB |\n|---|---:|---:|---:|---:|---:|")
        for what, (cpu, took, grown, lines, octets) in (("first", rows[0]), ("median", sorted(rows[1:])[chosen.rounds // 2])):
            print(f"| {what} | {cpu:.2f} | {took:.2f} | {grown / 2**20:.1f} | {lines:,} | {octets / 1e6:.1f} |")
        print(f"the longest answer of /healthz meanwhile: {longest_answer(port) * 1000:.0f} ms")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
