"""Whether a request may be tried again, with another backend or on a fresh connection.

nginx's rule (proxy_next_upstream): what certainly never reached a backend may always be tried again; what may have reached one
only if doing it twice does no harm (RFC 9110, section 9.2.2), nothing of an answer has gone to the client, and the request can be
sent a second time.
"""

from __future__ import annotations

__all__ = ["IDEMPOTENT", "may_retry"]

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""RFC 9110, section 9.2.2. Methods that are not registered there are not taken for idempotent."""


def may_retry(
    retryable: bool, unsent: bool, method: bytes, response_begun: bool, body_replayable: bool, tries: int, limit: int
) -> bool:
    """retryable, unsent: of the `HttpError`. response_begun: octets of the answer went to the client. body_replayable: what was
    read of the request body is all still here. tries: attempts made, this one included. limit: attempts allowed."""
    if not retryable or response_begun or tries >= limit:
        return False
    return body_replayable and (unsent or method in IDEMPOTENT)
