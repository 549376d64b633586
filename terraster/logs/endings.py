"""The side that ended a request, and the phase, in the two letters of HAProxy's logs (its manual, "Session state at disconnection"). Pure.

first   -  nobody: it is complete          C  the client left            c  the client was too slow
        S  the backend refused or broke    s  the backend was too slow   L  Terraster answered itself, as it is configured
        P  Terraster refused the request, or the response was not in order                R  no room        I  a defect of Terraster
second  -  complete    R  the request      Q  waiting for a backend     C  connecting    H  waiting for the response head    D  the body
"""

from __future__ import annotations

from ..exchange import Exchange

__all__ = ["termination_state"]

_TIMEOUTS = frozenset(("connection_timeout", "connection_read_timeout", "connection_write_timeout", "http_response_timeout"))
_CONNECTING = frozenset(
    (
        "connection_refused",
        "connection_timeout",
        "destination_ip_unroutable",
        "destination_unavailable",
        "dns_error",
        "dns_timeout",
        "tls_certificate_error",
        "tls_protocol_error",
        "tls_alert_received",
    )
)
_INTERNAL = "proxy_internal_error"
_NO_ROOM = "connection_limit_reached"
_OF_BACKENDS = frozenset((*_CONNECTING, "connection_terminated"))


def termination_state(x: Exchange) -> str:
    """The two letters for a finished exchange."""
    if not x.error and x.status != 499:
        return "--" if x.tries else "LR"
    return _who(x) + _where(x)


def _who(x: Exchange) -> str:
    error = x.error
    if x.status == 499:
        return "C"
    if error == _NO_ROOM:
        return "s" if x.tries or _has_waited(x) else "R"
    if error in _TIMEOUTS:
        return "c" if x.status == 408 or not x.tries else "s"
    if x.tries and error in _OF_BACKENDS:
        return "S"
    if error == "destination_unavailable":
        return "S"
    return "I" if error == _INTERNAL else "P"


def _where(x: Exchange) -> str:
    if not x.tries:
        return "Q" if _has_waited(x) or x.error in (_NO_ROOM, "destination_unavailable") else "R"
    if x.upstream_time >= 0:
        return "D"
    return "C" if x.error in _CONNECTING else "H"


def _has_waited(x: Exchange) -> bool:
    return x.facts is not None and "queue_time" in x.facts
