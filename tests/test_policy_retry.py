"""Whether a request may be tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest, BadResponse, ClientGone, ConnectFailed, ConnectionLost, HttpError, TimedOut
from terraster.policy.retry import IDEMPOTENT, covers, may_retry, pause


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


@pytest.mark.parametrize(
    ("statuses", "status", "covered"),
    [
        ((), 503, False),
        (((503, 503),), 503, True),
        (((503, 503),), 502, False),
        (((500, 599),), 500, True),
        (((500, 599),), 599, True),
        (((500, 599),), 499, False),
        (((500, 500), (502, 504)), 501, False),
        (((500, 500), (502, 504)), 503, True),
    ],
)
def test_covers(statuses: tuple[tuple[int, int], ...], status: int, covered: bool) -> None:
    assert covers(statuses, status) is covered


@pytest.mark.parametrize(
    ("tries", "same", "longest"),
    [(1, False, 0.0), (2, False, 0.1), (3, False, 0.2), (4, False, 0.4), (1, True, 0.1), (2, True, 0.2), (30, False, 2.0)],
)
def test_pause(tries: int, same: bool, longest: float) -> None:
    """Nothing before the first retry elsewhere; then doubled, up to two seconds, less up to a half by chance."""
    pauses = [pause(0.1, tries, same) for _ in range(200)]
    assert all(longest / 2 <= one <= longest for one in pauses)
    assert not longest or max(pauses) > longest * 0.8 > longest * 0.7 > min(pauses)


@given(st.integers(1, 2000), st.booleans())
def test_no_backoff_no_pause(tries: int, same: bool) -> None:
    assert pause(0.0, tries, same) == 0.0


@given(st.floats(0.001, 10.0), st.integers(1, 500), st.booleans())
def test_a_pause_is_never_long(backoff: float, tries: int, same: bool) -> None:
    assert 0.0 <= pause(backoff, tries, same) <= 2.0
