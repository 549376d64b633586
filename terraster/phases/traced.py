"""Traced attempts: those of requests that are recorded as spans (`terraster.logs.trace`)."""

from __future__ import annotations

from terraster.balance.contract import Member
from terraster.exchange import CONNECT_TIME, QUEUE_TIME, TLS_TIME, Exchange
from terraster.logs.trace import AttemptTrace, Trace, trace_of

from .attempt import Attempt, WatchedAttempt
from .data_plane import DataPlane
from .hedge import HedgedAttempt

__all__ = ["TracedAttempt"]

_TIMES = (QUEUE_TIME, CONNECT_TIME, TLS_TIME)


class TracedAttempt(HedgedAttempt):
    """An attempt of a request that is recorded. record: for its span"""

    __slots__ = ("record", "_hedges", "_spent_before", "_trace")

    def __init__(self, plane: DataPlane, exchange: Exchange, member: Member, fresh: bool) -> None:
        super().__init__(plane, exchange, member, fresh)
        location = self.location
        self._hedges = bool(location.hedge)
        assert location.tracing is not None
        self._trace: Trace = trace_of(exchange, location.tracing)
        facts = exchange.facts or {}
        self._spent_before = [facts.get(what, 0.0) for what in _TIMES]
        self.record = AttemptTrace(member.backend, self._began_at, exchange.tries - 1)
        self._trace.attempts.append(self.record)

    def ask(self) -> Attempt:
        self._trace.asking = self.record.span_id  # the head is written before anything waits
        if self._hedges:
            return super().ask()
        return WatchedAttempt.ask(self)

    def beside(self, member: Member) -> WatchedAttempt:
        second = TracedAttempt(self.plane, self.exchange, member, False)
        second._hedges = False
        return second

    def over(self) -> None:
        super().over()
        record = self.record
        record.ended_at = self.plane.clock()
        record.kept = self.kept
        record.outcome = self.outcome
        response = getattr(self, "response", None)
        if response is not None:
            record.status = response.status
            record.head_at = self.ended_at
        if self.error is not None:
            record.error = self.error.reason
        if not self.muted:  # else another attempt may have spent them
            facts = self.exchange.facts or {}
            spent = [facts.get(what, 0.0) - before for what, before in zip(_TIMES, self._spent_before, strict=True)]
            record.spent = (spent[0] or -1.0, spent[1] or -1.0, spent[2] or -1.0)
