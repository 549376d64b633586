"""A spool: octets of a body that wait, in memory first and then in a file.

The file has no name: it is gone with the process, however that ends. It is written in pieces of at most 64 KiB, which the kernel takes into its
memory at once as a rule; a disk that is too slow for longer makes the worker wait. If the file cannot be made, or has no room, or reaches the
limit, the spool is full: the sender of the octets then waits.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .body import Carrier, RequestBody

__all__ = ["Spool", "send_all"]

_PIECE = 65536
"""Octets that are written, read or joined at a time."""

_SMALL = 4096
"""Octets below which a payload is joined to the one before it, because each one in the queue costs 50 octets more."""


class _InFile:
    """A part of the file."""

    __slots__ = ("at", "size")

    def __init__(self, at: int, size: int) -> None:
        self.at = at
        self.size = size


class Spool:
    """Octets in their order: `put` adds some, `take` takes the first ones out, and `each` looks at all.

    size:    octets that wait
    spilled: True if the file has been used. failed: True if the file could not be made or written to
    """

    __slots__ = (
        "failed",
        "size",
        "spilled",
        "_disk",
        "_end",
        "_file",
        "_folder",
        "_in_file",
        "_in_memory",
        "_memory",
        "_no_room",
        "_parts",
    )

    def __init__(self, memory: int, disk: int, folder: str) -> None:
        """memory, disk: octets. folder: where the file is made"""
        self.failed = self.spilled = False
        self.size = 0
        self._disk = disk
        self._end = self._in_file = self._in_memory = 0
        self._file: Any = None
        self._folder = folder
        self._memory = memory
        self._no_room = False
        self._parts: deque[bytes | _InFile] = deque()

    @property
    def full(self) -> bool:
        """True if the sender should wait until some octets are taken. `put` still takes what it has already."""
        return 0 < self._in_memory >= self._memory and (self.failed or self._no_room)

    def put(self, payload: bytes) -> None:
        """Add octets behind the others."""
        for at in range(0, len(payload), _PIECE):
            self._put(payload[at : at + _PIECE])

    def _put(self, payload: bytes) -> None:
        size, parts = len(payload), self._parts
        last = parts[-1] if parts else None
        self.size += size
        if self._in_memory + size > self._memory and self._to_file(payload):
            if isinstance(last, _InFile) and last.at + last.size == self._end and last.size + size <= _PIECE:
                last.size += size
            else:
                parts.append(_InFile(self._end, size))
            self._end += size
            self._in_file += size
            return
        self._in_memory += size
        if isinstance(last, bytes) and len(last) + size <= _SMALL:
            parts[-1] = last + payload
        else:
            parts.append(payload)

    def _to_file(self, payload: bytes) -> bool:
        """Write at the end of the file. False if it cannot be done; what was written of the payload does not count then."""
        self._no_room = self._no_room or self._end + len(payload) > self._disk
        if self.failed or self._no_room:
            return False
        try:
            if self._file is None:
                self._file = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            done = 0
            while done < len(payload):
                done += os.pwrite(self._file, payload[done:], self._end + done)
        except OSError:
            self.failed = True
            return False
        self.spilled = True
        return True

    def take(self, room: int) -> bytes:
        """Take out the first octets, about ``room`` at most; b"" if there are none."""
        parts = self._parts
        if not parts:
            return b""
        first = parts[0]
        if isinstance(first, bytes):
            if len(first) > room:
                parts[0], first = first[room:], first[:room]
            else:
                parts.popleft()
            self._in_memory -= len(first)
            self.size -= len(first)
            return first
        size = min(first.size, room)
        payload = self._read(first.at, size)
        if size < first.size:
            first.at += size
            first.size -= size
        else:
            parts.popleft()
        self._in_file -= size
        self.size -= size
        if not self._in_file and self._end:  # begin the file anew, and give its room back
            self._end = 0
            self._no_room = False
            os.ftruncate(self._file, 0)
        return payload

    def count(self) -> int:
        """How many parts `part` has."""
        return len(self._parts)

    def part(self, number: int) -> bytes:
        """A part, without taking it out. All parts in order are all octets."""
        one = self._parts[number]
        return one if isinstance(one, bytes) else self._read(one.at, one.size)

    def _read(self, at: int, size: int) -> bytes:
        payload = os.pread(self._file, size, at)
        if len(payload) != size:
            raise OSError(f"a spool lost octets: {len(payload)} of {size} at {at}")
        return payload

    def close(self) -> None:
        """Forget all octets. Idempotent."""
        self._parts.clear()
        self.size = self._in_memory = self._in_file = self._end = 0
        if self._file is not None:
            os.close(self._file)
            self._file = None


def send_all(spool: Spool, body: RequestBody, upstream: Carrier, write: float) -> None:
    """Send the payload of a request body that was read before. It stays in the spool. write: idle timeout, seconds. Raises `HttpError`."""
    done, body.done = body.done, False  # so that only the last payload ends the body
    try:
        for number in range(spool.count()):
            upstream.send_body(body, spool.part(number), write)
    finally:
        body.done = done
    if done:
        upstream.send_body(body, b"", write)
