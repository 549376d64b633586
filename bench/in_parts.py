"""Peers that write head and body apart with Nagle's algorithm on: how long a request takes through each proxy.

    python bench/in_parts.py [--peers terraster,nginx,haproxy] [--seconds 3] [--connections 4] [--size 128]

The sender of the second part of a message waits until the first is acknowledged, and the kernel of the other side delays that by 40 ms. Two
cases: a backend that writes the head and the body of its response apart, and a client that writes the head and the body of its request
apart. "direct" is without a proxy. One Python process is the backend, one the client: the times tell, not the rates.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from peers import PEERS, launch


def serve(apart: bool, size: int) -> None:
    """Listen on two ports, print them, and answer every request until standard input ends.

    apart: write head and body apart. size: of the bodies of requests and responses, octets
    """
    listening = [socket.create_server(("127.0.0.1", 0), backlog=256) for _ in range(2)]
    for one in listening:
        threading.Thread(target=accept, args=(one, apart, size), daemon=True).start()
    print(*(one.getsockname()[1] for one in listening), flush=True)
    sys.stdin.read()


def accept(listening: socket.socket, apart: bool, size: int) -> None:
    """A thread for each connection."""
    while True:
        threading.Thread(target=answer, args=(listening.accept()[0], apart, size), daemon=True).start()


def answer(connection: socket.socket, apart: bool, size: int) -> None:
    """Answer one request after the other."""
    held = b""
    first, second = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size
    while True:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:  # a proxy that is stopped may end its connections like that
            return
        if not data:
            return
        held += data
        head, end, body = held.partition(b"\r\n\r\n")
        if not end or (b"content-length: %d" % size in head.lower() and len(body) < size):
            continue
        held = b""
        if apart:
            connection.sendall(first)
            connection.sendall(second)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(first + second)


def ask(port: int, parts: tuple[bytes, ...], size: int, end: float, took: list[float]) -> None:
    """Ask until ``end``, on one connection, with Nagle's algorithm on; note how long each request took."""
    last = b"x" * size
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while (began := time.monotonic()) < end:
            for part in parts:
                connection.sendall(part)
            data = b""
            while len(data) < size or not data.endswith(last):
                more = connection.recv(262144)
                if not more:
                    raise SystemExit("in_parts: the connection was closed")
                data += more
            took.append(time.monotonic() - began)


def measure(port: int, parts: tuple[bytes, ...], size: int, seconds: float, connections: int) -> list[float]:
    """The times of all requests, in order of size."""
    took: list[float] = []
    end = time.monotonic() + seconds
    clients = [threading.Thread(target=ask, args=(port, parts, size, end, took)) for _ in range(connections)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sorted(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", default="terraster,nginx,haproxy", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--size", type=int, default=128, help="of bodies, octets (default: 128)")
    parser.add_argument("--serve", choices=["apart", "whole"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve == "apart", arguments.size)
        return
    print("| | backend in parts: p50 ms | p99 ms | requests/s | client in parts: p50 ms | p99 ms | requests/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    size = arguments.size
    get = (b"GET /128 HTTP/1.1\r\nHost: a.test\r\n\r\n",)
    post = (b"POST /128 HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
    cases = (("apart", get), ("whole", post))
    for name in ["direct", *arguments.peers.split(",")]:
        cells = [name]
        for kind, parts in cases:
            with tempfile.TemporaryDirectory(prefix="terraster-bench-") as folder:
                os.chmod(folder, 0o755)
                command = [sys.executable, __file__, "--serve", kind, "--size", str(size)]
                backend = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                peer = None
                try:
                    assert backend.stdout is not None
                    first, second = map(int, backend.stdout.readline().split())
                    if name != "direct":
                        peer = launch(name, False, Path(folder), (first, second))
                    port = first if peer is None else int(peer.url.rpartition(":")[2])
                    took = measure(port, parts, size, arguments.seconds, arguments.connections)
                finally:
                    if peer is not None and peer.running is not None:
                        peer.running.stop()
                    backend.communicate()
            cells.append(f"{statistics.median(took) * 1e3:.2f}")
            cells.append(f"{took[int(0.99 * (len(took) - 1))] * 1e3:.1f}")
            cells.append(f"{len(took) / arguments.seconds:.0f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
