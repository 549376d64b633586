"""A whole request with few and with many backends: its cost, and what comes with a crowd of connections.

    python bench/crowds.py                                       # 10 and 1,000 backends, four algorithms and nginx: about 4 minutes
    python bench/crowds.py --algorithms round-robin --members 10,100,1000 --rounds 5

One worker, 64 clients that ask again and again for 128 octets. The backends are one nginx that listens on so many addresses of loopback.
Rounds are interleaved. Everything runs in a network namespace of its own, so that the kernel's counters are those of this load:

- `connections`: that the proxy has to backends, at the end of a round
- `segments`: all that TCP sent for each request; an answer through a proxy needs four. A connection to a backend that rests for more than 40 ms
  between two requests needs a fifth: the kernel acknowledges an answer at once, as it expects no request to do so.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

from peers import NGINX_HEAD, PEERS, Peer, launch, start
from place import Place, isolate, program
from tree import cpu_seconds, members
from workers import held_by
from wrk import CASES, run

PORT = 8000
ALGORITHMS = "round-robin,least-connections,response-time,random-two"


def address(number: int) -> str:
    """That of a backend."""
    return f"127.{1 + number // 250}.0.{1 + number % 250}"


def backends(folder: Path, count: int) -> list[str]:
    """The command of nginx as so many backends."""
    listens = "\n".join(f"listen {address(number)}:{PORT};" for number in range(count))
    config = folder / "crowd.conf"
    head = NGINX_HEAD.format(folder=folder, name="crowd").replace("8192", "16384")
    config.write_text(
        f"""{head} access_log off; keepalive_requests 100000000; keepalive_timeout 300s;
    server {{ {listens} location / {{ return 200 "{"x" * 128}"; }} }}
}}
"""
    )
    return [program("nginx"), "-e", f"{folder}/crowd.error.log", "-c", str(config)]


def terraster(place: Place) -> list[str]:
    """Terraster with the backends and the algorithm of ``place.here``, "ALGORITHM COUNT"."""
    algorithm, count = place.here.split()
    members = ", ".join(f"{{url: 'http://{address(number)}:{PORT}'}}" for number in range(int(count)))
    command = PEERS["terraster"](
        Place(place.folder, place.name, place.port, place.tls_port, place.h2c_port, place.backends, None, place.certificate)
    )
    config = Path(command[-1])
    text, _, _ = config.read_text().partition("  - name: plain")
    config.write_text(
        f"""{text}  - name: crowd
    host: "*"
    listen: ["127.0.0.1:{place.port}"]
    locations: [{{path: /, lb_policy: {algorithm}, health_check: off, backends: [{members}]}}]
"""
    )
    return command


def nginx(place: Place) -> list[str]:
    """nginx with the same backends, and room for an idle connection to each."""
    command = PEERS["nginx"](place)
    config = Path(command[-1])
    servers = " ".join(f"server {address(number)}:{PORT};" for number in range(int(place.around.split()[1])))
    text = config.read_text().replace(place.around, "")
    first, _, rest = text.partition("upstream backends {")
    config.write_text(f"{first}upstream backends {{ {servers} keepalive 4096;{rest[rest.index('}') :]}")
    return command


@dataclass(frozen=True)
class Sample:
    """One load: microseconds of CPU for a request, requests per second, and the last two columns."""

    user: float
    system: float
    rate: float
    connections: float
    segments: float


def segments() -> int:
    """The number of segments that TCP has sent in this network namespace."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("OutSegs")])


def connections(peer: Peer) -> int:
    """The open connections of a peer to backends."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    those = {f"socket:[{row[9]}]" for row in rows if int(row[2].rpartition(":")[2], 16) == PORT and row[3] == "01"}
    return sum(held_by(pid, those) for pid in members(peer.pid))


def measure(peer: Peer, seconds: int, clients: int) -> Sample:
    """Load one peer once."""
    run(peer.url, CASES["small"], seconds=1, connections=clients)
    user, system = cpu_seconds(peer.pid)
    before = segments()
    load = run(peer.url, CASES["small"], seconds=seconds, connections=clients)
    sent = segments() - before
    user_after, system_after = cpu_seconds(peer.pid)
    count = max(1, load.requests)
    if load.errors:
        raise SystemExit(f"bench: {peer.name}: {load.errors} requests failed")
    return Sample(
        (user_after - user) / count * 1e6,
        (system_after - system) / count * 1e6,
        load.requests / load.seconds,
        connections(peer),
        sent / count,
    )


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--members", default="10,1000", help="numbers of backends (default: 10,1000)")
    parser.add_argument("--algorithms", default=ALGORITHMS, help=f"of Terraster (default: {ALGORITHMS})")
    parser.add_argument("--clients", type=int, default=64, help="connections of wrk (default: 64)")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    isolate(65536)
    PEERS["terraster crowd"], PEERS["nginx crowd"] = terraster, nginx
    counts = [int(count) for count in arguments.members.split(",")]
    with tempfile.TemporaryDirectory(prefix="terraster-bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        behind = start(backends(folder, max(counts)), folder, "crowd")
        running = [behind]
        try:
            behind.wait_for(f"http://{address(0)}:{PORT}/128")
            started: list[tuple[str, int, Peer]] = []
            for algorithm in [*arguments.algorithms.split(","), "nginx"]:
                for count in counts:
                    label = f"{algorithm}-{count}"
                    fact = {"around": f"#crowd {count}\n"} if algorithm == "nginx" else {"here": f"{algorithm} {count}"}
                    kind = "nginx crowd" if algorithm == "nginx" else "terraster crowd"
                    peer = launch(kind, False, folder, (PORT, PORT), label=label, **fact)
                    assert peer.running is not None
                    running.append(peer.running)
                    started.append((algorithm, count, peer))
            rows: dict[tuple[str, int], list[Sample]] = {}
            for number in range(arguments.rounds):
                at = number % len(started)
                for algorithm, count, peer in started[at:] + started[:at]:
                    sample = measure(peer, arguments.seconds, arguments.clients)
                    rows.setdefault((algorithm, count), []).append(sample)
                    print(f"round {number + 1}: {algorithm} {count}: {sample}", file=sys.stderr, flush=True)
        finally:
            for process in running[::-1]:
                process.stop()
    print("| algorithm | backends | CPU µs/request | user | system | requests/s | connections | segments |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for (algorithm, count), samples in rows.items():
        user, system, rate, held, sent = (median(column) for column in zip(*map(astuple, samples), strict=True))
        print(
            f"| {algorithm} | {count:,} | {user + system:.1f} | {user:.1f} | {system:.1f} | {rate:,.0f} | {held:,.0f} "
            f"| {sent:.2f} |"
        )


if __name__ == "__main__":
    main()
