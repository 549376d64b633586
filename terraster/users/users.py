"""Users in the database. The functions take the connection of one transaction and run in the thread of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .faults import Conflict, NotFound
from .roles import ADMIN

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = [
    "User",
    "add",
    "any_there",
    "by_number",
    "find",
    "get",
    "listed",
    "old_hashes",
    "remove",
    "set_disabled",
    "set_password",
    "set_role",
]

_COLUMNS = "id, name, role, hash, created, changed, must_change, disabled"


class User(NamedTuple):
    """One user. changed: when the password was set. must_change: the password may only be used to set another one."""

    id: int
    name: str
    role: str
    hash: bytes
    created: int
    changed: int
    must_change: bool
    disabled: bool


def _user(row: tuple[int, str, str, bytes, int, int, int, int]) -> User:
    return User(*row[:6], bool(row[6]), bool(row[7]))


def any_there(connection: Connection) -> bool:
    """True if there is a user."""
    return connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None


def find(connection: Connection, name: str) -> User | None:
    """The user of a canonical name."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else _user(row)


def get(connection: Connection, name: str) -> User:
    """The same. Raises NotFound."""
    found = find(connection, name)
    if found is None:
        raise NotFound(f"there is no user {name}")
    return found


def by_number(connection: Connection, number: int) -> User | None:
    """The user of a number."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE id = ?", (number,)).fetchone()
    return None if row is None else _user(row)


def listed(connection: Connection) -> list[User]:
    """All users by name."""
    return [_user(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY name")]


def add(connection: Connection, name: str, role: str, hashed: bytes, must_change: bool, now: int) -> User:
    """A new user. Raises Conflict."""
    if find(connection, name) is not None:
        raise Conflict(f"there is a user {name} already")
    connection.execute(
        "INSERT INTO users (name, role, hash, created, changed, must_change, disabled) VALUES (?, ?, ?, ?, ?, ?, 0)",
        (name, role, hashed, now, now, must_change),
    )
    made = get(connection, name)
    _remember(connection, made.id, hashed, 1)
    return made


def set_role(connection: Connection, name: str, role: str) -> User:
    """Raises NotFound; Conflict if the last administrator would be none."""
    user = get(connection, name)
    if role != ADMIN:
        _keep_an_admin(connection, user)
    connection.execute("UPDATE users SET role = ? WHERE id = ?", (role, user.id))
    return get(connection, name)


def set_disabled(connection: Connection, name: str, disabled: bool) -> User:
    """Disabling ends all that the user holds. Raises NotFound; Conflict if it is the last administrator."""
    user = get(connection, name)
    if disabled:
        _keep_an_admin(connection, user)
        connection.execute("DELETE FROM sessions WHERE user = ?", (user.id,))
        connection.execute("DELETE FROM tokens WHERE user = ?", (user.id,))
    connection.execute("UPDATE users SET disabled = ? WHERE id = ?", (disabled, user.id))
    return get(connection, name)


def remove(connection: Connection, name: str) -> User:
    """Remove a user and all that it holds. Raises NotFound; Conflict if it is the last administrator."""
    user = get(connection, name)
    _keep_an_admin(connection, user)
    connection.execute("DELETE FROM users WHERE id = ?", (user.id,))
    return user


def set_password(connection: Connection, user: User, hashed: bytes, must_change: bool, keep: int, but: str, now: int) -> None:
    """Set a password and end the user's sessions. keep: how many hashes are remembered. but: the session that goes on, "" for none.

    Raises Conflict if the password was changed, or the user removed, since ``user`` was read.
    """
    changed = connection.execute(
        "UPDATE users SET hash = ?, changed = ?, must_change = ? WHERE id = ? AND hash = ?",
        (hashed, now, must_change, user.id, user.hash),
    )
    if changed.rowcount != 1:
        raise Conflict("the password was changed by another request meanwhile")
    _remember(connection, user.id, hashed, keep)
    connection.execute("DELETE FROM sessions WHERE user = ? AND id != ?", (user.id, but))


def old_hashes(connection: Connection, user: int, many: int) -> list[bytes]:
    """The hashes of the last passwords, the current one first."""
    rows = connection.execute("SELECT hash FROM passwords WHERE user = ? ORDER BY number DESC LIMIT ?", (user, many))
    return [row[0] for row in rows]


def _remember(connection: Connection, user: int, hashed: bytes, keep: int) -> None:
    last = connection.execute("SELECT coalesce(max(number), 0) FROM passwords WHERE user = ?", (user,)).fetchone()[0]
    connection.execute("INSERT INTO passwords (user, number, hash) VALUES (?, ?, ?)", (user, last + 1, hashed))
    connection.execute("DELETE FROM passwords WHERE user = ? AND number <= ?", (user, last + 1 - max(keep, 1)))


def _keep_an_admin(connection: Connection, user: User) -> None:
    """Raises Conflict if there is no other enabled administrator than this one."""
    if user.role != ADMIN or user.disabled:
        return
    others = "SELECT 1 FROM users WHERE role = ? AND disabled = 0 AND id != ? LIMIT 1"
    if connection.execute(others, (ADMIN, user.id)).fetchone() is None:
        raise Conflict(f"{user.name} is the last administrator; give another user the role {ADMIN} first")
