"""The client of one request."""

from __future__ import annotations

from select import POLLRDHUP

from greenlet import getcurrent, greenlet

from terraster.errors import ClientGone, HttpError
from terraster.exchange import Exchange

from .connection import Connection

__all__ = ["Downstream"]

LARGE = 65536
"""Octets of an answer from which on a part of it may still be on its way when the last `send` returns."""


class Downstream:
    """The client of one request over HTTP/1. That carries one request at a time, so a connection has one `Downstream` for all in turn.

    connection: what the request came on. send: of the connection. exchange: the request under way, or None. worker: the greenlet that is
    told when the client goes, while a backend works for the request.
    """

    __slots__ = ("connection", "exchange", "send", "worker")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        connection.downstream = self
        self.send = connection.send
        self.exchange: Exchange | None = None
        self.worker: greenlet | None = None

    def watch(self) -> None:
        """Tell the calling greenlet when the client goes. Until `unwatch`."""
        self.worker = getcurrent()

    def unwatch(self) -> None:
        """Tell nobody any more. Idempotent."""
        self.worker = None

    def interrupt(self, error: HttpError) -> None:
        """Throw an error into the greenlet that watches. On the hub."""
        worker = self.worker
        if worker is not None:
            self.worker = None
            worker.throw(error)

    def end(self, keep: bool) -> None:
        """The request is over. keep: False if the connection ends after it."""
        exchange = self.exchange
        self.exchange = self.worker = None
        if not keep and exchange is not None and exchange.bytes_out >= LARGE:
            self.connection.lingering = True

    def abort(self) -> None:
        """Break off an answer that is under way, so that the client notices."""
        exchange = self.exchange
        if exchange is not None and not exchange.head.minor:
            self.connection.stream.reset_on_close()  # HTTP/1.0: a plain end would look like the end of the body
        self.exchange = None

    def look(self) -> None:
        """Octets or an end came from the client while a backend works: tell the greenlet if it is an end. On the hub."""
        if self._is_patient():
            return
        stream = self.connection.stream
        arrived = stream.peek()
        if arrived is None:
            stream.rearm()
        elif not arrived:
            self.interrupt(ClientGone("the client left"))

    def look_again(self) -> None:
        """Find out whether a client has gone that had sent octets ahead, which hide its end from `look`. On the hub, by the sweep, for
        connections that are ``ready`` while a backend works."""
        if self._is_patient():
            return
        stream = self.connection.stream
        asked = stream.reactor.poll()
        asked.register(stream.sock.fileno(), POLLRDHUP)
        if asked.poll(0):
            self.interrupt(ClientGone("the client left"))

    def _is_patient(self) -> bool:
        """True if nobody wants to know, or if the end of the client's octets does not mean that it went."""
        return self.worker is None or self.exchange is None or self.exchange.location.ignore_client_abort
