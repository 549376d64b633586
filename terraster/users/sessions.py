"""Sessions in the database: what a login makes, and what its refresh tokens and cookie lead to. Only hashes of these are kept.

A refresh token works once. It is answered with its successor, and it is remembered as spent as long as its session lives. One that comes
again was stolen, from the client or by it: the session ends. There is one exception. A client that submits its token twice (two tabs, a
repeated request) gets the same successor again within `GRACE`. The successor is an HMAC of the token under a random salt, so that no copy
of it has to be kept, and so that a thief who repeats the token has no branch of its own.

The functions take the connection of one transaction and run in the thread of the database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, NamedTuple

from .faults import NotFound

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = [
    "GRACE",
    "LIFE",
    "MOST",
    "COOKIE",
    "Refreshed",
    "REFRESH",
    "Session",
    "add",
    "by_cookie",
    "drop",
    "get",
    "of_token",
    "of_user",
    "refresh",
]

LIFE = 7 * 86_400
"""Seconds that a refresh token works, and a session without a refresh."""

GRACE = 10
"""Seconds in which a refresh token may be submitted a second time."""

MOST = 50
"""Sessions of one user; beyond that the oldest ends."""

_SPENT = 10_000  # spent tokens that one session remembers; a client that refreshes every quarter of an hour has 700 in a week
_AGENT = 200  # characters of a client's name of itself that are kept

REFRESH, COOKIE = "refresh", "cookie"
_PREFIX = {REFRESH: "ttr_", COOKIE: "ttc_"}
_COLUMNS = "id, user, kind, created, refreshed, expires, address, agent"


class Session(NamedTuple):
    """One session. refreshed: when its current refresh token was made. address, agent: of the client that logged in"""

    id: str
    user: int
    kind: str
    created: int
    refreshed: int
    expires: int
    address: str
    agent: str


class Refreshed(NamedTuple):
    """The outcome of a refresh: the session and the next token, or reused: the id of the session that ended for it."""

    session: Session | None
    token: str
    reused: str = ""


def add(connection: Connection, user: int, kind: str, address: str, agent: str, now: int) -> tuple[Session, str]:
    """A new session, and the token that leads to it."""
    token = _PREFIX[kind] + secrets.token_urlsafe(32)
    made = Session(secrets.token_hex(8), user, kind, now, now, now + LIFE, address[:_AGENT], _shown(agent))
    connection.execute(
        f"INSERT INTO sessions ({_COLUMNS}, current) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*made, _hash(token)),
    )
    connection.execute(
        "DELETE FROM sessions WHERE user = ? AND id != ? AND id NOT IN "
        "(SELECT id FROM sessions WHERE user = ? ORDER BY created DESC LIMIT ?)",
        (user, made.id, user, MOST),
    )
    return made, token


def get(connection: Connection, id: str, now: int) -> Session | None:
    """The session of an id, if it lives."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM sessions WHERE id = ? AND expires > ?", (id, now)).fetchone()
    return None if row is None else Session(*row)


def by_cookie(connection: Connection, token: str, now: int) -> Session | None:
    """The session that a cookie leads to, if it lives."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM sessions WHERE current = ? AND kind = ? AND expires > ?", (_hash(token), COOKIE, now)
    ).fetchone()
    return None if row is None else Session(*row)


def of_user(connection: Connection, user: int, now: int) -> list[Session]:
    """The living sessions of a user, the newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM sessions WHERE user = ? AND expires > ? ORDER BY created DESC, id", (user, now)
    )
    return [Session(*row) for row in rows]


def drop(connection: Connection, user: int, id: str) -> None:
    """End a session of a user. Raises NotFound."""
    if connection.execute("DELETE FROM sessions WHERE id = ? AND user = ?", (id, user)).rowcount == 0:
        raise NotFound(f"there is no session {id}")


def refresh(connection: Connection, token: str, now: int) -> Refreshed:
    """Take a refresh token and make the next one."""
    hashed = _hash(token)
    row = connection.execute(
        f"SELECT {_COLUMNS}, current, before, salt FROM sessions WHERE kind = ? AND expires > ? AND (current = ? OR before = ?)",
        (REFRESH, now, hashed, hashed),
    ).fetchone()
    if row is None:
        spent = connection.execute("SELECT session FROM spent WHERE hash = ?", (hashed,)).fetchone()
        return Refreshed(None, "") if spent is None else _reused(connection, spent[0])
    session, (current, _before, salt) = Session(*row[:8]), row[8:]
    if current != hashed:
        if not 0 <= now - session.refreshed <= GRACE:
            return _reused(connection, session.id)
        return Refreshed(session, _successor(salt, token))
    salt = secrets.token_bytes(32)
    new = _successor(salt, token)
    connection.execute(
        "UPDATE sessions SET current = ?, before = ?, salt = ?, refreshed = ?, expires = ? WHERE id = ?",
        (_hash(new), hashed, salt, now, now + LIFE, session.id),
    )
    _spend(connection, session.id, hashed)
    return Refreshed(session._replace(refreshed=now, expires=now + LIFE), new)


def of_token(connection: Connection, token: str) -> str:
    """The id of the session that a refresh token or cookie leads to, also a spent one; "" for none."""
    hashed = _hash(token)
    row = connection.execute(
        "SELECT id FROM sessions WHERE current = ? UNION SELECT session FROM spent WHERE hash = ?", (hashed, hashed)
    ).fetchone()
    return "" if row is None else str(row[0])


def _reused(connection: Connection, id: str) -> Refreshed:
    connection.execute("DELETE FROM sessions WHERE id = ?", (id,))
    return Refreshed(None, "", id)


def _spend(connection: Connection, id: str, hashed: bytes) -> None:
    many = connection.execute("SELECT count(*) FROM spent WHERE session = ?", (id,)).fetchone()[0]
    if many < _SPENT:
        connection.execute("INSERT OR IGNORE INTO spent (hash, session) VALUES (?, ?)", (hashed, id))


def _successor(salt: bytes, token: str) -> str:
    made = hmac.digest(salt, token.encode(), "sha256")
    return _PREFIX[REFRESH] + base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _shown(agent: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in agent)[:_AGENT]
