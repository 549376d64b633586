"""The pool of the connections to one backend. It keeps the idle ones and counts all."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from terraster.config.snapshot import ConnectionPool
from terraster.errors import HttpError
from terraster.exchange import Exchange
from terraster.policy.keepalive import KeepAlive
from terraster.state.cells import SeatBackend
from terraster.state.view import SeatView

from .reactor import Reactor

if TYPE_CHECKING:
    from .upstream import Upstream

__all__ = ["WANTED", "NoRoom", "Pool"]

MAX_IDLE = 256
"""Most idle connections kept per backend and worker, whatever is configured."""

_LOOK = 0.005
"""Seconds between two checks whether another worker has closed a connection."""

_BROKEN = 3
"""Reused connections that may break in a row. After that, connections to this backend are used only once."""

_FRESH = 10.0
"""Seconds for which they are used only once."""

_IDLE = SeatBackend.IDLE
_OPEN = SeatBackend.OPEN
WANTED = SeatBackend.WANTED
_KEEPALIVE = SeatBackend.KEEPALIVE
_CONNECTS = SeatBackend.CONNECTS
_NEVER = inf
_MAX_IDLE = MAX_IDLE


class NoRoom(HttpError):
    """The backend has reached its limit of connections. Nothing was sent, another backend may be tried, and the error counts against no
    backend."""

    status = 503
    retryable = True
    unsent = True
    reason = "connection_limit_reached"


class Pool:
    """The connections to one backend: this worker's idle ones, and the number of all.

    An idle connection is watched. It leaves the pool when the backend closes it, so a dead connection is never handed out. The connection
    used last is used next. The limits are for all workers together, and exact in the way of `terraster.balance.contract`: count in, add up,
    step back. With a `max_open`, a worker closes idle connections as soon as another worker waits for one; each looks every few
    milliseconds.

    limits:    as configured
    offset:    of the backend's row in a seat
    keepalive: estimate of the time after which the backend closes idle connections

    Without a limit, idle connections are counted only when `expire` looks at them.
    """

    __slots__ = (
        "idle",
        "reactor",
        "clock",
        "closed",
        "limits",
        "keepalive",
        "_broken",
        "_exact",
        "_max_open",
        "_fresh_until",
        "_shown",
        "_view",
        "_offset",
        "_looks",
    )

    def __init__(self, reactor: Reactor, limits: ConnectionPool, view: SeatView, offset: int) -> None:
        self.reactor = reactor
        self.clock = reactor.clock
        self.limits = limits
        self._exact = limits.max_idle >= 0
        self._max_open = limits.max_open
        self._shown = 0
        self.keepalive = KeepAlive()
        self._broken = 0  # reused connections in a row that took a request and ended without a response
        self._fresh_until = 0.0
        self.idle: dict[Any, None] = {}
        self.closed = False
        self._view = view
        self._offset = offset
        self._looks = reactor.loop.timer(_LOOK, _LOOK)

    def limit(self, limits: ConnectionPool) -> None:
        """Use other limits from now on."""
        self.limits = limits
        self._exact = limits.max_idle >= 0
        self._max_open = limits.max_open
        self._publish()

    def take(self, exchange: Exchange, look: bool) -> Upstream | None:
        """An idle connection for this exchange, or None.

        look: True: ask the kernel whether the connection has ended since the last turn of the loop. This costs a call, for requests that must
        not be sent twice.
        """
        if self._fresh_until and self._once():
            return None
        while self.idle:
            upstream: Upstream
            upstream, _ = self.idle.popitem()
            if self.keepalive.seconds and self.clock() - upstream.since > self.keepalive.usable:
                self.idle[upstream] = None  # all others are older: they stay, to show when the backend closes them
                return None
            if self._exact:
                self._view.q[self._view.backends + self._offset + _IDLE] -= 1
            if not (look or upstream.doubtful) or upstream.is_quiet():
                upstream.doubtful = False
                return upstream
            upstream.close()
        return None

    def _once(self) -> bool:
        """True while connections are used once only."""
        if self.reactor.clock() < self._fresh_until:
            return True
        self._fresh_until = 0.0
        return False

    def reuse_failed(self) -> int:
        """Count a reused connection that took a request and ended without a response. If that repeats, the backend may execute requests
        that are then sent again. So its connections are used only once for a while. Returns how many there were in a row."""
        self._broken = broken = self._broken + 1
        if broken >= _BROKEN:
            self._broken = 0
            self._fresh_until = self.reactor.clock() + _FRESH
            while self.idle:
                self.drop(next(iter(self.idle)))
        return broken

    def holds(self, upstream: Upstream) -> bool:
        """True if this worker has an idle connection."""
        return upstream in self.idle

    def admit(self) -> bool:
        """Count one more connection, which the caller makes. False if that would exceed `max_open`; then nothing is counted."""
        view = self._view
        q, at = view.q, view.backends + self._offset
        q[at + _OPEN] += 1
        if self.limits.max_open and sum([q[row + self._offset + _OPEN] for row in view.all_backends]) > self.limits.max_open:
            q[at + _OPEN] -= 1
            return False
        q[at + _CONNECTS] += 1
        return True

    def left(self) -> None:
        """Count one open connection less."""
        self._view.q[self._view.backends + self._offset + _OPEN] -= 1

    def wait(self, exchange: Exchange, timeout: float) -> Upstream | None:
        """Wait until another connection may be opened, or until this worker has an idle one. Raises `HttpError` 503.

        Returns the idle connection, or None if a new one may be opened, which is counted then. The other workers see the wait and close
        idle connections.

        timeout: seconds, 0 = no limit
        """
        if self.idle:  # all are open but too old to be used
            self.drop(next(iter(self.idle)))
            if self.admit():
                return None
        view = self._view
        at = view.backends + self._offset + WANTED
        reactor = self.reactor
        end = reactor.clock() + timeout if timeout else inf
        view.q[at] += 1
        try:
            while reactor.clock() < end:
                reactor.sleep(_LOOK)
                if self.idle and (upstream := self.spare(exchange)) is not None:
                    return upstream
                if self.admit():
                    return None
        finally:
            view.q[at] -= 1
        raise NoRoom("all connections to the backend are in use")

    def spare(self, exchange: Exchange) -> Upstream | None:
        """An idle connection for an exchange that waits. Called if there are idle ones."""
        return self.take(exchange, True)

    def _wanted_elsewhere(self) -> bool:
        """True if another worker waits for a connection."""
        view = self._view
        for row in view.all_backends:
            if row != view.backends and view.q[row + self._offset + WANTED]:
                return True
        return False

    def keep(self, upstream: Upstream) -> None:
        """Take back a connection whose response has been read completely."""
        if self._fresh_until and self._once():
            upstream.close()
            return
        if self._broken and upstream.since < _NEVER:  # a reused connection served well
            self._broken = 0
        plain = upstream.plain
        if plain.ready:
            upstream.close()
            return
        upstream.phase = "response"
        upstream.since = self.clock()
        self._rest(upstream)

    def _rest(self, upstream: Any) -> None:
        """Keep a connection as an idle one, unless there are enough of them."""
        if self.closed or len(self.idle) >= _MAX_IDLE or (self._max_open and self._wanted_elsewhere()):
            upstream.close()
            return
        if self._exact:
            view = self._view
            q, at = view.q, view.backends + self._offset + _IDLE
            q[at] += 1
            if self.limits.max_idle < sum([q[row + self._offset + _IDLE] for row in view.all_backends]):
                q[at] -= 1
                upstream.close()
                return
        self.idle[upstream] = None
        if self._max_open and not self._looks.active:
            self._looks.start(self._make_room)

    def _make_room(self) -> None:
        """Close an idle connection if another worker waits for one. Called on the hub."""
        if self.idle and self._wanted_elsewhere():
            self.drop(next(iter(self.idle)))
        if not self.idle:
            self._looks.stop()

    def drop(self, upstream: Any) -> None:
        """Close an idle connection."""
        if upstream in self.idle:
            self.forget(upstream)
        upstream.close()

    def forget(self, upstream: Any) -> None:
        """Remove an idle connection, which stays open."""
        del self.idle[upstream]
        if self._exact:
            self._view.q[self._view.backends + self._offset + _IDLE] -= 1

    def ended(self, upstream: Upstream) -> None:
        """Remove an idle connection that became readable: the backend closed it or sent octets unasked."""
        now = self.reactor.clock()
        self.keepalive.closed(now - upstream.since, now)
        self.drop(upstream)
        self._publish()

    def expire(self, now: float) -> None:
        """Close the connections that have been idle for too long, the oldest first. Called at every sweep."""
        if not (self.idle or self._shown):
            return
        while self.idle:
            oldest = next(iter(self.idle))
            age = now - oldest.since
            self.keepalive.survived(age)
            if age < self.limits.idle_timeout:
                break
            self.drop(oldest)
        self._publish()

    def _publish(self) -> None:
        q, at = self._view.q, self._view.backends + self._offset
        q[at + _IDLE] = self._shown = len(self.idle)
        q[at + _KEEPALIVE] = int(self.keepalive.seconds * 1000)

    def close(self) -> None:
        """Close all idle connections, and keep none from now on."""
        self.closed = True
        self._looks.stop()
        self._looks.close()
        while self.idle:
            self.drop(next(iter(self.idle)))
        self._publish()
