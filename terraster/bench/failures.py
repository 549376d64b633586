"""The kinds of failures of a request, by the error that ended it. Pure.

refused, unreachable, connect timeout, no free port, TLS: there was no connection
no descriptors: this process may not open another one
timeout: no complete answer in time
reset: the server reset the connection. closed early: it ended it within or before the answer
stream refused, stream reset: the server ended the request's stream of HTTP/2
malformed: the answer is not one of HTTP
unfinished: the load was ended while the request was under way. unsent: it was due by then, and had not been sent
"""

from __future__ import annotations

import errno

from terraster.errors import BadResponse, ConnectFailed, HttpError, TimedOut

__all__ = ["STREAM_REFUSED", "STREAM_RESET", "TIMEOUT", "UNFINISHED", "UNSENT", "kind_of"]

TIMEOUT = "timeout"
STREAM_REFUSED, STREAM_RESET = "stream refused", "stream reset"
UNFINISHED = "unfinished"
UNSENT = "unsent"

_NO_PORT = frozenset((errno.EADDRNOTAVAIL, errno.EADDRINUSE))
_RESET = frozenset((errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN))


def kind_of(error: HttpError) -> str:
    """The kind that an error of a connection is of."""
    code = getattr(error.__cause__, "errno", 0)
    if isinstance(error, ConnectFailed):
        if error.reason.startswith("tls_"):
            return "TLS"
        by_reason = {"connection_refused": "refused", "connection_timeout": "connect timeout"}
        return by_reason.get(error.reason) or ("no free port" if code in _NO_PORT else "unreachable")
    if isinstance(error, TimedOut):
        return TIMEOUT
    if isinstance(error, BadResponse):
        return "malformed"
    if error.status == 503:
        return "no descriptors"
    return "reset" if code in _RESET else "closed early"
