"""Who ended a request, and in which phase."""

from __future__ import annotations

import pytest

from terraster.exchange import QUEUE_TIME, Exchange
from terraster.logs.endings import termination_state

from .test_logs_access import an_exchange


def exchange(status: int = 200, error: str = "", tries: int = 1, answered: bool = False, queued: bool = False) -> Exchange:
    x = an_exchange(status=status, error=error, tries=tries, upstream_time=0.1 if answered else -1.0)
    if queued:
        x.spent(QUEUE_TIME, 1.0)
    return x


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"answered": True}, "--"),
        ({"status": 503, "answered": True}, "--"),
        ({"status": 403, "tries": 0}, "LR"),
        ({"status": 400, "error": "http_request_error", "tries": 0}, "PR"),
        ({"status": 413, "error": "http_request_error", "tries": 1}, "PH"),
        ({"status": 408, "error": "connection_read_timeout", "tries": 0}, "cR"),
        ({"status": 408, "error": "connection_read_timeout"}, "cH"),
        ({"status": 499, "error": "connection_terminated"}, "CH"),
        ({"status": 499, "error": "connection_terminated", "tries": 0, "queued": True}, "CQ"),
        ({"status": 499, "error": "connection_terminated", "answered": True}, "CD"),
        ({"status": 502, "error": "connection_refused"}, "SC"),
        ({"status": 504, "error": "connection_timeout"}, "sC"),
        ({"status": 502, "error": "connection_terminated"}, "SH"),
        ({"status": 200, "error": "connection_terminated", "answered": True}, "SD"),
        ({"status": 504, "error": "http_response_timeout"}, "sH"),
        ({"status": 200, "error": "connection_read_timeout", "answered": True}, "sD"),
        ({"status": 502, "error": "http_protocol_error"}, "PH"),
        ({"status": 503, "error": "connection_limit_reached", "tries": 0}, "RQ"),
        ({"status": 503, "error": "connection_limit_reached", "tries": 0, "queued": True}, "sQ"),
        ({"status": 503, "error": "destination_unavailable", "tries": 0}, "SQ"),
        ({"status": 500, "error": "proxy_internal_error", "tries": 0}, "IR"),
    ],
)
def test_states(facts: dict[str, object], state: str) -> None:
    assert termination_state(exchange(**facts)) == state  # type: ignore[arg-type]
