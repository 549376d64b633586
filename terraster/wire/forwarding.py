"""How a head goes on: the octets that came in, without the lines that end here, and with new lines at the end.

So the fields of a client reach the backend in their order and spelling. The functions are methods of the heads in `terraster.wire.heads`.
The compiled heads have faster ones for a head that was plainly in order, and these for all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .block import cut_line

if TYPE_CHECKING:
    from .heads import RequestHead, ResponseHead

__all__ = ["forward_request", "forward_response", "request_lines"]

_MAX_FORWARDS = frozenset((b"max-forwards",))


def forward_request(self: RequestHead, target: bytes, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> bytes:
    """The head to send to a backend.

    target: for the request line. keep: kinds of special fields that travel. drop: lower-case names that a rule removes. Names that
    differ from them only by ``_`` for ``-`` are removed, too, unless ``keep`` has `TWIN` (`with_dashes` prepares ``drop`` for this).
    extra: field lines to append, each with its CRLF.
    """
    if self.max_forwards > 0:
        drop = drop | _MAX_FORWARDS
        extra = b"Max-Forwards: %d\r\n%b" % (self.max_forwards - 1, extra)
    block = self._block
    if (block.keep is keep or block.keep == keep) and (block.drop is drop or block.drop == drop):
        lines = block.lines
    else:
        lines = block.cut(keep, drop)
    return b"%b %b HTTP/1.1%b%b\r\n" % (self.method, target, lines, extra)


def request_lines(self: RequestHead, keep: frozenset[int], drop: frozenset[bytes], extra: bytes) -> tuple[bytes, bytes]:
    """The two parts of `forward` behind the target: the lines of the client, from the CRLF of the request line to that of the last field,
    and those that follow. `forward` repeats these lines, because it is called for each request and a call is not free."""
    if self.max_forwards > 0:
        drop = drop | _MAX_FORWARDS
        extra = b"Max-Forwards: %d\r\n%b" % (self.max_forwards - 1, extra)
    block = self._block
    if (block.keep is keep or block.keep == keep) and (block.drop is drop or block.drop == drop):
        return block.lines, extra
    return block.cut(keep, drop), extra


def forward_response(
    self: ResponseHead, drop: frozenset[bytes], replace: Sequence[tuple[bytes, bytes, bytes]], extra: bytes
) -> bytes:
    """The head to send to the client, with HTTP/1.1 and CRLF whatever the backend sent.

    drop: lower-case names that a rule removes. replace: (name, old value, new value) triples. extra: field lines to append, each
    with its CRLF.
    """
    head = self._lines if self._cut_for is drop or self._cut_for == drop else _cut(self, drop)
    for name, value, new in replace:
        lower = name.lower()
        if lower not in drop and (self.dropped is None or lower not in self.dropped):
            head = cut_line(head, name, value) + b"%b: %b\r\n" % (name, new)
    return b"%b%b\r\n" % (head, extra)


def _cut(self: ResponseHead, drop: frozenset[bytes]) -> bytes:
    """The head without the lines that end here and without the empty line. The result is kept until the next call."""
    head = self._raw
    if not self.minor:
        head = b"HTTP/1.1" + head[8:]
    if self.special is not None:
        for name, value in self.special:
            head = cut_line(head, name, value)
    gone = drop if self.dropped is None else drop | self.dropped
    if gone:
        for name, value in self.fields:
            if name.lower() in gone:
                head = cut_line(head, name, value)
    self._cut_for, self._lines = drop, head
    return head
