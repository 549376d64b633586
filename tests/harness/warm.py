"""Terraster instances that are kept running between tests: a start costs a second of CPU, a reload in place 25 ms.

A `Pool` keeps instances by their number of workers. A test borrows one as a `Warm`, which looks like a Terraster of its own. The services
and keys of the test come by a reload; its log and its access log begin empty. After the test, a second reload removes the configuration:
the next test finds no service, backend or counter of it. Then the instance must be as it was: the same processes, no more sockets than
when it was new, no Traceback in the log. A fault fails the test that had the instance, and the instance is replaced.

Some keys need a start (`FRESH`): a test with one of them needs a fresh Terraster. So does a test that ends or kills processes. If a process
of a kept instance has ended, the test fails, unless the test was given process ids. In that case the test ended the process on purpose, and
the instance is replaced silently.
"""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from terraster.cli.control import Away, Refused

from .program import Program, find, is_gone
from .terraster_process import Config, Terraster, service
from .waiting import wait_until

__all__ = ["FRESH", "Pool", "Warm"]

FRESH = frozenset(
    {"admin_api", "admin_port", "api", "listen", "metrics", "metrics_port", "port", "runtime_dir", "start", "state_dir", "wait"}
)
"""Keys of the configuration, and of `Terraster`, that need a start."""

PATIENCE = 20.0  # seconds until all connections of a test must have ended

_ENDED = "processes ended or were replaced"

_IDLE = service("http://127.0.0.1:9", name="idle", host="idle.invalid")


class _Kept(Terraster):
    """A running instance. ``user``: the test that had it last. ``seen``: the octets of its output that were checked. It ends with the test
    process, even if that is killed."""

    launcher = ("setpriv", "--pdeathsig", "TERM") if find("setpriv") else ()

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder, _IDLE, workers=workers, access_log="off")
        self.user = "its start"
        self.seen = 0
        self.processes = self.family()
        self.reload(_IDLE, access_log=str(self.access_file))
        self.reload(_IDLE)
        self.sockets = self.count_sockets()

    def family(self) -> set[int]:
        """The process ids of master and children that run; empty when the master has ended."""
        assert self.program is not None
        if self.program.process.poll() is not None:
            return set()
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {self.pid, *(pid for pid in map(int, children) if not is_gone(pid))}

    def count_sockets(self) -> dict[int, int]:
        """How many sockets each process holds. Fails if one has ended."""
        try:
            return {pid: sum(map(_is_socket, Path(f"/proc/{pid}/fd").iterdir())) for pid in self.processes}
        except (FileNotFoundError, ProcessLookupError):
            raise AssertionError(_ENDED) from None

    def said_since(self, start: int) -> str:
        """What it printed behind so many octets."""
        assert self.program is not None
        with self.program.output.open("rb") as stream:
            stream.seek(start)
            return stream.read().decode(errors="replace")

    def size(self) -> int:
        """How many octets it printed so far."""
        assert self.program is not None
        return self.program.output.stat().st_size

    def rest(self) -> None:
        """Take away everything that a test brought. Fails if something stays."""
        outcome = self.reload(_IDLE)
        assert not outcome["replaced"], outcome
        wait_until(self._is_at_rest, self._leaks, PATIENCE)
        self.check_processes()

    def check_processes(self) -> None:
        """Fail if a process has ended or was replaced."""
        assert self.family() == self.processes, _ENDED

    def _is_at_rest(self) -> bool:
        return not self._more_sockets()

    def _more_sockets(self) -> dict[int, int]:
        return {pid: more for pid, count in self.count_sockets().items() if (more := count - self.sockets[pid]) > 0}

    def _leaks(self) -> str:
        return f"all connections ended; sockets too many, by process: {self._more_sockets()}"

    def end(self) -> None:
        """Stop it, if it still runs."""
        assert self.program is not None
        self.program.stop()


def _is_socket(descriptor: Path) -> bool:
    with suppress(FileNotFoundError):  # closed meanwhile
        return os.readlink(descriptor).startswith("socket:")
    return False


class Warm(Terraster):
    """A kept instance as one test sees it. ``told``: True once the test knows process ids."""

    def __init__(self, kept: _Kept, give_back: Callable[[Warm], None], folder: Path, *services: Config, **keys: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = kept
        self.folder = folder
        self.config_file = kept.config_file
        self.access_file = folder / "access.log"
        self.port, self.admin_port, self.metrics_port = kept.port, kept.admin_port, kept.metrics_port
        self.address, self.url = kept.address, kept.url
        self.base = {**kept.base, "access_log": str(self.access_file), **keys}
        self.base = {key: value for key, value in self.base.items() if value is not None}
        self.expect_traceback = self.failed = self.told = False
        self._give_back = give_back
        self._start = kept.size()
        outcome = self.reload(*services)
        assert not outcome["replaced"], outcome
        stays = [note for note in outcome["notes"] if "restart" in note or "being replaced" in note]
        assert not stays, f"take `fresh(…)`: {stays}"

    @property
    def said(self) -> str:
        """What it printed for this test."""
        return self.kept.said_since(self._start)

    @property
    def program(self) -> Program | None:  # `pid` and `signal` come by here too
        self.told = True
        return self.kept.program

    def start(self, *, wait: bool = True) -> None:
        raise AssertionError("take `fresh(…)`: what is kept running is not started by a test")

    def status(self) -> Any:
        self.told = True
        return super().status()

    def ctl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        self.told = True
        return super().ctl(*arguments, **options)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.failed = self.failed or kind is not None
        self._give_back(self)


class Pool:
    """Instances to borrow. folder: makes an empty directory for each."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._idle: dict[int, list[_Kept]] = defaultdict(list)

    def borrow(self, user: str, folder: Path, *services: Config, workers: int = 1, **keys: Any) -> Warm:
        """An instance with these services and keys, for a test of that name; a context manager that gives it back."""
        kept = self._idle[workers].pop() if self._idle[workers] else _Kept(self._folder(), workers)
        try:
            self._check_since(kept, kept.seen)
            kept.user = user
            return Warm(kept, self._take_back, folder, *services, **keys)
        except BaseException:
            kept.end()
            raise

    def close(self) -> None:
        """Stop what is idle; fails if one has not been well since it came back."""
        for kept in [kept for some in self._idle.values() for kept in some]:
            kept.end()
            self._check_since(kept, kept.seen)
        self._idle.clear()

    def _check_since(self, kept: _Kept, start: int) -> None:
        said = kept.said_since(start)
        assert "Traceback" not in said, f"after {kept.user} was over:\n{said}"

    def _is_whole(self, warm: Warm) -> bool:
        """True if the instance is as it was before the test, False if the test ended processes on purpose; anything else is raised."""
        kept = warm.kept
        try:
            kept.check_processes()
            kept.rest()
        except (AssertionError, Away, Refused):
            if warm.told and kept.family() != kept.processes:
                return False
            raise
        return True

    def _take_back(self, warm: Warm) -> None:
        kept = warm.kept
        if warm.failed:
            warm.show()
            kept.end()
            return
        try:
            whole = self._is_whole(warm)
            if not whole:
                kept.end()
            assert warm.expect_traceback or "Traceback" not in warm.said, warm.said
        except BaseException:
            warm.show()
            kept.end()
            raise
        if whole:
            kept.seen = kept.size()
            self._idle[kept.base["workers"]].append(kept)
