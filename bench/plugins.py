"""The cost of plugins: of a guarded call, and of plugins that fail to the requests of others.

    .venv/bin/python bench/plugins.py [--seconds 60] [--rate 5] [--kinds loop,sleep,raise,deep] [--faults 5]

First the nanoseconds that the guard adds to a call. Then, for each way to fail, one Terraster with one worker and two services: one has the
plugin, the other has not. `CLIENTS` kept connections ask the other service, each every `PACE` seconds. A request that is late because one
before it had to wait counts from the time at which it was due.

In every second round of `ROUND` seconds ``rate`` requests a second meet the plugin. So both kinds of rounds have the same process and, nearly,
the same machine beside them. The table has the latencies of the other service in both, and the answers of the plugin. A row "at first" has
the first two rounds, in which the plugin comes into quarantine, and one "later" has the others. Shares are those of the median round, so
that a few seconds in which the machine was busy with something else do not count.

faults: of the plugin's entry. A large number means that the plugin is never put into quarantine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from terraster.plugins.guard import Guard

ROOT = Path(__file__).resolve().parent.parent

ROUND = 2.0
"""Seconds of a round."""

CLIENTS = 4
PACE = 0.01

PLUGIN = """
import time


class Faulty:
    name = "faulty"

    def on_request(self, request):
        match request.path:
            case "/loop":
                while True:
                    pass
            case "/sleep":
                time.sleep(60)
            case "/raise":
                raise ValueError("no")
            case "/deep":
                self.deep()

    def deep(self):
        self.deep()
"""


def empty(request: object) -> None:
    """The hook of a plugin that does nothing."""


def guarded(calls: int = 200_000, rounds: int = 9) -> tuple[float, float]:
    """Nanoseconds of CPU of a plain call and of a guarded one: the least of some rounds."""
    guard, plain, through = Guard(), [], []
    for _ in range(rounds):
        began = time.process_time_ns()
        for _ in range(calls):
            empty(None)
        plain.append((time.process_time_ns() - began) / calls)
        began = time.process_time_ns()
        for _ in range(calls):
            guard.call(256, 0.05, empty, None)
        through.append((time.process_time_ns() - began) / calls)
    guard.close()
    return min(plain), min(through)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def ask(connection: socket.socket, host: str, path: str) -> int:
    """The status of a request on a kept connection."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    held = b""
    while b"\r\n\r\n" not in held:
        more = connection.recv(65536)
        if not more:
            return 0
        held += more
    head, _, body = held.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ")[1])


def latencies(port: int, host: str, seconds: float, found: list[float]) -> None:
    """Ask at a pace for a time, and note how long each answer took, from the time at which its request was due."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = time.monotonic() + PACE * random.random()
        end = due + seconds
        while due < end:
            time.sleep(max(0.0, due - time.monotonic()))
            assert ask(connection, host, "/") == 200
            found.append(time.monotonic() - due)
            due += PACE


def faults(port: int, path: str, rate: float, seconds: float, statuses: dict[int, int]) -> None:
    """Ask the service with the plugin at a rate, each time on a connection of its own."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            status = ask(connection, "plugged.test", path)
        statuses[status] = statuses.get(status, 0) + 1
        time.sleep(1 / rate)


def measure(port: int, kind: str, rate: float, seconds: float, statuses: dict[int, int]) -> list[float]:
    """The latencies of a round. kind: "" for no requests to the plugin"""
    found: list[list[float]] = [[] for _ in range(CLIENTS)]
    threads = [threading.Thread(target=latencies, args=(port, "plain.test", seconds, one)) for one in found]
    if kind:
        threads.append(threading.Thread(target=faults, args=(port, f"/{kind}", rate, seconds, statuses)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for some in found for one in some]


def share_of(times: list[float], share: float) -> float:
    """The latency that this share of requests did not exceed."""
    return sorted(times)[int(len(times) * share)]


def rows(port: int, kind: str, rate: float, seconds: float) -> str:
    """The two rows of a table about one kind of faults."""
    lines = []
    for when, rounds in (("at first", 1), ("later", max(1, int(seconds / (2 * ROUND)) - 1))):
        alone: list[list[float]] = []
        beside: list[list[float]] = []
        statuses: dict[int, int] = {}
        for _ in range(rounds):
            alone.append(measure(port, "", rate, ROUND, statuses))
            beside.append(measure(port, kind, rate, ROUND, statuses))
        cells = [f"{kind}, {when}", str(sum(map(len, alone + beside)))]
        for share in (0.5, 0.9, 0.99):
            one, other = (statistics.median(share_of(times, share) for times in some) * 1000 for some in (alone, beside))
            cells.append(f"{one:.2f} → {other:.2f} ms ({(other / one - 1) * 100:+.0f} %)")
        cells.append(f"{max(map(max, alone)) * 1000:.0f} → {max(map(max, beside)) * 1000:.0f} ms")
        cells.append(", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="The cost of plugins.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=5)
    parser.add_argument("--kinds", default="loop,sleep,raise,deep")
    parser.add_argument("--faults", type=int, default=5)
    arguments = parser.parse_args()
    plain, through = guarded()
    print(f"a call: {plain:.0f} ns; guarded: {through:.0f} ns; the guard: {through - plain:.0f} ns\n")
    print("| plugin | requests of others | p50 | p90 | p99 | longest | answers of the plugin |\n|---|---|---|---|---|---|---|")
    for kind in arguments.kinds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(one_run(Path(folder), kind, arguments), flush=True)


def one_run(folder: Path, kind: str, arguments: argparse.Namespace) -> str:
    """The rows of one kind of faults, measured in a Terraster of its own."""
    port = free_port()
    (folder / "plugins").mkdir(mode=0o755)
    (folder / "plugins" / "faulty.py").write_text(PLUGIN)
    answer = {"respond": {"body": "x" * 128}, "path": "/"}
    config = {
        "listen": f"127.0.0.1:{port}",
        "runtime_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
        "workers": 1,
        "admin_api": {"enabled": False},
        "metrics": "off",
        "access_log": "off",
        "middleware": [{"faulty": {"faults": arguments.faults}}],
        "services": [
            {"name": "plain", "host": "plain.test", "plugin_disabled": True, "locations": [answer]},
            {"name": "plugged", "host": "plugged.test", "locations": [answer]},
        ],
    }
    (folder / "terraster.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "terraster.cli.main", "--config", str(folder / "terraster.yaml")]
    with open(folder / "out", "wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as one:
                        ask(one, "plain.test", "/")
                        break
                except OSError:
                    time.sleep(0.1)
            measure(port, "", arguments.rate, 1, {})
            return rows(port, kind, arguments.rate, arguments.seconds)
        finally:
            running.terminate()
            running.wait(40)


if __name__ == "__main__":
    main()
