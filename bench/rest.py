"""Terraster at rest: the memory of each process, and the CPU time of a start, with few and many services.

    python bench/rest.py [--services 10,10000] [--workers 2] [--rounds 3]

Every service has one location with two backends, without health checks. No request is sent. PSS divides a page among the
processes that map it, so the sum over the processes is what the kernel gets back at their end. A file that other programs map too
(Python itself) makes it a little smaller. "own" is what a process shares with none. The CPU of a start is that of the master, until
every process serves; the bytecode is there before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tree import TICK, members  # noqa: E402

from tests.harness.ports import free_port  # noqa: E402
from tests.harness.terraster_process import Terraster, service  # noqa: E402

SETTLED = 3.0  # seconds after the start: caches are filled, the admin worker has looked once
_PARTS = ("Rss", "Pss", "Pss_Anon", "Pss_File", "Pss_Shmem", "Private_Dirty", "Private_Clean")


@dataclass(frozen=True)
class Resting:
    """One process at rest. name: "master", "proxy", "admin". parts: octets by the names of smaps_rollup"""

    name: str
    pid: int
    parts: dict[str, int]


def resting(pid: int, name: str) -> Resting:
    """A process of Terraster as it is now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    values = {key: int(rest.split()[0]) * 1024 for key, _, rest in (line.partition(":") for line in lines)}
    return Resting(name, pid, {part: values[part] for part in _PARTS})


def measured(folder: Path, services: int, workers: int) -> tuple[float, float, list[Resting]]:
    """Start once. Returns the master's CPU seconds until all serve, the seconds on the clock, and the processes at rest."""
    first, second = free_port(), free_port()
    urls = (f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}")
    many = [service(*urls, name=f"service-{number}", host=f"service-{number}.test") for number in range(services)]
    proxy = Terraster(folder, *many, start=False, workers=workers, access_log="off")
    began = time.monotonic()
    with proxy:
        proxy.start()
        took = time.monotonic() - began
        assert proxy.program is not None
        fields = Path(f"/proc/{proxy.program.pid}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / TICK
        time.sleep(SETTLED)
        found = members(proxy.program.pid)
        at_rest = [resting(pid, "") for pid in found]
        roles = {worker["pid"]: worker["role"] for worker in proxy.status()["workers"]}  # afterwards: an answer takes memory
        return cpu, took, [replace(one, name=roles.get(one.pid, "master")) for one in at_rest]


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed Terraster has its bytecode in files
    options = argparse.ArgumentParser(description="Memory at rest and the CPU of a start.")
    options.add_argument("--services", default="10,10000")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured(Path(folder), 1, 1)  # writes the bytecode
    for count in map(int, given.services.split(",")):
        rounds = []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(measured(Path(folder), count, given.workers))
        sums = [sum(one.parts["Pss"] for one in found) for _, _, found in rounds]
        cpus = [cpu for cpu, _, _ in rounds]
        print(f"\n{count} services, {given.workers} workers: {statistics.median(sums) / 2**20:.1f} MiB PSS together", end="")
        print(
            f" ({min(sums) / 2**20:.1f} to {max(sums) / 2**20:.1f}); start: {statistics.median(cpus):.2f} s of the master's CPU",
            end="",
        )
        print(f" ({min(cpus):.2f} to {max(cpus):.2f}), {statistics.median(took for _, took, _ in rounds):.1f} s on the clock\n")
        print(
            "| MiB | " + " | ".join(("RSS", "PSS", "of it anonymous", "files", "shared table", "own, written", "own, clean")) + " |"
        )
        print("|---|" + "---:|" * len(_PARTS))
        for one in rounds[-1][2]:
            print(f"| {one.name} | " + " | ".join(f"{one.parts[part] / 2**20:.1f}" for part in _PARTS) + " |")


if __name__ == "__main__":
    main()
