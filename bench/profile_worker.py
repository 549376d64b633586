"""The time of a request: a profile of the proxy worker under load, by perf (kernel, libraries) and py-spy (lines of Python).

    make profile
    make profile ARGS="--case post --log on --seconds 20"
    make profile ARGS="--pid 4711"                # a process that is already under load

perf cannot name Python functions before Python 3.12, so it gives only the shares of the kernel, the interpreter and each library, and of
functions in them. py-spy samples the Python stack from outside without stopping the worker. It needs the right to read another process
(root, or kernel.yama.ptrace_scope=0). If one of the two is missing, its part is left out, and the output says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from peers import PEERS, Backend, launch
from tree import cpu_seconds, members
from wrk import CASES, run, url_of

COMPILED = "compiled rooms, of which py-spy sees nothing: perf has them above"


def busiest(root: int) -> int:
    """The process of a tree that has used most CPU so far. After some load it is the worker."""

    def used(pid: int) -> float:
        return sum(cpu_seconds(pid))

    children = members(root)[1:]
    return max(children, key=used) if children else root


def rooms(pid: int) -> str:
    """A line on how many rooms a process runs compiled: py-spy sees nothing of these, perf each as a library of its own."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    files = {line.split()[-1] for line in lines if "/terraster/" in line and line.endswith(".so")}
    return f"the worker {pid} runs {len(files)} rooms compiled\n"


def by_library(pid: int, seconds: int, folder: Path) -> str:
    """The report of perf: a share for each binary, then the functions above 1 %."""
    if shutil.which("perf") is None:
        return "perf is not installed (Debian: linux-perf): no split by kernel and library.\n"
    data = folder / "perf.data"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", str(data), "-p", str(pid), "--", "sleep", str(seconds)]
    done = subprocess.run(record, capture_output=True, text=True)
    if done.returncode:
        return f"perf record failed: {done.stderr.strip()}\n"
    text = ""
    for keys, limit in (("dso", "0.5"), ("dso,symbol", "1")):
        report = ["perf", "report", "-q", "--stdio", "-i", str(data), "--sort", keys, "--percent-limit", limit]
        lines = subprocess.run(report, capture_output=True, text=True).stdout.splitlines()
        text += "\n".join(line.rstrip(" -") for line in lines if line.strip()) + "\n\n"
    return text


def by_line(pid: int, seconds: int, folder: Path, top: int) -> str:
    """The report of py-spy: shares of functions, with and without the functions that they call, and of single lines.

    Only samples that hold the interpreter lock (--gil) count. In a system call the worker has released it, and on a busy machine it mostly
    waits for a core there. Without --gil, `send` would seem to cost twice as much as perf says.
    """
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        return "py-spy is not installed (make profile installs it): no split by Python line.\n"
    raw = folder / "stacks"
    record = [
        str(spy),
        "record",
        "--nonblocking",
        "--gil",
        "-r",
        "800",
        "-d",
        str(seconds),
        "-f",
        "raw",
        "-o",
        str(raw),
        "-p",
        str(pid),
    ]
    done = subprocess.run(record, capture_output=True, text=True)
    if done.returncode or not raw.exists():
        return f"py-spy failed: {done.stderr.strip()}\n"
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for stack in raw.read_text().splitlines():
        frames, _, count = stack.rpartition(" ")
        names = frames.split(";") if frames else [COMPILED]
        lines[names[-1]] += int(count)
        functions = [name.rpartition(":")[0] + ")" if name != COMPILED else name for name in names]
        own[functions[-1]] += int(count)
        for function in set(functions):
            whole[function] += int(count)
    total = sum(own.values()) or 1
    text = f"shares of the time in which Python ran ({total} samples)\n\n"
    for title, counts in (("own time", own), ("with what it calls", whole), ("by line", lines)):
        rows = [f"  {count / total:6.1%}  {name}" for name, count in counts.most_common(top)]
        text += f"{title}\n" + "\n".join(rows) + "\n\n"
    return text


def main() -> int:
    """Start Terraster and a load, or take a process under load. Then run both profilers."""
    parser = argparse.ArgumentParser(prog="make profile", description="Profile the proxy worker under load.")
    parser.add_argument("--case", choices=list(CASES), default="small")
    parser.add_argument("--log", choices=["on", "off"], default="on", help="access log (default: on)")
    parser.add_argument("--seconds", type=int, default=8, help="for each of the two profilers (default: 8)")
    parser.add_argument("--top", type=int, default=25, help="rows of each table (default: 25)")
    parser.add_argument("--peer", choices=list(PEERS), default="terraster")
    parser.add_argument("--pid", type=int, help="a process that is already under load")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="terraster-profile-") as name:
        folder = Path(name)
        if arguments.pid:
            print(rooms(arguments.pid))
            print(by_library(arguments.pid, arguments.seconds, folder))
            print(by_line(arguments.pid, arguments.seconds, folder, arguments.top))
            return 0
        os.chmod(folder, 0o755)
        running = []
        try:
            backend = Backend(folder)
            running.append(backend.running)
            peer = launch(arguments.peer, arguments.log == "on", folder, backend.ports)
            assert peer.running is not None
            running.append(peer.running)
            case = CASES[arguments.case]
            run(url_of(peer, case), case, seconds=1)
            pid = busiest(peer.pid)
            print(rooms(pid))
            for look in (
                lambda: by_library(pid, arguments.seconds, folder),
                lambda: by_line(pid, arguments.seconds, folder, arguments.top),
            ):
                load = threading.Thread(target=run, args=(url_of(peer, case), case), kwargs={"seconds": arguments.seconds + 1})
                load.start()
                print(look())
                load.join()
        finally:
            for process in running:
                process.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
