"""The state of a backend, drawn from everything that is known about it; with it, whether new work may be sent to it, and why.

    order: maintenance ─▶ no address ─▶ forced down ─▶ no probe passed ─▶ ejected ─▶ circuit not closed ─▶ order: drain ─▶ up

An operator who forces a backend up or down, or pauses its checks, decides in place of the probes alone: ejections and circuits, which follow
from traffic, go on.

The first that applies is the state. Two things overrule what it says about new work, for a location as a whole; the states stay:

- Panic (Envoy): too few of its backends are up, so all are used. One that may be wrongly taken for down is better than none, and
  a few must not get the load of all. Without a use are only those without an address. In a half-open circuit every request is a
  trial then, without a limit: it was used without one a moment before, while its circuit was open, and recovery must not turn
  requests away. So a circuit still closes by trials alone, and a bad one opens it, which in a panic takes no requests from it.
- The last resort: all that is left was ejected. Then the ejected ones are used. (An operator who lets all be ejected wants that.)

Slow start: after an interruption a backend gets a share that grows from `FLOOR` to all (nginx's and HAProxy's slow start).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from terraster.state.cells import BackendCells

from .breaker import CLOSED, OPEN

__all__ = ["FLOOR", "WHOLE", "Facts", "Order", "Evaluation", "may_eject", "panics", "ramp", "evaluate"]

WHOLE = 1000
FLOOR = 50  # of `WHOLE`: what a backend gets at the very beginning of slow start


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's order.

    what:  "drain" or "maintenance"; in place of the probes "forced up", "forced down", "paused up" or "paused down"
    until: time.time(), 0 = for good
    """

    what: str
    until: float = 0.0
    reason: str = ""
    by: str = ""

    @property
    def is_pause(self) -> bool:
        """True if no probes are made."""
        return self.what.startswith("paused")

    @property
    def words(self) -> str:
        """A forced state as a reason."""
        what = "health checks are paused" if self.is_pause else self.what
        return f"{what}: {self.reason}" if self.reason else what


@dataclass(slots=True)
class Facts:
    """The facts about one backend.

    up, reason:      what its checks say; ``up`` is None before anything was heard
    unresolved:      why its name has no address, "" = it has
    order:           what an operator wants, or None
    forced:          what an operator wants in place of the probes' verdict, or None
    ejected, until:  why it is ejected, "" = it is not; until when (time.time())
    circuit, broken: its circuit (`terraster.policy.breaker`) and why
    ramping:         True during slow start
    """

    up: bool | None = None
    reason: str = "no result yet"
    unresolved: str = ""
    order: Order | None = None
    forced: Order | None = None
    ejected: str = ""
    until: float = 0.0
    circuit: int = CLOSED
    broken: str = ""
    ramping: bool = False

    @property
    def is_out(self) -> bool:
        """True if an operator took it out, so that no panic brings it in."""
        return self.order is not None or (self.forced is not None and self.forced.what == "forced down")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """state, admit: values of `BackendCells.STATE` and `BackendCells.ADMIT`; why: a few words; by: who wants it so, "" = we."""

    state: int
    admit: int
    why: str
    by: str = ""


def evaluate(facts: Facts) -> Evaluation:
    """The state that follows from the facts, before panic and the last resort."""
    order = facts.order
    if order is not None and order.what == "maintenance":
        return Evaluation(BackendCells.MAINTENANCE, BackendCells.NONE, order.reason, order.by)
    if facts.unresolved:
        return Evaluation(BackendCells.DOWN, BackendCells.NONE, facts.unresolved)
    up, reason, by = facts.up, facts.reason, ""
    if facts.forced is not None:
        up, reason, by = facts.forced.what.endswith("up"), facts.forced.words, facts.forced.by
    if not up:
        return Evaluation(BackendCells.DOWN, BackendCells.NONE, reason, by)
    if facts.ejected:
        return Evaluation(BackendCells.EJECTED, BackendCells.NONE, facts.ejected)
    if facts.circuit != CLOSED:
        tried = facts.circuit != OPEN and order is None
        return Evaluation(BackendCells.EJECTED, BackendCells.TRIAL if tried else BackendCells.NONE, facts.broken)
    if order is not None:
        return Evaluation(BackendCells.DRAINING, BackendCells.NONE, order.reason, order.by)
    return Evaluation(BackendCells.UP, BackendCells.RAMPING if facts.ramping else BackendCells.ALL, reason, by)


def panics(up: int, considered: int, threshold: float) -> bool:
    """True if a location panics. up: its backends in that state; considered: those with a weight that no operator took out; threshold:
    `Location.panic_threshold`."""
    return considered > 0 and up < threshold * considered


def may_eject(ejected: int, all_: int, share: float, others: int) -> str:
    """Why one more backend of a location may not be ejected; "" if it may.

    ejected: how many are; all_: how many there are; share: how many may be, counted with this one (`Outlier.max_ejected`); others:
    backends that would still get new work
    """
    if ejected + 1 > floor(share * all_ + 1e-9):
        return f"{ejected + 1} of {all_} would be ejected, more than max_ejected {share:g} allows"
    if others < 1 and share < 1:
        return "no other backend is left"
    return ""


def ramp(elapsed: float, slow_start: float) -> int:
    """How much of its work a backend gets, `FLOOR` … `WHOLE`, so many seconds after it came back."""
    if elapsed >= slow_start:
        return WHOLE
    return max(FLOOR, int(WHOLE * max(0.0, elapsed) / slow_start))
