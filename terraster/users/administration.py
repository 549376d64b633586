"""Users as administrators make and change them, and as `terrasterctl user` does where no Terraster runs. Any greenlet may call it.

The last administrator cannot be removed, disabled or given another role.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from . import api_tokens, failures, lockout, names, sessions, users
from .database import Database
from .faults import Weak
from .passwords import Passwords
from .policy import Policy, expires, normal, reasons
from .roles import ROLES
from .sessions import Session
from .users import User

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["Account", "Administration"]


class Account(NamedTuple):
    """A user as an administrator sees it. Times are seconds since 1970.

    created, changed: of the user, and of the password. expires: when the password must be changed, 0: never. expired: True if it must be
    changed now. locked: seconds that failed logins still lock it, 0: not locked. sessions, tokens: how many it holds
    """

    name: str
    role: str
    disabled: bool
    created: int
    changed: int
    expires: int
    expired: bool
    locked: int
    sessions: int
    tokens: int


class Administration:
    """Makes, lists, changes and removes users. policy: of passwords, as configured now"""

    __slots__ = ("_clock", "_database", "_passwords", "_policy")

    def __init__(
        self, database: Database, passwords: Passwords, policy: Callable[[], Policy], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._policy = policy
        self._clock = clock

    def accounts(self) -> list[Account]:
        """All users by name."""
        return self._database.read(self._accounts)

    def account(self, name: str) -> Account:
        """One user. Raises NotFound."""
        return self._database.read(self._account, names.canonical(name))

    def add(self, name: str, role: str, password: str, must_change: bool = False) -> Account:
        """Make a user. must_change: the password may only be used to set another one. Raises Weak, Conflict."""
        altered = names.altered(name)
        name, password = names.canonical(name), normal(password)
        if role not in ROLES:
            raise Weak("role", (f"must be one of {', '.join(ROLES)}",))
        if broken := names.broken(name) or altered:
            raise Weak("name", broken)
        if broken := reasons(password, name, self._policy()):
            raise Weak("password", broken)
        hashed = self._passwords.hash(password)
        self._database.write(users.add, name, role, hashed, must_change, int(self._clock()))
        return self.account(name)

    def change(self, name: str, role: str | None, disabled: bool | None) -> Account:
        """Give another role, disable or enable, as one change; None: as it is. Raises NotFound, Conflict."""
        self._database.write(_change, names.canonical(name), role, disabled)
        return self.account(name)

    def set_role(self, name: str, role: str) -> Account:
        """Raises NotFound, Conflict, Weak."""
        if role not in ROLES:
            raise Weak("role", (f"must be one of {', '.join(ROLES)}",))
        self._database.write(users.set_role, names.canonical(name), role)
        return self.account(name)

    def set_disabled(self, name: str, disabled: bool) -> Account:
        """Disable a user, which ends its sessions and API tokens for good, or enable it again. Raises NotFound, Conflict."""
        self._database.write(users.set_disabled, names.canonical(name), disabled)
        return self.account(name)

    def reset_password(self, name: str, password: str, must_change: bool) -> Account:
        """Set another's password, end its sessions, and forget its failed logins. Raises NotFound, Weak, Conflict."""
        name, password = names.canonical(name), normal(password)
        user = self._database.read(users.get, name)
        policy = self._policy()
        if broken := reasons(password, name, policy):
            raise Weak("password", broken)
        hashed = self._passwords.hash(password)
        self._database.write(_reset, user, hashed, must_change, policy.history, int(self._clock()))
        return self.account(name)

    def unlock(self, name: str) -> Account:
        """Forget a user's failed logins. Raises NotFound."""
        name = names.canonical(name)
        self._database.write(_unlock, name)
        return self.account(name)

    def remove(self, name: str) -> None:
        """Remove a user. Raises NotFound, Conflict."""
        self._database.write(users.remove, names.canonical(name))

    def sessions(self, name: str) -> list[Session]:
        """The sessions of a user. Raises NotFound."""
        user = self._database.read(users.get, names.canonical(name))
        return self._database.read(sessions.of_user, user.id, int(self._clock()))

    def end_sessions(self, name: str) -> int:
        """End all sessions of a user, and return how many there were. Raises NotFound."""
        return self._database.write(_end_sessions, names.canonical(name))

    def close(self) -> None:
        """Close the database. The next call opens it again."""
        self._database.close()

    # The rest runs in the thread of the database.

    def _accounts(self, connection: Connection) -> list[Account]:
        return [self._shown(connection, user) for user in users.listed(connection)]

    def _account(self, connection: Connection, name: str) -> Account:
        return self._shown(connection, users.get(connection, name))

    def _shown(self, connection: Connection, user: User) -> Account:
        now = int(self._clock())
        end = expires(user.changed, self._policy())
        return Account(
            user.name,
            user.role,
            user.disabled,
            user.created,
            user.changed,
            end,
            user.must_change or bool(end and end <= now),
            lockout.left(failures.of_account(connection, user.name), now),
            len(sessions.of_user(connection, user.id, now)),
            len(api_tokens.of_user(connection, user.id, now)),
        )


def _reset(connection: Connection, user: User, hashed: bytes, must_change: bool, keep: int, now: int) -> None:
    users.set_password(connection, user, hashed, must_change, keep, "", now)
    failures.clear(connection, user.name)


def _change(connection: Connection, name: str, role: str | None, disabled: bool | None) -> None:
    if role is not None:
        users.set_role(connection, name, role)
    if disabled is not None:
        users.set_disabled(connection, name, disabled)


def _unlock(connection: Connection, name: str) -> None:
    users.get(connection, name)
    failures.clear(connection, name)


def _end_sessions(connection: Connection, name: str) -> int:
    user = users.get(connection, name)
    return connection.execute("DELETE FROM sessions WHERE user = ?", (user.id,)).rowcount
