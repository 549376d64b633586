"""The cost of a pick with its `done`, for each algorithm, with few and many backends. Only the balancers run, without processes and sockets.

    .venv/bin/python bench/picks.py [--members 3,10,100,1000,10000] [--up N] [--busy N] [--rounds 10] [--algorithms A,B]

Prints a Markdown table of nanoseconds of CPU, the least of some rounds. Weights are equal, there are two workers' seats, every backend is
up (``--up N``: only N of them, spread evenly), and no request is in flight (``--busy N``: N at each backend, of another worker). For the
hashes a second table has the cost of building a ring and of a look-up. Takes some minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from terraster.balance.contract import Member
from terraster.balance.registry import BALANCERS, make
from terraster.balance.ring import Ring
from terraster.config.snapshot import Backend, Location, Sticky
from terraster.exchange import Exchange
from terraster.state.cells import BackendCells, Seat, SeatBackend
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.http1 import parse_request

VARIANTS = {
    "consistent-hash, bounded": Location("s/", "/", "consistent-hash", hash_on="path", hash_balance_factor=1.25),
    "weighted-round-robin, weights 1 2 3": Location("s/", "/", "weighted-round-robin"),
    "sticky-session, with its cookie": Location("s/", "/", "sticky-session", sticky=Sticky(key=b"k")),
}


def members(count: int, weights: tuple[int, ...] = (1,)) -> list[Member]:
    """This many backends, as the first of two workers sees them."""
    table = Table(count, 1, 3)
    for seat in (1, 2):
        table.q[table.seat(seat) + Seat.PID] = seat
    view = SeatView(table)
    view.sit(1)
    found = []
    for slot in range(count):
        url = f"http://10.0.{slot // 250}.{slot % 250}:8080"
        backend = Backend(f"s/ {url}", url, "http", url[7:-5], 8080, weight=weights[slot % len(weights)], slot=slot)
        table.q[table.backend(slot) + BackendCells.ADMIT] = BackendCells.ALL
        found.append(Member(backend, view))
    return found


def exchange(cookie: bytes = b"") -> Exchange:
    """A request like that of a browser."""
    fields = b"Host: example.com\r\nUser-Agent: x\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n" + cookie
    head = parse_request(b"GET /a/b HTTP/1.1\r\n%b\r\n" % fields, 65536, 100)
    made = Exchange(0.0, 0.0, "192.0.2.1", "192.0.2.1", "http", head)
    made.path = b"/a/b"
    return made


def pick_cost(name: str, count: int, rounds: int, up: int = 0, busy: int = 0) -> float:
    """Nanoseconds for a pick, the calls between, and a done."""
    location = VARIANTS.get(name, Location("s/", "/", name))
    here = members(count, (1, 2, 3) if "weights" in name else (1,))
    table = here[0].view.table
    for slot in range(count):
        if up and slot % max(1, count // up):
            table.q[table.backend(slot) + BackendCells.ADMIT] = BackendCells.NONE
        table.q[table.seat_backend(2, slot) + SeatBackend.ACTIVE] = busy
    balancer = make(location, here)
    balancer.prepare()
    request = exchange()
    if "cookie" in name:
        request.backend = balancer.members[0]
        line = balancer.set_cookie(request)
        request = exchange(line.replace(b"Set-Cookie", b"Cookie", 1))
    pick, done, answered, measures = balancer.pick, balancer.done, balancer.answered, balancer.measures
    clock = time.process_time_ns
    now = time.monotonic()
    number = 10
    best = 0.0
    while rounds:
        begun = clock()
        for turn in range(number):
            now += 0.0001
            member = pick(request, (), now)
            assert member is not None
            if measures:
                answered(member, 0.001 + (turn & 7) * 0.0001, now)
            done(member, False, now)
        took = clock() - begun
        if took < 20_000_000:
            number *= 2
            continue
        best = min(best or took / number, took / number)
        rounds -= 1
    return best


def ring_cost(count: int, rounds: int) -> tuple[float, float]:
    """Milliseconds to build a ring, and nanoseconds to find the owner of a key in it."""
    shape = [(member.backend.id, member.weight) for member in members(count)]
    keys = [b"10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255) for number in range(20_000)]
    build = look = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        ring = Ring(shape)
        built = time.process_time()
        for key in keys:
            ring.owners[ring.place(key)]
        build = min(build, (built - begun) * 1e3)
        look = min(look, (time.process_time() - built) * 1e9 / len(keys))
    return build, look


def main() -> None:
    options = argparse.ArgumentParser(description="The cost of a pick.")
    options.add_argument("--members", default="3,10,100,1000,10000")
    options.add_argument("--up", type=int, default=0)
    options.add_argument("--busy", type=int, default=0)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--algorithms", default="")
    given = options.parse_args()
    counts = [int(count) for count in given.members.split(",")]
    names = given.algorithms.split(",") if given.algorithms else sorted({*BALANCERS, *VARIANTS})
    print("| ns per pick and done | " + " | ".join(f"{count}" for count in counts) + " |")
    print("|---|" + "---:|" * len(counts))
    for name in names:
        print(
            f"| {name} | "
            + " | ".join(f"{pick_cost(name, count, given.rounds, given.up, given.busy):,.0f}" for count in counts)
            + " |",
            flush=True,
        )
    print("\n| ring of | " + " | ".join(f"{count}" for count in (*counts, 1000)) + " |")
    print("|---|" + "---:|" * (len(counts) + 1))
    costs = [ring_cost(count, given.rounds) for count in (*counts, 1000)]
    print("| ms to build | " + " | ".join(f"{build:.1f}" for build, _ in costs) + " |")
    print("| ns to look up | " + " | ".join(f"{look:,.0f}" for _, look in costs) + " |")


if __name__ == "__main__":
    main()
