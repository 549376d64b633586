"""Pick: choose the backend of an attempt, and wait for one if necessary."""

from __future__ import annotations

from terraster.balance.contract import Member
from terraster.errors import HttpError
from terraster.exchange import QUEUE_TIME, Exchange
from terraster.location_plan import LocationPlan
from terraster.policy.retry import SAME_FRESH, pause
from terraster.state.times import waited
from terraster.state.view import SeatView

from .attempt import Attempt
from .data_plane import DataPlane

__all__ = ["first_pick", "next_pick", "settle_waits"]


def first_pick(plane: DataPlane, exchange: Exchange) -> Member:
    """The backend of the first attempt. Waits in the queue if backends have no room. Raises `HttpError` 503."""
    location: LocationPlan = exchange.location
    if not (location.limited and location.queue.is_busy()):
        member = location.balancer.pick(exchange, (), exchange.started)
        if member is not None:
            return member
    return _last_resort(plane, exchange, None)


def next_pick(plane: DataPlane, exchange: Exchange, attempt: Attempt, step: int) -> Member:
    """The backend of the next attempt, after the backoff. Raises the error of the last attempt, or `HttpError` 503. If there will be none,
    the budget gets back what it paid."""
    try:
        return _next(plane, exchange, attempt, step)
    except BaseException:
        if attempt.paid:
            exchange.location.budget.refund()
        raise


def settle_waits(view: SeatView, exchange: Exchange) -> None:
    """Count an exchange that is over and has facts, if it waited: once, with all its waits for room and for connections together."""
    seconds = exchange.facts.get(QUEUE_TIME)  # type: ignore[union-attr]
    if seconds is not None:
        waited(view, exchange.location.offset, seconds)


def _next(plane: DataPlane, exchange: Exchange, attempt: Attempt, step: int) -> Member:
    location: LocationPlan = exchange.location
    member, following = attempt.member, attempt.following
    if step == SAME_FRESH and member.take(False):
        return member
    exchange.tried = (*exchange.tried, member)
    if following is not None:
        return following
    alone = attempt.again or not location.has_others(exchange.tried)
    if not (alone and _has_waited(attempt.error)):
        wait = pause(location.retry.backoff, exchange.tries - exchange.resends, alone)
        if wait:
            plane.reactor.sleep(wait)
    tried = exchange.answered if attempt.again else exchange.tried
    following = location.balancer.pick(exchange, tried, plane.clock())
    return following or _last_resort(plane, exchange, attempt.error)


def _last_resort(plane: DataPlane, exchange: Exchange, failure: HttpError | None) -> Member:
    """The backend if the balancer returned none. In this order: one in slow start; the first that gets room; one that failed already. A backend
    whose response was not used is never taken, because it may have sent Retry-After, nor is one whose failure lasts."""
    location: LocationPlan = exchange.location
    if not (location.limited and location.queue.is_busy()):
        member = location.pick_any(exchange, exchange.tried, plane.clock())
        if member is not None:
            return member
    if location.limited and location.has_others(exchange.tried):
        return location.queue.wait(_Look(plane, exchange), plane.reactor, exchange)
    if failure is None or _has_waited(failure):
        raise failure or location.nobody()
    member = location.balancer.pick(exchange, exchange.answered, plane.clock())
    if member is None:
        raise failure
    return member


def _has_waited(failure: HttpError | None) -> bool:
    """True if the attempt waited for a connection to its backend and got none. A request waits like that only once."""
    return failure is not None and failure.reason == "connection_limit_reached"


class _Look:
    """The search for room by a request in the queue. The queue calls it."""

    __slots__ = ("_exchange", "_plane")

    def __init__(self, plane: DataPlane, exchange: Exchange) -> None:
        self._plane = plane
        self._exchange = exchange

    def __call__(self) -> Member | None:
        """A member, which is taken, or None if none has room yet. Raises `HttpError` if waiting has become useless.

        A waiting request follows the newest plan: its location becomes the one with the same id there."""
        plane, exchange = self._plane, self._exchange
        service = plane.plan.services.get(exchange.service.name)
        if service is not None and service is not exchange.service:
            for location in service.locations:
                if location.id == exchange.location.id and location is not exchange.location:
                    exchange.tried = _same(exchange.tried, location)
                    exchange.answered = _same(exchange.answered, location)
                    exchange.admitted = exchange.admitted or exchange.location
                    exchange.location = location
        member: Member | None = exchange.location.pick_any(exchange, exchange.tried, plane.clock())
        if member is None and not exchange.location.has_others(exchange.tried):
            raise exchange.location.nobody()
        return member


def _same(members: tuple[Member, ...], location: LocationPlan) -> tuple[Member, ...]:
    """The members of a location of a newer plan that stand for the same backends as these."""
    ids = [member.backend.id for member in members]
    return tuple([member for member in location.members if member.backend.id in ids])
