"""A minute of traffic as it is kept for a day: how much was counted in it, and the record that it becomes on the disk.

A record has only the locations and backends that had traffic. So a day of 10,000 quiet locations is as small as a day of none. Its numbers are
columns, compressed: 10,000 busy locations take some 100 KB a minute, and one of them is found in milliseconds.

Pure.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["LEAST", "Minute", "Names", "Row", "deltas", "merged", "quantile", "records", "recorded"]

Row = tuple[int, ...]

LEAST = 0.0001
"""Seconds: times are kept as multiples of it."""

_HEAD = struct.Struct(">4sII")  # mark, octets of the body, CRC-32 of it
_FACTS = struct.Struct(">qdIII")  # beginning, seconds, octets of the explained numbers, locations, backends
_OF_LOCATION, _OF_BACKEND = 6, 3  # values of a row
_CELL = array("I").itemsize
_FEW = 20
_MOST = 2 ** (8 * _CELL) - 1
_MARK = b"TSm1"
_LARGEST = 64 * 1024 * 1024  # octets of a record


@dataclass(slots=True)
class Minute:
    """The traffic of a minute.

    when:      its beginning, seconds since 1970
    seconds:   that were counted: less than 60 where a process began in it
    locations: by id: requests, 4xx, 5xx, and three quantiles (50 %, 95 %, 99 %) of the time a request took, in multiples of `LEAST`
    backends:  by id: attempts, failed ones, and responses 5xx
    """

    when: int
    seconds: float
    locations: dict[str, Row] = field(default_factory=dict)
    backends: dict[str, Row] = field(default_factory=dict)


class Names:
    """The numbers that stand for ids in one file. A number is explained in the record that has it first."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def number(self, name: str, new: dict[int, str]) -> int:
        """Its number. new: gets it if it must be explained"""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = len(self._known)
            new[known] = name
        return known


def deltas(before: Sequence[int] | None, now: Sequence[int]) -> list[int]:
    """How much counters have grown. A counter that fell began anew, and all of them with it."""
    if before is None or any(new < old for old, new in zip(before, now, strict=True)):
        return list(now)
    return [new - old for old, new in zip(before, now, strict=True)]


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """The time that ``share`` (0 … 1) of the requests did not exceed, seconds, taken as evenly spread within a bucket; 0.0 if there are none.

    bounds: the upper ends of the buckets. counts: requests in each bucket, and then those beyond the last one, which count as its end
    """
    left = share * sum(counts)
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and left <= count:
            return lower + (bound - lower) * left / count
        left -= count
        lower = bound
    return lower if any(counts) else 0.0


def recorded(minute: Minute, names: Names) -> bytes:
    """The record of a minute. names: of the file that it goes into"""
    new: dict[int, str] = {}
    tables = _packed(minute.locations, names, new, _OF_LOCATION) + _packed(minute.backends, names, new, _OF_BACKEND)
    told = json.dumps(new, separators=(",", ":")).encode()
    facts = _FACTS.pack(minute.when, minute.seconds, len(told), len(minute.locations), len(minute.backends))
    body = zlib.compress(facts + told + tables, 6)
    return _HEAD.pack(_MARK, len(body), zlib.crc32(body)) + body


def records(octets: bytes, wanted: Callable[[str], bool] = bool) -> Iterator[Minute]:
    """The minutes in a file, with the rows of those ids for which ``wanted`` is true. The end that a killed writer left half, and all behind an
    octet that is not right, is left out."""
    at = 0
    known: dict[int, str] = {}
    while at + _HEAD.size <= len(octets):
        mark, size, crc = _HEAD.unpack_from(octets, at)
        body = octets[at + _HEAD.size : at + _HEAD.size + size]
        if mark != _MARK or size > _LARGEST or len(body) < size or zlib.crc32(body) != crc:
            return
        at += _HEAD.size + size
        text = zlib.decompress(body)
        when, seconds, told, locations, backends = _FACTS.unpack_from(text)
        begin = _FACTS.size + told
        for number, name in json.loads(text[_FACTS.size : begin]).items():
            if wanted(name):
                known[int(number)] = name
        end = begin + _CELL * locations * (_OF_LOCATION + 1)
        yield Minute(
            when,
            seconds,
            _unpacked(text[begin:end], known, locations, _OF_LOCATION),
            _unpacked(text[end:], known, backends, _OF_BACKEND),
        )


def _packed(rows: Mapping[str, Row], names: Names, new: dict[int, str], width: int) -> bytes:
    """The numbers of the rows, and then each column: like beside like is smaller when it is compressed."""
    columns = [array("I", (names.number(name, new) for name in rows))]
    columns += [array("I", (min(row[at], _MOST) for row in rows.values())) for at in range(width)]
    return b"".join(column.tobytes() for column in columns)


def _unpacked(octets: bytes, known: Mapping[int, str], count: int, width: int) -> dict[str, Row]:
    columns = array("I")
    columns.frombytes(octets)
    numbers = columns[:count]
    if len(known) <= _FEW:  # to look for each is faster than to look at all
        places = {number: numbers.index(number) for number in known if number in numbers}
    else:
        places = {number: at for at, number in enumerate(numbers) if number in known}
    return {known[number]: tuple(columns[at + count :: count][:width]) for number, at in places.items()}


def merged(one: Minute, other: Minute) -> Minute:
    """Two parts of one minute, of two processes. Counts are added, and of quantiles the higher one stays."""
    return Minute(
        one.when,
        min(60.0, one.seconds + other.seconds),
        _together(one.locations, other.locations, 3),
        _together(one.backends, other.backends, 3),
    )


def _together(some: Mapping[str, Row], others: Mapping[str, Row], counts: int) -> dict[str, Row]:
    found = dict(some)
    for name, row in others.items():
        known = found.get(name)
        if known is not None:
            added = tuple(a + b for a, b in zip(known[:counts], row[:counts], strict=True))
            row = (*added, *(max(a, b) for a, b in zip(known[counts:], row[counts:], strict=True)))
        found[name] = row
    return found
