"""Two connections joined after an Upgrade. Octets go both ways until the backend ends, the client is lost, or both are silent for too long.

If the client ends only its sending half, the tunnel ends that half towards the backend, which may still send its rest.
"""

from __future__ import annotations

from greenlet import getcurrent, greenlet

from terraster.errors import TerrasterError, TimedOut

from .connection import Connection
from .reactor import Reactor
from .upstream import Upstream

__all__ = ["Tunnel"]


class Tunnel:
    """Joins a client and a backend. octets_in, octets_out: number of octets to the backend and to the client.

    timeout: seconds without an octet in either direction after which the tunnel ends; 0 = never.
    """

    __slots__ = (
        "octets_in",
        "octets_out",
        "_client",
        "_clock",
        "_failed",
        "_last",
        "_main",
        "_over",
        "_reactor",
        "_timeout",
        "_upstream",
    )

    def __init__(self, reactor: Reactor, client: Connection, upstream: Upstream, timeout: float) -> None:
        self.octets_in = 0
        self.octets_out = 0
        self._client = client
        self._upstream = upstream
        self._timeout = timeout
        self._reactor = reactor
        self._clock = reactor.clock
        self._last = self._clock()
        self._over = False
        self._failed: TerrasterError | None = None
        self._main: greenlet = getcurrent()

    def run(self) -> None:
        """Carry octets until the tunnel ends. The caller closes the connections. Raises the error that ended it, unless the backend ended
        it."""
        other = self._reactor.spawn(self._towards_backend)
        try:
            self._carry(self._upstream, self._client, False)
        finally:
            self._over = True
            self._reactor.kill(other)

    def _towards_backend(self) -> None:
        try:
            self._carry(self._client, self._upstream, True)
        except TerrasterError as error:
            self._reactor.loop.run_callback(self._fail, error)

    def _fail(self, error: TerrasterError) -> None:
        if not self._over:
            self._failed = error
            self._main.throw(error)

    def _carry(self, source: Connection | Upstream, target: Connection | Upstream, inwards: bool) -> None:
        while True:
            try:
                data = source.recv(self._timeout)
            except TimedOut as error:
                if error is not self._failed and self._clock() - self._last < self._timeout:  # the other direction is busy
                    continue
                raise
            if not data:
                target.stream.shutdown()
                return
            self._last = self._clock()
            if inwards:
                self.octets_in += len(data)
            else:
                self.octets_out += len(data)
            target.send(data, self._timeout)
