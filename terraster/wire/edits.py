"""The changes that hooks make to a head before it is written: names to take out, field lines to put in.

Every head goes through one writer, which asks the hooks of `on_upstream` or `on_response` and then writes once. A hook never sees the
octets of the head itself, so a field can be written as an HTTP/1.1 line or as an HTTP/2 field.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from .transform import Transform

if TYPE_CHECKING:
    from .answers import OwnHead
    from .http1 import ResponseHead

__all__ = ["ENDS", "Edits", "without"]

ENDS = b"\r\n\0"
"""Characters that a value of a field must not have, because a line ends there for some reader."""

_VARY = frozenset((b"vary",))


class Edits:
    """The edits of one head.

    status: of the response, 0 for a request. own: True if the answer is ours and not a backend's. drop: lower-case names that are taken
    out of what the other side sent. extra: field lines that are put in, each with its CRLF. head: the head as the other side sent it, to be
    read only; None for a request. transform: changes the body of a backend's response, None: it stays as it is. With one, the body
    is sent without a Content-Length, unless it only watches (`terraster.wire.transform.resizes`). body: octets in place of the whole body of
    a backend's response, None: it stays. No transform changes them.
    """

    __slots__ = ("body", "drop", "extra", "head", "own", "status", "transform")

    def __init__(self, status: int = 0, own: bool = False, head: ResponseHead | OwnHead | None = None) -> None:
        self.status = status
        self.own = own
        self.head = head
        self.drop: set[bytes] = set()
        self.extra = b""
        self.transform: Transform | None = None
        self.body: bytes | None = None

    def values(self, names: Set[bytes]) -> dict[bytes, bytes]:
        """The values of these fields (lower-case names) as they would be sent now. Several fields of one name are joined by commas; fields
        that are not there are left out."""
        found: dict[bytes, bytes] = {}
        if self.head is not None:
            for name, value in self.head.fields:
                lower = name.lower()
                if lower in names and lower not in self.drop:
                    found[lower] = found[lower] + b", " + value if lower in found else value
        for line in self.extra.splitlines() if self.extra else ():
            name, _, value = line.partition(b":")
            lower = name.lower()
            if lower in names:
                value = value.strip(b" \t")
                found[lower] = found[lower] + b", " + value if lower in found else value
        return found

    def vary(self, name: bytes) -> None:
        """Say that the response depends on this field of the request (RFC 9110, section 12.5.5). The fields that the response names already
        stay, in one Vary field, and none is named twice by this."""
        known = self.values(_VARY).get(b"vary", b"")
        members = [member.strip(b" \t").lower() for member in known.split(b",")]
        if b"*" not in members and name.lower() not in members:
            self.set(b"Vary", known + b", " + name if known.strip(b" \t,") else name)

    def set(self, name: bytes, value: bytes) -> None:
        """Replace all fields of this name by one. CR, LF and NUL in the value are left out."""
        self.remove(name)
        self.add(name, value)

    def add(self, name: bytes, value: bytes) -> None:
        """Put in one more field. CR, LF and NUL in the value are left out."""
        self.extra += b"%b: %b\r\n" % (name, value.translate(None, ENDS))

    def remove(self, name: bytes) -> None:
        """Take out all fields of this name, those that were put in before included."""
        lower = name.lower()
        self.drop.add(lower)
        if self.extra:
            self.extra = without(self.extra, (lower,))


def without(lines: bytes, names: tuple[bytes, ...] | set[bytes] | frozenset[bytes]) -> bytes:
    """Field lines but those of these names (lower case)."""
    return b"".join([line for line in lines.splitlines(keepends=True) if line.partition(b":")[0].lower() not in names])
