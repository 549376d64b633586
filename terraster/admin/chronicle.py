"""One timeline of everything: the events of the master, the problems that began and ended, and the rows of the audit log.

The admin worker that writes the history takes the events over every few seconds, and keeps them on the disk. So a kill loses the last seconds
at most. Problems are compared at most as often as that takes half a percent of a core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import RLock
from gevent.threadpool import ThreadPool

from ..config.snapshot import Snapshot
from ..errors import TerrasterError
from .auditor import Auditor
from .event_files import EventFiles

__all__ = ["KINDS", "Chronicle"]

TURN = 5.0  # seconds between two looks at the master's events
_COST = 200.0  # the time between two looks for problems, as a multiple of the time that one takes
_OF_STATES = frozenset(("backend-down", "backend-ejected", "circuit-open", "circuit-half-open", "reload-failed"))
_MOST = 10_000  # rows of the audit log among which those of a service are looked for
_LAST = 1.0  # seconds for the last events at the end

KINDS = ("backend", "reload", "generation", "worker", "problem", "operator")


class Chronicle:
    """The timeline of one admin worker.

    ask:     `Process.ask`
    writes:  true if this process writes the history
    auditor: has the acts of operators
    problems: those of the status
    """

    def __init__(
        self,
        running: Callable[[], Snapshot],
        ask: Callable[..., dict[str, Any]],
        writes: Callable[[], bool],
        auditor: Auditor,
        problems: Callable[[], list[dict[str, Any]]],
        log: Any,
    ) -> None:
        self._files = EventFiles(os.path.join(running().state_dir, "history"))
        self._ask = ask
        self._writes = writes
        self._auditor = auditor
        self._find_problems = problems
        self._log = log
        self._pool: ThreadPool | None = None
        self._turn = RLock()
        self._written: dict[str, int] | None = None  # the number of the last event on the disk, by epoch; None: not known yet
        self._epoch = ""
        self._problems: dict[tuple[Any, ...], str] | None = None
        self._next_look = 0.0
        self._told = ""

    def run(self) -> None:
        """Take events over from now on."""
        while True:
            gevent.sleep(TURN)
            try:
                self.turn()
                self._told = ""
            except (TerrasterError, OSError) as error:
                if str(error) != self._told:
                    self._told = str(error)
                    self._log.warning("events cannot be kept now: %s", error)
            except Exception:
                self._log.exception("events cannot be kept now")

    def turn(self) -> None:
        """Take over what has happened. Raises TerrasterError or OSError; nothing is lost then."""
        with self._turn:
            if not self._writes():
                return
            fresh = self._fresh()
            fresh += self._compared()
            if fresh:
                self._do(self._files.add, fresh)
            self._mark(fresh)

    def leave(self) -> None:
        """Take over what happened last, if the master still answers, before another process writes."""
        with gevent.Timeout(_LAST, False):
            try:
                self.turn()
            except (TerrasterError, OSError) as error:
                self._log.warning("the last events are not kept: %s", error)

    def timeline(self, since: float, until: float, kinds: frozenset[str], limit: int, service: str = "") -> list[dict[str, Any]]:
        """The events of a time, the newest first: ``when kind target text generation answer``. service: only of it, its locations and its
        backends. Raises OSError, AuditError."""
        with self._turn:
            found = list(self._do(_read, self._files, since))
            found += [event for event in self._fresh() if event["when"] >= since]
        if not kinds or "operator" in kinds:
            rows, _cursor = self._auditor.page({}, since, until, _MOST if service else limit, 0)
            found += [_of_row(row) for row in rows]
        wanted = [
            one
            for one in found
            if (not kinds or one["kind"] in kinds)
            and (not until or one["when"] < until)
            and (not service or _is_of(one["target"], service))
        ]
        wanted.sort(key=_when)
        wanted.reverse()  # what was written later at one moment comes first
        keys = ("when", "kind", "target", "text", "generation")
        return [{**{key: one[key] for key in keys}, "answer": one.get("answer", "")} for one in wanted[:limit]]

    def of(self, name: str, since: float) -> list[dict[str, Any]]:
        """The changes of one backend's state, the newest first: ``when text answer``. Raises OSError, AuditError."""
        found = self.timeline(since, 0.0, frozenset(("backend",)), 100_000)
        return [
            {"when": one["when"], "text": one["text"], "answer": one["answer"]}
            for one in found
            if one["target"] == name or one["target"].startswith(f"{name}@")
        ]

    def _fresh(self) -> list[dict[str, Any]]:
        """The events of the master that are not on the disk."""
        if self._written is None:
            self._written = self._do(self._files.last)
        try:
            answer = self._ask("events", epoch=self._epoch, seq=self._written.get(self._epoch, 0))
        except TerrasterError:
            return []  # it has ended
        return [one for one in answer.get("events", ()) if one["seq"] > self._written.get(one["epoch"], 0)]

    def _mark(self, written: list[dict[str, Any]]) -> None:
        assert self._written is not None
        for one in written:
            if one["epoch"]:
                self._epoch = one["epoch"]
                self._written[self._epoch] = max(self._written.get(self._epoch, 0), one["seq"])

    def _compared(self) -> list[dict[str, Any]]:
        """The problems that began or ended since the last look."""
        began = time.monotonic()
        if began < self._next_look:
            return []
        now = {_key(one): one["text"] for one in self._find_problems() if one["kind"] not in _OF_STATES}
        self._next_look = began + max(TURN, _COST * (time.monotonic() - began))
        before, self._problems = self._problems, now
        if before is None:
            return []
        found = [_of_problem(key, f"began: {text}") for key, text in now.items() if key not in before]
        return found + [_of_problem(key, f"ended: {text}") for key, text in before.items() if key not in now]

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._pool is None:
            self._pool = ThreadPool(1)
        value, error = self._pool.apply(_done, (function, arguments))
        if error is not None:
            raise error
        return value


def _done(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, OSError | None]:
    """In the thread, which would print an exception."""
    try:
        return function(*arguments), None
    except OSError as error:
        return None, error


def _read(files: EventFiles, since: float) -> list[dict[str, Any]]:
    return list(files.since(since))


def _is_of(target: str, service: str) -> bool:
    """True if an event's target is a service, or one of its locations and backends."""
    return target in (service, f"service {service}") or target.startswith((f"{service}/", f"{service} "))


def _when(event: dict[str, Any]) -> float:
    when: float = event["when"]
    return when


def _key(problem: dict[str, Any]) -> tuple[Any, ...]:
    return problem["kind"], problem["service"], problem["location"], problem["backend"]


def _of_problem(key: tuple[Any, ...], text: str) -> dict[str, Any]:
    kind, service, location, backend = key
    target = " ".join(part for part in (f"{service or ''}{location or ''}", backend) if part)
    return {
        "epoch": "",
        "seq": 0,
        "when": round(time.time(), 3),
        "kind": "problem",
        "target": target,
        "text": f"{kind} {text}",
        "generation": None,
    }


def _of_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the audit log as an event."""
    who = row["user"] or "nobody"
    text = f"{who}: {row['action']}: {row['outcome']}"
    text += f": {row['reason']}" if row["reason"] else ""
    return {"when": row["when"], "kind": "operator", "target": row["target"], "text": text, "generation": row["generation"]}
