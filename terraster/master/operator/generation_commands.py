"""The last generations: who made them and why, how they differ, and the way back to one.

A rollback runs the edits of a generation, and the files as they were then. The files on disk are the operator's: they stay, so the next reload
or start takes what they say. Orders (drain, maintenance) and weights of operators stay as they are: they are not part of it. Those of earlier
runs are on the disk (`kept_generations`): what they were is read from their files and edits when it is asked for. Master only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gevent.lock import RLock

from terraster.config.diff import diff
from terraster.config.edits import Edit
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError, StartError
from terraster.master.participant import Outcome
from terraster.master.running import Running

from .account import refusal
from .commands import plain
from .edit_commands import EditCommands
from .edits import KEPT, Edits
from .kept_generations import Kept, KeptGenerations

__all__ = ["Generations"]


@dataclass(frozen=True, slots=True)
class _Made:
    generation: int
    when: float
    why: str
    changes: tuple[str, ...]
    loaded: Snapshot


class _Lost(Exception):
    """The files of a generation of an earlier run cannot be read. The text says why."""


class Generations:
    """The last generations of one master. alone: `Reloader.alone`; kept: those on the disk"""

    def __init__(
        self, running: Running, edits: Edits, commands: EditCommands, alone: Callable[[], RLock], kept: KeptGenerations
    ) -> None:
        self._running = running
        self._edits = edits
        self._commands = commands
        self._alone = alone
        self._kept = kept
        self._made: deque[_Made] = deque(maxlen=KEPT)

    def note(self, why: str, outcome: Outcome) -> None:
        """A generation may have begun: keep it. outcome: of the reload or refresh that made it, or not"""
        loaded, last = self._running.loaded, self._made[-1].generation if self._made else 0
        if loaded.generation > last:
            self._add(_Made(loaded.generation, outcome.when, why, tuple(outcome.changes), loaded))

    def started(self) -> None:
        """The first generation runs."""
        loaded = self._running.loaded
        self._add(_Made(loaded.generation, time.time(), "start", (), loaded))

    def served(self) -> None:
        """All workers serve."""
        self._kept.begin()

    def _add(self, made: _Made) -> None:
        self._made.append(made)
        state = self._edits.states.get(made.generation)
        if state is not None and self._edits.documents is not None:
            self._kept.keep(Kept(made.generation, made.when, made.why, made.changes, state[0], {}), state[1])

    def _earlier(self) -> list[Kept]:
        """The generations of earlier runs that still belong to the last ones, the oldest first."""
        room = KEPT - len(self._made)
        return [*self._kept.found[-room:]] if room else []

    def generations(self) -> dict[str, Any]:
        """``generations``, the newest first: ``generation when why changes edits`` (the numbers of its edits) ``running``."""
        earlier = self._earlier()
        everything: list[_Made | Kept] = [*reversed(self._made), *reversed(earlier)]
        edits = {one.generation: one.edits for one in earlier} | {number: state[0] for number, state in self._edits.states.items()}
        rows = [
            {
                "generation": one.generation,
                "when": one.when,
                "why": one.why,
                "changes": list(one.changes),
                "edits": [edit.number for edit in edits.get(one.generation, ())],
                "running": isinstance(one, _Made) and one.loaded is self._running.loaded,
            }
            for one in everything
        ]
        return {"ok": True, "now": time.time(), "generations": rows}

    def diff(self, old: int = 0, new: int = 0) -> dict[str, Any]:
        """``changes`` from one generation to another, a line each. old: 0: the one before the one that runs; new: 0: the one that runs"""
        numbers = self._numbers()
        old, new = old or numbers[1 if len(numbers) > 1 else 0], new or numbers[0]
        for number in (old, new):
            if number not in numbers:
                return self._unknown(number)
        try:
            with self._alone():
                snapshots = self._snapshot(old), self._snapshot(new)
        except _Lost as lost:
            return {**refusal(str(lost)), "code": "failed"}
        return {"ok": True, "from": old, "to": new, "changes": diff(*snapshots).describe()}

    def _numbers(self) -> list[int]:
        """The numbers of all, the newest first."""
        return [one.generation for one in reversed(self._made)] + [one.generation for one in reversed(self._earlier())]

    def _state(self, number: int) -> tuple[tuple[Edit, ...], Mapping[str, bytes]] | None:
        """The edits of a generation and the texts of its files, None if it is not kept. Raises `_Lost`."""
        state = self._edits.states.get(number)
        found = next((one for one in self._earlier() if one.generation == number), None)
        if state is not None or found is None:
            return state
        try:
            return found.edits, self._kept.texts(found)
        except (OSError, ValueError) as error:
            raise _Lost(f"generation {number} is kept, but its files cannot be read: {error}") from error

    def _snapshot(self, number: int) -> Snapshot:
        """The configuration of a generation that is kept. Called alone. Raises `_Lost`."""
        made = next((one for one in self._made if one.generation == number), None)
        if made is not None:
            return made.loaded
        state = self._state(number)
        assert state is not None and self._edits.documents is not None
        try:
            return self._edits.documents.read(number, *state).snapshot
        except (ConfigError, StartError) as error:
            raise _Lost(f"generation {number} is kept, but it is not right any longer: {error}") from error
        except KeyError as error:
            raise _Lost(f"generation {number} is kept, but had no file {error}: Terraster was started with others") from error

    def texts(self, number: int = 0) -> dict[str, Any]:
        """``texts`` of the files of a generation, by name, and ``edits`` in it (`terraster.config.edits.Edit`), those without effect apart.
        number: 0: the one that runs, with the edits that hold now. Not for JSON."""
        if not number:
            edits = tuple([edit for edit in self._edits.active() if edit.number not in self._edits.dormant])
            return {"ok": True, "generation": self._running.loaded.generation, "texts": dict(self._edits.texts), "edits": edits}
        try:
            state = self._state(number)
        except _Lost as lost:
            return {**refusal(str(lost)), "code": "failed"}
        if state is None:
            return self._unknown(number)
        if self._edits.documents is not None and dict(self._edits.texts).keys() - dict(state[1]).keys():
            return {**refusal(f"generation {number} is of other files, which cannot be compared by values"), "code": "failed"}
        return {"ok": True, "generation": number, "texts": dict(state[1]), "edits": state[0]}

    def rollback(self, number: int, by: str = "", reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Run the edits and the files of an earlier generation. Answer as that of `EditCommands.edit`."""
        with self._alone():
            try:
                state = self._state(number)
            except _Lost as lost:
                return {**refusal(str(lost)), "code": "failed"}
            if state is None:
                return self._unknown(number)
            if self._edits.documents is not None and self._edits.documents.file not in state[1]:
                words = f"generation {number} is of other files: Terraster was started with {self._edits.documents.file} now"
                return {**refusal(words), "code": "failed"}
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
        known = [str(one) for one in self._numbers()]
        return {**refusal(f"generation {number} is not kept; there are {', '.join(known)}", known), "code": "unknown"}
