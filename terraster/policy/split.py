"""The layout of a split: which arm a client is assigned to, from the client's id and the weights alone.

Each client has a point in (0, 1) for each arm: a hash of its id and the arm's name. The arm with the least -ln(point) / weight has the client
(weighted rendezvous hashing: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005). So it follows:

- An arm gets its weight's share of the clients, because the least of exponentially distributed values is that of an arm with this probability.
- A client moves from one arm to another only if the other's weight has grown in relation to that of the first. So if one arm grows and the
  others keep their weights, all clients that move go to that arm, and none moves elsewhere; if it shrinks, only its clients move. With two
  arms no layout moves fewer: from 95:5 to 90:10 exactly the new 5 % move.
- The order of the arms means nothing. An arm that comes is one that grows from 0, one that goes shrinks to 0. Weights that are all
  multiplied by the same number move nobody.

Intervals of [0, 1) side by side do not have this with three arms: an arm that grows moves the borders of those behind it. No layout that knows
only the weights moves the least possible share for each change of three arms, as the regions of the arms would have to be the same. Where
several weights change at once this one moves a little more than that: from 90:5:5 to 85:10:5 it moves 5.24 % in place of 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import inf, log

__all__ = ["Layout"]

_STEPS = float(1 << 64)


class Layout:
    """Assigns clients to arms. weights: of the arms; 0: no client is assigned to it."""

    __slots__ = ("_points", "weights")

    def __init__(self, salt: str, arms: Sequence[tuple[str, int]]) -> None:
        """salt: layouts with the same one give a client the same points. arms: names, each once, and weights."""
        self.weights = tuple(float(weight) for _, weight in arms)
        self._points = tuple(blake2b(f"{salt}\0{name}\0".encode(), digest_size=8) for name, _ in arms)

    def arm(self, client: bytes) -> int:
        """The index of the client's arm."""
        best, least = 0, inf
        for index, value in enumerate(self._values(client)):
            if value < least:
                best, least = index, value
        return best

    def ranked(self, client: bytes) -> list[int]:
        """The arms that take clients, first the client's own, then the one that it would have if there were no first, and so on."""
        values = self._values(client)
        return sorted((index for index, weight in enumerate(self.weights) if weight), key=values.__getitem__)

    def _values(self, client: bytes) -> list[float]:
        values = []
        for base, weight in zip(self._points, self.weights, strict=True):
            if not weight:
                values.append(inf)
                continue
            made = base.copy()
            made.update(client)
            values.append(-log((int.from_bytes(made.digest(), "big") + 0.5) / _STEPS) / weight)
        return values
