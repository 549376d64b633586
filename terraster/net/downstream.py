"""The client of one request."""

from __future__ import annotations

from select import POLLRDHUP

from greenlet import greenlet

from terraster.errors import ClientGone, HttpError
from terraster.exchange import Exchange

from .body import RequestBody
from .connection import Connection
from .stream import getcurrent

__all__ = ["Downstream"]


class Downstream:
    """The client of one request over HTTP/1. HTTP/1 has one request at a time, so a connection uses one `Downstream` for all its requests.

    connection: the request's connection; send is the connection's
    inlet:      where its body comes from: the connection
    exchange:   the current request, or None
    worker:     the greenlet to interrupt if the client goes while a backend works for the request
    framed:     True if the connection frames bodies itself (HTTP/2), so that neither Content-Length nor chunks have to
    """

    __slots__ = ("connection", "exchange", "framed", "inlet", "send", "worker")

    def __init__(self, connection: Connection) -> None:
        self.connection = self.inlet = connection
        connection.downstream = self
        self.framed = False
        self.send = connection.send
        self.exchange: Exchange | None = None
        self.worker: greenlet | None = None

    def begin(self, head: bytes, payload: bytes, timeout: float) -> None:
        """Send a head with more behind it: an interim one, or that of a tunnel with its first octets. timeout: seconds between two sent
        octets, 0 = no limit. Raises `HttpError`."""
        self.send(head + payload, timeout)

    def answer(self, head: bytes, body: bytes, timeout: float, keep: bool) -> None:
        """Send a whole response. keep: False if it is the last one of the connection, which is ended at once. Raises `HttpError`."""
        stream = self.connection.stream
        if keep:
            stream.send(head, timeout, body)
        else:
            stream.send_last(head + body, timeout)

    def body(self, length: int, limit: int, room: int) -> RequestBody:
        """The body of the request, which has not arrived yet. length: -1 = unknown. limit, room: as in `RequestBody`."""
        return RequestBody(length, limit, room)

    def watch(self) -> None:
        """Interrupt the calling greenlet if the client goes, until `unwatch`."""
        self.worker = getcurrent()

    def unwatch(self) -> None:
        """Stop watching. Idempotent."""
        self.worker = None

    def interrupt(self, error: HttpError) -> None:
        """Throw an error into the greenlet that watches. On the hub."""
        worker = self.worker
        if worker is not None:
            self.worker = None
            worker.throw(error)

    def end(self) -> None:
        """The request is over."""
        self.exchange = self.worker = None

    def abort(self) -> None:
        """Break off an answer in a way that the client notices."""
        exchange = self.exchange
        if exchange is not None and not exchange.head.minor:
            self.connection.stream.reset_on_close()  # HTTP/1.0: a plain end would look like the end of the body
        self.exchange = None

    def look(self) -> None:
        """Handle octets or an end that came from the client while a backend works. An end interrupts the greenlet. Called on the hub."""
        if self._is_patient():
            return
        stream = self.connection.stream
        arrived = stream.peek()
        if arrived is None:
            stream.rearm()
        elif not arrived:
            self.interrupt(ClientGone("the client left"))

    def look_again(self) -> None:
        """Find out whether a client has gone that had sent octets ahead, because these hide its end from `look`. The sweep calls this on
        the hub for connections that are ``ready`` while a backend works."""
        if self._is_patient():
            return
        stream = self.connection.stream
        asked = stream.reactor.poll()
        asked.register(stream.sock.fileno(), POLLRDHUP)
        if asked.poll(0):
            self.interrupt(ClientGone("the client left"))

    def _is_patient(self) -> bool:
        """True if no greenlet watches, or if the end of the client's octets does not mean that the client has gone."""
        return self.worker is None or self.exchange is None or self.exchange.location.ignore_client_abort
