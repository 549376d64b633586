"""The changes that hooks make to a head before it is written: names to take out, field lines to put in.

Every head goes through one writer, which asks the hooks of `on_upstream` or `on_response` and then writes once. A hook never sees the
octets of the head itself, so a field can be written as an HTTP/1.1 line or as an HTTP/2 field.
"""

from __future__ import annotations

__all__ = ["ENDS", "Edits", "without"]

ENDS = b"\r\n\0"
"""Characters that a value of a field must not have, because a line ends there for some reader."""


class Edits:
    """The edits of one head.

    status: of the response, 0 for a request. own: True if the answer is ours and not a backend's. drop: lower-case names that are taken
    out of what the other side sent. extra: field lines that are put in, each with its CRLF.
    """

    __slots__ = ("drop", "extra", "own", "status")

    def __init__(self, status: int = 0, own: bool = False) -> None:
        self.status = status
        self.own = own
        self.drop: set[bytes] = set()
        self.extra = b""

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
