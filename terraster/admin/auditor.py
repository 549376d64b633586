"""The admin worker's rows of the audit log: every change that it was asked for.

A change is noted before it begins, and its row is on the disk before the answer is sent. A log that cannot be
written, for example because the disk is full, does not keep an operator from acting: the change is carried out, its row waits here and is
written as soon as it can be, the program's log has an error with the row, and the status a problem until then.

Each row that is written is in the program's log, too, with its number and hash. They prove later that rows were cut off.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.lock import RLock
from gevent.threadpool import ThreadPool

from terraster.audit.chain import Verdict
from terraster.audit.log import AuditError, AuditLog
from terraster.audit.row import Row, prepared
from terraster.config.snapshot import Snapshot

__all__ = ["Auditor"]

_AGAIN = 1.0  # seconds between two attempts to write rows that wait
_TIDY = 3600.0  # seconds between two looks for files that are too old
_WAITING = 10_000  # rows that wait at most
_SAID = 100  # characters of a reason in the program's log


class Auditor:
    """Writes the rows of one admin worker. Any greenlet.

    running: the configuration in effect; log: the program's log

    ``failure``: ``text since`` of rows that wait to be written; None: there are none
    """

    def __init__(
        self,
        audit: AuditLog,
        running: Callable[[], Snapshot],
        log: Any,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._audit = audit
        self._running = running
        self._log = log
        self._wall = wall
        self._pool: ThreadPool | None = None
        self._turn = RLock()
        self._waiting: deque[tuple[dict[str, Any], str, float]] = deque()
        self._dropped = 0
        self._tidied = 0.0
        self.failure: dict[str, Any] | None = None

    def run(self) -> None:
        """Complete what was left, and look after the log from now on."""
        self._try(self._recover)
        while True:
            self._try(self._look)
            gevent.sleep(_AGAIN)

    def begin(self, facts: Mapping[str, Any]) -> str:
        """Note a change that begins. Returns a token for `record`, "" if it cannot be noted. Never raises."""
        try:
            return str(self._do(self._audit.begin, facts))
        except AuditError as error:
            self._failed(str(error))
            return ""

    def record(self, facts: Mapping[str, Any], token: str = "") -> bool:
        """Add a row. It is on the disk when this returns True; else it waits. Never raises.

        facts: see `terraster.audit.row`; token: of `begin`
        """
        with self._turn:
            now = self._wall()
            if not self._waiting:
                try:
                    self._written(self._do(self._audit.append, facts, token, now))
                    self.failure = None
                    return True
                except AuditError as error:
                    self._failed(str(error))
            if len(self._waiting) >= _WAITING:
                self._dropped += 1
                return False
            kept = prepared(facts)
            self._waiting.append((kept, token, now))
            self._log.error("audit: a row waits to be written: %s", _said(kept))
            return False

    def page(self, words: Mapping[str, str], since: float, until: float, limit: int, cursor: int) -> tuple[list[Row], int | None]:
        """See `terraster.admin.audit.page`. Raises AuditError."""
        rows, following = self._do(page, self._audit, words, since, until, limit, cursor)
        return rows, following

    def verdict(self, known: tuple[int, str] | None = None) -> Verdict:
        """See `AuditLog.verify`. Raises AuditError."""
        found: Verdict = self._do(self._audit.verify, known)
        return found

    # Looking after it.

    def _look(self) -> None:
        with self._turn:
            if self._waiting:
                self._write_waiting()
        now = self._wall()
        if not _TIDY > now - self._tidied >= 0:
            self._tidied = now
            for name in self._do(self._audit.tidy, self._running().audit_days):
                self._log.info("audit: removed %s: all its rows are older than api.audit_days", name)

    def _recover(self) -> None:
        for row in self._do(self._audit.recover):
            self._written(row)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except AuditError as error:
            if self._waiting:
                self._failed(str(error))
        except Exception:
            self._log.exception("the audit log cannot be looked after now")

    def _write_waiting(self) -> None:
        while self._waiting:
            facts, token, when = self._waiting[0]
            self._written(self._do(self._audit.append, facts, token, when))
            self._waiting.popleft()
        if self._dropped:
            lost = {
                "user": "Terraster",
                "how": "Terraster",
                "action": "audit.lost",
                "outcome": "unknown",
                "detail": f"{self._dropped} more rows could not be kept while the log could not be written",
            }
            self._written(self._do(self._audit.append, lost))
            self._dropped = 0
        self.failure = None
        self._log.info("audit: the rows that waited are written")

    def _failed(self, text: str) -> None:
        if self.failure is None:
            self._log.error("%s; changes are carried out all the same, and their rows wait", text)
            self.failure = {"since": self._wall(), "text": text}
        self.failure["text"] = text

    def _written(self, row: Row) -> None:
        self._log.info("audit: row %d: %s, hash %s", row["seq"], _said(row), row["hash"])

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """In a thread: a write waits for the disk."""
        if self._pool is None:
            self._pool = ThreadPool(1)
        value, error = self._pool.apply(_done, (function, arguments))
        if error is not None:
            raise error
        return value


def page(
    audit: AuditLog, words: Mapping[str, str], since: float, until: float, limit: int, cursor: int
) -> tuple[list[Row], int | None]:
    """The newest rows that fit, and the cursor for those before them, None if there are none. In the thread. Raises AuditError.

    words:  ``user action target``, each "" or the beginning of what the row has
    cursor: of the page before, 0: the newest rows
    """
    found: list[Row] = []
    for row in audit.rows(cursor):
        if since and row["when"] < since:
            break
        if (until and row["when"] >= until) or not all(row[name].startswith(word) for name, word in words.items()):
            continue
        if len(found) == limit:
            return found, found[-1]["seq"]
        found.append(row)
    return found, None


def _done(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, AuditError | None]:
    """In the thread, which would print an exception."""
    try:
        return function(*arguments), None
    except AuditError as error:
        return None, error


def _said(facts: Mapping[str, Any]) -> str:
    known = " ".join(filter(None, (facts["how"], facts["address"])))
    who = (facts["user"] or "nobody") + (f" ({known})" if known else "")
    reason = f": {facts['reason'][:_SAID]}" if facts["reason"] else ""
    return f"{who} {facts['action']} {facts['target']}".rstrip() + f": {facts['outcome']}{reason}"
