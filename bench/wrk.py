"""wrk as the load: one run, with its figures as a value."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CASES", "Case", "Load", "run"]

LUA = Path(__file__).resolve().parent / "lua" / "report.lua"


@dataclass(frozen=True)
class Case:
    """One kind of request. ``close``: True for a connection per request; ``post``: octets of the request body"""

    name: str
    title: str
    path: str
    close: bool = False
    post: int = 0


CASES = {
    case.name: case
    for case in (
        Case("small", "GET 128 B, kept alive", "/128"),
        Case("close", "GET 128 B, a connection per request", "/128", close=True),
        Case("100k", "GET 100 KiB", "/100k"),
        Case("1m", "GET 1 MiB", "/1m"),
        Case("post", "POST 10 KiB", "/post", post=10 * 1024),
    )
}


@dataclass(frozen=True)
class Load:
    """The figures of wrk. Times in seconds; ``errors``: answers other than 2xx and 3xx, lost connections and timeouts"""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


def run(url: str, case: Case, *, seconds: float, connections: int = 64, prefix: tuple[str, ...] = ()) -> Load:
    """Load ``url`` for ``seconds`` (whole seconds). ``prefix``: put before the command, for taskset"""
    command = [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(LUA)]
    if case.close:
        command += ["-H", "Connection: close"]
    command += [url.rstrip("/") + case.path, "--", str(case.post)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"wrk failed on {url}{case.path}: {done.stderr or done.stdout}")
    return Load(**json.loads(lines[-1]))
