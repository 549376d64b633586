"""Scanners of TLS servers: sslyze, in a virtual environment of its own because it wants other versions of our packages, and testssl."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["install_sslyze", "sslyze", "testssl"]

SSLYZE = "6.3.1"


def install_sslyze(folder: Path) -> str:
    """Install sslyze into ``folder`` unless it is there. Returns "" or why it could not be installed."""
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        if (folder / "bin" / "sslyze").exists():
            return ""
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"sslyze=={SSLYZE}"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if done.returncode:
                return f"pip install sslyze: {done.stderr[-500:]}"
        return ""
    finally:
        os.close(place)


def sslyze(folder: Path, port: int, name: str, level: str) -> list[str]:
    """What it finds against Mozilla's configuration of that level ("intermediate", "modern"), a line each."""
    command = [str(folder / "bin" / "sslyze"), "--mozilla_config", level, "--sni", name, f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    assert f"127.0.0.1:{port}: " in verdict, done.stdout + done.stderr
    return [line.strip().removeprefix("* ") for line in verdict.splitlines() if line.strip().startswith("* ")]


def testssl(program: str, port: int, name: str, root: Path, output: Path) -> list[dict[str, str]]:
    """Its findings: each with ``id``, ``severity`` ("OK", "INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN") and ``finding``."""
    checks = ["--protocols", "--std", "--server-preference", "--server-defaults", "--fs", "--vulnerable"]
    where = ["--ip", "127.0.0.1", "--add-ca", str(root), f"{name}:{port}"]
    command = [program, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", str(output), *checks, *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
    findings: list[dict[str, str]] = json.loads(output.read_text())
    assert len(findings) > 50, done.stdout + done.stderr
    return findings


testssl.__test__ = False  # type: ignore[attr-defined]
