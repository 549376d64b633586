"""The Exchange: the record of one request and its answer, which every phase of its life reads and writes.

Made when a request head is complete, finished exactly once (`terraster.proxy`), then handed to the access log. It holds facts only;
what is done with them stands in the phases.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Exchange"]


class Exchange:
    """One request and its answer.

    started:       time.monotonic() when the head was complete
    wall:          time.time() at the same moment
    client_ip:     whom we hold to be the client: the peer, or what a trusted proxy said of it
    peer_ip:       the address at the other end of the connection ("unix" on a unix socket)
    scheme:        "http" or "https", as the client sees it
    head:          the request head (`terraster.wire`): method, target, fields …; None when it could not be read
    method:        as received, b"-" when it could not be read
    target:        the request target as received, b"" when it could not be read
    host:          the host that the client asked for, port included: the Host field, or the authority of an absolute target
    said:          what a trusted peer said about the client (`terraster.policy.forwarded.Said`), None from any other peer
    path, query:   what was matched and is forwarded, canonical; query without "?"
    service, location: compiled plans, or None where routing did not get that far
    backend:       the backend (`terraster.balance` Member) last tried, or None
    tries:         attempts at backends that were begun
    status:        what was answered; 499 if the client left before
    bytes_in:      octets of the request, head and body
    bytes_out:     octets of the answer, head and body
    unread:        octets of the request body that nobody has taken from the connection yet, -1 if that is not known
    upstream_time: seconds from the last attempt's first octet sent to its response head, -1 if there was none
    duration:      seconds from `started` to the end, set when it is finished
    request_id:    goes to the backend, the log and into our own error answers
    error:         "" or the RFC 9209 error type of what went wrong
    detail:        "" or a sentence about it, for the log; where it was tried again, one about each backend that failed, by its URL
    """

    __slots__ = (
        "started",
        "wall",
        "client_ip",
        "peer_ip",
        "scheme",
        "head",
        "method",
        "target",
        "host",
        "said",
        "path",
        "query",
        "service",
        "location",
        "backend",
        "tries",
        "status",
        "bytes_in",
        "bytes_out",
        "unread",
        "upstream_time",
        "duration",
        "request_id",
        "error",
        "detail",
    )

    started: float
    wall: float
    client_ip: str
    peer_ip: str
    scheme: str
    head: Any
    method: bytes
    target: bytes
    host: bytes
    said: Any
    path: bytes
    query: bytes
    service: Any
    location: Any
    backend: Any
    tries: int
    status: int
    bytes_in: int
    bytes_out: int
    unread: int
    upstream_time: float
    duration: float
    request_id: bytes
    error: str
    detail: str

    def __init__(self, started: float, wall: float, client_ip: str, peer_ip: str, scheme: str, head: Any = None) -> None:
        self.started = started
        self.wall = wall
        self.client_ip = client_ip
        self.peer_ip = peer_ip
        self.scheme = scheme
        self.head = head
        if head is None:
            self.method = b"-"
            self.target = b""
            self.bytes_in = 0
            self.unread = -1
        else:
            self.method = head.method
            self.target = head.target
            self.bytes_in = head.size
            self.unread = -1 if head.chunked else max(head.content_length, 0)
        self.host = b""
        self.said = None
        self.path = b""
        self.query = b""
        self.service = None
        self.location = None
        self.backend = None
        self.tries = 0
        self.status = 0
        self.bytes_out = 0
        self.upstream_time = -1.0
        self.duration = 0.0
        self.request_id = b""
        self.error = ""
        self.detail = ""

    def field(self, name: bytes) -> bytes:
        """The first value of a request field (lower-case name), or b""."""
        if self.head is not None:
            for spelling, value in self.head.fields:
                if spelling.lower() == name:
                    return bytes(value)
        return b""
