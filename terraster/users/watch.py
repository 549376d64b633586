"""A look at the users' database from time to time, so that operators know of its faults before a user tells them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent

from .database import Database
from .faults import UserError

__all__ = ["Watch"]

_NAP = 1.0  # seconds between two looks at what the last call met
_CHECK = 60.0  # seconds between two checks of the whole file


class Watch:
    """Watches one database. log: the program's log

    ``failure``: ``text since`` of what keeps the database from being used; None: nothing does
    """

    __slots__ = ("_checked", "_clock", "_database", "_log", "failure")

    def __init__(self, database: Database, log: Any, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._log = log
        self._clock = clock
        self._checked = float("-inf")
        self.failure: dict[str, Any] | None = None

    def run(self) -> None:
        """Look for ever. In a greenlet of its own."""
        while True:
            self.look()
            gevent.sleep(_NAP)

    def look(self) -> None:
        """Look once."""
        now = self._clock()
        if not _CHECK > now - self._checked >= 0:
            self._checked = now
            with suppress(UserError):  # `fault` has the words; too many calls at once are not a fault
                self._database.check()
        text = self._database.fault
        if not text:
            if self.failure is not None:
                self.failure = None
                self._log.info("the users' database can be used again")
        elif self.failure is None or self.failure["text"] != text:
            self.failure = {"text": text, "since": self.failure["since"] if self.failure else now}
            self._log.error("%s; logins are refused with 503, and all else goes on", text)
