"""An upgrade in place (USR2): a master starts its successor, which runs the program anew and serves beside it until the old one leaves.

    old master ──fork──▶ successor: exec, with our listening sockets ─▶ its own children serve ─▶ old master gets TERM ─▶ promoted

A master hands over to the next one through the environment: `HANDED_OVER` (listening sockets), `PREDECESSOR`, and the shared table
(`terraster.master.shared`). The control socket and the pid file of the successor have names beside the old ones. The old master gives its own
names to a successor that has taken over the table, the pid file's when it begins to stop, the control socket's when it ends. Any other
successor takes them when the old master has ended. So a command finds a master at any time.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import NoReturn

from gevent import get_hub

from terraster.logs.program import ProgramLog

from .listeners import HANDED_OVER, Listeners
from .signals import ALL
from .steps import Step, nothing

__all__ = ["PREDECESSOR", "Upgrade"]

PREDECESSOR = "GUNICORN_PID"  # pid of the master that started this one, under the name that earlier versions know

_NOTICED = 1.0  # seconds in which a worker finds out that its master is dead, however that died: a sign of life is due every second


class Upgrade:
    """The masters before and after this one.

    log:       gunicorn's logger
    original:  the environment that this process was started with
    directory: the working directory that it was started in
    step:      see `terraster.master.steps`

    ``predecessor``: pid of the master that started this one and still runs, else 0. ``successor``: pid of the master that this one
    started, else 0. ``ends_both``: True if the successor was told to end as well, so that nobody goes on.
    """

    def __init__(self, log: ProgramLog, original: Mapping[str, str], directory: str, step: Step = nothing) -> None:
        self._log = log
        self._step = step
        self._original = original
        self._directory = directory
        self.predecessor = int(original.get(PREDECESSOR, "0"))
        self.successor = 0
        self.ends_both = False
        self._alone_since = float("-inf")  # time.monotonic() when the other master was found dead

    @property
    def is_under_way(self) -> bool:
        """True if there are two masters."""
        return bool(self.predecessor or self.successor)

    def masters(self) -> dict[str, int] | None:
        """The pids of the ``old`` and the ``new`` master, None if there is one master."""
        if not self.is_under_way:
            return None
        own = os.getpid()
        return {"old": self.predecessor or own, "new": self.successor or own}

    def is_settled(self) -> bool:
        """True if the workers of a master that was killed had time to find that out."""
        return time.monotonic() > self._alone_since + _NOTICED

    def begin(self, listeners: Listeners, without: str, more: Callable[[MutableMapping[str, str]], None]) -> None:
        """Start a successor. Main greenlet only.

        without: the address of the listener that the successor makes for itself
        more:    ``more(environ)``, called in the process that becomes the successor: puts more into its environment
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
        try:
            self.successor = os.fork()
            if self.successor == 0:
                self._become_successor(listeners, without, more)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._step("successor forked")
        self._log.info("new master %d started; this one goes on until it gets TERM or QUIT", self.successor)

    def watch_predecessor(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when the predecessor ends, however it ends. Called on the master's hub."""
        if not self.predecessor:
            return
        try:
            descriptor = os.pidfd_open(self.predecessor)
        except OSError:
            return  # it has ended already; `promoted` finds out
        self._watcher = get_hub().loop.io(descriptor, 1)
        self._watcher.start(self._wake, descriptor, wake)

    def _wake(self, descriptor: int, wake: Callable[[], None]) -> None:
        self._watcher.close()
        os.close(descriptor)
        wake()

    def end_successor(self, number: int) -> bool:
        """Tell the successor to end: Terraster as a whole stops. False if there is none."""
        if not self.successor:
            return False
        self.ends_both = True
        os.kill(self.successor, number)
        return True

    def ended(self, pid: int) -> bool:
        """A process ended that is not a child. True if it was the successor."""
        if not pid or pid != self.successor:
            return False
        self.successor = 0
        self._alone_since = time.monotonic()
        if self.ends_both:
            self._log.info("the new master (pid %d) has ended", pid)
            return True
        self._log.error("the new master (pid %d) ended; this one goes on", pid)
        return True

    def promoted(self, environ: MutableMapping[str, str]) -> bool:
        """True, once, when the predecessor has gone. Its pid is taken out of ``environ`` then."""
        if not self.predecessor or self.predecessor == os.getppid():
            return False
        self.predecessor = 0
        self._alone_since = time.monotonic()
        environ.pop(PREDECESSOR, None)
        self._log.info("the old master has gone; this one is the only one now")
        return True

    def _become_successor(self, listeners: Listeners, without: str, more: Callable[[MutableMapping[str, str]], None]) -> NoReturn:
        self._log.forked()
        try:
            signal.set_wakeup_fd(-1)
            environ = {key: value for key, value in self._original.items() if not key.startswith("LISTEN_")}
            environ[PREDECESSOR] = str(os.getppid())
            environ[HANDED_OVER] = listeners.hand_over(without)
            more(environ)
            if "WATCHDOG_USEC" in environ:
                environ["WATCHDOG_PID"] = str(os.getpid())
            self._return_to_directory()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
        except OSError as error:
            self._log.error("cannot start a new master: %s: %s", error.filename or sys.executable, error.strerror)
        except BaseException:
            self._log.exception("cannot start a new master")
        finally:
            os._exit(1)

    def _return_to_directory(self) -> None:
        """Go to where this master was started, by the name it had then: a symbolic link may lead to a new release by now. The
        directory may also have been removed; a successor with absolute paths does without it."""
        try:
            os.chdir(self._directory)
        except OSError as error:
            self._log.warning(
                "the new master cannot start in %s, where this one was started: %s; relative paths will not be found",
                self._directory,
                error.strerror,
            )
