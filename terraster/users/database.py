"""The SQLite file of users, opened when it is first needed: after the fork, and never by a process that serves traffic.

Everything runs in one thread with one connection. A write is one transaction, on disk (WAL, ``synchronous=FULL``) before it is
acknowledged. A fault is `Unavailable` with words for an operator, and the next call opens the file again: a repaired, replaced or unlocked
file is used without a restart. A file that was used and is gone, or empty, is a fault too: a new one without users would hide the
loss. A backup that is put in its place is used at once; a restart begins with an empty one.

SQLite looks at a page again only if another process wrote it through SQLite. So damage by another hand is found by `check`, which reads all
of the file anew, and not by the calls.

Times in the tables are whole seconds since 1970. The file and those that SQLite puts beside it have mode 0600.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..later import Later
from .aside import Aside
from .faults import Unavailable

if TYPE_CHECKING:
    import sqlite3
else:
    sqlite3 = Later("sqlite3")

__all__ = ["VERSION", "WAIT", "Database"]

VERSION = 1
"""Of the tables, in ``PRAGMA user_version``."""

WAIT = 3.0
"""Seconds to wait for another process that writes: the admin worker of another master during an upgrade, or a backup."""

_T = TypeVar("_T")

_OWNER = "the user that Terraster runs as must own it and its directory; `auth.db_path` can name another file"

_AGAIN = (
    "nobody can log in until it, or a backup, is in its place again; a restart of Terraster begins with an empty one, without users"
)

_TABLES = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    hash BLOB NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    must_change INTEGER NOT NULL,
    disabled INTEGER NOT NULL
);
CREATE TABLE passwords (
    user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (user, number)
) WITHOUT ROWID;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    current BLOB NOT NULL UNIQUE,
    before BLOB,
    salt BLOB,
    created INTEGER NOT NULL,
    refreshed INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_of ON sessions (user);
CREATE TABLE spent (
    hash BLOB PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX spent_of ON spent (session);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    scopes TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    UNIQUE (user, name)
) WITHOUT ROWID;
CREATE TABLE failures (
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    failures INTEGER NOT NULL,
    last INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX failures_last ON failures (last);
"""


class Database:
    """One file. path: of it, as configured now. aside: the thread, which must run one function at a time. wait: see `WAIT`

    ``fault``: why the last call failed, "" if it did not
    """

    __slots__ = ("_aside", "_checked", "_configured", "_connection", "_file", "_used", "_wait", "fault", "path")

    def __init__(self, path: Callable[[], str], aside: Aside, wait: float = WAIT) -> None:
        self._configured = path
        self.path = ""
        self._aside = aside
        self._wait = wait
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._used = False  # the file had tables when it was opened
        self._checked = False
        self.fault = ""

    def read(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """The result of a function of the connection and these arguments, which only reads. Raises Unavailable, Busy, and what it raises."""
        result: Any = self._aside.run(self._within, "BEGIN", function, arguments)
        made: _T = result
        return made

    def write(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """The same of a function that writes. When this returns, the change is on disk; if anything is raised, nothing was changed."""
        result: Any = self._aside.run(self._within, "BEGIN IMMEDIATE", function, arguments)
        made: _T = result
        return made

    def configured(self) -> str:
        """The file that the next call uses."""
        return self._configured()

    def check(self) -> None:
        """Look if the file is there and whole: read all of it anew. A file that never existed is not a fault. Raises Unavailable and Busy."""
        self._aside.run(self._within, "BEGIN", _nothing, (), True)

    def close(self) -> None:
        """Close the file, if it is open. The next call opens it again."""
        self._aside.run(self._close)

    # The rest runs in the thread.

    def _within(self, begin: str, function: Callable[..., _T], arguments: tuple[Any, ...], whole: bool = False) -> _T | None:
        """whole: read all of the file first, if it exists"""
        try:
            result = self._call(begin, function, arguments, whole)
        except Unavailable as error:
            self.fault = str(error)
            self._checked = False
            raise
        self.fault = ""
        return result

    def _call(self, begin: str, function: Callable[..., _T], arguments: tuple[Any, ...], whole: bool) -> _T | None:
        try:
            if whole and not self._used and not os.path.exists(self._configured()):
                return None
            connection = self._open()
            if whole or not self._checked:
                self._check()
            connection.execute(begin)
            try:
                result: _T = function(connection, *arguments)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result
        except sqlite3.Error as error:
            self._close()
            raise Unavailable(self._in_words(error)) from error
        except OSError as error:
            self._close()
            raise Unavailable(f"the users' database {self.path} cannot be used: {error.strerror}{_advice(error)}") from error

    def _check(self) -> None:
        """Read the whole file, with another connection, which has no page of it yet. Raises sqlite3.Error."""
        fresh = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None)
        try:
            fresh.execute("PRAGMA query_only=ON")
            words = [str(row[0]) for row in fresh.execute("PRAGMA quick_check(1)")]
        finally:
            fresh.close()
        if words != ["ok"]:
            self._close()
            raise Unavailable(self._damaged("; ".join(words).replace("\n", " ")))
        self._checked = True

    def _open(self) -> sqlite3.Connection:
        if (path := self._configured()) != self.path:
            self._close()
            self.path, self._used = path, False
        if self._connection is not None:
            if self._identity() == self._file:
                return self._connection
            self._close()  # the file was replaced or removed: what is written into the old one would be lost
            self._checked = False
        if self._used and not os.path.lexists(self.path):
            raise Unavailable(f"the users' database {self.path} was removed while Terraster ran: {_AGAIN}")
        directory = os.path.dirname(self.path)
        if not os.path.isdir(directory):
            if os.path.exists(directory):
                raise Unavailable(f"the users' database {self.path} cannot be used: {directory} is not a directory")
            os.makedirs(directory, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Unavailable(f"the users' database {self.path} is not a regular file; move it away")
            if stat.S_IMODE(found.st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)  # SQLite locks with fcntl: no descriptor of the file may be closed while it is open there
        connection = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        self._connection = connection
        self._file = (found.st_dev, found.st_ino)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")
        self._make_tables(connection)
        self._used = True
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")  # another process may make them at this moment
        try:
            version = _version(connection)
            if version > VERSION:
                raise Unavailable(
                    f"the users' database {self.path} was made by a newer version of Terraster ({version}); use that one"
                )
            if version == 0:
                if self._used:
                    raise Unavailable(f"the users' database {self.path} was emptied while Terraster ran: {_AGAIN}")
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._close()
            raise

    def _identity(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except OSError:
            return (0, 0)
        return (found.st_dev, found.st_ino)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _in_words(self, error: sqlite3.Error) -> str:
        begin = f"the users' database {self.path}"
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return f"{begin} is locked by another process for more than {self._wait:g} s; try again, or look for the process with `fuser`"
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return self._damaged(str(error))
        if name.startswith("SQLITE_FULL"):
            return f"{begin} cannot be written: the disk is full; nothing was changed"
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return f"{begin} cannot be written ({error}): {_OWNER}"
        return f"{begin} cannot be used: {error}"

    def _damaged(self, why: str) -> str:
        return (
            f"the users' database {self.path} is damaged ({why}): put a backup in its place, or move it away, restart Terraster, "
            "and make the users again"
        )


def _nothing(connection: sqlite3.Connection) -> None:
    """For `Database.check`."""


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"; {_OWNER}"
    return ""
