"""Starts the toy master as a fork of a process that has all its imports: they are nearly all that a start costs, and there are hundreds.

`Nursery` is the side of the tests. The other side is this file as a program: it imports what `toy_master` needs, and forks for each line that
it reads. It has no threads, and no hub of gevent is made in it. It ends when the tests end, even if they are killed.

A fork is what a start of ``python toy_master.py FILE`` would have made of it: its arguments (also those in /proc), directory, environment
and output; standard input is empty, and no other descriptor is open.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Nursery", "Nursling"]

ROOM = 1000  # octets for the arguments of a fork: as many have those of the nursery
TOY = str(Path(__file__).with_name("toy_master.py"))


class Nursling:
    """A process that the nursery forked, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, changed: threading.Condition, ended: dict[int, int]) -> None:
        self.pid = pid
        self._changed = changed
        self._ended = ended
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or None while it runs; that of a killed one is the signal's negative number."""
        with self._changed:
            if self.returncode is None and self.pid in self._ended:
                self.returncode = self._ended.pop(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, as soon as it has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.poll() is not None, timeout):
                raise subprocess.TimeoutExpired(TOY, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks. Made with the first start."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._changed = threading.Condition(threading.RLock())
        self._born: list[int] = []
        self._ended: dict[int, int] = {}
        self._over = False

    def start(self, arguments: Sequence[str], folder: Path, output: Path, environ: dict[str, str]) -> Nursling:
        """A toy master with these arguments."""
        output.touch()
        with self._changed:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, "-" * ROOM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                )
                threading.Thread(target=self._listen, daemon=True).start()
            order = {"arguments": list(arguments), "folder": str(folder), "output": str(output), "environ": environ}
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: self._born or self._over, 60) and self._born, "the nursery does not answer"
            return Nursling(self._born.pop(), self._changed, self._ended)

    def _listen(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            what, pid, *status = line.split()
            with self._changed:
                if what == b"born":
                    self._born.append(int(pid))
                else:
                    self._ended[int(pid)] = int(status[0])
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()


def _serve() -> list[str]:
    """Fork for each line, and tell who ended. Returns in a fork, with its arguments."""
    from gevent import monkey

    select = monkey.get_original("select", "select")
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    held = b""
    while True:
        readable = select([0, wake], [], [])[0]
        if wake in readable:
            os.read(wake, 4096)
            _bury()
        if 0 not in readable:
            continue
        more = os.read(0, 65536)
        if not more:
            os._exit(0)
        held += more
        while b"\n" in held:
            line, held = held.split(b"\n", 1)
            order = json.loads(line)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _become(order)
            os.write(1, b"born %d\n" % pid)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        os.write(1, b"ended %d %d\n" % (pid, os.waitstatus_to_exitcode(status)))


def _become(order: dict[str, Any]) -> list[str]:
    """What a start makes of a process; returns the arguments."""
    import random

    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    nothing, output = os.open("/dev/null", os.O_RDONLY), os.open(order["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for source, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, number)
    os.closerange(3, 1024)
    random.seed()
    arguments = [TOY, *order["arguments"]]
    sys.argv, sys.orig_argv = arguments, [sys.executable, *arguments]
    _show(sys.orig_argv)
    return arguments


def _show(command: list[str]) -> None:
    """Have /proc show this command, in the memory of the command that the nursery was started with."""
    import ctypes

    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    text = b"".join(os.fsencode(one) + b"\0" for one in command)
    assert len(text) <= end - start, command
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    from terraster.master import patching

    patching.patch()

    import ctypes  # noqa: F401  as all that follows: the forks have it

    import toy_master  # type: ignore[import-not-found]

    import terraster.master.run
    import terraster.worker.process  # noqa: F401

    sys.exit(toy_master.main(_serve()[1]))
