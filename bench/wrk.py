"""The loads of the comparison: one run, with its figures as a value. wrk sends requests, `handshakes.py` makes TLS handshakes, as wrk cannot
resume a session."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["CASES", "Case", "Load", "run"]

HERE = Path(__file__).resolve().parent
LUA = HERE / "lua" / "report.lua"


@dataclass(frozen=True)
class Case:
    """One kind of request. ``close``: True for a connection per request; ``post``: octets of the request body; ``tls``: True over TLS 1.3;
    ``handshake``: its kind, for a TLS connection per request
    """

    name: str
    title: str
    path: str
    close: bool = False
    post: int = 0
    tls: bool = False
    handshake: Literal["", "full", "resumed"] = ""


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
    )
}


@dataclass(frozen=True)
class Load:
    """The figures of a run. Times in seconds; ``errors``: answers other than 2xx and 3xx, lost connections and timeouts"""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def run(url: str, case: Case, *, seconds: float, connections: int = 64, prefix: tuple[str, ...] = ()) -> Load:
    """Load ``url`` for ``seconds`` (whole seconds). ``prefix``: put before the command, for taskset"""
    url = url.rstrip("/") + case.path
    if case.handshake:
        command = [*prefix, sys.executable, str(HERE / "handshakes.py"), url, str(max(1, round(seconds))), case.handshake]
    else:
        command = [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(LUA)]
        if case.close:
            command += ["-H", "Connection: close"]
        command += [url, "--", str(case.post)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"the load failed on {url}: {done.stderr or done.stdout}")
    return Load(**json.loads(lines[-1]))
