"""What follows an attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Retry
from terraster.errors import BadRequest, BadResponse, ClientGone, ConnectFailed, ConnectionLost, HttpError, TimedOut
from terraster.exchange import Exchange
from terraster.policy.retry import ELSEWHERE, GIVE_UP, IDEMPOTENT, SAME_FRESH, USE, covers, next_step, pause

Fact = dict[str, Any]


class Body:
    """A request body that came in part; ``whole``: what came can be sent again."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole


class Place:
    """A location with so many members."""

    def __init__(self, members: int) -> None:
        self.members = tuple(range(members))


def after(
    method: bytes, *, tries: int = 1, begun: bool = False, body: Body | None = None, members: int = 3, **facts: Any
) -> Exchange:
    """An exchange after so many attempts."""
    exchange = Exchange(0.0, 0.0, "192.0.2.1", "192.0.2.1", "http")
    exchange.idempotent = method in IDEMPOTENT
    exchange.tries = tries
    exchange.bytes_out = int(begun)
    exchange.body = body
    exchange.location = Place(members)
    for name, value in facts.items():
        setattr(exchange, name, value)
    return exchange


def fails(error: HttpError, **facts: bool) -> HttpError:
    for name, value in facts.items():
        setattr(error, name, value)
    return error


REFUSED, LOST, LATE, ODD = ConnectFailed("x"), ConnectionLost("x"), TimedOut("x"), BadResponse("x")
UNSENT = fails(ConnectionLost("x"), unsent=True)
FORM = fails(BadResponse("x"), form=True)
LASTING = fails(ConnectFailed("x"), lasting=True)


@pytest.mark.parametrize(
    ("error", "method", "facts", "step"),
    [
        (REFUSED, b"GET", {}, ELSEWHERE),
        (REFUSED, b"POST", {}, ELSEWHERE),
        (REFUSED, b"POST", {"body": Body(True)}, ELSEWHERE),
        (REFUSED, b"POST", {"body": Body(False)}, GIVE_UP),
        (REFUSED, b"GET", {"begun": True}, GIVE_UP),
        (REFUSED, b"GET", {"tries": 3, "tried": (0,)}, ELSEWHERE),  # refusals may be moved past while backends are left
        (REFUSED, b"GET", {"tries": 3, "tried": (0, 1)}, GIVE_UP),
        (REFUSED, b"GET", {"tries": 16, "tried": tuple(range(14)), "members": 40}, ELSEWHERE),
        (REFUSED, b"GET", {"tries": 16, "tried": tuple(range(15)), "members": 40}, GIVE_UP),
        (LASTING, b"GET", {}, ELSEWHERE),  # the others may have certificates that are accepted
        (LASTING, b"POST", {"tries": 2, "tried": (0,)}, ELSEWHERE),
        (LASTING, b"GET", {"tries": 3, "tried": (0, 1)}, GIVE_UP),
        (LASTING, b"GET", {"members": 1}, GIVE_UP),
        (LOST, b"GET", {}, ELSEWHERE),
        (LOST, b"GET", {"tries": 2}, ELSEWHERE),
        (LOST, b"GET", {"tries": 3}, GIVE_UP),
        (LOST, b"GET", {"tries": 3, "resends": 1}, ELSEWHERE),
        (LOST, b"PUT", {"body": Body(True)}, ELSEWHERE),
        (LOST, b"PUT", {"body": Body(False)}, GIVE_UP),
        (LOST, b"POST", {}, GIVE_UP),
        (LOST, b"PATCH", {}, GIVE_UP),
        (LOST, b"get", {}, GIVE_UP),
        (LOST, b"GET", {"begun": True}, GIVE_UP),
        (UNSENT, b"POST", {}, ELSEWHERE),
        (LATE, b"GET", {}, ELSEWHERE),
        (LATE, b"POST", {}, GIVE_UP),
        (ODD, b"GET", {"tries": 2}, ELSEWHERE),
        (ODD, b"POST", {}, GIVE_UP),
        (FORM, b"GET", {"faults": 1}, ELSEWHERE),
        (FORM, b"GET", {"tries": 2, "faults": 2}, GIVE_UP),  # a fault of form is asked about once more and no oftener
        (ClientGone("x"), b"GET", {}, GIVE_UP),
        (BadRequest("x"), b"GET", {}, GIVE_UP),
        (HttpError("x"), b"GET", {}, GIVE_UP),
    ],
)
def test_after_a_failure(error: HttpError, method: bytes, facts: Fact, step: int) -> None:
    assert next_step(after(method, **facts), Retry(attempts=3), 0, error, False) == step


@pytest.mark.parametrize(
    ("error", "method", "attempts", "facts", "step"),
    [
        (LOST, b"GET", 3, {}, SAME_FRESH),
        (LOST, b"DELETE", 3, {}, SAME_FRESH),
        (LOST, b"GET", 3, {"tries": 3}, SAME_FRESH),
        (LOST, b"GET", 1, {}, GIVE_UP),  # retry: off, and the backend may have taken the request
        (LOST, b"POST", 3, {}, GIVE_UP),
        (UNSENT, b"GET", 1, {}, SAME_FRESH),  # the backend cannot have taken it
        (UNSENT, b"POST", 1, {}, SAME_FRESH),
        (UNSENT, b"POST", 1, {"body": Body(False)}, GIVE_UP),
        (UNSENT, b"GET", 1, {"begun": True}, GIVE_UP),
    ],
)
def test_after_a_kept_connection_ended(error: HttpError, method: bytes, attempts: int, facts: Fact, step: int) -> None:
    assert next_step(after(method, **facts), Retry(attempts=attempts), 0, error, True) == step


@pytest.mark.parametrize(
    ("status", "method", "facts", "step"),
    [
        (503, b"GET", {}, ELSEWHERE),
        (503, b"POST", {}, USE),
        (500, b"GET", {}, USE),
        (503, b"GET", {"tries": 2}, ELSEWHERE),
        (503, b"GET", {"tries": 3}, USE),
        (503, b"GET", {"begun": True}, USE),
        (503, b"PUT", {"body": Body(True)}, ELSEWHERE),
        (503, b"PUT", {"body": Body(False)}, USE),
        (1014, b"POST", {}, ELSEWHERE),  # a status of gRPC that is named
        (1014, b"POST", {"body": Body(True)}, ELSEWHERE),
        (1014, b"POST", {"body": Body(False)}, USE),
        (1014, b"POST", {"begun": True}, USE),
        (1014, b"POST", {"tries": 3}, USE),
        (1013, b"POST", {}, USE),
    ],
)
def test_after_a_response(status: int, method: bytes, facts: Fact, step: int) -> None:
    assert next_step(after(method, **facts), Retry(attempts=3, on=((502, 503), (1014, 1014))), status, None, False) == step


@given(st.booleans(), st.sampled_from([b"POST", b"PATCH", b"LOCK"]), st.booleans(), st.booleans(), st.integers(1, 4), st.booleans())
def test_a_post_that_may_have_arrived_is_never_sent_twice(
    retryable: bool, method: bytes, begun: bool, whole: bool, tries: int, stale: bool
) -> None:
    exchange = after(method, begun=begun, body=Body(whole), tries=tries)
    assert next_step(exchange, Retry(attempts=5), 0, fails(ConnectionLost("x"), retryable=retryable), stale) == GIVE_UP


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
