"""Hashes of passwords by bcrypt, made and compared away from the event loop.

A comparison takes a quarter of a second of a core, on purpose. So they run one after the other, at most `MOST` wait, and of these at most
`PER_ADDRESS` of one client address; beyond that the answer is `Busy`. A user that does not exist costs the same: the password is compared
with a hash that nobody has the password of.
"""

from __future__ import annotations

from collections import Counter

from .aside import Aside
from .faults import Busy
from .policy import MOST_OCTETS, normal

__all__ = ["COST", "MOST", "PER_ADDRESS", "Passwords"]

COST = 12
"""2**12 rounds: some 240 ms of a core."""

MOST = 16
"""Comparisons that wait or are under way."""

PER_ADDRESS = 8
"""Of these, those of one client address."""


class Passwords:
    """Makes and compares hashes. aside: where. cost: of new hashes"""

    __slots__ = ("_aside", "_cost", "_dummy", "_of", "compared")

    def __init__(self, aside: Aside, cost: int = COST) -> None:
        self._aside = aside
        self._cost = cost
        self._dummy: dict[int, bytes] = {}
        self._of: Counter[str] = Counter()
        self.compared = 0
        """Comparisons that were made, also those with the hash of nobody."""

    def hash(self, password: str, address: str = "") -> bytes:
        """The hash of a password that `policy.reasons` accepts. Raises Busy."""
        self._enter(address)
        try:
            return self._aside.run(_hashed, _octets(password), self._cost)
        finally:
            self._leave(address)

    def matches(self, password: str, hashed: bytes | None, address: str = "") -> bool:
        """True if it is the password. hashed: None for a user that does not exist, which takes as long and is False. Raises Busy."""
        self._enter(address)
        try:
            self.compared += 1
            return self._aside.run(self._compared, _octets(password), hashed)
        finally:
            self._leave(address)

    def _compared(self, octets: bytes, hashed: bytes | None) -> bool:
        import bcrypt  # only here: most processes compare no passwords

        usable = hashed is not None and len(octets) <= MOST_OCTETS and b"\0" not in octets
        if usable and hashed is not None:
            return bcrypt.checkpw(octets, hashed)
        cost = self._cost if hashed is None else int(hashed[4:6])
        if cost not in self._dummy:
            self._dummy[cost] = bcrypt.gensalt(cost)
        bcrypt.hashpw(octets[:MOST_OCTETS].replace(b"\0", b"0"), self._dummy[cost])
        return False

    def _enter(self, address: str) -> None:
        if address and self._of[address] >= PER_ADDRESS:
            raise Busy("too many passwords of this client are being checked")
        self._of[address] += 1

    def _leave(self, address: str) -> None:
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]


def _octets(password: str) -> bytes:
    return normal(password).encode("utf-8", "surrogatepass")


def _hashed(octets: bytes, cost: int) -> bytes:
    import bcrypt

    return bcrypt.hashpw(octets, bcrypt.gensalt(cost))
