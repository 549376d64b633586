"""The files by which others find a running Terraster: the pid file, the control socket, and other unix sockets that it listens on.

A cleaner of temporary files, or an operator, may remove them, or the whole runtime directory. Terraster goes on serving but cannot be found.
So the master looks every two seconds whether each name still leads to its own file, and makes what is lost again. A path
that another process uses by now is left to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gevent

from terraster.errors import StartError

from .listeners import Listeners
from .pidfile import Pidfile, runtime_directory

__all__ = ["EVERY", "RuntimeFiles"]

EVERY = 2.0  # seconds between two looks


class RuntimeFiles:
    """The files of one master.

    control:  the address of the control socket
    restored: called with the addresses of sockets that were made again: children have the old ones
    paused:   True while they are not to be touched: during an upgrade two masters share them
    """

    def __init__(
        self,
        pidfile: Pidfile,
        listeners: Listeners,
        control: str,
        log: Any,
        restored: Callable[[list[str]], None],
        paused: Callable[[], bool],
    ) -> None:
        self._pidfile = pidfile
        self._listeners = listeners
        self._control = control
        self._log = log
        self._restored = restored
        self._paused = paused
        self._refused: dict[str, str] = {}  # path → why it cannot be made again, as it was logged
        self._runner: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to look."""
        self._runner = gevent.spawn(self._run)

    def stop(self) -> None:
        """Look no longer."""
        if self._runner is not None:
            self._runner.kill()

    def _run(self) -> None:
        while True:
            gevent.sleep(EVERY)
            if not self._paused():
                self.look()

    def look(self) -> None:
        """Make again what is lost. Each loss is logged once, and so is each reason why something cannot be made again."""
        if not self._pidfile.is_there():
            self._make(self._pidfile.fname)
        made = [address for address in self._listeners.lost() if self._make(address)]
        if made:
            self._restored(made)

    def _make(self, name: str) -> bool:
        """Make the pid file or the socket of an address again. False: it cannot be made now."""
        try:
            if name == self._pidfile.fname or name == self._control:
                runtime_directory(os.path.dirname(self._pidfile.fname))
            if name == self._pidfile.fname:
                self._pidfile.restore(os.getpid())
            else:
                self._listeners.restore(name)
        except (StartError, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            if self._refused.get(name) != reason:
                self._refused[name] = reason
                self._log.error("%s was removed or replaced, and cannot be made again yet: %s", name, reason)
            return False
        self._refused.pop(name, None)
        self._log.warning("%s was removed or replaced; made again", name)
        return True
