"""The circuit breaker of one backend (M. Nygard, Release It!): a backend that fails is left alone, then tried with a few requests.

    closed ──threshold bad ones in a row──▶ open ──timeout──▶ half-open ──as many good trials as `probes`──▶ closed
                                             ▲                    │
                                             └──one bad trial─────┘

An attempt is bad if it brought no proper response, or one with a status of `Breaker.statuses`. In a half-open circuit only the trials count,
as attempts that began before it opened may still come to their end. A trial may also end without any result (its client left, its
worker died). So after another `timeout` new trials are granted, and a circuit is never half-open for ever.

Times are seconds, all of the same clock.
"""

from __future__ import annotations

from terraster.config.snapshot import Breaker

from .retry import covers
from .streak import BEFORE, FIRST, Turn

__all__ = ["CLOSED", "HALF_OPEN", "OPEN", "Circuit"]

CLOSED, OPEN, HALF_OPEN = 0, 1, 2  # the values of `BackendCells.CIRCUIT`


class Circuit:
    """One circuit. ``state``: above; ``streak``: bad attempts in a row; ``good``: successful trials; ``since``: when it came to its
    state, or got its latest trials."""

    __slots__ = ("state", "streak", "good", "since")

    def __init__(self) -> None:
        self.state = CLOSED
        self.streak = 0
        self.good = 0
        self.since = 0.0

    def report(self, rules: Breaker, place: Turn, kind: str, status: int, now: float) -> str:
        """Take one report about an attempt outside of a trial (`Record.report` names the arguments). Returns why the circuit is open from
        now on, or "" if it is as it was."""
        if self.state != CLOSED:
            return ""
        bad = kind != "status" or covers(rules.statuses, status)
        if place != BEFORE:
            self.streak = 0 if not bad else 1 if place == FIRST else self.streak + 1
        if self.streak < rules.threshold:
            return ""
        why = f"{self.streak} attempt{'s' * (self.streak != 1)} in a row failed"
        self._become(OPEN, now)
        return why

    def trial(self, rules: Breaker, good: bool, when: float, now: float) -> bool:
        """Take the result of a trial, which came at ``when``. True if the state is another one now."""
        if self.state != HALF_OPEN or when < self.since:
            return False
        if not good:
            self._become(OPEN, now)
            return True
        self.good += 1
        if self.good < rules.probes:
            return False
        self._become(CLOSED, now)
        return True

    def due(self, rules: Breaker) -> float | None:
        """When `advance` has something to do; None = not by itself."""
        return None if self.state == CLOSED else self.since + rules.timeout

    def advance(self, rules: Breaker, now: float) -> int:
        """How many requests may try the backend from now on, beside those that tried it before; 0 = none, nothing is due."""
        due = self.due(rules)
        if due is None or now < due:
            return 0
        if self.state == OPEN:
            self._become(HALF_OPEN, now)
        self.since = now
        return self.lacking(rules)

    def lacking(self, rules: Breaker) -> int:
        """Good trials that a half-open circuit still wants."""
        return max(1, rules.probes - self.good)

    def resume(self, since: float) -> None:
        """Go on from the circuit of another master, which was not closed. Its trials are unknown, so it counts as open."""
        self._become(OPEN, since)

    def close(self, now: float) -> None:
        """There is no breaker any more."""
        self._become(CLOSED, now)

    def _become(self, state: int, now: float) -> None:
        self.state = state
        self.since = now
        self.streak = self.good = 0
