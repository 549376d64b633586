"""Explains requests by the configuration that runs, in a process for each question.

The process is forked from the admin worker, so it has the configuration without reading it, and the admin worker goes on answering whatever
the question costs. It looks at the shared table without changing it (`terraster.explain.running`), writes its answer and ends. It has a
bound for its time, and there are few at once.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import signal
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore

from ..config.snapshot import Snapshot
from ..state.table import Table
from .site import Refusal

if TYPE_CHECKING:
    from ..explain.running import Rules

__all__ = ["Explainer"]

_AT_ONCE = 2
_WAITING = 8  # questions that wait for their turn
_PATIENCE = 10.0  # seconds that one waits
_LONGEST = 20.0  # seconds that one may take
_LARGEST = 1 << 22  # octets of an answer
_LOOK = 0.005
_NICE = 10  # requests of clients come first


class Explainer:
    """Answers questions. table: the shared one. seat: of this process. rules: finds rules in the files; it is called in the new process.
    log: the program's, for exceptions that are defects"""

    def __init__(self, table: Table, seat: int, rules: Callable[..., Rules], log: Any) -> None:
        self._log = log
        self._table = table
        self._seat = seat
        self._rules = rules
        self._turn = BoundedSemaphore(_AT_ONCE)
        self._waiting = 0

    def explain(self, asked: dict[str, Any], snapshot: Snapshot, told: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of `terraster.explain.running.answer`, with ``edits``. Waits. Raises Refusal if too many ask, or it takes too long.

        told: the master's edits and orders (`terraster.master.operator.edit_commands`), {} if there is no master"""
        if self._waiting >= _WAITING:
            raise Refusal(429, "too many requests are being explained; try again")
        self._waiting += 1
        try:
            if not self._turn.acquire(timeout=_PATIENCE):
                raise Refusal(429, "other requests are being explained; try again")
        finally:
            self._waiting -= 1
        try:
            answer = self._ask(asked, snapshot, told["orders"]["backends"] if told else {})
            if "courses" in answer:
                services = {course["service"] for course in answer["courses"]}
                answer["edits"] = [one for one in told.get("edits", ()) if one["service"] in services and not one["dormant"]]
            return answer
        finally:
            self._turn.release()

    def values(self, service: str, location: str) -> list[dict[str, Any]]:
        """The values that a location has by the files (`terraster.config.rules.Rules.values`). Waits and raises as `explain`."""
        found: list[dict[str, Any]] = self.explain({"values": [service, location]}, Snapshot(0, (), ()), {})["values"]
        return found

    def differences(self, old: Mapping[str, Any], new: Mapping[str, Any] | None) -> dict[str, Any]:
        """``ok differences`` from one configuration to another (`terraster.config.comparing`), or ``ok problems``. Each has ``texts`` and
        ``edits`` (the master's answer to "texts"); new: None: the files as they are now. Waits and raises as `explain`."""
        return self.explain({"compared": [old, new]}, Snapshot(0, (), ()), {})

    def _ask(self, asked: dict[str, Any], snapshot: Snapshot, changes: Mapping[str, Any]) -> dict[str, Any]:
        from ..explain.running import answer  # here, so that the next question finds it in memory

        near, far = socket.socketpair()
        try:
            pid = os.fork()
            if not pid:
                _answer(far.fileno(), asked, snapshot, self._table, self._seat, changes, self._rules, answer)
        except OSError as error:
            near.close()
            raise Refusal(500, f"the request cannot be explained: no process can be started: {error.strerror}") from None
        finally:
            far.close()
        found = b""
        try:
            with gevent.Timeout(_LONGEST, False):
                while len(found) < _LARGEST and (octets := near.recv(65536)):
                    found += octets
        finally:
            near.close()
            os.kill(pid, signal.SIGKILL)  # it has not been waited for, so this is still its number
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                gevent.sleep(_LOOK)
        try:
            made: dict[str, Any] = json.loads(found)
        except ValueError:
            raise Refusal(500, f"the request could not be explained within {_LONGEST:g} s, or the answer is too large") from None
        if "defect" in made:
            self._log.error("admin: a request cannot be explained: %s", made["defect"])
            raise Refusal(500, "internal error, see the log")
        return made


def _answer(
    descriptor: int,
    asked: dict[str, Any],
    snapshot: Snapshot,
    table: Table,
    seat: int,
    changes: Mapping[str, Any],
    rules: Callable[..., Rules],
    answer: Callable[..., dict[str, Any]],
) -> None:
    """Answer one question in this new process, and end it. It has the memory of the admin worker, and must not use its event loop."""
    code = 1
    try:
        os.set_blocking(descriptor, True)
        os.nice(_NICE)
        gc.disable()  # a collection would copy all that is shared with the admin worker
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR1, signal.SIGABRT):
            signal.signal(number, signal.SIG_DFL)
        _close_others({0, 1, 2, descriptor, table.descriptor})
        seconds = math.ceil(_LONGEST)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        found: dict[str, Any] | None = {"values": rules().values(*asked["values"])} if "values" in asked else None
        if "compared" in asked:
            found = _compared(asked["compared"][0], asked["compared"][1], rules)
        made = json.dumps(found or answer(asked, snapshot, table, seat, changes, rules)).encode()
        while made:
            made = made[os.write(descriptor, made) :]
        code = 0
    except BaseException:
        os.write(descriptor, json.dumps({"defect": traceback.format_exc()}).encode())
    finally:
        os._exit(code)


def _compared(old: Mapping[str, Any], new: Mapping[str, Any] | None, rules: Callable[..., Rules]) -> dict[str, Any]:
    first = rules(old["texts"], old["edits"])
    second = rules() if new is None else rules(new["texts"], new["edits"])
    for one in (second, first):
        if not one.known:
            return {"ok": False, "problems": list(one.problems)}
    return {"ok": True, "differences": first.compared(second)}


def _close_others(kept: set[int]) -> None:
    """Close all descriptors but these. A client must not wait for the end of this process, because it has a copy of its connection."""
    at = 0
    for one in sorted(kept):
        if at < one:
            os.closerange(at, one)
        at = one + 1
    os.closerange(at, os.sysconf("SC_OPEN_MAX"))
