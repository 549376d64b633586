"""gRPC: times, statuses and messages."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.wire import grpc


@pytest.mark.parametrize(
    ("value", "call"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"Application/GRPC+json", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc ; a=b", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/grpcs", False),
        (b"application/grp", False),
        (b"text/plain", False),
        (b"", False),
    ],
)
def test_which_requests_are_calls(value: bytes, call: bool) -> None:
    assert grpc.is_grpc(value) is call


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"4500m", 4.5),
        (b"5u", 5e-6),
        (b"7n", 7e-9),
        (b"99999999H", 99999999 * 3600.0),
        (b"0S", 0.0),
        (b"", 0.0),
        (b"S", 0.0),
        (b"1", 0.0),
        (b"1s", 0.0),
        (b"1h", 0.0),
        (b"-1S", 0.0),
        (b"+1S", 0.0),
        (b"1.5S", 0.0),
        (b"1 S", 0.0),
        (b" 1S", 0.0),
        (b"1S\n", 0.0),
        (b"123456789S", 0.0),
        ("٣S".encode(), 0.0),
    ],
)
def test_times(value: bytes, seconds: float) -> None:
    assert grpc.time_in(value) == pytest.approx(seconds)


@given(st.floats(1e-9, 3.5e11))
def test_a_time_that_is_written_is_never_longer(seconds: float) -> None:
    written = grpc.time_in(grpc.time_field(seconds))
    assert 0 < written <= max(seconds, 1e-6) * (1 + 1e-9)
    assert written >= seconds * 0.98 or seconds - written < 2e-6


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (0.0, b"1u"),
        (1e-9, b"1u"),
        (0.25, b"250000u"),
        (100.0, b"100000m"),
        (1e6, b"1000000S"),
        (1e8, b"1666666M"),
        (1e10, b"2777777H"),
    ],
)
def test_the_units_of_a_time(seconds: float, value: bytes) -> None:
    assert grpc.time_field(seconds) == value


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ([], -1),
        ([(b"content-type", b"application/grpc")], -1),
        ([(b"grpc-message", b"a"), (b"grpc-status", b"0")], 0),
        ([(b"Grpc-Status", b"14")], 14),
        ([(b"grpc-status", b"16")], 16),
        ([(b"grpc-status", b"17")], grpc.UNKNOWN),
        ([(b"grpc-status", b"")], grpc.UNKNOWN),
        ([(b"grpc-status", b"-1")], grpc.UNKNOWN),
        ([(b"grpc-status", b"140")], grpc.UNKNOWN),
        ([(b"grpc-status", "٣".encode())], grpc.UNKNOWN),
        ([(b"grpc-status", b"5"), (b"grpc-status", b"6")], 5),
    ],
)
def test_the_status_in_fields(fields: list[tuple[bytes, bytes]], number: int) -> None:
    assert grpc.status_in(fields) == number


MAPPED = {400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED"}
MAPPED |= dict.fromkeys((429, 502, 503, 504), "UNAVAILABLE")
MEANT = MAPPED | {408: "DEADLINE_EXCEEDED", 413: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED"}
MEANT |= {504: "DEADLINE_EXCEEDED"}


def test_statuses_of_http() -> None:
    for status in range(100, 600):
        assert grpc.STATUSES[grpc.from_http(status)] == MAPPED.get(status, "UNKNOWN")
        assert grpc.STATUSES[grpc.from_answer(status)] == MEANT.get(status, "UNKNOWN")


def test_statuses_for_judging_a_backend() -> None:
    assert len(grpc.STATUSES) == 17 and grpc.STATUSES[16] == "UNAUTHENTICATED" and grpc.STATUSES[12] == "UNIMPLEMENTED"
    bad = {name: grpc.to_http(number) for number, name in enumerate(grpc.STATUSES) if grpc.to_http(number) >= 500}
    assert bad == {
        "UNKNOWN": 500,
        "DEADLINE_EXCEEDED": 504,
        "UNIMPLEMENTED": 501,
        "INTERNAL": 500,
        "UNAVAILABLE": 503,
        "DATA_LOSS": 500,
    }
    assert grpc.to_http(0) == 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", b""),
        ("no healthy backend", b"no healthy backend"),
        ("50%", b"50%25"),
        ("ä", b"%C3%A4"),
        ("a\r\nb\x00\x7f", b"a%0D%0Ab%00%7F"),
        ("~ }", b"~ }"),
        ("x" * 5000, b"x" * 1024),
        ("\ud800", b"?"),
    ],
)
def test_messages(text: str, value: bytes) -> None:
    assert grpc.message_of(text) == value


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_a_message_is_printable_and_says_the_same(text: str) -> None:
    value = grpc.message_of(text)
    assert all(32 <= octet < 127 for octet in value) and unquote(value.decode("ascii")) == text


def test_an_answer_that_is_trailers_only() -> None:
    fields = ((b"Content-Type", b"text/html"), (b"ETag", b'"a"'), (b"Retry-After", b"1"), (b"X-Request-ID", b"7"))
    assert grpc.refusal(14, "100% busy", fields) == (
        (b"Content-Type", b"application/grpc"),
        (b"grpc-status", b"14"),
        (b"grpc-message", b"100%25 busy"),
        (b"Retry-After", b"1"),
        (b"X-Request-ID", b"7"),
    )
    assert grpc.trailers(4, "") == [(b"grpc-status", b"4")]


@pytest.mark.parametrize(
    ("heads", "http", "outcome"),
    [
        ([], 200, "UNKNOWN"),
        ([], 503, "UNAVAILABLE"),
        ([], 499, "CANCELLED"),
        ([[(b"grpc-status", b"0")]], 200, "OK"),
        ([[(b"content-type", b"application/grpc")], [(b"grpc-status", b"5")]], 200, "NOT_FOUND"),
        ([[(b"grpc-status", b"0")], [(b"grpc-status", b"13")]], 200, "INTERNAL"),
        ([[(b"grpc-status", b"0")], [(b"x-more", b"1")]], 200, "OK"),
    ],
)
def test_the_outcome_of_a_call(heads: list[list[tuple[bytes, bytes]]], http: int, outcome: str) -> None:
    call = grpc.Call()
    for fields in heads:
        call.learn(fields)
    assert grpc.STATUSES[call.end(http)] == outcome
    assert grpc.STATUSES[call.status] == outcome


def test_words_of_statuses() -> None:
    for number, name in enumerate(grpc.STATUSES[1:], 1):
        word = grpc.word_of(grpc.APART + number)
        assert word == "grpc-" + name.lower().replace("_", "-")
        assert grpc.named(word) == grpc.named(f" {word.upper()} ") == grpc.APART + number
    for word in ("grpc-ok", "unavailable", "grpc-", "grpc", "503", "grpc-unavailable-"):
        with pytest.raises(ValueError, match="is not a status of gRPC"):
            grpc.named(word)
