"""The next step after an attempt: use its response, ask another backend, ask the same one on a fresh connection, or let the request fail.

nginx's rule (proxy_next_upstream): what certainly never reached a backend may always be tried again; what may have reached one
only if doing it twice does no harm (RFC 9110, section 9.2.2), nothing of an answer has gone to the client, and the request can be
sent a second time. A client that sends an Idempotency-Key promises that doing it twice does no harm
(draft-ietf-httpapi-idempotency-key-header); whether that is believed is the operator's to say.

A kept connection that ends without a single octet of a response may have been closed by the backend while the request was on its way.
That says little about the backend, so the request goes to the same one again, once, on a fresh connection. If the backend may have taken
the request, this is a retry like any other: it needs an idempotent request and a share of the budget, and `retry: off` forbids it.

A call of gRPC is a POST, and still it may be tried again for a status of gRPC: gRPC leaves it to the operator to say for which ones that does
no harm (its proposal A6).

A backend whose certificate is not accepted would fail another attempt in the same way, at the cost of another handshake. Other backends are
asked, but not this one again.
"""

from __future__ import annotations

import random

from ..config.snapshot import Retry, Statuses
from ..errors import CLIENT, HttpError
from ..exchange import Exchange
from ..wire.grpc import APART

__all__ = ["ELSEWHERE", "GIVE_UP", "IDEMPOTENT", "SAFE", "SAME_FRESH", "USE", "covers", "next_step", "pause"]

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""RFC 9110, section 9.2.2. Methods that are not registered there are not taken for idempotent."""

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""Methods that may be executed twice at the same time, with any order of their ends."""

USE, ELSEWHERE, SAME_FRESH, GIVE_UP = range(4)
"""The steps that may follow an attempt."""

_REFUSALS = 15
"""Refused connections that one request may move past, whatever `retry.attempts` says: nothing was sent to those backends."""

_LONGEST = 2.0  # seconds between two attempts


def next_step(exchange: Exchange, rule: Retry, status: int, error: HttpError | None, stale: bool) -> int:
    """The step after an attempt of this exchange, by the request and the rule; the budget is asked afterwards.

    status: of the response that came, 0 if none did; a status of gRPC is `APART` from those of HTTP. error: the failure of the attempt, or
    None. stale: True if a kept connection ended before an octet of the response came. The exchange says how many attempts and faults of form
    there were, this attempt included; whether the request is idempotent and can be sent again; and whether anything has gone to the client.
    """
    if error is None:
        if not covers(rule.on, status) or not (exchange.idempotent or status >= APART):
            return USE
    elif error.blame == CLIENT or not error.retryable or not (error.unsent or exchange.idempotent):
        return GIVE_UP
    stop = USE if error is None else GIVE_UP
    if exchange.bytes_out or not (exchange.body is None or exchange.body.whole):
        return stop
    if error is not None:
        if stale and (error.unsent or rule.attempts > 1):
            return SAME_FRESH
        others = len(exchange.location.members) - 1
        if error.lasting and len(exchange.tried) >= others:
            return GIVE_UP
        most = min(others, _REFUSALS)
        if error.unconnected and rule.attempts > 1 and len(exchange.tried) < most:
            return ELSEWHERE
        if error.form and exchange.faults > 1:
            return GIVE_UP
    return ELSEWHERE if exchange.tries - exchange.resends < rule.attempts else stop


def covers(statuses: Statuses, status: int) -> bool:
    """True if a status is in one of the ranges."""
    for low, high in statuses:
        if low <= status <= high:
            return True
    return False


def pause(backoff: float, tries: int, same: bool) -> float:
    """Seconds to wait before another attempt, after ``tries`` of them: nothing before the first retry at another backend, then
    ``backoff`` doubled each time and less up to a half by chance, so that those who failed together do not return together."""
    steps = tries - 1 if same else tries - 2
    if steps < 0 or not backoff:
        return 0.0
    return min(_LONGEST, backoff * 2.0**steps) * random.uniform(0.5, 1.0)
