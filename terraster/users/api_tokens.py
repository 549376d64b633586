"""API tokens in the database: credentials of programs. Each has a name, a role that is at most its user's, an end, and is shown once. Only
its hash is kept.

The functions take the connection of one transaction and run in the thread of the database.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, NamedTuple

from ..later import Later
from .faults import Conflict, NotFound

if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = Later("sqlite3")

__all__ = ["LONGEST", "MOST", "PREFIX", "ApiToken", "add", "drop", "find", "of_user"]

PREFIX = "tta_"
"""How a token begins, so that scanners of source code find one that was left there."""

MOST = 100
"""Tokens of one user."""

LONGEST = 366
"""Days that a token may work."""

_COLUMNS = "id, user, name, role, scopes, created, expires"


class ApiToken(NamedTuple):
    """One token. scopes: what it is for, separated by blanks; "": all that its role may"""

    id: str
    user: int
    name: str
    role: str
    scopes: str
    created: int
    expires: int


def add(
    connection: sqlite3.Connection, user: int, name: str, role: str, scopes: str, expires: int, now: int
) -> tuple[ApiToken, str]:
    """A new token, and its text, which is not kept. Raises Conflict."""
    connection.execute("DELETE FROM tokens WHERE expires <= ?", (now,))
    if connection.execute("SELECT count(*) FROM tokens WHERE user = ?", (user,)).fetchone()[0] >= MOST:
        raise Conflict(f"the user has {MOST} tokens already; remove one")
    text = PREFIX + secrets.token_urlsafe(32)
    made = ApiToken(secrets.token_hex(8), user, name, role, scopes, now, expires)
    try:
        connection.execute(f"INSERT INTO tokens ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*made, _hash(text)))
    except sqlite3.IntegrityError:
        raise Conflict(f"there is a token {name} already") from None
    return made, text


def find(connection: sqlite3.Connection, text: str, now: int) -> ApiToken | None:
    """The token of this text, if it has not expired."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM tokens WHERE hash = ? AND expires > ?", (_hash(text), now)).fetchone()
    return None if row is None else ApiToken(*row)


def of_user(connection: sqlite3.Connection, user: int, now: int) -> list[ApiToken]:
    """The tokens of a user by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM tokens WHERE user = ? AND expires > ? ORDER BY name", (user, now))
    return [ApiToken(*row) for row in rows]


def drop(connection: sqlite3.Connection, user: int, id: str) -> ApiToken:
    """End a token of a user. Raises NotFound."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM tokens WHERE id = ? AND user = ?", (id, user)).fetchone()
    if row is None:
        raise NotFound(f"there is no token {id}")
    connection.execute("DELETE FROM tokens WHERE id = ?", (id,))
    return ApiToken(*row)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
