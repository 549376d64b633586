"""`terraster bench` beside wrk and h2load: the same load on the same server, in turns, with one process each.

    python bench/generators.py [--rounds N] [--seconds N] [--cases NAME,…]

The server and its backend have the first core, the load generator the last one, so that the server is the limit where it takes longer for a
request than the load generator does. On a busy machine a small request took 9 to 10 µs of CPU in wrk, 4.5 in h2load, and 8 to 12 in
`terraster bench` (2026-11-29, 32 connections, or 8 with 32 streams, to an nginx that answers itself).
Ratios are taken within each round, and the table has their medians. "Their p99" is without the latencies that wrk adds (`lua/report.lua`).
With a connection for each request the two mean different things: latencies of `terraster bench` begin before the connection, those of wrk when
the request is sent.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import wrk
from peers import ROOT, Backend, Peer, launch
from place import program

CASES = {
    "nginx-small": ("nginx", "small"),
    "nginx-close": ("nginx", "close"),
    "nginx-100k": ("nginx", "100k"),
    "nginx-tls": ("nginx", "tls"),
    "terraster-small": ("terraster", "small"),
    "terraster-post": ("terraster", "post"),
    "terraster-h2c": ("terraster", "h2c"),
    "terraster-h2": ("terraster", "h2"),
}
CONNECTIONS, CONNECTIONS_OF_HTTP2 = 64, 8


@dataclass(frozen=True)
class Found:
    """A run of `terraster bench`. busy: share of a core that it used or waited for"""

    rate: float
    p50: float
    p99: float
    errors: int
    busy: float


def ours(url: str, case: wrk.Case, seconds: int, folder: Path, prefix: tuple[str, ...]) -> Found:
    """Run `terraster bench`, with the load that `wrk.run` makes of the case."""
    connections = CONNECTIONS_OF_HTTP2 if case.streams else CONNECTIONS
    words = ["--url", url.rstrip("/") + case.path, "-c", str(connections), "-d", f"{seconds}s", "--workers", "1", "--json"]
    if case.streams:
        words += ["--http2", "--streams", str(case.streams)]
    if case.tls:
        words.append("--insecure")
    if case.close:
        words.append("--no-keepalive")
    if case.post:
        body = folder / "body"
        body.write_bytes(b"x" * case.post)
        words += ["--body", f"@{body}"]
    command = [*prefix, sys.executable, "-m", "terraster.cli.main", "bench", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the load failed on {url}: {done.stderr}")
    figures = json.loads(done.stdout)
    times, generator = figures["latency_seconds"], figures["generator"]
    busy = generator["busiest_core_share"] + generator["busiest_wait_share"]
    return Found(figures["requests_per_second"], times["p50"], times["p99"], figures["failed"], busy)


def row(name: str, pairs: list[tuple[Found, wrk.Load]]) -> str:
    """A line of the table: medians over all rounds. Theirs, ours, and the ratios within rounds."""

    def rate(load: wrk.Load) -> float:
        return load.requests / load.seconds

    median = statistics.median
    cells = [
        name,
        f"{median(rate(their) for _, their in pairs):,.0f}",
        f"{median(own.rate for own, _ in pairs):,.0f}",
        f"{median(own.rate / rate(their) for own, their in pairs):.2f}",
        f"{median(their.p50 for _, their in pairs) * 1e3:.2f}",
        f"{median(own.p50 for own, _ in pairs) * 1e3:.2f}",
        f"{median(their.p99 for _, their in pairs) * 1e3:.2f}",
        f"{median(their.p99_corrected for _, their in pairs) * 1e3:.2f}" if pairs[0][1].p99_corrected else "",
        f"{median(own.p99 for own, _ in pairs) * 1e3:.2f}",
        f"{median(own.p99 / their.p99 for own, their in pairs):.2f}",
        f"{median(own.busy for own, _ in pairs):.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the comparison. Exit code 1 if a request failed."""
    parser = argparse.ArgumentParser(description="Compare terraster bench with wrk and h2load.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, in each of which both take their turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=2, help="length of each load (default: 2)")
    parser.add_argument("--cases", default=",".join(CASES), metavar="NAME,…", help=f"of {', '.join(CASES)} (default: all)")
    arguments = parser.parse_args()
    program("wrk"), program("h2load")
    last = (os.cpu_count() or 1) - 1
    near, far = ("taskset", "-c", "0"), ("taskset", "-c", str(last))
    failed = 0
    print(
        "| server and case | theirs/s | ours/s | ÷ | their p50, ms | ours | their p99, ms | as wrk prints it | ours | ÷ | busy |\n|"
        + "---|" * 11
    )
    with tempfile.TemporaryDirectory(prefix="terraster-bench-") as made:
        folder = Path(made)
        os.chmod(folder, 0o755)  # if root starts nginx, its worker runs as another user
        backend = Backend(folder, None, near)
        peers: dict[str, Peer] = {}
        try:
            for name in arguments.cases.split(","):
                server, kind = CASES[name]
                case = wrk.CASES[kind]
                if server not in peers:
                    peers[server] = launch(server, False, folder, backend.ports, near)
                url = wrk.url_of(peers[server], case)
                pairs = []
                for number in range(arguments.rounds):
                    own = ours(url, case, arguments.seconds, folder, far) if number % 2 else None
                    their = wrk.run(url, case, seconds=arguments.seconds, connections=CONNECTIONS, prefix=far)
                    pairs.append((own or ours(url, case, arguments.seconds, folder, far), their))
                failed += sum(own.errors + their.errors for own, their in pairs)
                print(row(f"{server}: {case.title}", pairs), flush=True)
        finally:
            for running in [backend.running, *(peer.running for peer in peers.values())]:
                if running is not None:
                    running.stop()
    if failed:
        print(f"bench: {failed} requests failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
