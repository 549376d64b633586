"""A bounded memory of parsed octets: the same octets have the same meaning, so they need no second reading.

Peers choose the octets, so memory and time are bounded. A value is learned only when its octets are met for the second time. Octets that
differ in each message are met once: they cost the hash of one look-up, and no memory.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Memory"]

_LONGEST = 4096
_MET = 4096

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")


class Memory(dict[_K, _T], Generic[_K, _T]):
    """Octets, or a tuple of octets → what was read from them. Use `get` and `learn` only.

    count: limit of entries. octets: limit of octets in all keys. At either limit the memory starts again, empty.
    """

    __slots__ = ("count", "held", "met", "octets")

    def __init__(self, count: int, octets: int) -> None:
        super().__init__()
        self.count = count
        self.octets = octets
        self.held = 0
        self.met: set[int] = set()

    def learn(self, raw: _K, value: _T, size: int) -> bool:
        """Keep a value if its octets were met before and are at most 4 KiB. size: number of octets in ``raw``. True if it is kept."""
        if size > _LONGEST:
            return False
        known = hash(raw)
        if known not in self.met:
            if len(self.met) >= _MET:
                self.met.clear()
            self.met.add(known)
            return False
        self.held += size
        if self.held > self.octets or len(self) >= self.count:
            self.clear()
            self.held = size
        self[raw] = value
        return True
