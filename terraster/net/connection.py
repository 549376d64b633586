"""A client's connection: the stream, and what is known of the peer. Requests come and go on it, each with its own `Downstream`."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any

from terraster.errors import CLIENT, ClientGone, HttpError, TimedOut

from .stream import Stream

__all__ = ["Connection"]

_LINGER = 2.0  # seconds without an octet
_LINGER_TOTAL = 10.0  # seconds in all


class Connection:
    """A client's connection, with what all its requests have in common.

    stream: its octets; recv, recv_into, send: of the stream. peer_ip, peer_port: the other end. client_ip: the same, or what a PROXY
    header said. listener: the address it came in on. scheme: "http". trusted: True if the peer may speak for others.
    held: octets that were read and not used yet. idle: True while nothing of a request has been read, so that closing loses nothing.
    requests: heads that were begun. lingering: True if the client may still be sending when the connection ends.
    downstream: the `terraster.net.downstream.Downstream` that serves its requests; it puts itself here.
    routed, host, service: the plan, Host and service of the last request, which the next one mostly repeats.
    fields: the field lines about this client that every forwarded head carries, rendered at the first request.
    """

    __slots__ = (
        "client_ip",
        "downstream",
        "fields",
        "held",
        "host",
        "idle",
        "lingering",
        "listener",
        "peer_ip",
        "peer_port",
        "recv",
        "requests",
        "routed",
        "scheme",
        "send",
        "service",
        "stream",
        "trusted",
    )

    def __init__(self, stream: Stream, peer_ip: str, peer_port: int, listener: Any, trusted: bool) -> None:
        self.stream = stream
        self.recv = stream.recv
        self.send = stream.send
        stream.owner = self
        self.peer_ip = self.client_ip = peer_ip
        self.peer_port = peer_port
        self.listener = listener
        self.scheme = "http"
        self.trusted = trusted
        self.held = b""
        self.idle = True
        self.lingering = False
        self.requests = 0
        self.routed: Any = None
        self.host = b""
        self.service: Any = None
        self.fields = b""
        self.downstream: Any = None

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`."""
        self.downstream.look()

    def timed_out(self, writing: bool) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        if writing:
            return ClientGone("the client stopped reading")
        return TimedOut("the client was too slow", status=408, reason="http_request_error", close=True, blame=CLIENT)

    def lost(self) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return ClientGone("the client left")

    def is_quiet(self) -> bool:
        """True if nothing has arrived that was not read, the end of the connection included."""
        return not self.held and self.stream.peek() is None

    def dismiss(self) -> None:
        """End the connection if it is idle and nothing has arrived. On the hub; for a worker that drains."""
        stream = self.stream
        reader = stream.reader
        if self.idle and reader is not None and self.is_quiet():
            stream.reader = None
            stream.read_deadline = inf
            reader.throw(ClientGone("drained"))

    def close(self) -> None:
        """End the connection. Where the client may still be sending, that is done without losing the answer."""
        if self.lingering:
            self._linger()
        self.stream.close()

    def _linger(self) -> None:
        """Read and forget for a bounded time: a socket closed with unread octets sends a reset, which may overtake what was written
        (RFC 9112, section 9.6)."""
        stream = self.stream
        stream.shutdown()
        clock = stream.reactor.clock
        end = clock() + _LINGER_TOTAL
        with suppress(HttpError):  # it is being closed anyway: too slow or gone, both are an end
            while clock() < end and self.recv(_LINGER):
                pass
