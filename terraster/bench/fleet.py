"""The processes of a load generator: started together, begun at the same moment, and their results put together as they come."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import IO

from terraster.errors import StartError

from .load import Load
from .record import Record
from .result import Result

__all__ = ["Fleet"]

_LEAD = 0.05
"""Seconds from the order to begin to the beginning, so that it reaches all processes before."""

_LOOK = 0.1  # seconds between two looks at the order to stop
_GRACE = 0.5  # seconds that requests under way get after the order to stop


class _Process:
    """One process, with what it has said since the last whole line."""

    __slots__ = ("ended", "held", "process", "ready")

    def __init__(self, load: Load) -> None:
        root = str(Path(__file__).resolve().parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "terraster.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,  # Ctrl-C is for this process, which passes on what it means
        )
        self.held = b""
        self.ready = self.ended = False
        self.say(load.to_json())

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has ended; the end of its output tells so
            return

    def lines(self) -> list[bytes] | None:
        """The whole lines that it has said; None at the end."""
        data = os.read(self.output.fileno(), 1 << 18)
        if not data:
            return None
        *lines, self.held = (self.held + data).split(b"\n")
        return lines


class Fleet:
    """The processes of one load. result: as it is so far. stopped: True once `stop` was called"""

    def __init__(self, load: Load, count: int) -> None:
        """count: of processes. At most one for each connection, and for each request, is started."""
        self.load = load
        count = max(1, min(count, load.connections, load.requests or count))
        self.result = Result(load, count)
        self.stopped = False
        self.began = 0.0
        self._count = count
        self._processes: list[_Process] = []
        self._told = False

    def stop(self) -> None:
        """End the load early. Safe in a signal handler."""
        self.stopped = True

    def suspend(self) -> None:
        """Stop all processes, and then this one, as Ctrl-Z asks for; go on when this one is continued. Safe in a signal handler."""
        for one in self._processes:
            one.process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        for one in self._processes:
            one.process.send_signal(signal.SIGCONT)

    def run(self, watch: Callable[[], None]) -> Result:
        """Run the load. watch: called about ten times a second. Raises `StartError` if it cannot run."""
        with selectors.DefaultSelector() as selector:
            try:
                for index in range(self._count):
                    process = _Process(self.load.share(index, self._count))
                    self._processes.append(process)
                    selector.register(process.output, selectors.EVENT_READ, process)
                while selector.get_map():
                    for key, _ in selector.select(_LOOK):
                        self._hear(selector, key.data)
                    if self.stopped and not self._told:
                        self._stop_all()
                    watch()
            finally:
                self._end_all()
        return self.result

    def _hear(self, selector: selectors.BaseSelector, process: _Process) -> None:
        lines = process.lines()
        if lines is None:
            selector.unregister(process.output)
            code = process.process.wait()
            if not process.ready:
                raise StartError(f"a process of the load generator did not start ({_ending(code)})")
            if not process.ended:
                self.result.faults.append(
                    f"a process of the load generator ended early ({_ending(code)}): its last requests are not counted"
                )
            return
        for line in lines:
            said = json.loads(line)
            if "fault" in said:
                raise StartError(said["fault"])
            if "ready" in said:
                process.ready = True
                if all(one.ready for one in self._processes):
                    self._begin()
            elif "at" in said:
                self.result.add(said["at"], Record.from_json(said["record"]), said["is_late"])
            else:
                process.ended = True
                self.result.ended(said["end"])

    def _begin(self) -> None:
        self.began = monotonic() + _LEAD
        for process in self._processes:
            process.say(json.dumps({"begin": self.began}))

    def _stop_all(self) -> None:
        self._told = True
        if not self.began:
            raise StartError("interrupted before the first request")
        for process in self._processes:
            process.say(json.dumps({"stop": _GRACE}))

    def _end_all(self) -> None:
        for process in self._processes:
            if process.process.poll() is None:
                process.process.kill()
                process.process.wait()
            process.output.close()
            if process.process.stdin is not None:
                try:
                    process.process.stdin.close()
                except BrokenPipeError:
                    continue


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
