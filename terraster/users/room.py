"""The users of the running configuration: the database, the two threads, and what can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from terraster.config.auth import Auth
from terraster.config.snapshot import Snapshot

from .access import Access
from .administration import Administration
from .aside import Aside, Direct, Threaded
from .cleanup import Cleanup
from .database import Database
from .passwords import MOST, Passwords
from .policy import Policy
from .secret import SigningKey
from .watch import Watch

__all__ = ["Users", "directly", "policy_of"]

_CALLS = 500  # that wait for the database


class Users:
    """access: what users do for themselves. administration: what administrators do with users.

    running: the configuration in effect. Nothing is opened, and no thread started, before the first call.
    """

    def __init__(self, running: Callable[[], Snapshot]) -> None:
        self._running = running
        self._database = Database(
            lambda: running().auth.database, Threaded(_CALLS, "too many requests wait for the users' database")
        )
        passwords = Passwords(Threaded(MOST, "too many passwords are being checked"))
        key = SigningKey(lambda: (running().auth.secret, running().state_dir))
        self.access = Access(self._database, passwords, self.policy, key)
        self.administration = Administration(self._database, passwords, self.policy)

    def policy(self) -> Policy:
        """Of passwords, as configured now."""
        return policy_of(self._running().auth)

    def cleanup(self, log: Any) -> Cleanup:
        """The removal of what has expired."""
        return Cleanup(self._database, lambda: self._running().auth.cleanup_interval, log)

    def watch(self, log: Any) -> Watch:
        """A look at the database from time to time."""
        return Watch(self._database, log)


def policy_of(auth: Auth) -> Policy:
    """The rules of passwords in a configuration."""
    return Policy(auth.min_length, auth.history, auth.expiry_days)


def directly(auth: Auth) -> Administration:
    """Administration of a file that no process serves, in a process without an event loop."""
    aside: Aside = Direct()
    return Administration(Database(lambda: auth.database, aside), Passwords(aside), lambda: policy_of(auth))
