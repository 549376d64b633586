"""A real master with real children, for the tests of `terraster.master` and `terraster.worker`: only what the children do is a toy."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from .nursery import Nursery, Nursling
from .ports import free_port
from .program import Program, is_gone
from .waiting import wait_until

__all__ = ["Family"]

T = TypeVar("T")

_PROGRAM = Path(__file__).with_name("toy_master.py")
_NURSERY = Nursery()


class Family:
    """A master in a process of its own. Use as a context manager."""

    def __init__(self, **settings: Any) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="terraster-")
        self.port = free_port()
        self.path = os.path.join(self.directory.name, "family.json")
        self.log_path = os.path.join(self.directory.name, "log")
        self.runtime = os.path.join(self.directory.name, "run")
        self.environ: dict[str, str] = {}
        self.command: list[str] = []  # before the program, as a launcher
        self.keep: tuple[int, ...] = ()  # descriptors to inherit
        self.settings: dict[str, Any] = {
            "listen": [f"127.0.0.1:{self.port}"],
            "services": {"one": [f"http://127.0.0.1:{self.port}"]},
            "runtime_dir": self.runtime,
            **settings,
        }
        self.write()
        self.program: Program

    def write(self, **settings: Any) -> None:
        """Change the configuration file."""
        self.settings.update(settings)
        with open(self.path, "w") as file:
            json.dump(self.settings, file)

    def start(self) -> None:
        environ = {**self.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        log = Path(self.log_path)
        if self.command or self.keep:
            command = [sys.executable, *self.command, str(_PROGRAM), self.path]
            self.program = Program(command, log, keep=self.keep, **environ)
        else:
            self.program = Program(_NURSERY.start([self.path], log.parent, log, {**os.environ, **environ}), log)

    def __enter__(self) -> Family:
        self.start()
        try:
            self.until("ready: ")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: Any) -> None:
        family = self.family() if self.process.poll() is None else []
        try:
            self.program.stop(10)
        finally:
            for pid in family:
                if not is_gone(pid):
                    os.kill(pid, signal.SIGKILL)
            self.directory.cleanup()

    @property
    def process(self) -> subprocess.Popen[bytes] | Nursling:
        return self.program.process

    @property
    def pid(self) -> int:
        return self.program.pid

    def log(self) -> str:
        return self.program.said

    def wait_until(self, truth: Callable[[], T], deadline: float = 10.0) -> T:
        """The value of ``truth()`` as soon as it holds. A family that does not answer yet, or not wholly, is waited for."""
        return wait_until(truth, deadline=deadline, tolerate=(OSError, ValueError, KeyError))

    def until(self, pattern: str, seconds: float = 15.0) -> re.Match[str]:
        """Wait for a line of the log."""
        return wait_until(lambda: re.search(pattern, self.log()), lambda: f"{pattern!r} in the log:\n{self.log()}", seconds)

    def get(self, path: str = "/", port: int | None = None, timeout: float = 10.0) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=timeout) as answer:
            return json.load(answer)

    @contextmanager
    def traffic(self) -> Iterator[list[OSError]]:
        """Ask without a pause meanwhile. Gives what failed, which is complete behind the block."""
        failed: list[OSError] = []
        done = threading.Event()

        def run() -> None:
            while not done.is_set():
                try:
                    self.get()
                except OSError as error:
                    failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield failed
        finally:
            done.set()
            thread.join()

    def ask(self, verb: str) -> dict[str, Any]:
        """Ask the master through the admin worker and its control socket."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            one.connect(f"{self.runtime}/control.sock")
            one.sendall(f"GET /{verb} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return found

    def children(self, role: str = "proxy") -> list[dict[str, Any]]:
        """The children of a role that serve."""
        return [worker for worker in self.ask("status")["workers"] if worker["role"] == role and worker["state"] == "serving"]

    def pids(self, role: str = "proxy") -> set[int]:
        return {worker["pid"] for worker in self.children(role)}

    def family(self) -> list[int]:
        """The pids of all children of the master."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]
