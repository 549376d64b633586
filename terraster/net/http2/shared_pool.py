"""The HTTP/2 connections to one backend, which the requests of a worker share.

A request goes to the connection with the fewest others, as long as one has room. If none has, another one is opened: one at a time, so that
many requests that come together do not open one each.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from terraster.config.snapshot import ConnectionPool
from terraster.errors import ConnectFailed
from terraster.net.pool import WANTED, NoRoom, Pool
from terraster.net.reactor import Reactor, Wakeup
from terraster.state.view import SeatView

from .backend_session import BackendSession

__all__ = ["SharedPool"]

_LOOK = 0.005
"""Seconds between two checks whether another worker has closed a connection."""


class SharedPool(Pool):
    """The connections to one backend. Those without a request are idle.

    The limits of `Pool` are for connections here, too.
    """

    __slots__ = ("_allowed", "_connect", "_connects", "_sessions", "_waiting")

    def __init__(
        self,
        reactor: Reactor,
        limits: ConnectionPool,
        view: SeatView,
        offset: int,
        connect: Callable[[float, float, int], BackendSession],
    ) -> None:
        """connect: opens a connection that was admitted. Its arguments are the seconds that this may take, those between two octets that the
        backend takes (0 = no limit for both), and the requests that may be sent before its settings have come."""
        super().__init__(reactor, limits, view, offset)
        self._connect = connect
        self._connects = False
        self._allowed = 1  # as its last connection said
        self._sessions: list[BackendSession] = []
        self._waiting: list[Wakeup] = []

    def session(self, look: bool, fresh: bool, timeout: float, write: float) -> BackendSession:
        """A connection with room for a request, which the caller sends at once. Opens one, or waits for one, if there is none.

        look: True: ask the kernel first if it has ended; for requests that must not be sent twice. fresh: True: none that is idle.
        timeout: seconds for all of this; write: seconds between two octets that the backend takes; 0 = no limit. Raises `ConnectFailed`,
        `NoRoom`.
        """
        end = self.reactor.clock() + timeout if timeout else inf
        while True:
            session = self._roomy(look, fresh)
            if session is not None:
                return session
            left = end - self.reactor.clock()
            if left <= 0.0:
                if self._is_opening():
                    raise ConnectFailed("no connection to the backend in time", status=504, reason="connection_timeout")
                raise NoRoom("all connections to the backend are in use")
            if self._is_opening():
                self._wait(left)
            elif self.admit():
                return self._open(left if timeout else 0.0, write)
            elif self.idle:  # this request cannot use them
                self.drop(next(iter(self.idle)))
            else:
                self._want(left)

    def _roomy(self, look: bool, fresh: bool) -> BackendSession | None:
        """The connection with room and the fewest requests, None if there is none with room."""
        looked: list[BackendSession] = []
        while True:
            best: BackendSession | None = None
            for session in self._sessions:
                if (fresh and session in self.idle) or not session.room:
                    continue
                if best is None or len(session.requests) < len(best.requests):
                    best = session
            if best is None:
                return None
            if look and best not in looked:
                looked.append(best)
                best.look()
                continue
            if best in self.idle:
                self.forget(best)
            return best

    def _is_opening(self) -> bool:
        """True if a connection is being opened, or has not said yet how many requests it takes."""
        return self._connects or not all(session.codec.settled for session in self._sessions)

    def _open(self, timeout: float, write: float) -> BackendSession:
        self._connects = True
        try:
            session = self._connect(timeout, write, self._allowed)
        finally:
            self._connects = False
            self.stir(True)
        self._sessions.append(session)
        return session

    def _wait(self, seconds: float) -> None:
        wakeup = Wakeup(self.reactor)
        self._waiting.append(wakeup)
        try:
            wakeup.wait(seconds if seconds < inf else 3600.0)
        finally:
            self._waiting.remove(wakeup)

    def _want(self, left: float) -> None:
        """Wait for a moment while no other connection may be opened. The other workers see it, and close idle ones."""
        view = self._view
        at = view.backends + self._offset + WANTED
        view.q[at] += 1
        try:
            self._wait(min(left, _LOOK))
        finally:
            view.q[at] -= 1

    def stir(self, everyone: bool = False) -> None:
        """There may be room on a connection, or none is being opened any longer: one that waits looks again."""
        for wakeup in self._waiting if everyone else self._waiting[:1]:
            wakeup.wake()

    def reuse_failed(self) -> int:
        """See `Pool.reuse_failed`. Connections are used on all the same: a backend that means to end one says so by GOAWAY."""
        self._broken += 1
        return self._broken

    # --------------------------------------------------------------------------------------------------------- told by connections

    def rests(self, session: BackendSession) -> None:
        """A connection has no requests any longer. One that takes none, because the backend allows 0 streams, is not kept: there would be one
        more with each request."""
        self._broken = 0
        if session.codec.allowed:
            session.since = self.reactor.clock()
            self._rest(session)
        else:
            session.close()

    def settled(self, session: BackendSession) -> None:
        """A connection has said how many requests it takes."""
        self._allowed = session.codec.allowed
        self.stir(True)

    def left_out(self, session: BackendSession) -> None:
        """A connection takes no new requests."""
        if session in self.idle:
            self.drop(session)

    def gone(self, session: BackendSession) -> None:
        """A connection has ended."""
        if session in self.idle:
            self.forget(session)
        if session in self._sessions:
            self._sessions.remove(session)
        self.left()
        self.stir(not session.codec.settled)  # all may have waited for its settings
