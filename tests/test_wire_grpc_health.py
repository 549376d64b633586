"""The messages of grpc.health.v1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadResponse
from terraster.wire.grpc_health import check_request, serving_status, unframed


@pytest.mark.parametrize(
    ("service", "octets"),
    [
        ("", b"\0\0\0\0\0"),
        ("shop", b"\0\0\0\0\x06\x0a\x04shop"),
        ("ä", b"\0\0\0\0\x04\x0a\x02\xc3\xa4"),
        ("x" * 200, b"\0\0\0\0\xcb\x0a\xc8\x01" + b"x" * 200),
    ],
)
def test_requests(service: str, octets: bytes) -> None:
    assert check_request(service) == octets


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x08\x02", 2),
        (b"\x08\xac\x02", 300),
        (b"\x08\x02\x08\x01", 1),  # the last one counts
        (b"\x12\x02hi\x08\x01\x19" + b"x" * 8 + b"\x25" + b"x" * 4 + b"\x30\x07", 1),  # other fields
        (b"\x08\x81\x80\x00", 1),  # longer than it has to be
    ],
)
def test_responses(message: bytes, status: int) -> None:
    assert serving_status(message) == status


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x08\x80", b"\x12\x05hi", b"\x19xx", b"\x0b", b"\x0c", b"\x08" + b"\xff" * 11, b"\xff"]
)
def test_malformed_responses(message: bytes) -> None:
    with pytest.raises(BadResponse, match="malformed message"):
        serving_status(message)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "no message"),
        (b"\0\0\0", "cut off"),
        (b"\0\0\0\0\x02\x08", "cut off"),
        (b"\x01\0\0\0\x02\x08\x01", "compressed"),
        (b"\0\0\0\0\x02\x08\x01\0\0\0\0\0", "more than one"),
    ],
)
def test_bodies_that_are_not_one_message(body: bytes, problem: str) -> None:
    with pytest.raises(BadResponse, match=problem):
        unframed(body)


def test_a_body_is_one_message() -> None:
    assert unframed(b"\0\0\0\0\x02\x08\x01") == b"\x08\x01"
    assert unframed(b"\0\0\0\0\0") == b""


@given(st.binary(max_size=40))
def test_any_octets_are_a_status_or_one_clean_error(data: bytes) -> None:
    for read in (serving_status, unframed):
        try:
            read(data)
        except BadResponse:
            continue
