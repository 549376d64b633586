"""The loads of the comparison: one run, with its figures as a value. wrk sends requests, h2load those of HTTP/2, and `handshakes.py` makes
TLS handshakes, as wrk cannot resume a session."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["CASES", "Case", "Load", "message", "run", "url_of"]

HERE = Path(__file__).resolve().parent
LUA = HERE / "lua" / "report.lua"


@dataclass(frozen=True)
class Case:
    """One kind of request. ``close``: True for a connection per request; ``post``: octets of the request body; ``tls``: True over TLS 1.3;
    ``handshake``: its kind, for a TLS connection per request; ``streams``: of HTTP/2 at the same time on each of 8 connections; ``call``:
    octets of the message of a unary call of gRPC, and of its answer; ``accept``: Accept-Encoding; ``field``: one more line of the head
    """

    name: str
    title: str
    path: str
    close: bool = False
    post: int = 0
    tls: bool = False
    handshake: Literal["", "full", "resumed"] = ""
    streams: int = 0
    call: int = 0
    accept: str = ""
    field: str = ""


CASES = {
    case.name: case
    for case in (
        Case("small", "GET 128 B, kept alive", "/128"),
        Case("close", "GET 128 B, a connection per request", "/128", close=True),
        Case("100k", "GET 100 KiB", "/100k"),
        Case("1m", "GET 1 MiB", "/1m"),
        Case("post", "POST 10 KiB", "/post", post=10 * 1024),
        Case("tls", "TLS: GET 128 B, kept alive", "/128", tls=True),
        Case("tls-100k", "TLS: GET 100 KiB", "/100k", tls=True),
        Case("tls-full", "TLS: full handshake and GET 128 B", "/128", tls=True, handshake="full"),
        Case("tls-resumed", "TLS: resumed handshake and GET 128 B", "/128", tls=True, handshake="resumed"),
        Case("h2c", "HTTP/2 in clear: GET 128 B", "/128", streams=32),
        Case("h2c-100k", "HTTP/2 in clear: GET 100 KiB", "/100k", streams=32),
        Case("h2c-post", "HTTP/2 in clear: POST 100 KiB", "/post", streams=32, post=100 * 1024),
        Case("h2", "HTTP/2 over TLS: GET 128 B", "/128", tls=True, streams=32),
        Case("grpc", "gRPC in clear: a unary call, 128 B each way", "/bench.Bench/Call", streams=32, call=128),
        Case("h2-100k", "HTTP/2 over TLS: GET 100 KiB", "/100k", tls=True, streams=32),
    )
}


@dataclass(frozen=True)
class Load:
    """The figures of a run. Times in seconds; ``errors``: answers other than 2xx and 3xx, lost connections and timeouts;
    ``p99_corrected``: as wrk prints it, with latencies that it adds (`lua/report.lua`); 0.0 = not of wrk"""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int
    p99_corrected: float = 0.0


def url_of(peer: Any, case: Case) -> str:
    """The URL at which a peer serves this kind of request; "" if it does not."""
    return str(peer.tls_url if case.tls else peer.h2c_url if case.streams else peer.url)


def run(url: str, case: Case, *, seconds: float, connections: int = 64, prefix: tuple[str, ...] = ()) -> Load:
    """Load ``url`` for ``seconds`` (whole seconds). ``prefix``: put before the command, for taskset"""
    url = url.rstrip("/") + case.path
    if case.streams:
        return _multiplexed(url, case, seconds, prefix)
    if case.handshake:
        command = [*prefix, sys.executable, str(HERE / "handshakes.py"), url, str(max(1, round(seconds))), case.handshake]
    else:
        command = [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(LUA)]
        if case.close:
            command += ["-H", "Connection: close"]
        if case.accept:
            command += ["-H", f"Accept-Encoding: {case.accept}"]
        if case.field:
            command += ["-H", case.field]
        command += [url, "--", str(case.post)]
    environment = {**os.environ, "CONNECTIONS": str(connections)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"the load failed on {url}: {done.stderr or done.stdout}")
    return Load(**json.loads(lines[-1]))


def message(octets: int) -> bytes:
    """A message of gRPC with its frame."""
    return b"\0" + octets.to_bytes(4, "big") + b"x" * octets


def _multiplexed(url: str, case: Case, seconds: float, prefix: tuple[str, ...]) -> Load:
    """A load of h2load: 8 connections. It writes how long each request took into a file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests"
        command = [*prefix, "h2load", "-c8", f"-m{case.streams}", f"-D{max(1, round(seconds))}", f"--log-file={log}"]
        if case.post or case.call:
            body = Path(folder) / "body"
            body.write_bytes(message(case.call) if case.call else b"x" * case.post)
            command += ["-d", str(body)]
        if case.call:
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 60)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
        if done.returncode or counts is None or not log.exists():
            raise RuntimeError(f"the load failed on {url}: {done.stderr or done.stdout}")
        rows = [line.split() for line in log.read_text().splitlines()]
        took = sorted(int(row[2]) for row in rows) or [0]
    good, failed, _ = map(int, counts.groups())
    data = re.search(r"\((\d+)\) data", done.stdout)
    if case.call and (data is None or int(data[1]) < good * len(message(case.call))):
        raise RuntimeError(f"calls have no answer on {url}: {done.stdout}")  # one that fails has the status 200, too
    return Load(good, max(1.0, round(seconds)), took[len(took) // 2] / 1e6, took[len(took) * 99 // 100] / 1e6, failed)
