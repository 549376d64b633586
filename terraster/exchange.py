"""The Exchange: the record of one request and its answer, which every phase of a request's life reads and writes.

A worker makes it when a request head is complete, finishes it exactly once (`terraster.proxy`), and hands it to the access log. It
holds facts only. What is done with them is in the phases.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Exchange"]


class Exchange:
    """One request and its answer.

    Who asked for what:
    started:       time.monotonic() when the head was complete
    wall:          time.time() at the same moment
    client:        the client of this request (`terraster.net.downstream`); None once the exchange is finished
    client_ip:     the address that counts as the client's: the peer's, or what a trusted proxy said
    peer_ip:       the address at the other end of the connection ("unix" on a unix socket)
    scheme:        "http" or "https", as the client sees it
    head:          the request head (`terraster.wire`): method, target, fields …; None when it could not be read
    method:        as received, b"-" when it could not be read
    target:        the request target as received, b"" when it could not be read
    host:          the host that the client asked for, port included: the Host field, or the authority of an absolute target
    said:          what a trusted peer said about the client (`terraster.policy.forwarded.Said`), None from any other peer
    path, query:   what was matched and is forwarded, canonical; query without "?"
    request_id:    goes to the backend, the log and into our own error answers

    Where it goes:
    plan:          the compiled configuration that the request began with
    service, location: compiled plans, or None where routing did not get that far

    What became of it:
    body:          the request body that has not arrived yet (`RequestBody`), or None: there is none, or all of it is in `content`
    content:       octets of a request body that arrived together with the head
    idempotent:    True if the request may be executed twice
    backend:       the backend (`terraster.balance` Member) of the last attempt, or None
    tries:         attempts at backends that were begun
    resends:       of these, those that repeated an attempt on a fresh connection, because a kept one had ended
    faults:        attempts that failed for the form of the response alone
    tried:         the backends of the attempts that are over
    answered:      of these, those whose response was not used
    asked:         time.monotonic() when the attempt under way began
    status:        what was answered; 499 if the client left before
    bytes_in:      octets of the request, head and body
    bytes_out:     octets of the answer, head and body
    unread:        octets of the request body that nobody has taken from the connection yet, -1 if that is not known
    upstream_time: seconds that the last attempt waited for the backend: from the last octet of the request to the response head; -1 if
                   no response head came
    duration:      seconds from `started` to the end, set when it is finished
    error:         "" or the RFC 9209 error type of what went wrong
    detail:        "" or a sentence about it, for the log; one about each backend that failed, with its URL
    """

    __slots__ = (
        "answered",
        "asked",
        "backend",
        "body",
        "bytes_in",
        "bytes_out",
        "client",
        "client_ip",
        "content",
        "detail",
        "duration",
        "error",
        "faults",
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
        "wall",
    )

    started: float
    wall: float
    client: Any
    client_ip: str
    peer_ip: str
    scheme: str
    said: Any
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
    body: Any
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
        self.client = self.plan = self.service = self.location = self.said = self.body = self.backend = None
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
        self.host = self.path = self.query = self.content = self.request_id = b""
        self.tried = self.answered = ()
        self.tries = self.resends = self.faults = self.status = self.bytes_out = 0
        self.idempotent = False
        self.upstream_time = -1.0
        self.duration = 0.0
        self.error = self.detail = ""

    def field(self, name: bytes) -> bytes:
        """The first value of a request field (lower-case name), or b""."""
        if self.head is not None:
            for spelling, value in self.head.fields:
                if spelling.lower() == name:
                    return bytes(value)
        return b""

    def note(self, detail: str) -> None:
        """Add a sentence to `detail`."""
        self.detail = f"{self.detail}; {detail}" if self.detail else detail

    def rules(self) -> Any:
        """The compiled place whose hooks and timeouts apply to what the client gets: the location; before it is known, the service's rules;
        before that, the top's."""
        if self.location is not None:
            return self.location
        return self.plan.rules if self.service is None else self.service.rules
