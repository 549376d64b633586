"""The rows of the audit log for what the API was asked to change.

Calls that were refused because their caller is not known, or may not do it, come from everywhere, and so do those of nobody that failed or
were about nothing (a login without a body, the end of no session): of those the log takes `BURST` at once and `RATE` a second, and then
one row with the number of the others.

A change has the same action in its row whether terrasterctl (`terraster.admin.audited`) or the API asked for it: `_ACTIONS`. Operations that
only the API has are named as there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..api.call import Caller, Credentials, Effect
from ..audit.row import DONE, FAILED, REFUSED, UNKNOWN
from .auditor import Auditor

__all__ = ["ApiRecorder"]

BURST, RATE = 60.0, 0.2

_ACTIONS = {
    "addBackend": "backend.add",
    "removeBackend": "backend.remove",
    "changeBackend": "backend.set",
    "addLocation": "location.add",
    "replaceLocation": "location.replace",
    "removeLocation": "location.remove",
    "setConfig": "location.set",
    "changeConfig": "edit",
    "dropOverride": "edits.drop",
    "adoptOverride": "edits.adopt",
    "setMaintenance": "maintenance",
}
"""Operation → action; an `Effect` may name a narrower one."""

_STRANGERS = (401, 403, 429)


class ApiRecorder:
    """`terraster.api.identity.Recorder` of one admin worker."""

    def __init__(self, auditor: Auditor, clock: Callable[[], float] = time.monotonic) -> None:
        self._auditor = auditor
        self._clock = clock
        self._left, self._at = BURST, clock()
        self._untold = 0

    def begin(self, caller: Caller, operation: str, request_id: str, credentials: Credentials) -> str:
        """Note a call that begins. Returns a token for `record`. Does not raise."""
        return self._auditor.begin(_facts(caller, operation, request_id, credentials))

    def record(
        self,
        caller: Caller | None,
        operation: str,
        effect: Effect,
        request_id: str,
        status: int,
        credentials: Credentials,
        token: str = "",
    ) -> None:
        """Add the row of one call. status: of its answer. token: of `begin`, or "". Does not raise."""
        strange = status in _STRANGERS or (caller is None and (status >= 400 or not effect.target))
        if strange and not token and not self._may():
            self._untold += 1
            return
        if self._untold:
            self._tell_the_others()
        outcome = UNKNOWN if effect.unknown else DONE if status < 400 else FAILED if status >= 500 else REFUSED
        known = _facts(caller, effect.action or operation, request_id, credentials)
        facts = {
            **known,
            "user": known["user"] or effect.user,
            "target": effect.target,
            "before": effect.before,
            "after": effect.after,
            "reason": effect.reason,
            "generation": effect.generation or None,
            "outcome": outcome,
            "detail": "" if effect.outcome in ("", "ok") else f"{status}: {effect.outcome}",
        }
        self._auditor.record(facts, token)

    def _may(self) -> bool:
        now = self._clock()
        self._left, self._at = min(BURST, self._left + (now - self._at) * RATE), now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def _tell_the_others(self) -> None:
        untold, self._untold = self._untold, 0
        detail = f"{untold} more calls were refused because of their caller (401, 403, 429), or came from nobody in vain, and have no row"
        facts = {"user": "Terraster", "how": "Terraster", "action": "audit.strangers", "outcome": REFUSED, "detail": detail}
        self._auditor.record(facts)


def _facts(caller: Caller | None, operation: str, request_id: str, credentials: Credentials) -> dict[str, Any]:
    """The facts that are known before the call."""
    return {
        "user": caller.name if caller is not None else "",
        "role": caller.role.word if caller is not None else "",
        "how": caller.how if caller is not None else "",
        "address": credentials.address,
        "action": _ACTIONS.get(operation, operation),
        "request_id": request_id,
    }
