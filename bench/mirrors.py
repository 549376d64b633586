"""The latency of requests beside their copies: mirrors to servers that answer, are away or are stuck.

    python bench/mirrors.py [--rounds 5] [--seconds 2] [--rate 400]

One Terraster with a worker for each kind of target, and one without a mirror, run at the same time. Within a round they take turns under the
same random arrivals (`open_loop.py`), so that all of them meet what else the machine does. Each figure is the median over the rounds;
"least p99" is that of the round in which the machine disturbed least.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from open_loop import arrivals, load
from peers import ROOT, Backend, Peer, free_port, launch
from tree import cpu_seconds

sys.path.insert(0, str(ROOT))

HEAD = [bytes((octet,)) for octet in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
DRIP = 0.01  # seconds between two octets


def stuck(drip: bool) -> int:
    """The port of a server that accepts and never reads. drip: it sends an answer, an octet at a time"""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    held: list[socket.socket] = []
    octets: dict[socket.socket, Iterator[bytes]] = {}

    def accept() -> None:
        while True:
            held.append(listener.accept()[0])

    def send() -> None:
        while True:
            time.sleep(DRIP)
            for sock in list(held):
                try:
                    sock.send(next(octets.setdefault(sock, itertools.chain(HEAD, itertools.repeat(b"x")))))
                except OSError:
                    held.remove(sock)
                    octets.pop(sock, None)
                    sock.close()

    threading.Thread(target=accept, daemon=True).start()
    if drip:
        threading.Thread(target=send, daemon=True).start()
    return int(listener.getsockname()[1])


def measure(peer: Peer, due: list[float]) -> tuple[float, float, float]:
    """Milliseconds of the median and of the 99th percentile, and CPU microseconds per request."""
    url = urlsplit(peer.url)
    before = sum(cpu_seconds(peer.pid))
    samples = asyncio.run(load((str(url.hostname), int(url.port or 80)), due, time.monotonic() + 0.2))
    if any(not sample.status for sample in samples):
        raise SystemExit(f"mirrors: {sum(not sample.status for sample in samples)} requests failed")
    took = sorted(sample.latency for sample in samples)
    cpu = (sum(cpu_seconds(peer.pid)) - before) / len(samples)
    return took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3, cpu * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=400.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="terraster-bench-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        backend = Backend(folder)
        targets = {
            "no mirror": 0,
            "answers": backend.ports[0],
            "away": free_port(),
            "accepts, and is silent": stuck(False),
            "sends an octet now and then": stuck(True),
        }
        running: dict[str, Peer] = {}
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in targets}
        try:
            for number, (name, port) in enumerate(targets.items()):
                here = f"mirror: {{to: 'http://127.0.0.1:{port}', timeout: 1s}}" if port else ""
                more = {"here": here} if here else {}
                running[name] = launch("terraster", False, folder, backend.ports, label=f"mirror-{number}", **more)
            for seed in range(arguments.rounds):
                due = arrivals(arguments.rate, 0.0, arguments.seconds, seed)
                for name, peer in running.items():
                    found[name].append(measure(peer, due))
        finally:
            for peer in running.values():
                if peer.running is not None:
                    peer.running.stop()
            backend.running.stop()
    print("| target of the copies | p50 ms | p99 ms | least p99 ms | CPU µs/request |\n|---|---:|---:|---:|---:|")
    for name, figures in found.items():
        p50, p99, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {min(figure[1] for figure in figures):.2f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
