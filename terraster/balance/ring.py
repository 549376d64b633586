"""A hash ring: which member a key belongs to, and who comes after it.

Karger and others ("Consistent Hashing and Random Trees", 1997): members have points on a circle, a key belongs to the next point. A
member that goes takes its points with it and nothing else moves; its keys are spread over those whose points come next. How many
points a member has hangs on its own weight alone, so the weights of others move nothing either. With `POINTS` for a weight of 1 the
parts of equal members differ by some 8 % (one over the square root).

Hashes are BLAKE2b, so a ring is the same in every process, in every run and on every machine.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b

__all__ = ["POINTS", "Ring"]

POINTS = 160
"""Points on the ring for a weight of 1, unless there would be more than `MOST`."""

MOST = 1 << 18
"""Points of a ring; 3 MiB."""

_EACH = 8  # points out of one digest of 64 octets
_NUMBER = (
    1 << 20
) - 1  # the low bits of a point hold the number of its member: 1,000 members sort in a third of the time pairs take
_POINT = (1 << 64) - 1 - _NUMBER


class Ring:
    """Members by number (0, 1, 2 …), each with a stable name and a weight. Immutable, so it can be shared.

    owners: number of the member at each point, in the order of the points.
    """

    __slots__ = ("members", "owners", "_points", "_others")

    def __init__(self, members: Sequence[tuple[str, int]]) -> None:
        self.members = tuple(members)
        halved = 0  # by halves: the points of a ring with half as many are among its own, so that few keys move
        while sum(self._count(weight, halved) for _, weight in members) > MOST and halved < 32:
            halved += 1
        found: list[int] = []
        for number, (name, weight) in enumerate(members):
            count = self._count(weight, halved)
            points = array("Q")
            for part in range(-(-count // _EACH)):
                points.frombytes(blake2b(b"%d\0%b" % (part, name.encode("utf-8")), digest_size=64).digest())
            if sys.byteorder == "big":
                points.byteswap()
            found += [point & _POINT | number for point in points[:count]]
        found.sort()
        self._points = array("Q", found)
        self.owners = array("L", [point & _NUMBER for point in found])
        self._others = sum(1 for _, weight in self.members if weight) - 1

    def of(self, numbers: Collection[int]) -> Ring:
        """The same ring, with only the points of these members. They keep their numbers."""
        ring = Ring.__new__(Ring)
        kept = [place for place, number in enumerate(self.owners) if number in numbers]
        ring.members = tuple((name, weight if number in numbers else 0) for number, (name, weight) in enumerate(self.members))
        ring.owners = array("L", [self.owners[place] for place in kept])
        ring._points = array("Q", [self._points[place] for place in kept])
        ring._others = sum(1 for _, weight in ring.members if weight) - 1
        return ring

    @staticmethod
    def _count(weight: int, halved: int) -> int:
        return max(1, (weight * POINTS) >> halved) if weight else 0

    def place(self, key: bytes) -> int:
        """Where in `owners` the member of a key stands. The ring must not be empty."""
        point = int.from_bytes(blake2b(key, digest_size=8).digest(), "little")
        place = bisect_right(self._points, point)
        return place if place < len(self._points) else 0

    def after(self, place: int) -> Iterator[int]:
        """The numbers of the other members in the order in which they come after a place: each once."""
        owners = self.owners
        seen = {owners[place]}
        left = self._others
        size = len(owners)
        while left > 0:
            place += 1
            if place == size:
                place = 0
            number = owners[place]
            if number not in seen:
                seen.add(number)
                left -= 1
                yield number
