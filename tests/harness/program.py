"""A program that a test starts, and ends: its output in a file, its process ended by its own id only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .nursery import Nursling
from .waiting import wait_until

__all__ = ["Program", "accepts", "find", "is_gone", "wait_gone"]


def find(name: str) -> str | None:
    """Where a program lies; nginx and haproxy hide in /usr/sbin, which a plain user's PATH may lack."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def accepts(address: tuple[str, int]) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


class Program:
    """A running program. command: what to start, or a process that was started. ``output`` is the file with its standard output and error.
    ``keep``: descriptors that it inherits."""

    def __init__(self, command: Sequence[str] | Nursling, output: Path, *, keep: Sequence[int] = (), **environment: str) -> None:
        self.output = output
        self.process: subprocess.Popen[bytes] | Nursling
        if isinstance(command, Nursling):
            self.process = command
            return
        with output.open("ab") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=output.parent,
                env={**os.environ, **environment},
                pass_fds=keep,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self.output.read_text(errors="replace")

    def wait_ready(self, ready: Callable[[], object], deadline: float = 15.0) -> None:
        """Return when ``ready()`` holds; fail with the program's own words if it dies or takes too long."""

        def is_ready() -> object:
            assert self.process.poll() is None, f"ended with {self.process.returncode} before it was ready:\n{self.said}"
            return ready()

        wait_until(is_ready, lambda: f"ready, but:\n{self.said}", deadline)

    def wait(self, deadline: float = 15.0) -> int:
        """Its exit status, as soon as it ends."""
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline} s:\n{self.said[-4000:]}") from None

    def stop(self, deadline: float = 15.0) -> int:
        """Ask it to end, make it end if it does not, and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(deadline)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"did not end on SIGTERM:\n{self.said[-4000:]}") from None
        return int(self.process.returncode)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (or waits to be reaped)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_gone(pid: int, deadline: float = 10.0) -> None:
    """Return as soon as a process has ended."""
    wait_until(lambda: is_gone(pid), f"the end of process {pid}", deadline)
