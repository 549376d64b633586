"""The heads of messages as facts, with the methods that write them for the other side (`terraster.wire.forwarding`).

heads.pyx is the compiled twin. In it a head that `terraster.wire.http1` found plainly in order is no more than its octets and the places
of its lines: `fields` and `special` are made at the first use.
"""

from __future__ import annotations

from collections.abc import Sequence

from .block import Block
from .forwarding import forward_request, forward_response, request_lines

__all__ = ["RequestHead", "ResponseHead"]


class RequestHead:
    """A request head that passed every framing rule.

    method, target: as received.
    minor: 0 or 1; a later minor version counts as 1 (RFC 9110, section 2.5).
    fields: (name, value) pairs in order, values without surrounding white space. Other heads may share them, so they must not be changed.
    host: the value of Host, b"" if there is none (HTTP/1.0 only).
    content_length: octets, -1 without the field.
    chunked: True if the body comes in chunks.
    keep_alive: True if the client wants to use the connection again.
    expect: True if the client waits for 100 (Continue).
    upgrade: the protocols that the client asks for, or None.
    size: octets of the head, with empty lines in front of it.
    special: the fields that mean something to a proxy and do not simply travel, as (kind, name, value); kinds are in
        `terraster.wire.names`. None if there are none.
    dropped: lower-case names that Connection removes, None if there are none.
    max_forwards: how many more proxies an OPTIONS or TRACE request may pass, -1 without a limit (RFC 9110, section 7.6.2).
    major: 1, or 2 for a request that came in HTTP/2; ``minor`` is 1 then.
    protocol: what an extended CONNECT asks for (RFC 8441); None for every other request.
    """

    __slots__ = (
        "method",
        "target",
        "minor",
        "fields",
        "host",
        "content_length",
        "chunked",
        "keep_alive",
        "expect",
        "upgrade",
        "size",
        "special",
        "dropped",
        "max_forwards",
        "protocol",
        "_block",
    )

    method: bytes
    target: bytes
    minor: int
    fields: Sequence[tuple[bytes, bytes]]
    host: bytes
    content_length: int
    chunked: bool
    keep_alive: bool
    expect: bool
    upgrade: bytes | None
    size: int
    special: Sequence[tuple[int, bytes, bytes]] | None
    dropped: frozenset[bytes] | None
    max_forwards: int
    major = 1
    protocol: bytes | None
    _block: Block

    forward = forward_request
    lines = request_lines

    def names(self) -> frozenset[bytes]:
        """The names of all fields, in lower case and with ``-`` for ``_``."""
        return frozenset([name.lower().replace(b"_", b"-") for name, _ in self.fields])


class ResponseHead:
    """A response head that passed every framing rule. Other responses may share it, so its facts must not be changed.

    status, minor, fields, size: as in `RequestHead`.
    content_length: octets, -1 if not given or if there is no body.
    chunked: True if the body comes in chunks.
    until_close: True if the body ends with the connection.
    no_body: True if there is no body, whatever the fields say.
    keep_alive: True if the backend will use the connection again.
    own: False, as the head is a backend's. shared: True if equal heads that come often are one object.
    upgrade: the protocol that the backend switches to (101 only).
    location: the Location and Content-Location fields, for mapping them back; None if there are none.
    dated: True if it has a Date.
    special: fields that end here, as (name, value). dropped: lower-case names that end here.
    block, block_for: what `terraster.wire.http2.fields.response_block` made of the head last, and for which names to drop.
    """

    __slots__ = (
        "status",
        "minor",
        "fields",
        "content_length",
        "chunked",
        "until_close",
        "no_body",
        "keep_alive",
        "upgrade",
        "size",
        "location",
        "dated",
        "special",
        "dropped",
        "block",
        "block_for",
        "_raw",
        "_cut_for",
        "_lines",
    )

    status: int
    minor: int
    fields: Sequence[tuple[bytes, bytes]]
    content_length: int
    chunked: bool
    until_close: bool
    no_body: bool
    keep_alive: bool
    upgrade: bytes | None
    size: int
    location: list[tuple[bytes, bytes]] | None
    dated: bool
    special: list[tuple[bytes, bytes]] | None
    dropped: frozenset[bytes] | None
    own = False
    shared = True
    block: bytes
    block_for: frozenset[bytes] | None
    _raw: bytes
    _cut_for: frozenset[bytes] | None
    _lines: bytes

    forward = forward_response
