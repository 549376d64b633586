"""A long count of requests and of the bad ones among them, in little room: the nearer the past, the finer.

    the last hour       by the minute
    the last 6 hours    by 10 minutes
    the last 3 days     by the hour
    the last 90 days    by 6 hours

A bucket that only partly lies within a window counts by that part, as if its requests had come evenly. A series has at most some 530 buckets of
24 octets, and none for a time without requests.

Pure.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

__all__ = ["LARGEST", "LONGEST", "Key", "Packable", "Series", "packed", "unpacked"]

Key = tuple[str, str]
"""The id of a location, and what is counted there."""

Packable = tuple[Key, list[int], bytes]
"""A series as it goes into a file: its key, and what `Series.octets` gives."""

_HOUR, _DAY = 3600, 86400
_LADDER = ((60, _HOUR), (600, 6 * _HOUR), (_HOUR, 3 * _DAY), (6 * _HOUR, 90 * _DAY))
"""Seconds of a bucket, and the longest window that is read from such buckets."""

LONGEST = _LADDER[-1][1]
"""Seconds of the longest window."""

_AHEAD = _HOUR  # seconds: buckets that begin later are those of a clock that was wrong

LARGEST = 64 * 1024 * 1024
"""Octets of a file."""

_HEAD = struct.Struct(">4sII")  # mark, octets of the body, CRC-32 of it
_MARK = b"TSo1"


class _Rung:
    """The buckets of one size, the oldest first."""

    __slots__ = ("bads", "reach", "starts", "step", "totals")

    def __init__(self, step: int, reach: int) -> None:
        self.step = step
        self.reach = reach
        self.starts = array("q")
        self.totals = array("d")
        self.bads = array("d")

    def columns(self) -> tuple[array[int], array[float], array[float]]:
        return self.starts, self.totals, self.bads

    def add(self, when: int, total: float, bad: float) -> None:
        start = when // self.step * self.step
        self._cut(bisect_left(self.starts, start + self.step + _AHEAD), len(self.starts))
        at = bisect_left(self.starts, start)
        if at == len(self.starts) or self.starts[at] != start:
            self.starts.insert(at, start)
            self.totals.insert(at, 0.0)
            self.bads.insert(at, 0.0)
            self._cut(0, bisect_left(self.starts, start - self.reach - self.step))
            at = bisect_left(self.starts, start)
        self.totals[at] += total
        self.bads[at] += bad

    def _cut(self, first: int, end: int) -> None:
        if first < end:
            for column in self.columns():
                del column[first:end]

    def over(self, begin: float, now: float) -> tuple[float, float]:
        total = bad = 0.0
        for at in range(len(self.starts) - 1, -1, -1):
            start = self.starts[at]
            if start > now:
                continue
            part = min(1.0, (start + self.step - begin) / self.step)
            if part <= 0:
                break
            total += part * self.totals[at]
            bad += part * self.bads[at]
        return total, bad


class Series:
    """The counts of one objective."""

    __slots__ = ("_rungs",)

    def __init__(self) -> None:
        self._rungs = tuple(_Rung(step, reach) for step, reach in _LADDER)

    def add(self, when: int, total: float, bad: float) -> None:
        """Count the requests of a minute. when: its beginning, seconds since 1970"""
        for rung in self._rungs:
            rung.add(when, total, bad)

    def over(self, seconds: float, now: float) -> tuple[float, float]:
        """Requests, and bad ones, within the last ``seconds``, at most `LONGEST`."""
        rung = next((rung for rung in self._rungs if seconds <= rung.reach), self._rungs[-1])
        return rung.over(now - seconds, now)

    def first(self) -> int:
        """When the counting began, as exactly as the buckets still tell, seconds since 1970; 0: there is none."""
        found = end = 0
        for rung in reversed(self._rungs):
            if not rung.starts or (end and rung.starts[0] >= end):
                break  # what was finer is let go
            found = rung.starts[0]
            end = found + rung.step
        return found

    def last(self) -> int:
        """When the newest bucket begins, seconds since 1970; 0: there is none."""
        starts = self._rungs[0].starts
        return starts[-1] if starts else 0

    def octets(self) -> tuple[list[int], bytes]:
        """The buckets of each size, and their numbers: what `restored` takes."""
        columns = [column for rung in self._rungs for column in rung.columns()]
        return [len(rung.starts) for rung in self._rungs], b"".join([column.tobytes() for column in columns])

    @classmethod
    def restored(cls, lengths: list[int], octets: memoryview) -> Series:
        """The series of what `octets` has given. ValueError if it does not fit."""
        made, at = cls(), 0
        for rung, length in zip(made._rungs, lengths, strict=True):
            for column in rung.columns():
                end = at + length * column.itemsize
                column.frombytes(octets[at:end])
                at = end
                if len(column) != length:
                    raise ValueError("its buckets are not all there")
        return made


def packed(series: Iterable[Packable]) -> bytes:
    """The file of these series."""
    names, parts = [], []
    for key, lengths, octets in series:
        names.append((*key, lengths))
        parts.append(octets)
    told = json.dumps(names, separators=(",", ":")).encode()
    body = zlib.compress(b"".join([struct.pack(">I", len(told)), told, *parts]), 1)
    return _HEAD.pack(_MARK, len(body), zlib.crc32(body)) + body


def unpacked(octets: bytes) -> dict[Key, Series]:
    """The series of a file. Raises ValueError if it is damaged."""
    if len(octets) < _HEAD.size:
        raise ValueError("it is too short")
    mark, size, crc = _HEAD.unpack_from(octets)
    body = octets[_HEAD.size :]
    if mark != _MARK or size != len(body) or zlib.crc32(body) != crc:
        raise ValueError("its checksum is wrong")
    try:
        text = memoryview(zlib.decompress(body))
        (told,) = struct.unpack_from(">I", text)
        at = 4 + told
        found = {}
        for location, counts, lengths in json.loads(bytes(text[4:at])):
            size = 24 * sum(lengths)
            found[location, counts] = Series.restored(lengths, text[at : at + size])
            at += size
    except (zlib.error, struct.error, TypeError, IndexError) as error:
        raise ValueError(str(error)) from error
    return found
