"""Whether a request may be tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest, BadResponse, ClientGone, ConnectFailed, ConnectionLost, HttpError, TimedOut
from terraster.policy.retry import IDEMPOTENT, may_retry


@pytest.mark.parametrize(
    ("error", "method", "begun", "replayable", "tries", "again"),
    [
        (ConnectFailed("x"), b"GET", False, True, 1, True),
        (ConnectFailed("x"), b"POST", False, True, 1, True),
        (ConnectFailed("x"), b"POST", False, False, 1, False),
        (ConnectFailed("x"), b"GET", False, True, 2, True),
        (ConnectFailed("x"), b"GET", False, True, 3, False),
        (ConnectionLost("x"), b"GET", False, True, 1, True),
        (ConnectionLost("x"), b"PUT", False, True, 1, True),
        (ConnectionLost("x"), b"PUT", False, False, 1, False),
        (ConnectionLost("x"), b"POST", False, True, 1, False),
        (ConnectionLost("x"), b"PATCH", False, True, 1, False),
        (ConnectionLost("x"), b"get", False, True, 1, False),
        (ConnectionLost("x"), b"GET", True, True, 1, False),
        (ClientGone("x"), b"GET", False, True, 1, False),
        (BadRequest("x"), b"GET", False, True, 1, False),
        (TimedOut("x"), b"GET", False, True, 1, True),
        (TimedOut("x"), b"POST", False, True, 1, False),
        (BadResponse("x"), b"GET", False, True, 1, True),
        (BadResponse("x"), b"POST", False, True, 1, False),
    ],
)
def test_table(error: HttpError, method: bytes, begun: bool, replayable: bool, tries: int, again: bool) -> None:
    assert may_retry(error.retryable, error.unsent, method in IDEMPOTENT, begun, replayable, tries, 3) is again


@given(st.booleans(), st.sampled_from([b"POST", b"PATCH", b"LOCK"]), st.booleans(), st.booleans(), st.integers(1, 4))
def test_a_post_that_may_have_arrived_is_never_sent_twice(
    retryable: bool, method: bytes, begun: bool, replayable: bool, tries: int
) -> None:
    assert not may_retry(retryable, False, method in IDEMPOTENT, begun, replayable, tries, 5)
