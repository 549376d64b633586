"""Hedge: ask a second backend if the first takes longer than most. The response that arrives first counts.

The client gets no interim responses. (Dean and Barroso, The Tail at Scale, 2013.)
"""

from __future__ import annotations

from terraster.balance.contract import Member
from terraster.errors import BACKEND, HttpError
from terraster.exchange import Exchange
from terraster.net.hedge import Overtaken, Race
from terraster.policy.retry import SAFE
from terraster.state.cells import SeatBackend, SeatLocation

from .attempt import FAILED, OVERTAKEN, Attempt, WatchedAttempt
from .data_plane import DataPlane

__all__ = ["HedgedAttempt"]

_HEDGES = SeatLocation.HEDGES


class HedgedAttempt(WatchedAttempt):
    """An attempt that another one may overtake, if the location hedges and the request allows it."""

    __slots__ = ("_began_at",)

    def __init__(self, plane: DataPlane, exchange: Exchange, member: Member, fresh: bool) -> None:
        super().__init__(plane, exchange, member, fresh)
        self._began_at = plane.clock()

    def ask(self) -> Attempt:
        """Like `Attempt.ask`. If the second attempt was faster, it is returned, and this one is over."""
        exchange, location = self.exchange, self.location
        if exchange.tried or self.trial or exchange.body is not None or exchange.head.upgrade or exchange.method not in SAFE:
            return super().ask()
        delay = location.latencies.at(location.hedge)
        if delay < 0:
            return super().ask()
        self.muted = True
        race = Race(self.plane.reactor, delay, self)
        try:
            return super().ask()
        except Overtaken:
            second = race.won()
            self.outcome = OVERTAKEN
            self.ended_at = now = self.plane.clock()
            if location.balancer.measures:
                location.balancer.answered(self.member, now - self._began_at, now)  # the first attempt is at least this slow
            location.latencies.add(now - self._began_at)
            self.over()
            exchange.backend = second.member
            return second
        finally:
            race.end()

    def second(self) -> Attempt | None:
        """Make the second attempt, in its own greenlet. None if it failed. It may be killed while it waits."""
        plane, exchange, location = self.plane, self.exchange, self.location
        if (location.limited and location.queue.is_busy()) or not plane.afford(location):
            return None
        others = location.balancer.on_trial() if location.breaker is not None else ()
        member = location.balancer.pick(exchange, (self.member, *others), plane.clock())
        if member is None:
            location.budget.refund()
            return None
        attempt = self.beside(member)
        attempt.muted = True
        exchange.backend = self.member  # until the second attempt counts
        plane.view.q[plane.view.locations + location.offset + _HEDGES] += 1
        won = False
        try:
            attempt.ask()
            won = True
            return attempt
        except HttpError as error:
            if error.blame == BACKEND:
                attempt.outcome = FAILED
                attempt.ended_at = plane.clock()
                plane.view.q[attempt.row + SeatBackend.NO_RESPONSE] += 1
                plane.outcomes.failed(location, member, error, False, False)
            return None
        except Exception:
            plane.defect("a hedged request ended by a defect")
            return None
        finally:
            if not won:
                attempt.over()

    def beside(self, member: Member) -> WatchedAttempt:
        """The attempt that is made beside this one."""
        return WatchedAttempt(self.plane, self.exchange, member, False)

    def give_up(self, second: Attempt) -> None:
        """Discard the response of the second attempt."""
        second.over()
