"""Which backends fail now, and how often: for operators, who should not read "no problems" while every answer is a 502.

Counters only grow, so "now" needs a second look at them. A look is taken when workers report failures, at most one in `WINDOW`
seconds for each backend; backends that do not fail cost nothing. `terraster.policy` decides about ejection, not this module.

Master only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from terraster.state.cells import SeatBackend
from terraster.state.table import Table

__all__ = ["FAILURES", "FORGET", "WINDOW", "RecentFailures", "Recent"]

FAILURES = ("connect", "failure", "status")  # kinds of reports that are about one
WINDOW = 15.0  # seconds between two looks
FORGET = 60.0  # seconds without a failure after which a backend no longer counts as failing


@dataclass(frozen=True, slots=True)
class Recent:
    """Recent attempts at a backend. ``failures``: of ``attempts``, answers with a bad status included; ``seconds``: within these."""

    attempts: int
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Look:
    when: float
    attempts: int
    failures: int


class RecentFailures:
    """Looks at one table. clock: time.monotonic"""

    def __init__(self, table: Table, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._looks: dict[int, tuple[_Look, _Look]] = {}  # slot → the one that is compared with, the last one
        self._failed: dict[int, float] = {}

    def note(self, slots: Iterable[int]) -> None:
        """These backends failed just now."""
        now = self._clock()
        for slot in slots:
            self._failed[slot] = now
            base, last = self._looks.get(slot, (None, None))
            if base is None or last is None or now - last.when > FORGET:
                look = self._look(slot, now)
                self._looks[slot] = (look, look)
            elif now - last.when > WINDOW:
                self._looks[slot] = (last, self._look(slot, now))

    def recent(self, slot: int) -> Recent | None:
        """Recent attempts at a backend that failed within `FORGET` seconds; None for the others."""
        now = self._clock()
        if now - self._failed.get(slot, -FORGET) >= FORGET:
            self._failed.pop(slot, None)
            self._looks.pop(slot, None)
            return None
        base, look = self._looks[slot][0], self._look(slot, now)
        attempts, failures = look.attempts - base.attempts, look.failures - base.failures
        if failures < 0 or attempts < 0:  # the slot was leased anew
            return None
        return Recent(
            max(attempts, failures), failures, now - base.when
        )  # an attempt that was under way at the first look fails later

    def slots(self) -> list[int]:
        """The slots of backends that failed."""
        return list(self._failed)

    def _look(self, slot: int, now: float) -> _Look:
        total = self._table.backend_sum
        failures = total(slot, SeatBackend.FAILURES) + total(slot, SeatBackend.BAD_STATUSES)
        return _Look(now, total(slot, SeatBackend.REQUESTS), failures)
