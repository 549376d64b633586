"""When a certificate is ordered, renewed and tried again. Pure: facts and a clock reading in, moments out.

- A certificate is renewed at the time that the authority suggests (ACME Renewal Information, RFC 9773), else when two thirds of its
  lifetime are over. Lifetimes get shorter, so no number of days is built in.
- After a failure the next order waits a minute, and four times as long after each further one. So an hour has at most four failures: public
  authorities refuse a name for an hour after five.
- A name is ordered at most `ORDERS_PER_DAY` times within 24 hours, whatever happens, restarts included.

Moments are time.time(); 0.0 = none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["DAY", "ORDERS_PER_DAY", "Known", "free_at", "next_order", "recent", "renewal_time", "retry_delay"]

ORDERS_PER_DAY = 10
DAY = 86400.0

_FIRST, _FACTOR, _LONGEST = (
    60.0,
    4.0,
    6 * 3600.0,
)  # seconds after a first failure, how many times longer after the next, and the longest
_JITTER = 0.1  # part of a retry's delay, and 1/20 of a lifetime, that chance adds or takes


@dataclass(frozen=True, slots=True)
class Known:
    """The facts about the certificate of a service.

    names:      those in it; () = there is none
    not_before, not_after: its lifetime
    suggested:  when the authority wants it to be renewed
    failures:   orders that failed since the last success
    failed_at:  when the last one failed
    wait_until: the authority wants no order before
    chance:     0 … 1, drawn anew after each order: it spreads what many hosts do at the same time
    """

    names: tuple[str, ...] = ()
    not_before: float = 0.0
    not_after: float = 0.0
    suggested: float = 0.0
    failures: int = 0
    failed_at: float = 0.0
    wait_until: float = 0.0
    chance: float = 0.5


def renewal_time(known: Known, renew_before: float) -> float:
    """When a certificate is to be renewed. renew_before: seconds before its end, as configured; 0.0: as the authority suggests."""
    lifetime = max(known.not_after - known.not_before, 0.0)
    if renew_before:
        return max(known.not_after - renew_before, known.not_before + lifetime / 3)
    if known.suggested:
        return min(known.suggested, known.not_after)
    return known.not_before + lifetime * (2 / 3 + _JITTER / 2 * (known.chance - 0.5))


def retry_delay(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures, at least one."""
    delay = min(_FIRST * _FACTOR ** min(failures - 1, 10), _LONGEST)
    return delay * (1 + _JITTER * (2 * chance - 1))


def recent(orders: Iterable[float], now: float) -> list[float]:
    """The orders of the last 24 hours, oldest first. An order in the future, by a clock that was set back, counts as one of now."""
    return sorted(min(one, now) for one in orders if one > now - DAY)


def free_at(orders: Sequence[float], now: float) -> float:
    """When a name with these orders may be ordered again."""
    last = recent(orders, now)
    return now if len(last) < ORDERS_PER_DAY else last[-ORDERS_PER_DAY] + DAY


def next_order(known: Known, wanted: tuple[str, ...], renew_before: float, orders: Iterable[Sequence[float]], now: float) -> float:
    """When a certificate for the ``wanted`` names is to be ordered; not after ``now``: at once.

    orders: the moments of the orders of each wanted name
    """
    at = now
    if set(known.names) == set(wanted):
        at = renewal_time(known, renew_before)
    if known.failures:
        at = max(at, known.failed_at + retry_delay(known.failures, known.chance))
    at = max(at, known.wait_until)
    if at <= now:
        at = max([now, *(free_at(one, now) for one in orders)])
    return at
