"""A Terraster that is used for a day while things happen to it: nothing of it may grow.

    make soak                                      # 24 hours
    make soak ARGS="--seconds 1200"                # 20 minutes, as each night

All the time, clients use HTTP/1.1, HTTP/2, TLS with a handshake per connection, HTTP/2 over TLS, and a plugin. Each minute a certificate that
is valid for ten minutes replaces the last one, and a reload adds or removes a service and changes a header rule. Every few minutes a worker
or the admin worker is killed. One worker is never killed: its memory is watched.

The exit code is 1 if memory or descriptors of the master, the watched worker or the admin worker grew, if the shared table or the kept
generations grew, if a process runs an old generation, if a new certificate was not shown, if a reload failed, if a killed process was not
replaced, if the log has a traceback, if a load met more failures than the kills account for, or if something was counted as under way in the
end.

`soak.py` is the one that compares every answer and every count, and has clients and backends that misbehave.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from peers import Backend
from place import free_port
from soak import grown, labelled, read_worker, settle
from tree import members
from wrk import CASES, Case, run

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from terraster.master.operator.edits import KEPT  # noqa: E402
from tests.harness.terraster_process import Terraster  # noqa: E402

SLICE = 10  # seconds of each run of a load
CONNECTIONS = 8  # of a load of wrk
MINUTE = 60.0  # between two reloads
KILLS = 150.0  # seconds between two kills
VALID = timedelta(minutes=10)  # of a certificate
SLACK = 1 << 20  # octets by which memory may be above the middle third
SLACK_FDS = 32
HEAL = 30.0  # seconds within which a killed process is replaced

PLUGIN = '''
class Greeting:
    """Greets clients."""

    name = "greeting"

    def process_response(self, request, response):
        response.headers["X-Greeting"] = "hello"
'''

LOADS = ("small", "100k", "h2c", "tls-full", "h2", "close")
"""Names of `wrk.CASES`."""


@dataclass
class Reading:
    """One moment. processes: RSS, PSS (octets) and descriptors of "master", "worker" and "admin"; table: octets of the shared table
    that the kernel holds; kept: generations in the state directory"""

    second: float
    processes: dict[str, dict[str, int]]
    table: int
    kept: int


@dataclass
class Course:
    """The record of a run. failures: requests that a load saw fail"""

    readings: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    requests: int = 0
    failures: int = 0
    reloads: int = 0
    kills: int = 0


def issue(file: Path, number: int) -> int:
    """Write a certificate for 127.0.0.1 with its key over ``file``. Returns its serial number."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, f"soak {number}")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - timedelta(minutes=1), now + VALID
    )
    alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    new = file.with_suffix(".new")
    new.touch(0o600)
    new.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    new.rename(file)
    return made.serial_number


def shown(port: int) -> int:
    """The serial number of the certificate that a TLS port shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        told = secure.getpeercert(binary_form=True)
    assert told is not None
    return x509.load_der_x509_certificate(told).serial_number


class Soak:
    """One run. ports: of the backends"""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.course = Course()
        self.over = False
        self._folder, self._ports = folder, ports
        self._certificate = folder / "site.pem"
        self._serial = issue(self._certificate, 0)
        self._clear, self._secure = free_port(), free_port()
        plugins = folder / "plugins"
        plugins.mkdir(mode=0o755)
        (plugins / "greeting.py").write_text(PLUGIN)
        (plugins / "greeting.py").chmod(0o644)
        keys = {"workers": 2, "plugin_directory": str(plugins), "connection_pool": {"idle_timeout": "5s"}, "drain_timeout": "20s"}
        self.terraster = Terraster(folder / "terraster", *self._services(1), **keys)
        self.watched = min(self.terraster.workers())

    def _services(self, generation: int) -> list[dict[str, Any]]:
        backends = [{"url": f"http://127.0.0.1:{port}"} for port in self._ports]
        rule = {"request_headers": {"X-Generation": str(generation)}}
        found: list[dict[str, Any]] = [
            {
                "name": "clear",
                "host": "*",
                "listen": [f"127.0.0.1:{self._clear}"],
                "http2": True,
                "headers": rule,
                "locations": [{"path": "/", "backends": backends}],
            },
            {
                "name": "secure",
                "host": "*",
                "listen": [f"127.0.0.1:{self._secure}"],
                "tls": {"cert_file": str(self._certificate), "http2": True},
                "plugin_disabled": True,
                "locations": [{"path": "/", "backends": backends}],
            },
        ]
        if generation % 2:
            found.append({"name": "extra", "host": "extra.test", "locations": [{"path": "/", "backends": backends}]})
        return found

    # ------------------------------------------------------------------------------------------------------------------ doing

    def load(self, case: Case) -> None:
        """One kind of request, until the run is over. In a thread of its own."""
        url = f"https://127.0.0.1:{self._secure}" if case.tls else f"http://127.0.0.1:{self._clear}"
        while not self.over:
            try:
                told = run(url, case, seconds=SLICE, connections=CONNECTIONS)
            except Exception as error:  # a load that cannot be made is a result, and the others go on
                self.course.problems.append(f"the load {case.name} failed: {error!r:.500}")
                time.sleep(SLICE)
                continue
            self.course.requests += told.requests
            self.course.failures += told.errors

    def reload(self) -> None:
        """A new certificate, and another generation."""
        number = self.course.reloads + 2
        self._serial = issue(self._certificate, number)
        try:
            self.terraster.reload(*self._services(number))
            if shown(self._secure) != self._serial:
                self.course.problems.append(f"after reload {number} the last certificate is shown")
        except Exception as error:  # a failed reload is a result, and the run goes on
            self.course.problems.append(f"reload {number} failed: {error!r:.500}")
        self.course.reloads += 1

    def kill(self) -> None:
        """Kill the worker that is not watched or, each third time, the admin worker, and wait until it is replaced."""
        self.course.kills += 1
        role = "admin" if self.course.kills % 3 == 0 else "proxy"
        before = self._pids(role)
        victim = next(pid for pid in before if pid != self.watched)
        os.kill(victim, signal.SIGKILL)
        end = time.monotonic() + HEAL
        while time.monotonic() < end:
            time.sleep(0.5)
            try:
                now = self._pids(role)
            except (OSError, AssertionError):
                continue
            if len(now) == len(before) and victim not in now:
                return
        self.course.problems.append(f"{HEAL:.0f} s after the kill of a {role} worker there was no other")

    def _pids(self, role: str) -> list[int]:
        return [worker["pid"] for worker in self.terraster.status()["workers"] if worker["role"] == role]

    def read(self, second: float) -> Reading:
        """The reading of this moment."""
        pids = {"master": self.terraster.pid, "worker": self.watched, "admin": self._pids("admin")[0]}
        table = next(
            os.stat(f"/proc/{self.terraster.pid}/fd/{name}").st_blocks * 512
            for name in os.listdir(f"/proc/{self.terraster.pid}/fd")
            if os.readlink(f"/proc/{self.terraster.pid}/fd/{name}").startswith("/memfd:terraster")
        )
        kept = len(list((self._folder / "terraster" / "state" / "generations").glob("*.json")))
        return Reading(second, {role: read_worker(pid) for role, pid in pids.items()}, table, kept)

    # ------------------------------------------------------------------------------------------------------------------ course

    def go(self, seconds: float, every: float) -> None:
        """Load, reload, kill and read for this long."""
        threads = [threading.Thread(target=self.load, args=(CASES[name],)) for name in LOADS]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        due = {self.reload: begun + MINUTE, self.kill: begun + KILLS}
        read = begun + every
        while (now := time.monotonic()) < begun + seconds:
            for action, gap in ((self.reload, MINUTE), (self.kill, KILLS)):
                if now >= due[action]:
                    due[action] += gap
                    action()
            if now >= read:
                read += every
                self.course.readings.append(self.read(now - begun))
                print(f"{now - begun:7.0f} s {self.course.requests:12,} requests", file=sys.stderr, flush=True)
            time.sleep(0.2)
        self.over = True
        for thread in threads:
            thread.join()

    def judge(self) -> list[str]:
        """The problems of the run, as sentences."""
        course, terraster = self.course, self.terraster
        problems = course.problems + settle(terraster)
        metrics = labelled(terraster.metrics())
        newest = terraster.metrics()["terraster_config_generation"]
        problems += [
            f"{labels} runs generation {value:g}, the newest is {newest:g}"
            for name, labels, value in metrics
            if name == "terraster_worker_config_generation" and value != newest
        ]
        if self.watched not in terraster.workers():
            problems.append("the watched worker was replaced")
        if len(members(terraster.pid)) > 4:  # the master, two workers, the admin worker
            problems.append(f"there are {len(members(terraster.pid))} processes")
        # A kill breaks off what the worker has: its connections, and their streams.
        bound = course.kills * (CONNECTIONS * 3 + 4 + 2 * 8 * 32)
        if course.failures > bound:
            problems.append(f"{course.failures:,} requests failed; {course.kills} kills account for {bound:,} at most")
        for role in ("master", "worker", "admin"):
            for what, slack in (("rss", SLACK), ("fds", SLACK_FDS)):
                if text := grown([reading.processes[role][what] for reading in course.readings], slack):
                    problems.append(f"{role}: {what} {text}")
        if text := grown([reading.table for reading in course.readings], 1 << 16):
            problems.append(f"the shared table {text}")
        if (most := max((reading.kept for reading in course.readings), default=0)) > KEPT:
            problems.append(f"{most} generations were kept")
        if "Traceback" in terraster.said:
            problems.append(f"the log has a traceback: {terraster.said[terraster.said.index('Traceback') :][:1500]}")
        return problems

    def rows(self) -> list[str]:
        """The readings as a table in Markdown."""
        found = ["| s | " + " | ".join(f"{role}: RSS MiB | PSS MiB | descriptors" for role in ("master", "worker", "admin"))]
        found[0] += " | table KiB | generations kept |"
        found.append("|---:" * 12 + "|")
        readings = self.course.readings
        for reading in readings[:: max(1, len(readings) // 24)]:
            cells = [f"{one['rss'] / 2**20:.1f} | {one['pss'] / 2**20:.1f} | {one['fds']}" for one in reading.processes.values()]
            found.append(f"| {reading.second:.0f} | {' | '.join(cells)} | {reading.table // 1024} | {reading.kept} |")
        return found


def main() -> int:
    """Run and report. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description="Use a Terraster for a day, and see that nothing of it grows.")
    parser.add_argument("--seconds", type=float, default=86400.0, metavar="N", help="length (86400, a day)")
    parser.add_argument("--every", type=float, default=15.0, metavar="N", help="seconds between two readings (15)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="terraster-soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        backend = Backend(folder)
        try:
            soak = Soak(folder, backend.ports)
            with soak.terraster:
                soak.terraster.expect_traceback = True  # a problem like any other, in `judge`
                soak.go(arguments.seconds, arguments.every)
                problems = soak.judge()
        finally:
            backend.running.stop()
    course = soak.course
    print(
        f"{date.today()}, {os.cpu_count()} cores, {arguments.seconds:,.0f} s: {course.requests:,} requests, {course.failures:,} of them "
        f"failed; {course.reloads} reloads, each with a new certificate; {course.kills} kills.\n"
    )
    print("\n".join(soak.rows()) + "\n")
    for problem in problems:
        print(f"WRONG: {problem}")
    print(f"{len(problems)} problems" if problems else "Nothing was wrong.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
