"""The admin worker's rows of the audit log: every change that it was asked for.

A change is noted before it begins, and its row is on the disk before the answer is sent. The next write takes all rows that came during the
last one, as the disk takes as long for many rows as for one. A log that cannot be
written, for example because the disk is full, does not keep an operator from acting: the change is carried out, its row waits here and is
written as soon as it can be, the program's log has an error with the row, and the status a problem until then.

Each row that is written is in the program's log, too, with its number and hash. They prove later that rows were cut off.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.lock import RLock
from gevent.threadpool import ThreadPool

from terraster.audit.chain import Verdict
from terraster.audit.log import AuditError, AuditLog, Ended
from terraster.audit.row import Row, prepared
from terraster.config.snapshot import Snapshot

__all__ = ["Auditor"]

_AGAIN = 1.0  # seconds between two attempts to write rows that wait
_TIDY = 3600.0  # seconds between two looks for files that are too old
_WAITING = 10_000  # rows that wait at most
_TOGETHER = 64  # changes, and rows, that are written together
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
        self._pools: dict[str, ThreadPool] = {}
        self._turn = RLock()
        self._noter: gevent.Greenlet | None = None
        self._writer: gevent.Greenlet | None = None
        self._begun: list[tuple[Mapping[str, Any], AsyncResult]] = []  # changes that wait to be noted
        self._ended: list[tuple[Ended, AsyncResult]] = []  # rows that wait for the write under way
        self._waiting: deque[Ended] = deque()  # rows that wait until the log can be written
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
        written = AsyncResult()
        self._begun.append((facts, written))
        if self._noter is None:  # a greenlet writes what waits, so that no caller is kept by those of others
            self._noter = gevent.spawn(self._note_all)
        return str(written.get())

    def record(self, facts: Mapping[str, Any], token: str = "") -> bool:
        """Add a row. It is on the disk when this returns True; else it waits. Never raises.

        facts: see `terraster.audit.row`; token: of `begin`
        """
        written = AsyncResult()
        self._ended.append((Ended(facts, token, self._wall()), written))
        if self._writer is None:
            self._writer = gevent.spawn(self._add_all)
        return bool(written.get())

    def page(self, words: Mapping[str, str], since: float, until: float, limit: int, cursor: int) -> tuple[list[Row], int | None]:
        """See `terraster.admin.audit.page`. Raises AuditError."""
        rows, following = self._read(page, self._audit, words, since, until, limit, cursor)
        return rows, following

    def verdict(self, known: tuple[int, str] | None = None) -> Verdict:
        """See `AuditLog.verify`. Raises AuditError."""
        found: Verdict = self._read(self._audit.verify, known)
        return found

    # Writing.

    def _note_all(self) -> None:
        try:
            while self._begun:
                self._note()
        finally:
            self._noter = None

    def _add_all(self) -> None:
        try:
            while self._ended:
                with self._turn:
                    self._add()
        finally:
            self._writer = None

    def _note(self) -> None:
        several, self._begun = self._begun[:_TOGETHER], self._begun[_TOGETHER:]
        tokens = [""] * len(several)
        try:
            tokens = self._in_thread("notes", self._audit.begin_all, [facts for facts, _ in several])
        except AuditError as error:
            self._failed(str(error))
        except Exception:
            self._log.exception("audit: changes that begin cannot be noted")
        for (_, written), token in zip(several, tokens, strict=True):
            written.set(token)

    def _add(self) -> None:
        several, self._ended = self._ended[:_TOGETHER], self._ended[_TOGETHER:]
        done = 0
        try:
            while done < len(several) and not self._waiting:
                rows = self._do(self._audit.append_all, [one for one, _ in several[done:]])
                for row in rows:
                    self._written(row)
                done += len(rows)
                self.failure = None
        except AuditError as error:
            self._failed(str(error))
        except Exception:
            self._log.exception("audit: rows cannot be written")
        for one, _ in several[done:]:
            self._keep(one)
        for at, (_, written) in enumerate(several):
            written.set(at < done)

    def _keep(self, one: Ended) -> None:
        if len(self._waiting) >= _WAITING:
            self._dropped += 1
            return
        kept = one._replace(facts=prepared(one.facts))
        self._waiting.append(kept)
        self._log.error("audit: a row waits to be written: %s", _said(kept.facts))

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
            for row in self._do(self._audit.append_all, [self._waiting[at] for at in range(min(_TOGETHER, len(self._waiting)))]):
                self._written(row)
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
        return self._in_thread("rows", function, *arguments)

    def _read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._in_thread("readers", function, *arguments)

    def _in_thread(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """In a thread, as a write waits for the disk: one for notes, one for rows, and one for readers of a long log."""
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = ThreadPool(1)
        value, error = pool.apply(_done, (function, arguments))
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


def _done(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Any, AuditError | None]:
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
