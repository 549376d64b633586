"""Rows of the audit log for what signals ask the master for. The sender of a signal is not known: the user is "signal".

The master writes them itself, as it may have no admin worker then. A row that cannot be written is in the program's log instead.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from terraster.audit.log import AuditError, AuditLog
from terraster.audit.row import DONE, FAILED, REFUSED
from terraster.logs.program import ProgramLog

from .participant import Outcome

__all__ = ["SignalAudit"]

_CHANGES = 50  # of a reload that a row has


class SignalAudit:
    """The rows of one master. Its calls wait for the disk, and the hub with them, as for every change of an operator."""

    def __init__(self, state_dir: str, log: ProgramLog) -> None:
        self._audit = AuditLog(os.path.join(state_dir, "audit"), self._complain)
        self._log = log

    def took(self, number: int, generation: int, detail: str = "") -> None:
        """The master did what a signal asks for."""
        self._write({"action": _named(number), "generation": generation, "outcome": DONE, "detail": detail})

    def ignored(self, number: int, generation: int, why: str) -> None:
        """The master did not do it."""
        self._write({"action": _named(number), "generation": generation, "outcome": REFUSED, "detail": why})

    def reloaded(self, before: int, outcome: Outcome) -> None:
        """A reload by HUP is over. before: the generation until then"""
        how = DONE if outcome.ok else REFUSED if outcome.generation == before else FAILED
        self._write(
            {
                "action": _named(signal.SIGHUP),
                "before": {"generation": before},
                "after": {"generation": outcome.generation, "changes": outcome.changes[:_CHANGES]},
                "generation": outcome.generation,
                "outcome": how,
                "detail": "; ".join(outcome.problems) or ("" if outcome.changes else "there was nothing to change"),
            }
        )

    def _write(self, facts: dict[str, Any]) -> None:
        facts = {"user": "signal", "role": "admin", "how": "signal", **facts}
        try:
            row = self._audit.append(facts)
        except AuditError as error:
            self._log.error("%s: the row is lost: %s: %s %s", error, facts["action"], facts["outcome"], facts["detail"])
            return
        self._log.info("audit: row %d: %s: %s, hash %s", row["seq"], row["action"], row["outcome"], row["hash"])

    def _complain(self, text: str) -> None:
        self._log.error("%s", text)


def _named(number: int) -> str:
    return f"signal.{signal.Signals(number).name.removeprefix('SIG')}"
