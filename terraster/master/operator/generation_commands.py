"""The last generations: who made them and why, how they differ, and the way back to one.

A rollback runs the edits of a generation, and the files as they were then. The files on disk are the operator's: they stay, so the next reload
or start takes what they say. Orders (drain, maintenance) and weights of operators stay as they are: they are not part of it. Master only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent.lock import RLock

from terraster.config.diff import diff
from terraster.config.snapshot import Snapshot
from terraster.master.participant import Outcome
from terraster.master.running import Running

from .account import refusal
from .commands import plain
from .edit_commands import EditCommands
from .edits import KEPT, Edits

__all__ = ["Generations"]


@dataclass(frozen=True, slots=True)
class _Made:
    generation: int
    when: float
    why: str
    changes: tuple[str, ...]
    loaded: Snapshot


class Generations:
    """The last generations of one master. alone: `Reloader.alone`"""

    def __init__(self, running: Running, edits: Edits, commands: EditCommands, alone: Callable[[], RLock]) -> None:
        self._running = running
        self._edits = edits
        self._commands = commands
        self._alone = alone
        self._made: deque[_Made] = deque(maxlen=KEPT)

    def note(self, why: str, outcome: Outcome) -> None:
        """A generation may have begun: keep it. outcome: of the reload or refresh that made it, or not"""
        loaded, last = self._running.loaded, self._made[-1].generation if self._made else 0
        if loaded.generation > last:
            self._made.append(_Made(loaded.generation, outcome.when, why, tuple(outcome.changes), loaded))

    def started(self) -> None:
        """The first generation runs."""
        loaded = self._running.loaded
        self._made.append(_Made(loaded.generation, time.time(), "start", (), loaded))

    def generations(self) -> dict[str, Any]:
        """``generations``, the newest first: ``generation when why changes edits`` (the numbers of its edits) ``running``."""
        rows = [
            {
                "generation": one.generation,
                "when": one.when,
                "why": one.why,
                "changes": list(one.changes),
                "edits": [edit.number for edit in self._edits.states.get(one.generation, ((), {}))[0]],
                "running": one.loaded is self._running.loaded,
            }
            for one in reversed(self._made)
        ]
        return {"ok": True, "now": time.time(), "generations": rows}

    def diff(self, old: int = 0, new: int = 0) -> dict[str, Any]:
        """``changes`` from one generation to another, a line each. old: 0: the one before the one that runs; new: 0: the one that runs"""
        kept = {one.generation: one.loaded for one in self._made}
        last = self._made[-1].generation
        old, new = old or self._made[-2 if len(self._made) > 1 else -1].generation, new or last
        for number in (old, new):
            if number not in kept:
                return self._unknown(number)
        return {"ok": True, "from": old, "to": new, "changes": diff(kept[old], kept[new]).describe()}

    def rollback(self, number: int, by: str = "", reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Run the edits and the files of an earlier generation. Answer as that of `EditCommands.edit`."""
        with self._alone():
            state = self._edits.states.get(number)
            if state is None:
                return self._unknown(number)
            now = time.time()
            edits = tuple([edit for edit in state[0] if edit.holds(now)])
            concerned = [edit for edit in (*self._edits.active(), *edits) if (edit in edits) != (edit in self._edits.active())]
            of_files = dict(state[1]) != dict(self._edits.texts)
            why = f"rollback to generation {number} by {plain(by) or 'an operator'}{': ' + plain(reason) if reason else ''}"
            answer = self._commands.swap(
                edits, why, [f"the configuration is that of generation {number}"], concerned, dry_run, state[1]
            )
        if answer["ok"]:
            answer["notes"] = [*answer["notes"], "drains, maintenance and weights of operators stay as they are"]
            if of_files:
                answer["notes"].append("the files on disk are not changed: the next reload or start takes what they say")
        return answer

    def _unknown(self, number: int) -> dict[str, Any]:
        known = [str(one.generation) for one in reversed(self._made)]
        return {**refusal(f"generation {number} is not kept; there are {', '.join(known)}", known), "code": "unknown"}
