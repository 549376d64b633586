"""Edits written into the configuration file, so that it says itself what runs.

The files must say what they said at the last reload. All that change are written as one (`adopted_files`), with owner and mode; then the edits
are dropped, in a generation that changes nothing. If the master dies in between, the edits have nothing to do any longer, and say so.
Master only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.lock import RLock

from terraster.config.adopting import Unwritable, pasted
from terraster.logs.program import ProgramLog

from .account import refusal
from .adopted_files import write
from .commands import plain
from .edit_commands import EditCommands
from .edits import Edits

__all__ = ["AdoptCommands"]


class AdoptCommands:
    """The command of one master. alone: `Reloader.alone`"""

    def __init__(self, edits: Edits, commands: EditCommands, log: ProgramLog, alone: Callable[[], RLock]) -> None:
        self._edits = edits
        self._commands = commands
        self._log = log
        self._alone = alone

    def adopt(self, numbers: list[int], by: str = "", reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Write edits into the file, and drop them. Answer as that of `EditCommands.edit`, and ``files``; a refusal has ``paste``: the YAML for
        an operator who writes it by hand."""
        with self._alone():
            wanted = [edit for edit in self._edits.active() if edit.number in numbers]
            documents = self._edits.documents
            if documents is None or len(wanted) < len(set(numbers)):
                missing = ", ".join(str(number) for number in numbers if number not in [edit.number for edit in wanted])
                return {**refusal(f"there is no edit {missing}"), "code": "unknown"}
            paste = "".join(pasted(edit) for edit in wanted)
            if ending := [edit for edit in wanted if edit.until]:
                return self._refused(f"{ending[0].label} ends by itself: a file cannot say that", paste)
            if asleep := [edit for edit in wanted if edit.number in self._edits.dormant]:
                why = self._edits.dormant[asleep[0].number].words
                return self._refused(f"{asleep[0].label} has no effect ({why}): drop it", paste)
            try:
                now, changed = documents.adopted(wanted)
            except Unwritable as error:
                return self._refused(f"it cannot be written into the file: {error}", paste)
            if dict(now) != dict(self._edits.texts):
                return self._refused("the files have been changed since the last reload: reload first", paste)
            if (refused := self._commands.refused_now()) is not None:
                return refused
            if not dry_run:
                try:
                    write(documents.file, changed, now)
                except OSError as error:
                    return self._refused(f"{error.filename or documents.file} cannot be written: {error.strerror}", paste)
            left = tuple([edit for edit in self._edits.active() if edit not in wanted])
            lines = [f"{edit.label} written into {', '.join(changed)} ({edit.words})" for edit in wanted]
            why = f"edits written into the file by {plain(by) or 'an operator'}{': ' + plain(reason) if reason else ''}"
            answer = self._commands.swap(left, why, lines, wanted, dry_run, {**now, **changed})
            if not answer["ok"] and not dry_run:
                answer["problems"].append("the file is written all the same, and the edits stay")
            return {**answer, "files": [*changed]}

    def _refused(self, words: str, paste: str) -> dict[str, Any]:
        return {**refusal(words), "code": "conflict", "paste": paste}
