"""The Exchange: the record of one request and its answer, which every phase of a request's life reads and writes.

A worker makes it when a request head is complete, finishes it exactly once (`terraster.proxy`), and hands it to the access log. It
holds only facts; the phases use them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CONNECT_TIME", "QUEUE_TIME", "TLS_TIME", "Exchange"]

QUEUE_TIME, CONNECT_TIME, TLS_TIME = "queue_time", "connect_time", "tls_time"
"""Keys of `Exchange.facts`: seconds that a request waited for a backend with room, for a connection, and for its TLS handshake, all attempts
together. One that did not wait has none."""


class Exchange:
    """One request and its answer.

    The request:
    started:       time.monotonic() when the head was complete
    wall:          time.time() at the same moment
    handshake:     the facts of the client's TLS handshake (`terraster.net.handshake.Handshake`), None: in clear
    client:        the client of this request (`terraster.net.downstream`); None once the exchange is finished
    connection:    the connection of the client (`terraster.net.connection`); None once the exchange is finished
    framed:        True if that connection frames bodies itself (HTTP/2)
    client_ip:     the client's address: the peer's, or the one that a trusted proxy reported
    peer_ip:       the address at the other end of the connection ("unix" on a unix socket)
    scheme:        "http" or "https", as the client sees it
    grpc:          what only a call of gRPC has (`terraster.wire.grpc.Call`); None for every other request
    head:          the request head (`terraster.wire`): method, target, fields …; None when it could not be read
    method:        as received, b"-" when it could not be read
    target:        the request target as received, b"" when it could not be read
    host:          the host that the client asked for, port included: the Host field, or the authority of an absolute target
    said:          what a trusted peer said about the client (`terraster.policy.forwarded.Said`), None from any other peer
    path, query:   canonical, as matched and forwarded; query without "?"
    request_id:    sent to the backend, and part of the log line and of our own error answers

    claims:        what authentication learnt about who asks: the claims of a verified token by name; None: nothing
    granted:       field lines for the backend that authentication puts in, each with its CRLF
    user:          the name of the user who has shown who they are, "" = none
    facts:         what filters keep about this request, by filter, and times that only some requests have (`spent`); None: nothing

    Its way:
    plan:          the compiled configuration with which the request began
    service, location: compiled plans; None before they are known
    admitted:      the location whose filters let the request in, if one of a newer plan has taken its place; else None

    Its outcome:
    buffering:     what is read ahead (`terraster.filters.buffer`), None: nothing
    body:          the request body that has not arrived yet (`RequestBody`), or None: there is none, or all of it is in `content`
    content:       a request body that arrived together with the head, without framing
    idempotent:    True if the request may be executed twice
    backend:       the backend (`terraster.balance` Member) of the last attempt, or None
    tries:         number of attempts begun at backends
    resends:       of these, repetitions on a fresh connection because a kept one had ended
    faults:        attempts that failed only for the form of the response
    tried:         the backends of the finished attempts
    answered:      of these, and of the one that is asked now, those that must not be asked again: their response was not used, or their
                   failure lasts
    asked:         time.monotonic() when the current attempt began
    status:        of the answer; 499 if the client left before it
    bytes_in:      octets of the request, head and body
    bytes_out:     octets of the answer, head and body
    unread:        octets of the request body that were not read from the connection yet; -1 = unknown
    upstream_time: seconds that the last attempt waited for the backend: from the last octet of the request to the response head; -1 if
                   no response head came
    duration:      seconds from `started` to the end, set when it is finished
    error:         the RFC 9209 error type, or ""
    detail:        for the log, or "": a sentence about the error, and one about each failed backend with its URL
    """

    __slots__ = (
        "admitted",
        "answered",
        "asked",
        "backend",
        "body",
        "buffering",
        "bytes_in",
        "bytes_out",
        "claims",
        "client",
        "client_ip",
        "connection",
        "content",
        "detail",
        "duration",
        "error",
        "facts",
        "faults",
        "framed",
        "granted",
        "grpc",
        "handshake",
        "head",
        "host",
        "idempotent",
        "location",
        "method",
        "path",
        "peer_ip",
        "plan",
        "query",
        "request_id",
        "resends",
        "said",
        "scheme",
        "service",
        "started",
        "status",
        "target",
        "tried",
        "tries",
        "unread",
        "upstream_time",
        "user",
        "wall",
    )

    started: float
    wall: float
    claims: dict[str, Any] | None
    granted: bytes
    user: str
    facts: dict[Any, Any] | None
    client: Any
    connection: Any
    framed: bool
    client_ip: str
    peer_ip: str
    scheme: str
    handshake: Any
    said: Any
    grpc: Any
    head: Any
    method: bytes
    target: bytes
    host: bytes
    path: bytes
    query: bytes
    request_id: bytes
    plan: Any
    service: Any
    location: Any
    admitted: Any
    body: Any
    buffering: Any
    content: bytes
    idempotent: bool
    backend: Any
    tries: int
    resends: int
    faults: int
    tried: tuple[Any, ...]
    answered: tuple[Any, ...]
    asked: float
    status: int
    bytes_in: int
    bytes_out: int
    unread: int
    upstream_time: float
    duration: float
    error: str
    detail: str

    def __init__(self, started: float, wall: float, client_ip: str, peer_ip: str, scheme: str, head: Any = None) -> None:
        self.started = self.asked = started
        self.wall = wall
        self.client = self.connection = self.claims = self.handshake = self.plan = self.service = self.location = self.said = None
        self.body = self.backend = self.grpc = self.facts = self.buffering = self.admitted = None
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
        self.host = self.path = self.query = self.content = self.request_id = self.granted = b""
        self.tried = self.answered = ()
        self.tries = self.resends = self.faults = self.status = self.bytes_out = 0
        self.idempotent = self.framed = False
        self.upstream_time = -1.0
        self.duration = 0.0
        self.error = self.detail = self.user = ""

    def field(self, name: bytes) -> bytes:
        """The first value of a request field (lower-case name), or b""."""
        if self.head is not None:
            for spelling, value in self.head.fields:
                if spelling.lower() == name:
                    return bytes(value)
        return b""

    def spent(self, what: str, seconds: float) -> None:
        """Add a time to `facts`. what: one of the keys above"""
        if self.facts is None:
            self.facts = {}
        self.facts[what] = self.facts.get(what, 0.0) + seconds

    def note(self, detail: str) -> None:
        """Add a sentence to `detail`."""
        self.detail = f"{self.detail}; {detail}" if self.detail else detail

    def rules(self) -> Any:
        """The hooks and timeouts for the answer to the client: those of the location; before it is known, those of the service; before that,
        those of the top."""
        if self.location is not None:
            return self.location
        return self.plan.rules if self.service is None else self.service.rules
