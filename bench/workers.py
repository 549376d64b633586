"""Workers on one machine: what more of them bring, and how evenly they share the connections.

    python bench/workers.py                                     # 1, 2 and 4 workers, 2 rounds: about 5 minutes
    python bench/workers.py --workers 2 --rounds 4 --peers terraster,nginx

Terraster's workers accept on the master's sockets, nginx's too. "own sockets" is a trial in which each worker has a listening socket of its
own (SO_REUSEPORT), among which the kernel distributes the connections by their addresses; nginx has it as `reuseport`. Terraster does not
have it: this program changes it before it starts.

`even` is the share of the busiest worker, in percent of an equal share: of the connections that are open, and of the CPU time.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import peers
from peers import PEERS, Backend, Peer, launch
from place import Place
from tree import cpu_seconds, members
from wrk import CASES, Case, Load, run, url_of

OWN = " own sockets"
BACKLOG = 4096


def serve(arguments: list[str]) -> None:
    """Run Terraster with a listening socket for each worker. The master binds the address, and does not listen."""
    from terraster.cli.main import main
    from terraster.master import sockets
    from terraster.worker.accept import Acceptor
    from terraster.worker.proxy_worker import ProxyWorker

    use = Acceptor._use

    def bound(family: int, where: tuple[str, int]) -> Any:
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.bind(where)
        one.setblocking(False)
        return one

    def listen(acceptor: Acceptor, listening: Any) -> None:
        one = bound(listening.family, listening.getsockname()[:2])
        one.listen(BACKLOG)
        use(acceptor, one)

    sockets._bind_port = lambda family, where, *, dual: bound(family, where)  # type: ignore[assignment]
    Acceptor._use = listen  # type: ignore[method-assign]
    ProxyWorker._share = lambda self: BACKLOG  # type: ignore[method-assign]
    sys.exit(main(arguments))


def terraster_alone(place: Place) -> list[str]:
    """Terraster with a socket for each worker."""
    return [sys.executable, __file__, "--serve", *peers.terraster(place)[3:]]


def nginx_alone(place: Place) -> list[str]:
    """nginx with a socket for each worker."""
    command = peers.nginx(place)
    config = Path(command[-1])
    config.write_text(config.read_text().replace("backlog=4096", "backlog=4096 reuseport"))
    return command


PEERS["terraster" + OWN] = terraster_alone
PEERS["nginx" + OWN] = nginx_alone


def clients(port: int) -> set[str]:
    """The open connections of clients to a port of this machine, as links to sockets in /proc/PID/fd."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[3] == "01"}


def held_by(pid: int, those: set[str]) -> int:
    """The number of these connections that a process has."""
    count = 0
    with suppress(FileNotFoundError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                count += os.readlink(f"/proc/{pid}/fd/{name}") in those
    return count


def cpu_of(pid: int) -> float:
    """CPU seconds of one process, without its children."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def uneven(shares: list[float], workers: int) -> float:
    """The greatest of the shares of so many workers, in percent of an equal one."""
    total = sum(sorted(shares)[-workers:])
    return 100 * max(shares) * workers / total if total else 0.0


def measure(peer: Peer, case: Case, workers: int, seconds: int, connections: int) -> tuple[Load, float, float, float]:
    """The load, CPU seconds of all processes, and how uneven connections and CPU are among the workers."""
    processes = members(peer.pid)[1:]
    port = int(peer.url.rpartition(":")[2])
    cpu = {pid: cpu_of(pid) for pid in processes}
    before = sum(cpu_seconds(peer.pid))
    held: list[float] = []

    def look() -> None:
        for _ in range(3):  # at a busy moment all connections may wait for a worker
            time.sleep(seconds / 4)
            those = clients(port)
            if sum(found := [held_by(pid, those) for pid in processes]):
                held[:] = found

    looking = threading.Thread(target=look)
    looking.start()
    load = run(url_of(peer, case), case, seconds=seconds, connections=connections)
    looking.join()
    used = sum(cpu_seconds(peer.pid)) - before
    return load, used, uneven(held, workers), uneven([cpu_of(pid) - cpu[pid] for pid in processes], workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers (default: 1,2,4)")
    parser.add_argument("--peers", default="terraster,terraster own sockets,nginx,nginx own sockets", help="separated by commas")
    parser.add_argument("--cases", default="small,close", help=f"of {', '.join(CASES)} (default: small,close)")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print("| workers | case | proxy | requests/s | CPU µs/request | p50 ms | p99 ms | even: connections | CPU |")
    print("|---:|---|---|---:|---:|---:|---:|---:|---:|")
    for workers in map(int, arguments.workers.split(",")):
        with tempfile.TemporaryDirectory(prefix="terraster-bench-") as name:
            folder = Path(name)
            os.chmod(folder, 0o755)
            backend = Backend(folder)
            running = [backend.running]
            try:
                started = []
                for label in arguments.peers.split(","):
                    peer = launch(label, False, folder, backend.ports, label=label.replace(" ", "-"), workers=workers)
                    assert peer.running is not None
                    running.append(peer.running)
                    started.append(peer)
                for case in (CASES[name] for name in arguments.cases.split(",")):
                    rows: dict[str, list[tuple[float, ...]]] = {}
                    for number in range(arguments.rounds):
                        at = number % len(started)
                        for peer in started[at:] + started[:at]:
                            run(url_of(peer, case), case, seconds=1, connections=arguments.connections)
                            load, used, held, cpu = measure(peer, case, workers, arguments.seconds, arguments.connections)
                            cost = used / max(1, load.requests) * 1e6
                            row = (load.requests / load.seconds, cost, load.p50 * 1e3, load.p99 * 1e3, held, cpu)
                            rows.setdefault(peer.name, []).append(row)
                    for label, found in rows.items():
                        rate, cost, p50, p99, held, cpu = (median(column) for column in zip(*found, strict=True))
                        print(
                            f"| {workers} | {case.title} | {label} | {rate:,.0f} | {cost:.1f} | {p50:.2f} | {p99:.2f} "
                            f"| {held:.0f} % | {cpu:.0f} % |",
                            flush=True,
                        )
            finally:
                for process in running[::-1]:
                    process.stop()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
    main()
