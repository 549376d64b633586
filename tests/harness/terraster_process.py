"""Terraster itself, as an operator starts it: a YAML file, a command, free ports, a folder of its own.

`Terraster` writes the configuration, waits until the management port says that it serves, and in the end asks it to stop. A
Traceback in what it printed fails the test, whatever else went well.

It is asked and reloaded over its control socket with terrasterctl's own code, in this process: a command costs half a second of CPU.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from terraster.cli import ctl as terrasterctl
from terraster.cli.control import Away, Control

from .client import Connection, exchange
from .ports import free_port
from .program import Program, is_gone, wait_gone
from .waiting import wait_until

__all__ = ["Terraster", "backends", "is_gone", "rss", "run_ctl", "service", "wait_gone"]

Config = dict[str, Any]

ROOT = Path(__file__).parents[2]


def backends(*urls: str | Config) -> list[Config]:
    """The ``backends`` of a location: URLs, or whole entries."""
    return [{"url": url} if isinstance(url, str) else url for url in urls]


def service(*urls: str | Config, name: str = "site", host: str = "*", path: str = "/", **keys: Any) -> Config:
    """A service with one location. ``keys``: more keys of the service; those of the location in ``location={…}``."""
    location = keys.pop("location", {})
    return {"name": name, "host": host, **keys, "locations": [{"path": path, "backends": backends(*urls), **location}]}


class Terraster:
    """A running Terraster.

    services: of the configuration. keys: more top-level keys. Where nothing else is said: one worker, a free port on loopback, no
    health checks, the access log in ``access.log``. A key of None leaves it out.
    """

    root: Path | str = ROOT
    """The folder of the code that it runs, or several as in PYTHONPATH."""

    launcher: Sequence[str] = ()
    """A command in front of it, which becomes it."""

    keep: Sequence[int] = ()
    """Descriptors that it inherits."""

    def __init__(self, folder: Path, *services: Config, start: bool = True, wait: bool = True, **keys: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config_file = folder / "terraster.yaml"
        self.access_file = folder / "access.log"
        self.port = free_port()
        self.admin_port = free_port()
        self.metrics_port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.base: Config = {
            "listen": f"127.0.0.1:{self.port}",
            "admin_port": self.admin_port,
            "metrics": {"listen": f"127.0.0.1:{self.metrics_port}"},
            "workers": 1,
            "runtime_dir": str(folder / "run"),
            "state_dir": str(folder / "state"),
            "access_log": str(self.access_file),
            "health_check": {"type": "none"},
            **keys,
        }
        self.base = {key: value for key, value in self.base.items() if value is not None}
        self.write(*services)
        self.expect_traceback = False
        self.failed = False  # True once the test has failed, for fixtures: they are not told by an exception
        self.program: Program | None = None
        if start:
            self.start(wait=wait)

    def write(self, *services: Config, **keys: Any) -> None:
        """Write the configuration: the base keys, ``keys`` over them, and these services."""
        config = {**self.base, **keys, "services": list(services)}
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))

    def start(self, *, wait: bool = True) -> None:
        """Start it; with ``wait``, return when it serves."""
        command = [*self.launcher, sys.executable, "-m", "terraster.cli.main", "--config", str(self.config_file)]
        self.program = Program(command, self.folder / "output", keep=self.keep, PYTHONPATH=str(self.root), PYTHONUNBUFFERED="1")
        if wait:
            self.program.wait_ready(self.serves, 60)

    def serves(self) -> bool:
        """Whether the management port answers that all is well."""
        try:
            return self.admin("/readyz").status == 200
        except (OSError, AssertionError):
            return False

    def admin(self, target: str) -> Any:
        """A GET on the management port."""
        request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        return exchange(("127.0.0.1", self.admin_port), request)

    def __enter__(self) -> Terraster:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.program is None:
            return
        failed = self.failed or kind is not None
        try:
            self.program.stop()
        finally:
            if failed:
                self.show()
        if not failed and not self.expect_traceback:
            assert "Traceback" not in self.said, self.said

    def show(self) -> None:
        """Print what it printed, where pytest shows it with the failure."""
        sys.stderr.write(f"--- what terraster printed\n{self.said[-20000:]}\n")

    @property
    def runtime_dir(self) -> str:
        """Where its control socket and pid file lie."""
        return str(self.base["runtime_dir"])

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self.program.said if self.program else ""

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self.program is not None
        return self.program.pid

    def connect(self, **options: Any) -> Connection:
        """A client connection."""
        return Connection(self.address, **options)

    def signal(self, number: signal.Signals) -> None:
        """Send the master a signal."""
        os.kill(self.pid, number)

    def ctl(
        self, *arguments: str, deadline: float = 30.0, find_by: str = "config", process: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """terrasterctl on this Terraster, which it finds by its configuration or by its "runtime dir". ``process``: as a command of its
        own, where its start and end are what is tested; else its code runs in this process, which spares half a second."""
        where = ["--config", str(self.config_file)] if find_by == "config" else ["--runtime-dir", self.runtime_dir]
        if process:
            command = [sys.executable, "-m", "terraster.cli.ctl", *where, *arguments]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            return subprocess.run(command, capture_output=True, text=True, timeout=deadline, env=environment, cwd=self.folder)
        return run_ctl(*where, "--timeout", str(deadline), *arguments)

    def control(self, method: str, path: str, deadline: float = 30.0, **query: str) -> dict[str, Any]:
        """One request over the control socket, as terrasterctl makes it; while the admin worker is away it is waited for."""
        control = Control(self.runtime_dir, deadline)
        try:
            return control.call(method, path, **query)
        except Away:
            return control.ask(method, path, **query)

    def status(self) -> Any:
        """The document of ``terrasterctl status --json``."""
        return self.control("GET", "/status")

    def reload(self, *services: Config, **keys: Any) -> dict[str, Any]:
        """Write a configuration and reload it; the outcome as ``terrasterctl reload --json`` tells it. Fails if the reload does."""
        self.write(*services, **keys)
        outcome = self.control("POST", "/reload", why="test")
        assert outcome["ok"], outcome
        return outcome

    def workers(self) -> list[int]:
        """Process ids of the proxy workers."""
        return [worker["pid"] for worker in self.status()["workers"] if worker["role"] == "proxy"]

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics, by name with labels as it stands there."""
        answer = exchange(("127.0.0.1", self.metrics_port), b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.status == 200, answer
        lines = [line for line in answer.body.decode().splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def log(self, count: int = 1) -> list[dict[str, Any]]:
        """The access lines, as soon as there are ``count``."""
        wait_until(lambda: len(self._log_lines()) >= count, lambda: f"{count} access lines; {len(self._log_lines())} came")
        return [json.loads(line) for line in self._log_lines()]

    def _log_lines(self) -> list[str]:
        if not self.access_file.exists():
            return []
        text = self.access_file.read_text()
        return text[: text.rfind("\n") + 1].splitlines()


def run_ctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """terrasterctl with these arguments, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = terrasterctl.main(arguments)
        except SystemExit as refused:  # argparse
            code = int(refused.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def rss(pid: int) -> int:
    """Octets of memory that a process holds for itself (resident, anonymous)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no RssAnon for {pid}")
