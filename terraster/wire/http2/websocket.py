"""WebSockets over HTTP/2 (RFC 8441): the extended CONNECT of a client as the Upgrade of HTTP/1.1 that says the same to a backend."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from terraster.errors import BadRequest
from terraster.wire.block import Block
from terraster.wire.http1 import ResponseHead

from .fields import Http2Head

__all__ = ["TunnelHead", "agrees", "upgrade_head"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_KEY = b"sec-websocket-key"
_ACCEPT = b"sec-websocket-accept"


class TunnelHead(Http2Head):
    """The head of an extended CONNECT, as an Upgrade. accept: the Sec-WebSocket-Accept with which a backend agrees"""

    __slots__ = ("accept",)

    accept: bytes


def upgrade_head(head: Http2Head, key: bytes) -> TunnelHead:
    """The head to go on with. key: 16 random octets, which HTTP/1.1 has and HTTP/2 has not (RFC 8441, section 5). Raises `BadRequest` (501)
    for another protocol than WebSocket."""
    if head.protocol != b"websocket":
        raise BadRequest("this protocol is not served here", status=501)
    word = b64encode(key)
    lines = [b"%b: %b\r\n" % field for field in head.fields if field[0] != _KEY]
    raw = b" HTTP/1.1\r\n%bconnection: Upgrade\r\nupgrade: websocket\r\n%b: %b\r\n\r\n" % (b"".join(lines), _KEY, word)
    block = Block(raw)
    new = TunnelHead()
    new.method = b"GET"
    new.target = head.target
    new.minor = 1
    new.fields = block.fields
    new.host = head.host
    new.content_length = -1
    new.chunked = new.expect = False
    new.keep_alive = True
    new.upgrade = block.upgrade
    new.size = head.size
    new.special = block.special
    new.dropped = block.dropped
    new.max_forwards = -1
    new.protocol = head.protocol
    new.accept = b64encode(sha1(word + _GUID, usedforsecurity=False).digest())
    new._block = block
    return new


def agrees(head: TunnelHead, response: ResponseHead) -> bool:
    """True if a 101 answers this very request (RFC 6455, section 4.1). The client cannot check it, as it has no key."""
    values = [value for name, value in response.fields if name.lower() == _ACCEPT]
    return values == [head.accept]
