"""The removal of what has expired: sessions, API tokens, and failed logins that no longer count (`auth.token_cleanup_interval`).

It only keeps the database small: what has expired is never accepted, removed or not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent

from . import failures
from .database import Database
from .faults import UserError

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["Cleanup", "clean"]


class Cleanup:
    """Cleans a database from time to time. interval: seconds, as configured now"""

    __slots__ = ("_database", "_interval", "_log")

    def __init__(self, database: Database, interval: Callable[[], float], log: Any) -> None:
        self._database = database
        self._interval = interval
        self._log = log

    def run(self) -> None:
        """Clean for ever. In a greenlet of its own."""
        said = ""
        while True:
            gevent.sleep(self._interval())
            if not os.path.exists(self._database.configured()):
                continue  # nobody has made a user: nothing is to be made here
            try:
                self._database.write(clean, int(time.time()))
                said = ""
            except UserError as error:
                if str(error) != said:
                    said = str(error)
                    self._log.warning("expired sessions are not removed: %s", error)


def clean(connection: Connection, now: int) -> None:
    """Remove what has expired. In the thread of the database."""
    connection.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
    connection.execute("DELETE FROM tokens WHERE expires <= ?", (now,))
    failures.forget_old(connection, now)
