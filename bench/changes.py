"""Changes through the management API while requests are served: how many a second, and whether each answer was true.

    python bench/changes.py [--seconds 60] [--clients 8] [--places 8] [--connections 16] [--workers 2]

Each client keeps a connection to the admin port, and changes weights of backends, connections and algorithms, one change after the other, with
the ETag of its last answer. If there are fewer places (locations) than clients, they meet: a change that comes too late is refused with 412,
and the client tries again with the ETag of the refusal. Meanwhile wrk asks for 128 octets as fast as it gets them.

At the end Terraster is killed (SIGKILL, master and workers) and started anew. The exit code is 1 if a request failed, if a value is not the one
that the last answer confirmed, before or after that, if a change that was answered has no row in the audit log, or if the log is not whole.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from peers import ROOT, Backend, Running, start
from place import free_port
from tree import members
from wrk import CASES, Load, run

sys.path.insert(0, str(ROOT))

from terraster.audit.log import AuditLog  # noqa: E402
from tests.harness.users_api import GOOD, make  # noqa: E402

ALGORITHMS = ("round-robin", "least-connections", "random-two", "ip-hash")


@dataclass
class Client:
    """One client. known: (place, what) → (generation, value) that the answers confirmed; refused: changes that came too late"""

    port: int
    token: str
    urls: list[str]
    seed: int
    places: list[str]
    made: int = 0
    refused: int = 0
    took: list[float] = field(default_factory=list)
    known: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def call(
        self, method: str, target: str, query: dict[str, str] | None = None, body: Any = None, tag: str = ""
    ) -> tuple[int, str, Any]:
        """Status, ETag and value of an answer."""
        head = {"Authorization": f"Bearer {self.token}", **({"If-Match": tag} if tag else {})}
        octets = None if body is None else json.dumps(body).encode()
        if octets is not None:
            head["Content-Type"] = "application/json"
        self._connection.request(method, f"{target}?{urlencode(query)}" if query else target, octets, head)
        answer = self._connection.getresponse()
        return answer.status, answer.headers.get("ETag", ""), json.loads(answer.read() or b"null")

    def close(self) -> None:
        """Close the connection. The next call opens another one."""
        self._connection.close()

    def work(self, end: float) -> None:
        """Change until a moment (monotonic)."""
        luck = random.Random(self.seed)
        tags = {place: self.call("GET", "/api/config", {"service_name": "site", "path": place})[1] for place in self.places}
        while time.monotonic() < end:
            place = luck.choice(self.places)
            began = time.monotonic()
            self._change(luck, place, tags)
            self.took.append(time.monotonic() - began)

    def _change(self, luck: random.Random, place: str, tags: dict[str, str]) -> None:
        url, where = luck.choice(self.urls), {"service_name": "site", "path": place}
        which = luck.randrange(4)
        if which == 0:
            what, value = "algorithm", luck.choice(ALGORITHMS)
            call: tuple[Any, ...] = ("PUT", "/api/config", {"algorithm": value}, where)
        elif which == 1:
            what, value = f"max_connections {url}", luck.randrange(100, 1000)
            call = ("PATCH", "/api/backends", {"max_connections": value}, {**where, "url": url})
        else:
            what, value = f"weight {url}", luck.randrange(1, 20)
            call = ("PATCH", "/api/backends", {"weight": value, "reason": f"load {luck.random():.3f}"}, {**where, "url": url})
        method, path, body, query = call
        while True:
            status, tag, answer = self.call(method, path, query, body, tags[place])
            if tag:
                tags[place] = tag
            if status != 412:
                break
            self.refused += 1
        if status != 200 or not tag:
            self.problems.append(f"{method} {path} {query} {body}: {status} {answer}")
            return
        self.made += 1
        if answer["generation"] <= self.known.get((place, what), (0, None))[0]:
            self.problems.append(f"{method} {path}: generation {answer['generation']} is not a later one")
        self.known[place, what] = answer["generation"], value


@dataclass
class Site:
    """A Terraster that changes."""

    folder: Path
    config: Path
    port: int
    admin_port: int
    running: Running

    def token(self) -> str:
        """A token of its user."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        body = json.dumps({"username": "ada", "password": GOOD})
        connection.request("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
        return str(json.loads(connection.getresponse().read())["token"])

    def begin(self) -> None:
        self.running = start([sys.executable, "-m", "terraster.cli.main", "--config", str(self.config)], self.folder, "site")
        self.running.wait_for(f"http://127.0.0.1:{self.port}/128")
        self.running.wait_for(f"http://127.0.0.1:{self.admin_port}/healthz")

    def kill(self) -> None:
        """SIGKILL for all of its processes."""
        everyone = members(self.running.process.pid)
        for pid in everyone:
            os.kill(pid, signal.SIGKILL)
        self.running.process.wait()


def site(folder: Path, backend: Backend, places: list[str], workers: int) -> Site:
    """A Terraster with one service of so many places."""
    port, admin_port = free_port(), free_port()
    backends = [{"url": f"http://127.0.0.1:{backend.ports[0]}", "name": "one"}, *({"url": url} for url in urls(backend)[1:])]
    settings = {
        "admin_port": admin_port,
        "metrics": False,
        "workers": workers,
        "access_log": False,
        "runtime_dir": f"{folder}/run",
        "state_dir": f"{folder}/state",
        "services": [
            {
                "name": "site",
                "host": "*",
                "listen": [f"127.0.0.1:{port}"],
                "health_check": False,
                "locations": [{"path": place, "backends": backends} for place in places],
            }
        ],
    }
    config = folder / "site.yaml"
    config.write_text(json.dumps(settings))
    (folder / "state").mkdir(mode=0o700)
    make(folder / "state" / "auth.db")
    made = Site(folder, config, port, admin_port, Running(None, folder / "site.out"))  # type: ignore[arg-type]
    made.begin()
    return made


def urls(backend: Backend) -> list[str]:
    """The backends of each place: all are the same server, under other names."""
    return [f"http://127.0.0.{at + 1}:{backend.ports[0]}" if not at else f"http://127.0.0.1:{backend.ports[1]}" for at in range(2)]


def confirmed(clients: list[Client]) -> dict[tuple[str, str], Any]:
    """(place, what) → the value of the last generation that confirmed one."""
    found: dict[tuple[str, str], tuple[int, Any]] = {}
    for client in clients:
        for key, one in client.known.items():
            found[key] = max(found.get(key, one), one, key=lambda known: known[0])
    return {key: value for key, (_, value) in found.items()}


def differences(client: Client, expected: dict[tuple[str, str], Any]) -> list[str]:
    """A line for each value that is not as it was confirmed."""
    there: dict[tuple[str, str], Any] = {}
    for place in {place for place, _ in expected}:
        where = {"service_name": "site", "path": place}
        there[place, "algorithm"] = client.call("GET", "/api/config", where)[2]["algorithm"]
        for row in client.call("GET", "/api/backends", where)[2]["items"]:
            for name in ("weight", "max_connections"):
                there[place, f"{name} {row['url']}"] = row[name]
    return [f"{key}: {there.get(key)} and not {value}" for key, value in expected.items() if there.get(key) != value]


def rows(folder: Path) -> tuple[int, str]:
    """How many changes the audit log has as done, and what is wrong with it."""
    audit = AuditLog(str(folder / "state" / "audit"), str)
    done = sum(1 for row in audit.rows() if row["outcome"] == "done" and row["action"] in ("backend.set", "location.set"))
    return done, audit.verify().problem


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--connections", type=int, default=16, help="of wrk; 0 = no load")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="for the files of the run, state_dir among them; default: that for temporary files")
    arguments = parser.parse_args()
    places = ["/", *(f"/{number}" for number in range(1, arguments.places))]
    with tempfile.TemporaryDirectory(prefix="terraster-bench-", dir=arguments.folder) as made:
        folder = Path(made)
        folder.chmod(0o755)
        backend = Backend(folder)
        try:
            proxy = site(folder, backend, places, arguments.workers)
            try:
                return measure(proxy, backend, places, arguments)
            finally:
                proxy.running.stop()
        finally:
            backend.running.stop()


def measure(proxy: Site, backend: Backend, places: list[str], arguments: argparse.Namespace) -> int:
    """Change, compare, kill, compare. Returns the exit code."""
    token = proxy.token()
    clients = [
        Client(
            proxy.admin_port,
            token,
            urls(backend),
            seed,
            places[seed % len(places) :: arguments.clients] or [places[seed % len(places)]],
        )
        for seed in range(arguments.clients)
    ]
    loads: list[Load] = []
    load = threading.Thread(
        target=lambda: loads.append(
            run(f"http://127.0.0.1:{proxy.port}", CASES["small"], seconds=arguments.seconds, connections=arguments.connections)
        )
    )
    reader = Client(proxy.admin_port, token, [], 0, [])
    before = cpu_by_process(proxy, reader)
    began = time.monotonic()
    threads = [threading.Thread(target=client.work, args=(began + arguments.seconds,)) for client in clients]
    for thread in threads:
        thread.start()
    if arguments.connections:
        load.start()
        load.join()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    after = cpu_by_process(proxy, reader)
    made, refused = sum(client.made for client in clients), sum(client.refused for client in clients)
    took = sorted(span for client in clients for span in client.took)
    problems = [problem for client in clients for problem in client.problems]
    print(
        f"{made} changes in {seconds:.1f} s: {made / seconds:.1f} a second by {len(clients)} clients on {len(places)} places",
        flush=True,
    )
    print(
        f"a change took {statistics.median(took) * 1e3:.0f} ms (p99 {took[len(took) * 99 // 100] * 1e3:.0f} ms); {refused} came too late (412)"
    )
    spent = [f"{name} {(after[name] - before[name]) / max(1, made) * 1e3:.1f}" for name in after]
    print(f"CPU ms a change: {', '.join(spent)}")
    for one in loads:
        print(f"load: {one.requests} requests, {one.errors} failed, p50 {one.p50 * 1e3:.1f} ms, p99 {one.p99 * 1e3:.1f} ms")
        if one.errors:
            problems.append(f"{one.errors} requests failed")
    expected = confirmed(clients)
    problems += differences(reader, expected)
    proxy.kill()
    proxy.begin()
    problems += [f"after SIGKILL: {one}" for one in differences(Client(proxy.admin_port, proxy.token(), [], 0, []), expected)]
    done, wrong = rows(proxy.folder)
    print(f"{len(expected)} values compared, before and after SIGKILL; {done} rows of the audit log")
    if done != made:
        problems.append(f"the audit log has {done} rows of {made} changes")
    if wrong:
        problems.append(f"the audit log is not whole: {wrong}")
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


def cpu_by_process(proxy: Site, client: Client) -> dict[str, float]:
    """Seconds of CPU of the master, the admin worker, and all workers for requests."""
    status = client.call("GET", "/api/status")[2]
    client.close()  # Terraster ends a connection that is idle for 30 s
    found = {"master": cpu_seconds_of(proxy.running.process.pid), "admin worker": 0.0, "workers": 0.0}
    for worker in status["workers"]:
        found["admin worker" if worker["role"] == "admin" else "workers"] += cpu_seconds_of(worker["pid"])
    return found


def cpu_seconds_of(pid: int) -> float:
    """User and system time of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
