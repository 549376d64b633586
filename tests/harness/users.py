"""A room of users in a directory, with a clock that a test sets, and hashes that cost little."""

from __future__ import annotations

from pathlib import Path

from terraster.users.access import Access
from terraster.users.administration import Administration
from terraster.users.aside import Aside, Direct
from terraster.users.database import Database
from terraster.users.passwords import Passwords
from terraster.users.policy import Policy
from terraster.users.secret import SigningKey

__all__ = ["GOOD", "NEW", "Room"]

GOOD, NEW = "Vq7!tGw2#pLz", "Rm5?kXb8+hNd"


class Room:
    """Users of one file. now: what its clock says"""

    def __init__(self, directory: Path, aside: Aside | None = None, compare: Aside | None = None) -> None:
        self.now = 1_800_000_000.0
        self.policy = Policy()
        self.secret = ""
        self.directory = directory
        self.database = Database(lambda: str(directory / "auth.db"), aside or Direct(), wait=0.05)
        self.passwords = Passwords(compare or Direct(), cost=4)
        self.key = SigningKey(lambda: (self.secret, str(directory)))
        self.access = Access(self.database, self.passwords, lambda: self.policy, self.key, self.clock)
        self.administration = Administration(self.database, self.passwords, lambda: self.policy, self.clock)

    def clock(self) -> float:
        return self.now

    def login(self, name: str = "ada", password: str = GOOD, address: str = "192.0.2.7", cookie: bool = False):  # type: ignore[no-untyped-def]
        return self.access.login(name, password, address, "a test", cookie)
