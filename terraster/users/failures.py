"""Failed logins in the database, so that a restart of the admin worker does not end a lock.

Accounts are kept as hashes: users type passwords where names belong. The functions take the connection of one transaction and run in the
thread of the database.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .lockout import ACCOUNT, ADDRESS, NONE, Record, Rule, failed, left, network

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["MOST", "clear", "count", "forget_old", "of_account", "of_address"]

MOST = 100_000
"""Records of each kind. Beyond that the oldest go: a flood of invented names must not fill the disk."""

_KINDS: dict[str, Rule] = {"account": ACCOUNT, "address": ADDRESS}


def of_account(connection: Connection, name: str) -> Record:
    """The record of a canonical name, which need not exist."""
    return _get(connection, "account", name)


def of_address(connection: Connection, address: str) -> Record:
    """The record of a client's address."""
    return _get(connection, "address", network(address))


def count(connection: Connection, name: str, address: str, now: int) -> Record:
    """Count a failure for the name and for the address. Returns the new record of the name."""
    if address:
        _failed(connection, "address", network(address), now)
    return _failed(connection, "account", name, now)


def clear(connection: Connection, name: str) -> bool:
    """Forget the failures of a name. Returns True if there were some."""
    return connection.execute("DELETE FROM failures WHERE kind = 'account' AND key = ?", (_key(name),)).rowcount > 0


def forget_old(connection: Connection, now: int) -> None:
    """Remove the records that no longer count, and the oldest beyond `MOST`."""
    for kind, rule in _KINDS.items():
        connection.execute("DELETE FROM failures WHERE kind = ? AND until <= ? AND last < ?", (kind, now, now - rule.window))
        connection.execute(
            "DELETE FROM failures WHERE kind = ? AND last < "
            "(SELECT last FROM failures WHERE kind = ? ORDER BY last DESC LIMIT 1 OFFSET ?)",
            (kind, kind, MOST),
        )


def _get(connection: Connection, kind: str, key: str) -> Record:
    row = connection.execute("SELECT failures, last, until FROM failures WHERE kind = ? AND key = ?", (kind, _key(key))).fetchone()
    return NONE if row is None else Record(*row)


def _failed(connection: Connection, kind: str, key: str, now: int) -> Record:
    old = _get(connection, kind, key)
    if left(old, now):
        return old
    new = failed(old, _KINDS[kind], now)
    connection.execute(
        "INSERT OR REPLACE INTO failures (kind, key, failures, last, until) VALUES (?, ?, ?, ?, ?)", (kind, _key(key), *new)
    )
    return new


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
