"""The command of operators for the least level of the program's log, in all processes, while Terraster runs.

    command ─▶ write it to the overrides ─▶ `Reloader.refresh`: a new generation, in which every process has the level

Answers are plain dicts for JSON: ``ok``, and ``problems`` where it is False. Master only; any greenlet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from terraster.errors import StartError
from terraster.logs.program import LEVELS as NAMES
from terraster.logs.program import ProgramLog
from terraster.master.participant import Outcome
from terraster.master.running import Running

from .account import refusal
from .action import LEVEL_OF_FILE, LOG, Action, Entry
from .answers import action_json
from .commands import LONGEST, plain, said
from .orders import Orders
from .overrides import Overrides

__all__ = ["LevelCommands"]


class LevelCommands:
    """The command of one master. refresh: `Reloader.refresh`"""

    def __init__(
        self, running: Running, overrides: Overrides, orders: Orders, log: ProgramLog, refresh: Callable[[str], Outcome]
    ) -> None:
        self._running = running
        self._overrides = overrides
        self._orders = orders
        self._log = log
        self._refresh = refresh

    def log_level(self, level: str, seconds: float = 0.0, reason: str = "", by: str = "") -> dict[str, Any]:
        """Have another level.

        level:   of `terraster.logs.program.LEVELS`; "file": that of the configuration
        seconds: after which it ends by itself, 0 = never

        Answer: ``level`` (in effect), ``configured``, ``order`` (an action, or None), ``before`` (that order before), ``changed``.
        """
        if level not in (*NAMES, "file"):
            return refusal(f"there is no level {level}; there are {', '.join(NAMES)}, and file")
        if not 0 <= seconds <= LONGEST:
            return refusal(f"the time must be between 0 and {LONGEST:.0f} seconds")
        self._overrides.reread()
        self._orders.catch_up()
        known, now = self._overrides.entries.get(LOG, Entry()).forced, time.time()
        before = action_json(known) if known is not None else None
        if level == "file" and known is None:
            return {**self._done(False), "before": before}
        what = LEVEL_OF_FILE if level == "file" else f"level {level}"
        order = Action(what, now, plain(by), plain(reason), now + seconds if seconds and level != "file" else 0.0)
        try:
            entry = self._overrides.record(LOG, order)
        except StartError as error:
            return refusal(f"{error}; nothing was changed")
        self._log.info("log: %s", said(order))
        generation = self._running.snapshot.generation
        outcome = self._refresh(f"log: {what}")
        if not outcome.ok:
            problems = "; ".join(outcome.problems)
            if outcome.generation != generation:
                return refusal(problems)
            try:
                self._overrides.restore(LOG, order, entry)
            except StartError as error:
                return refusal(f"{problems}; the level holds from the next start on, as it cannot be taken back: {error}")
            return refusal(f"{problems}; nothing was changed")
        self._orders.apply()
        return {**self._done(True), "before": before}

    def _done(self, changed: bool) -> dict[str, Any]:
        order = self._overrides.entries.get(LOG, Entry()).forced
        return {
            "ok": True,
            "level": self._running.snapshot.log_level,
            "configured": self._running.loaded.log_level,
            "order": action_json(order) if order is not None else None,
            "changed": changed,
        }
