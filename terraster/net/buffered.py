"""A response body that is read from the backend as fast as the backend sends it, while the client takes it as slowly as it likes.

A greenlet of its own reads ahead into a spool. When it has read the whole body, the attempt is over, and the backend is free for others.
"""

from __future__ import annotations

from collections.abc import Callable

from .body import Payload, Source
from .reactor import Reactor, Wakeup
from .spool import Spool
from .stream import READ_SIZE

__all__ = ["BufferedSource"]

_LONG = 3600.0  # seconds; what is waited for wakes, and this only bounds the timer


class BufferedSource(Source):
    """The payload of another source, read ahead. `stop` must be called at the end; it closes the spool too."""

    __slots__ = ("_carrier", "_data", "_ended", "_error", "_finished", "_reactor", "_room", "_source", "_spool")

    def __init__(self, source: Source, spool: Spool, reactor: Reactor, finished: Callable[[Source], None]) -> None:
        """finished: called with the other source when it is done, in the greenlet that reads ahead; must not wait or raise"""
        self.done = self.reusable = False
        self.trailers = source.trailers
        self._carrier = None
        self._data = Wakeup(reactor)
        self._ended = False
        self._error: Exception | None = None
        self._finished = finished
        self._reactor = reactor
        self._room = Wakeup(reactor)
        self._source = source
        self._spool = spool

    def here(self) -> Payload:
        source = self._source
        payload = source.here()
        if source.done:
            self._end()
            self.done = True
        else:
            self._carrier = self._reactor.spawn(self._carry)
        return payload

    def read(self, room: int) -> Payload:
        spool = self._spool
        while True:
            payload = spool.take(room)
            if payload:
                if not spool.full:
                    self._room.wake()
                self.done = self._ended and self._error is None and not spool.size
                return payload
            if self._error is not None:
                raise self._error
            if self._ended:
                self.done = True
                return b""
            self._data.wait(_LONG)

    def stop(self) -> None:
        """Read no further. Idempotent."""
        if self._carrier is not None and not self._ended:
            self._ended = True
            self._reactor.kill(self._carrier)
        self._spool.close()

    def _carry(self) -> None:
        source, spool = self._source, self._spool
        try:
            while not (source.done or self._ended):
                if spool.full:
                    self._room.wait(_LONG)
                    continue
                payload = source.read(READ_SIZE)
                if self._ended:
                    return
                if payload:
                    spool.put(bytes(payload))
                    self._data.wake()
            if not self._ended:
                self._end()
        except Exception as error:  # also a defect: it is raised in the request
            self._error = error
        self._ended = True
        self._data.wake()

    def _end(self) -> None:
        """The backend has sent all."""
        source = self._source
        self._ended = True
        self.reusable = source.reusable
        self.trailers = source.trailers
        self._finished(source)
