"""What a reload costs those who are being served, with many services: ``python -m tests.harness.reload_probe [--services N]``.

A prober in a process of its own asks every few milliseconds on a kept connection and writes down how long each answer took, first with
nothing else going on, then while one service of N changes with each reload. Nothing is asserted here: a busy machine is slow for other
reasons too, which the quiet part shows.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .nginx import Nginx
from .terraster_process import ROOT, Terraster, service

__all__ = ["Report", "measure"]

PAUSE = 0.002  # seconds between two requests of the prober

_REQUEST = b"GET /hello HTTP/1.1\r\nHost: service-7.test\r\n\r\n"


@dataclass(frozen=True)
class Report:
    """Times in seconds. quiet, loud: the slowest answers without and with reloads, the worst first. reloads: what each took in all."""

    requests: int
    failures: list[str]
    quiet: list[float]
    loud: list[float]
    reloads: list[float]
    start: float


def prober(port: int) -> None:
    """Ask until standard input ends; print a line for each answer: its time of day, how long it took, what was wrong with it."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stop = sys.stdin
    import select

    stopping = select.poll()
    stopping.register(stop, select.POLLIN)
    while not stopping.poll(PAUSE * 1000):
        began = time.monotonic()
        problem = ""
        try:
            sock.sendall(_REQUEST)
            answer = sock.recv(65536)
            if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"hello")):
                problem = repr(answer[:100])
        except OSError as error:
            problem = repr(error)
        print(json.dumps([began, time.monotonic() - began, problem]), flush=True)
        if problem:
            sock.close()
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)


def measure(folder: Path, *, services: int, reloads: int, workers: int = 1) -> Report:
    """Start Terraster with so many services, reload it so often, and report."""
    with Nginx(folder / "one") as one, Nginx(folder / "two") as two:
        urls = (one.url, two.url)
        many = [service(one.url, two.url, name=f"service-{number}", host=f"service-{number}.test") for number in range(services)]
        began = time.monotonic()
        with Terraster(folder, *many, workers=workers, access_log="off") as proxy:
            start = time.monotonic() - began
            texts = []  # written beforehand: PyYAML needs seconds for it, and would share the machine with what is measured
            for url in urls:
                many[3] = service(url, name="service-3", host="service-3.test")
                proxy.write(*many)
                texts.append(proxy.config_file.read_text())
            command = [sys.executable, "-m", "tests.harness.reload_probe", "--prober", str(proxy.port)]
            out = folder / "prober"
            with out.open("wb") as sink, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sink, cwd=ROOT) as probing:
                took = []
                time.sleep(2)
                loud_from = time.monotonic()
                for number in range(reloads):
                    proxy.config_file.write_text(texts[number % 2])
                    took.append(_reload(proxy))
                loud_to = time.monotonic()
                assert probing.stdin is not None
                probing.stdin.close()
                probing.wait(20)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    quiet = sorted((seconds for at, seconds, _ in rows if at < loud_from), reverse=True)
    loud = sorted((seconds for at, seconds, _ in rows if loud_from <= at < loud_to), reverse=True)
    return Report(len(rows), [problem for _, _, problem in rows if problem], quiet[:10], loud[:10], took, start)


def _reload(proxy: Terraster) -> float:
    """Seconds that a reload takes in all, the command's own start included."""
    began = time.monotonic()
    done = proxy.ctl("reload", find_by="runtime dir", deadline=120, process=True)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--prober", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prober:
        prober(options.prober)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), services=options.services, reloads=options.reloads, workers=options.workers)
    print(f"{options.services} services, {options.workers} workers: started in {report.start:.1f} s")
    print("reloads, s:              ", " ".join(f"{seconds:.2f}" for seconds in report.reloads))
    print("slowest answers quiet, ms:", " ".join(f"{seconds * 1000:.1f}" for seconds in report.quiet))
    print("slowest answers loud, ms: ", " ".join(f"{seconds * 1000:.1f}" for seconds in report.loud))
    print(f"{report.requests} requests, {len(report.failures)} failed")


if __name__ == "__main__":
    main()
