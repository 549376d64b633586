"""The copy of a request for a mirror: the facts that are gathered while the original is served, and the exchange that it is sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..exchange import Exchange
from ..policy.comparison import Answered, Digest
from ..policy.retry import IDEMPOTENT
from ..wire.http1 import ResponseHead
from ..wire.transform import Watch

if TYPE_CHECKING:
    from .mirror import Mirror

__all__ = ["Copy", "Target", "to_send"]


class Target(NamedTuple):
    """Where copies go, and within which bounds in each worker.

    path: of the location that stands for the servers (`terraster.config.settings.kinds.Call`). timeout: seconds for each copy. concurrency:
    copies that are under way at once. queue: copies that wait
    """

    path: str
    timeout: float
    concurrency: int
    queue: int


class Copy:
    """A request that is to be copied.

    mirror:     the filter, which learns what becomes of it
    held:       octets of memory that are reserved for it
    room:       octets of a body that may be kept
    connection: of the client; None until a backend gets the original
    head:       its request head
    drop, extra: the edits of the head for the backend, and those of the mirror
    content:    its body, if it was known before the backend got the original
    exchange:   what the copy is sent with, once the original is over
    """

    __slots__ = (
        "connection",
        "content",
        "drop",
        "exchange",
        "extra",
        "head",
        "held",
        "mirror",
        "room",
        "_body",
        "_response",
        "_seconds",
        "_watch",
    )

    exchange: Exchange

    def __init__(self, mirror: Mirror, held: int, room: int) -> None:
        self.mirror = mirror
        self.held = held
        self.room = room
        self.connection: Any = None
        self.head: Any = None
        self.drop: frozenset[bytes] = frozenset()
        self.extra = b""
        self.content: bytes | None = None
        self._body: Digest | None = None
        self._response: ResponseHead | None = None
        self._seconds = -1.0
        self._watch: Watch | None = None

    def responded(self, response: ResponseHead, seconds: float) -> None:
        """The original has a response that is to be compared. seconds: until its head came"""
        self._response = response
        self._seconds = seconds

    def watch(self, digest: Digest, watch: Watch | None) -> None:
        """The body of that response is compared, too. watch: says when all of it has passed; None: it has none"""
        self._body = digest
        self._watch = watch

    @property
    def original(self) -> Answered | None:
        """The response of the original, None: it has none that can be compared."""
        response = self._response
        if response is None:
            return None
        whole = self._watch is None or self._watch.ended
        return Answered(response.status, response.fields, self._seconds, self._body if whole else None)


class _Bare:
    """In place of a member: its backend has no base path."""

    __slots__ = ()

    base_path = ""

    @property
    def backend(self) -> _Bare:
        """Itself."""
        return self


_BARE = _Bare()


def to_send(original: Exchange, copy: Copy, content: bytes) -> Exchange:
    """The exchange that the copy is sent with: what `terraster.phases.upstream_head` needs to write the head that the original's backend got,
    but for the path of that backend's URL."""
    made = Exchange(original.started, original.wall, original.client_ip, original.peer_ip, original.scheme, copy.head)
    made.plan, made.service = original.plan, original.service
    made.host, made.said, made.request_id = original.host, original.said, original.request_id
    made.path, made.query = original.path, original.query
    location = original.location
    if not location.passthrough and made.path != b"*":
        made.path, _, query = location.forward_path(made.path, _BARE).partition(b"?")
        made.query = b"&".join([part for part in (query, made.query) if part])
    made.content = content
    made.idempotent = made.method in IDEMPOTENT
    return made
