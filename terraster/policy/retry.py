"""Whether a request may be tried again, with another backend or on a fresh connection.

nginx's rule (proxy_next_upstream): what certainly never reached a backend may always be tried again; what may have reached one
only if doing it twice does no harm (RFC 9110, section 9.2.2), nothing of an answer has gone to the client, and the request can be
sent a second time. A client that sends an Idempotency-Key promises that doing it twice does no harm
(draft-ietf-httpapi-idempotency-key-header); whether that is believed is the operator's to say.
"""

from __future__ import annotations

import random

from ..config.snapshot import Statuses

__all__ = ["IDEMPOTENT", "SAFE", "covers", "may_retry", "pause"]

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""RFC 9110, section 9.2.2. Methods that are not registered there are not taken for idempotent."""

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""Methods that may be executed twice at the same time, with any order of their ends."""

_LONGEST = 2.0  # seconds between two attempts


def may_retry(
    retryable: bool, unsent: bool, idempotent: bool, response_begun: bool, body_replayable: bool, tries: int, limit: int
) -> bool:
    """retryable, unsent: of the `HttpError`. idempotent: the request may be executed twice. response_begun: octets of the answer went
    to the client. body_replayable: what was read of the request body is all still here. tries: attempts made, this one included.
    limit: attempts allowed."""
    if not retryable or response_begun or tries >= limit:
        return False
    return body_replayable and (unsent or idempotent)


def covers(statuses: Statuses, status: int) -> bool:
    """Whether a status is in one of the ranges."""
    return any(low <= status <= high for low, high in statuses)


def pause(backoff: float, tries: int, same: bool) -> float:
    """Seconds to wait before another attempt, after ``tries`` of them: nothing before the first retry at another backend, then
    ``backoff`` doubled each time and less up to a half by chance, so that those who failed together do not return together."""
    steps = tries - 1 if same else tries - 2
    if steps < 0 or not backoff:
        return 0.0
    return min(_LONGEST, backoff * 2.0**steps) * random.uniform(0.5, 1.0)
