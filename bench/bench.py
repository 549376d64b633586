"""Terraster, nginx, HAProxy and Envoy side by side: the cost of a proxied request.

    make bench                                            # everything, about 45 minutes
    make bench ARGS="--cases small,close --rounds 5"
    make bench ARGS="--cases 100k,1m --mtu 1500"          # packets as in most networks, in a network namespace of its own
    make bench ARGS="--cases small --running mine=http://127.0.0.1:9000/@4711"      # compare with something already running

Every peer runs one worker on the same backend. Rounds are interleaved: each case runs on each peer in turn, and the order rotates. So other
work of the machine affects all peers alike. The ratio to nginx is taken within each round. CPU is the user and system time of the whole
process tree during the load, divided by the requests that wrk counted. The table has the median, the least and the greatest round.

This is not a test: figures depend on the machine, ratios less so. Requests per second mean little if load, backend and proxy share cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from peers import PEERS, Backend, Peer, launch
from place import isolate, program
from tree import cpu_seconds, memory
from wrk import CASES, Case, run, url_of

WARM_UP = 1  # seconds of load before the measured ones: pools fill, buffers grow


@dataclass(frozen=True)
class Sample:
    """One peer under one case in one round. Microseconds of CPU per request, requests per second, seconds, octets."""

    cpu: float
    user: float
    system: float
    rate: float
    p50: float
    p99: float
    rss: int
    pss: int
    requests: int
    errors: int
    p99_corrected: float = 0.0  # as wrk prints it


def measure(peer: Peer, case: Case, seconds: float, connections: int, prefix: tuple[str, ...]) -> Sample:
    """Load one peer once."""
    url = url_of(peer, case)
    run(url, case, seconds=WARM_UP, connections=connections, prefix=prefix)
    user, system = cpu_seconds(peer.pid)
    load = run(url, case, seconds=seconds, connections=connections, prefix=prefix)
    user_after, system_after = cpu_seconds(peer.pid)
    rss, pss = memory(peer.pid)
    peer.forget_log()
    count = max(1, load.requests)
    user, system = (user_after - user) / count * 1e6, (system_after - system) / count * 1e6
    return Sample(
        user + system,
        user,
        system,
        load.requests / load.seconds,
        load.p50,
        load.p99,
        rss,
        pss,
        load.requests,
        load.errors,
        load.p99_corrected,
    )


def report(which: str, case: Case, peer: Peer, sample: Sample) -> None:
    """Print the progress on standard error."""
    log = "on " if peer.log else "off"
    errors = f"  {sample.errors} errors" if sample.errors else ""
    line = f"{which}  {case.name:11} log {log}  {peer.name:10} {sample.cpu:8.1f} µs {sample.rate:9,.0f}/s{errors}"
    print(line, file=sys.stderr, flush=True)


Key = tuple[str, bool, str]  # case, log, peer
Results = dict[Key, list[Sample]]


def ratio(results: Results, case: str, log: bool, peer: str) -> float | None:
    """Median over the rounds of this peer's CPU per request divided by nginx's in the same round."""
    reference = results.get((case, log, "nginx"))
    if not reference:
        return None
    return median(own.cpu / other.cpu for own, other in zip(results[case, log, peer], reference, strict=True) if other.cpu)


def summary(results: Results) -> str:
    """CPU per request and its ratio to nginx, in Markdown: a row for each case, a column for each peer."""
    peers = list(dict.fromkeys(peer for _, _, peer in results))
    lines = ["| CPU µs/request (÷ nginx) | access log | " + " | ".join(peers) + " |", "|---|---|" + "---|" * len(peers)]
    for case, log in dict.fromkeys((case, log) for case, log, _ in results):
        cells = []
        for peer in peers:
            samples = results.get((case, log, peer))
            times = ratio(results, case, log, peer) if samples else None
            cells.append((f"{median(s.cpu for s in samples):.1f}" if samples else "") + (f" ({times:.2f})" if times else ""))
        lines.append(f"| {CASES[case].title} | {'on' if log else 'off'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(results: Results) -> str:
    """All figures in Markdown, a row for each case and peer."""
    lines = [
        "| case | access log | proxy | CPU µs/request (least-most) | ÷ nginx | requests/s | p50 ms | p99 ms | wrk's p99 | RSS MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (case, log, peer), samples in results.items():
        cpus = [sample.cpu for sample in samples]
        times = ratio(results, case, log, peer)
        corrected = median(sample.p99_corrected for sample in samples)
        lines.append(
            f"| {CASES[case].title} | {'on' if log else 'off'} | {peer} | {median(cpus):.1f} ({min(cpus):.1f}-{max(cpus):.1f}) "
            f"| {'' if times is None else f'{times:.2f}'} | {median(s.rate for s in samples):,.0f} "
            f"| {median(s.p50 for s in samples) * 1e3:.2f} | {median(s.p99 for s in samples) * 1e3:.2f} "
            f"| {f'{corrected * 1e3:.2f}' if corrected else ''} | {median(s.rss for s in samples) / 2**20:.0f} |"
        )
    return "\n".join(lines)


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
    return found.group() if found else "?"


def conditions(arguments: argparse.Namespace) -> str:
    """One line with the date, the machine and the versions."""
    kernel = platform.release().split("-")[0]
    versions = [f"Python {platform.python_version()}"]
    if "nginx" in arguments.peers:
        versions.append("nginx " + _version([program("nginx"), "-v"]))
    if "haproxy" in arguments.peers:
        versions.append("HAProxy " + _version([program("haproxy"), "-v"]))
    if "envoy" in arguments.peers:
        versions.append("Envoy " + _version([program("envoy"), "--version"]))
    return (
        f"{time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores, Linux {kernel}, {', '.join(versions)}; "
        f"{arguments.connections} connections, {arguments.rounds} rounds of {arguments.seconds} s, "
        f"one worker each{', pinned' if arguments.pin else ''}{f', MTU {arguments.mtu}' if arguments.mtu else ''}."
    )


def _names(known: Iterable[str]) -> object:
    """An argparse type: names from ``known``, separated by commas."""

    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name}: there is {', '.join(known)}")
        return names

    return parse


def _running(text: str) -> Peer:
    """An argparse type: NAME=URL@PID."""
    found = re.fullmatch(r"([^=]+)=(http://.+)@(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text}: want NAME=http://HOST:PORT@PID")
    return Peer(found[1], False, found[2], int(found[3]))


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make bench", description="Compare what a proxied request costs Terraster, nginx, HAProxy and Envoy."
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: 3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of each measured load (default: 4)")
    parser.add_argument("--connections", type=int, default=64, help="connections of wrk (default: 64)")
    parser.add_argument(
        "--cases", type=_names(CASES), default=list(CASES), metavar="NAME,…", help=f"of {', '.join(CASES)} (default: all)"
    )
    parser.add_argument(
        "--peers",
        type=_names(PEERS),
        default=["terraster", "terraster-pure", "nginx", "haproxy", "envoy"],
        metavar="NAME,…",
        help=f"of {', '.join(PEERS)} (default: the first five)",
    )
    parser.add_argument("--log", choices=["on", "off", "both"], default="both", help="access log (default: both)")
    parser.add_argument("--pin", action="store_true", help="proxies on the last core, load and backend on the others (taskset)")
    parser.add_argument("--mtu", type=int, help="run all in a network namespace whose loopback has this MTU, 1500 for instance")
    parser.add_argument(
        "--running", type=_running, action="append", default=[], metavar="NAME=URL@PID", help="also measure this process tree"
    )
    parser.add_argument(
        "--backend-ports", type=lambda text: tuple(int(port) for port in text.split(",")), metavar="A,B", help="fixed backend ports"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison. Exit code 1 if any load met an error."""
    arguments = parse_arguments(argv)
    if arguments.mtu:
        isolate(arguments.mtu)
    cores = os.cpu_count() or 1
    near: tuple[str, ...] = ("taskset", "-c", str(cores - 1)) if arguments.pin else ()
    far: tuple[str, ...] = ("taskset", "-c", f"0-{max(0, cores - 2)}") if arguments.pin else ()
    logs = {"on": [True], "off": [False], "both": [False, True]}[arguments.log]
    results: Results = {}
    faults = 0
    program("wrk")
    with tempfile.TemporaryDirectory(prefix="terraster-bench-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # if root starts nginx, its worker runs as another user
        backend = None
        peers: list[Peer] = []
        try:
            backend = Backend(folder, arguments.backend_ports, far)
            for log in logs:
                for name in arguments.peers:
                    peers.append(launch(name, log, folder, backend.ports, near, calls=backend.calls))
            peers += arguments.running
            for number in range(arguments.rounds):
                for case in (CASES[name] for name in arguments.cases):
                    for log in logs:
                        among = [
                            peer
                            for peer in peers
                            if peer.log == log and (peer.tls_url or not case.tls) and (peer.calls or not case.call)
                        ]
                        for peer in among[number % len(among) :] + among[: number % len(among)] if among else []:
                            sample = measure(peer, case, arguments.seconds, arguments.connections, far)
                            results.setdefault((case.name, log, peer.name), []).append(sample)
                            faults += sample.errors
                            report(f"round {number + 1}/{arguments.rounds}", case, peer, sample)
        finally:
            for peer in peers:
                if peer.running:
                    peer.running.stop()
            if backend:
                backend.running.stop()
    order = {name: number for number, name in enumerate([*arguments.peers, *(peer.name for peer in arguments.running)])}
    results = dict(sorted(results.items(), key=lambda item: (list(CASES).index(item[0][0]), item[0][1], order[item[0][2]])))
    print("\n\n".join([conditions(arguments), summary(results), table(results)]))
    if arguments.json:
        rows = [
            {
                "case": case,
                "log": log,
                "peer": peer,
                "ratio": ratio(results, case, log, peer),
                "samples": [asdict(s) for s in samples],
            }
            for (case, log, peer), samples in results.items()
        ]
        arguments.json.write_text(json.dumps({"conditions": conditions(arguments), "results": rows}, indent=1) + "\n")
    if faults:
        print(f"bench: {faults} requests failed", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
