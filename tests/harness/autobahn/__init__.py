"""Autobahn's WebSocket cases: npm's `ws` as the echo server, PyPI's `kosoku` as the client that runs the cases.

Cases 12 and 13 (permessage-deflate) are left out: they judge how the two ends compress, and whatever stands between them sees octets only.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..program import Program, find

__all__ = ["CASES", "EchoServer", "bad", "cache", "install_ws", "run_cases"]

CASES = 301
"""How many cases there are without 12 and 13."""

_HERE = Path(__file__).parent


def install_ws(folder: Path) -> str:
    """Install `ws` into ``folder`` unless it is there. Returns "" or why it could not be installed. Test processes side by side wait
    for each other."""
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        return _install_ws(folder)
    finally:
        os.close(place)


def _install_ws(folder: Path) -> str:
    if (folder / "node_modules" / "ws" / "package.json").exists():
        return ""
    npm = find("npm")
    if npm is None or find("node") is None:
        return "npm or node is not installed"
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), "ws@^8.18"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)
    return "" if done.returncode == 0 else f"npm install ws: {done.stderr[-500:]}"


class EchoServer:
    """The echo server. ``folder``: where `ws` is installed."""

    def __init__(self, folder: Path, output: Path) -> None:
        node = find("node")
        assert node is not None
        self.program = Program([node, str(_HERE / "echo.js")], output, NODE_PATH=str(folder / "node_modules"))
        self.program.wait_ready(lambda: self.program.said.endswith("\n"))
        self.port = int(self.program.said)
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> EchoServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.stop()


GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def bad(verdicts: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The cases that did not pass."""
    return {case: verdict for case, verdict in verdicts.items() if not set(verdict) <= GOOD}


def run_cases(port: int, seconds: float = 300.0) -> dict[str, tuple[str, str]]:
    """Run all cases against 127.0.0.1:port: case → verdicts of the exchange and of its closing."""
    path = list(sys.path)
    import kosoku

    sys.path[:] = path  # it puts a stand-in for pkg_resources in front, which pytest's monkeypatch would meet later
    sys.modules.pop("pkg_resources", None)

    async def run() -> list[Any]:
        running = kosoku.run_fuzzingclient(f"127.0.0.1:{port}", None, ["12.*", "13.*"], concurrency=4)
        try:
            return list(await asyncio.wait_for(running, seconds))
        except kosoku.FailureError as failure:
            return list(failure.results)

    return {result.case_id: (result.behavior.value, result.behavior_close.value) for result in asyncio.run(run())}


def cache() -> Path:
    """Where downloaded things are kept between runs: within the virtual environment."""
    return Path(sys.prefix) / "var" / "terraster-tests" / "ws"
