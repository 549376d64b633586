"""The file descriptors of one proxy worker: what is done when they get short, counted and told.

    a client waits, and there is no room for another pair ─▶ end idle clients, or let it wait
    no descriptor for a connection to a backend           ─▶ close an idle one to another backend, end an idle client, try again
    no descriptor to accept with, or one of the last      ─▶ the same

The kernel always gives out the lowest free number. So the number of a new descriptor says how many are in use, without a count.
`terraster.policy.descriptors` has the rules.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from errno import ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

from gevent.monkey import get_original

from terraster.net.connection import Connection
from terraster.net.origin import Origin
from terraster.net.reactor import Reactor
from terraster.policy.descriptors import finite, idlest, most_clients, spare
from terraster.state.cells import Seat
from terraster.state.view import SeatView

__all__ = ["Descriptors"]

_SHORTAGE = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))

_TRIES, _STEP = 100, 0.005  # attempts to get a descriptor for a connection to a backend, and seconds between two of them

_SAY = 60.0  # seconds between two lines of the log about it

_GUESS = 32  # descriptors of a worker without clients; usually some 16

_PAUSE, _PART = 0.05, 20.0  # seconds until idle clients are looked for again, and how many times as long as the last look took

_make = get_original("socket", "socket")


class Descriptors:
    """The descriptors of one worker.

    connections: the worker's client connections
    say:         writes a warning to the program's log
    reactor, origins: set before the first connection
    limit:       the soft limit of the process
    most:        client connections at one time
    crowded:     True if every client has asked something, when room was last looked for: a silent one makes room soon
    """

    __slots__ = (
        "crowded",
        "limit",
        "most",
        "origins",
        "reactor",
        "_closed",
        "_connections",
        "_errors",
        "_is_short",
        "_last",
        "_last_error",
        "_look_at",
        "_said_at",
        "_say",
        "_upstreams",
        "_used",
        "_view",
        "_waits",
    )

    def __init__(self, view: SeatView, connections: set[Connection], listeners: int, say: Callable[[str], None]) -> None:
        self.limit = finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._last = self.limit - spare(self.limit) // 2
        self.reactor: Reactor
        self.origins: dict[str, Origin]
        self._view = view
        self._connections = connections
        self._say = say
        self._used = _open() - listeners
        self._closed = self._errors = self._upstreams = self._waits = 0  # since the last line of the log
        self._is_short = False
        self._last_error = ""
        self._look_at = 0.0
        self.crowded = False
        self._said_at = -_SAY
        self.listen(listeners)

    def listen(self, listeners: int) -> None:
        """Count on so many listeners from now on."""
        self.most = most_clients(self.limit, self._used + listeners)

    def socket(self, family: int, kind: int) -> Any:
        """Make a socket for a connection to a backend, as `Reactor.socket`. If no descriptor is left, free one, or wait up to half a
        second. Any greenlet except the hub. Raises OSError."""
        for _ in range(_TRIES):
            try:
                return _make(family, kind)
            except OSError as error:
                if error.errno not in _SHORTAGE:
                    raise
                self._short()
            if not self._close_upstream():
                self.reactor.loop.run_callback(self.make_room)
                self.reactor.sleep(_STEP)
        return _make(family, kind)

    def taken(self, fd: int) -> None:
        """A client's connection has got this descriptor. If it is one of the last, free another one. On the hub."""
        if fd >= self._last:
            self._short()
            self._free()

    def not_accepted(self, error: OSError) -> bool:
        """Count an error of accept(2). True if the next try may succeed. On the hub."""
        q, base = self._view.q, self._view.base
        q[base + Seat.ACCEPT_ERRORS] += 1
        if error.errno == ECONNABORTED:  # the client left while it waited
            return True
        self._errors += 1
        self._last_error = error.strerror or str(error)
        if error.errno not in _SHORTAGE:
            return False
        self._short()
        return self._free()

    def make_room(self) -> bool:
        """End the connections of the clients that have been idle for longest. True if one has ended. On the hub."""
        clock = self.reactor.clock
        now = clock()
        if now < self._look_at:
            return False
        waiting = [(since, one) for one in self._connections if (since := one.idle_since)]
        self.crowded = all(one.requests for _since, one in waiting)
        count = 0
        for connection in idlest(waiting, now, len(self._connections)):
            count += connection.end_idle()
        if count:
            self._closed += count
            self._view.q[self._view.base + Seat.CLIENTS_CLOSED] += count
            self._short()
        else:
            self._look_at = now + max(_PAUSE, _PART * (clock() - now))
        return count > 0

    def lets_wait(self) -> None:
        """Count a time when clients begin to wait because descriptors are short."""
        self._waits += 1
        self._short()

    def tell(self, now: float) -> None:
        """Write a line about what happened since the last one, at most once a minute. Called a few times a second."""
        if now - self._said_at < _SAY:
            return
        words = [f"{what}: {many}" for what, many in self._done() if many]
        if not words:
            return
        if self._last_error:
            words[-1] += f" (the last one: {self._last_error.lower()})"
        what = f"short of file descriptors (limit {self.limit}, enough for {self.most} clients); " if self._is_short else ""
        self._say(what + ", ".join(words))
        self._said_at = now
        self._closed = self._errors = self._upstreams = self._waits = 0
        self._is_short = False
        self._last_error = ""

    def _done(self) -> tuple[tuple[str, int], ...]:
        return (
            ("idle connections of clients ended", self._closed),
            ("idle connections to backends closed", self._upstreams),
            ("times that new clients began to wait", self._waits),
            ("errors of accept", self._errors),
        )

    def _short(self) -> None:
        self._is_short = True
        self._view.q[self._view.base + Seat.SHORT_AT] = time.monotonic_ns()

    def _free(self) -> bool:
        return self._close_upstream() or self.make_room()

    def _close_upstream(self) -> bool:
        """Close an idle connection to a backend. True if there was one."""
        for origin in self.origins.values():
            if origin.pool.idle:
                origin.pool.drop(next(iter(origin.pool.idle)))
                self._upstreams += 1
                return True
        return False


def _open() -> int:
    """The descriptors that this process has open; a guess where /proc is not mounted."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return _GUESS
