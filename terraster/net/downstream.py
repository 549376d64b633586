"""The client's connection."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from select import POLLRDHUP
from socket import MSG_PEEK, SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any

from greenlet import greenlet

from terraster.errors import CLIENT, ClientGone, HttpError, TimedOut

from .stream import Reactor, Stream

__all__ = ["Downstream"]

_LINGER = 2.0  # seconds without an octet
_LINGER_TOTAL = 10.0  # seconds in all


class Downstream(Stream):
    """A client's connection, with what all its requests have in common.

    peer_ip, peer_port: the other end. client_ip: the same, or what a PROXY header said. listener: the address it came in on (as in the
    configuration). scheme: "http". trusted: the peer may speak for others. held: octets read and not used yet.
    idle: nothing of a request has been read yet, so closing loses nothing. working: the greenlet to tell when the client goes, while an
    exchange is under way. tolerant: the end of the client's octets does not mean that it went.
    routed, host, service: the plan, Host and service of the last request, which the next one mostly repeats.
    generation: of the plan that the request under way uses, 0 between requests.
    fields: the field lines about this client that every forwarded head carries, rendered at the first request.
    """

    __slots__ = (
        "client_ip",
        "fields",
        "generation",
        "held",
        "host",
        "idle",
        "listener",
        "peer_ip",
        "peer_port",
        "requests",
        "routed",
        "scheme",
        "service",
        "tolerant",
        "trusted",
        "working",
    )

    def __init__(self, reactor: Reactor, sock: Any, peer_ip: str, peer_port: int, listener: Any, trusted: bool) -> None:
        super().__init__(reactor, sock)
        self.peer_ip = self.client_ip = peer_ip
        self.peer_port = peer_port
        self.listener = listener
        self.scheme = "http"
        self.trusted = trusted
        self.held = b""
        self.idle = True
        self.working: greenlet | None = None
        self.tolerant = False
        self.fields = b""
        self.requests = 0
        self.generation = 0
        self.routed: Any = None
        self.host = b""
        self.service: Any = None

    def unexpected(self) -> None:
        working = self.working
        if working is None or self.tolerant:
            return
        try:
            gone = not self.sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            self.ready = False
            self._watcher.start(self._readable)
            return
        except OSError:
            gone = True
        if gone:
            self.working = None
            working.throw(ClientGone("the client left"))

    def timed_out(self, writing: bool) -> HttpError:
        if writing:
            return ClientGone("the client stopped reading")
        return TimedOut("the client was too slow", status=408, reason="http_request_error", close=True, blame=CLIENT)

    def lost(self) -> HttpError:
        return ClientGone("the client left")

    def dismiss(self) -> None:
        """End the connection if it is idle and nothing has arrived. On the hub; for a worker that drains."""
        reader = self.reader
        if not self.idle or reader is None:
            return
        if self.is_quiet():
            self.reader = None
            self.read_deadline = inf
            reader.throw(ClientGone("drained"))

    def reset_on_close(self) -> None:
        """Let `close` end the connection with a reset, so that a body without a length is not taken for complete."""
        self.sock.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))

    def linger(self) -> None:
        """Close without losing the answer: a socket closed with unread octets sends a reset, which may overtake what was written.

        Reads and forgets for a bounded time (nginx, lingering_close).
        """
        self.working = None
        self.shutdown()
        clock = self.reactor.clock
        end = clock() + _LINGER_TOTAL
        with suppress(HttpError):  # it is being closed anyway: too slow or gone, both are an end
            while clock() < end and self.recv(_LINGER):
                pass
        self.close()

    def is_quiet(self) -> bool:
        """Whether nothing has arrived that was not read, the end of the connection included."""
        if self.held:
            return False
        try:
            self.sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def look_again(self) -> None:
        """Tell the one at work if a client has gone that had sent octets ahead, which hide its end from `unexpected`.

        Called by the sweep, on the hub, for clients that are `ready` while somebody works for them.
        """
        working = self.working
        if working is None or self.tolerant:
            return
        asked = self.reactor.poll()
        asked.register(self.sock.fileno(), POLLRDHUP)
        if asked.poll(0):
            self.working = None
            working.throw(ClientGone("the client left"))
