"""wrk as load in the background: started, stopped when the scenario says so, its figures as a value."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from .program import Program, find

__all__ = ["Load", "Wrk"]

_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_REQUESTS = re.compile(r"(\d+) requests in ")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")


@dataclass(frozen=True)
class Load:
    """What wrk saw. ``bad``: answers that were no 2xx or 3xx; the others are what happened to sockets."""

    requests: int
    bad: int
    connect: int
    read: int
    write: int
    timeout: int

    @property
    def failed(self) -> int:
        """All that went wrong."""
        return self.bad + self.connect + self.read + self.write + self.timeout


class Wrk:
    """A wrk that runs until `stop`, and at most for ``seconds``."""

    def __init__(
        self, url: str, output: Path, *, connections: int = 16, seconds: int = 120, host: str = "a.test", script: Path | None = None
    ) -> None:
        """script: in Lua, of wrk's own kind."""
        wrk = find("wrk")
        assert wrk is not None
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-H", f"Host: {host}"]
        command += ["-s", str(script), url] if script else [url]
        self.program = Program(command, output)

    def __enter__(self) -> Wrk:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.stop()

    def stop(self) -> Load:
        """End the load and tell what it saw."""
        self.program.process.send_signal(signal.SIGINT)
        self.program.wait()
        said = self.program.said
        requests, errors, bad = _REQUESTS.search(said), _SOCKET_ERRORS.search(said), _BAD.search(said)
        assert requests is not None, said
        connect, read, write, timeout = (int(number) for number in errors.groups()) if errors else (0, 0, 0, 0)
        return Load(int(requests[1]), int(bad[1]) if bad else 0, connect, read, write, timeout)
