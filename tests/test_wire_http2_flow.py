"""Windows of HTTP/2 in both directions, the frames that are sent, and the end of streams and connections."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession
from terraster.wire.http2.streams import Stream

from .harness.http2 import (
    GET,
    POST,
    PREFACE,
    block,
    continuation,
    data,
    events_told,
    fed,
    frame,
    goaway,
    headers,
    ping,
    priority_update,
    rst,
    settings,
    told,
    window,
)

START = PREFACE + settings()
OPEN = headers(1, POST, end=False)


def begun(ack: bool = True, **limits: Any) -> ServerSession:
    """A server's session after the greetings."""
    session = ServerSession(Stream, Limits(**limits))
    assert session.feed(START + (settings(ack=True) if ack else b""), 1000.0) == []
    session.out.clear()
    return session


def opened(session: ServerSession, octets: bytes = OPEN) -> Stream:
    fed(session, octets)
    session.out.clear()
    return session.streams[session.last]


# ------------------------------------------------------------------------------------------------------------------------ greetings


def test_what_a_server_says_first() -> None:
    session = ServerSession(Stream, Limits())
    assert told(session.out) == ["SETTINGS 3=128 6=65536 8=1 9=1", "WINDOW_UPDATE 0 983041"]
    session = ServerSession(
        Stream, Limits(max_streams=7, header_list_size=999, window=70000, max_frame=20000, connection_window=65535)
    )
    assert told(session.out) == ["SETTINGS 3=7 6=999 8=1 9=1 4=70000 5=20000"]


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        b"X",
        PREFACE + ping(),
        PREFACE + headers(1),
        PREFACE + settings(ack=True),
        PREFACE + window(0, 1),
    ],
)
def test_a_client_that_begins_otherwise(octets: bytes) -> None:
    """RFC 9113, section 3.4."""
    for cuts in ([], range(1, len(octets))):
        session = ServerSession(Stream, Limits())
        assert events_told(fed(session, octets, cuts)) == ["FAILED PROTOCOL_ERROR"]
        assert told(session.out)[-1] == "GOAWAY 0 PROTOCOL_ERROR"


def test_settings_are_acknowledged_in_order() -> None:
    session = ServerSession(Stream, Limits())
    session.out.clear()
    fed(session, START + ping(b"abcdefgh") + settings((3, 1)))
    assert told(session.out) == ["SETTINGS ACK", "PING abcdefgh ACK", "SETTINGS ACK"]


def test_settings_that_are_not_acknowledged() -> None:
    session = ServerSession(Stream, Limits(settings_seconds=5))
    assert session.awaiting == inf
    session.feed(PREFACE[:3], 100.0)
    assert session.awaiting == 100.0
    session.feed((START + OPEN)[3:], 104.0)
    assert session.awaiting == 100.0
    assert session.sweep(104.9) == []
    assert events_told(session.sweep(105.1)) == ["FAILED SETTINGS_TIMEOUT"]
    assert told(session.out)[-1] == "GOAWAY 1 SETTINGS_TIMEOUT"
    assert session.sweep(106.0) == []


def test_settings_that_are_acknowledged() -> None:
    session = begun(settings_seconds=5)
    assert session.awaiting == inf
    assert session.sweep(10_000.0) == []


# ---------------------------------------------------------------------------------------------------------------- what may be received


def test_the_window_of_a_stream_is_given_back_by_halves() -> None:
    session = begun(window=1000)
    stream = opened(session)
    assert stream.credit == 1000
    for _ in range(4):
        fed(session, data(1, bytes(250)))
    assert (stream.credit, stream.unread, stream.got) == (0, 1000, 1000)
    session.consumed(stream, 499)
    assert told(session.out) == []
    session.consumed(stream, 1)
    assert told(session.out) == ["WINDOW_UPDATE 1 500"]
    session.consumed(stream, 10_000)  # more than there is
    assert told(session.out) == ["WINDOW_UPDATE 1 500"]
    assert (stream.credit, stream.unread) == (1000, 0)
    assert events_told(fed(session, data(1, bytes(1001)))) == ["RESET 1 FLOW_CONTROL_ERROR"]


def test_padding_is_given_back_at_once() -> None:
    session = begun(window=1000)
    stream = opened(session)
    assert events_told(fed(session, data(1, b"abc", pad=255) + data(1, b"", pad=250))) == ["DATA 1 b'abc'"]
    assert told(session.out) == ["WINDOW_UPDATE 1 507"]
    assert (stream.credit, stream.unread, stream.taken) == (1000 - 3, 3, 0)


def test_no_window_for_a_body_that_is_complete() -> None:
    session = begun(window=1000)
    stream = opened(session)
    fed(session, data(1, bytes(900), end=True))
    session.consumed(stream, 900)
    assert told(session.out) == []


def test_before_the_settings_are_acknowledged_the_old_window_holds() -> None:
    session = begun(ack=False, window=100)
    stream = opened(session)
    assert stream.credit == 65535
    assert events_told(fed(session, data(1, b"a" * 150))) == [f"DATA 1 {b'a' * 150!r}"]
    fed(session, settings(ack=True))
    assert stream.credit == -50
    assert opened(session, headers(3, POST, end=False)).credit == 100
    session.consumed(stream, 150)
    assert stream.credit == 100


def test_a_larger_window_holds_at_once() -> None:
    session = begun(ack=False, window=100_000)
    assert opened(session).credit == 100_000
    fed(session, settings(ack=True))
    assert session.streams[1].credit == 100_000


def test_the_window_of_the_connection_is_given_back_as_octets_arrive() -> None:
    session = begun(window=1 << 20, connection_window=100_000)
    opened(session)
    for _ in range(3):
        fed(session, data(1, bytes(16384)))
    assert told(session.out) == []
    fed(session, data(1, bytes(16384)))
    assert told(session.out) == ["WINDOW_UPDATE 0 65536"]
    for _ in range(3):
        fed(session, data(1, bytes(16384)))
    assert told(session.out) == []
    fed(session, data(1, bytes(16384)))
    assert told(session.out) == ["WINDOW_UPDATE 0 65536"]


def test_more_than_the_window_of_the_connection() -> None:
    session = begun(window=1 << 20, connection_window=65535, buffered_octets=65535)
    opened(session)
    assert events_told(fed(session, data(1, bytes(16384)) * 5))[-1] == "FAILED FLOW_CONTROL_ERROR"


def test_octets_that_wait_are_bounded() -> None:
    """While `buffered_octets` wait, the window of the connection comes back as they are consumed, and not before."""
    session = begun(window=1 << 20, connection_window=200_000, buffered_octets=300_000, resets_per_second=1000)
    one, other = opened(session), opened(session, headers(3, POST, end=False))
    credit = 200_000

    def sent(number: int) -> int:
        nonlocal credit
        octets = 0
        while credit >= 16384:
            assert all(event.startswith("DATA") for event in events_told(fed(session, data(number, bytes(16384)))))
            credit -= 16384
            octets += 16384
            credit += sum(int(line.split()[2]) for line in told(session.out) if line.startswith("WINDOW_UPDATE 0"))
        return octets

    assert 250_000 < sent(1) < 330_000
    assert sent(3) == 0
    session.consumed(one, 100_000)
    credit += sum(int(line.split()[2]) for line in told(session.out) if line.startswith("WINDOW_UPDATE 0"))
    assert 50_000 < sent(3) < 150_000
    session.reset(one, 8)
    session.done(one, 8)  # nobody will consume the rest
    credit += sum(int(line.split()[2]) for line in told(session.out) if line.startswith("WINDOW_UPDATE 0"))
    assert sent(3) > 100_000
    assert other.unread <= 330_000


@pytest.mark.parametrize("octets", [1, 1000, 16384, 65535, 70_000])
def test_little_room_stops_nothing(octets: int) -> None:
    """With any `buffered_octets` and `connection_window` a body goes on as long as it is consumed."""
    session = begun(buffered_octets=octets, connection_window=octets, window=1 << 20)
    stream, credit = opened(session), max(octets, 65535)
    for _ in range(100):
        size = min(16384, credit)
        assert size
        fed(session, data(1, bytes(size)))
        session.consumed(stream, size)
        credit += sum(int(line.split()[2]) for line in told(session.out) if line.startswith("WINDOW_UPDATE 0")) - size


@bounded(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((1, 3, 5)), st.sampled_from(("data", "consume", "done")), st.integers(0, 9000)), max_size=80)
)
def test_the_count_of_waiting_octets_is_that_of_the_streams(steps: list[tuple[int, str, int]]) -> None:
    session = begun(window=1 << 20, connection_window=70_000, buffered_octets=90_000)
    streams = {number: opened(session, headers(number, POST, end=False)) for number in (1, 3, 5)}
    credit, gone = session._credit, set()
    for number, what, octets in steps:
        if what == "data" and octets <= credit and number not in gone:
            fed(session, data(number, bytes(octets) or b"x"))
            credit -= octets or 1
        elif what == "consume":
            session.consumed(streams[number], octets)
        elif what == "done" and number not in gone and octets > 6000:
            gone.add(number)
            session.done(streams[number], 0)
        lines = told(session.out)
        credit += sum(int(line.split()[2]) for line in lines if line.startswith("WINDOW_UPDATE 0"))
        assert credit == session._credit <= 70_000
        assert session._unread == sum(stream.unread for stream in streams.values()) <= 90_000 + 16_384
        assert credit + session._unread <= 90_000 + 16_384


# -------------------------------------------------------------------------------------------------------------------- what may be sent


def test_frames_of_a_response() -> None:
    session = begun()
    stream = opened(session, headers(1))
    session.head(stream, b"\x08\x03103", False)
    session.head(stream, b"\x88", False)
    assert session.data(stream, b"abc", False) == 3
    assert session.data(stream, memoryview(b"defg"), False) == 4
    session.head(stream, block([("a", "b")]), True)
    assert b"".join(bytes(one) for one in session.out).count(b"abc") == 1
    assert told(session.out) == ["HEADERS 1", "HEADERS 1", "DATA 1 3", "DATA 1 4", "HEADERS 1 END"]
    assert session.streams == {}
    session.head(stream, b"\x88", True)
    assert session.data(stream, b"late", True) == 0
    assert told(session.out) == []


def test_an_empty_end_needs_no_window() -> None:
    session = begun()
    stream = opened(session, headers(1))
    fed(session, settings((4, 0)))
    session.out.clear()
    session.window = 0
    assert session.data(stream, b"a", True) == 0
    assert session.data(stream, b"", True) == 0
    assert told(session.out) == ["DATA 1 0 END"]


def test_an_empty_end_with_a_negative_window() -> None:
    session = begun()
    stream = opened(session, headers(1))
    assert session.data(stream, bytes(1000), False) == 1000
    fed(session, settings((4, 100)))
    assert stream.window == -900
    session.out.clear()
    assert session.data(stream, b"a", False) == 0
    assert session.data(stream, b"", True) == 0
    assert told(session.out) == ["DATA 1 0 END"]


def test_frames_no_larger_than_the_peer_takes() -> None:
    session = begun()
    stream = opened(session, headers(1))
    assert session.data(stream, bytes(40_000), False) == 40_000
    assert told(session.out) == ["DATA 1 16384", "DATA 1 16384", "DATA 1 7232"]
    fed(session, settings((5, 20_000), (4, 1 << 20)) + window(0, 1 << 20))
    session.out.clear()
    assert session.data(stream, bytes(40_000), True) == 40_000
    assert told(session.out) == ["DATA 1 20000", "DATA 1 20000 END"]
    other = opened(session, settings((5, 1 << 24 - 1)) + headers(3))
    session.data(other, bytes(100_000), False)
    assert told(session.out) == ["DATA 3 65536", "DATA 3 34464"]


def test_a_block_larger_than_a_frame() -> None:
    session = begun()
    stream = opened(session, headers(1))
    session.head(stream, bytes(16384), False)
    session.head(stream, bytes(16385), False)
    session.head(stream, bytes(40_000), True)
    assert told(session.out) == [
        "HEADERS 1",
        "HEADERS 1 MORE",
        "CONTINUATION 1",
        "HEADERS 1 END MORE",
        "CONTINUATION 1 MORE",
        "CONTINUATION 1",
    ]


def test_both_windows_hold() -> None:
    session = begun()
    one, other = opened(session, headers(1)), opened(session, headers(3))
    assert session.data(one, bytes(60_000), True) == 60_000
    assert session.data(other, bytes(60_000), True) == 5535
    assert (one.window, other.window, session.window) == (5535, 60_000, 0)
    assert not other.answered
    assert events_told(fed(session, window(0, 10))) == ["ROOM"]
    assert session.data(other, bytes(60_000), True) == 10
    assert events_told(fed(session, window(0, 100_000))) == ["ROOM"]
    assert events_told(fed(session, window(0, 100_000))) == []  # it was not exhausted
    assert session.data(other, bytes(60_000), True) == 59_990
    assert events_told(fed(session, window(3, 100_000))) == ["ROOM 3"]
    assert events_told(fed(session, window(3, 1))) == []


def test_room_on_a_stream_that_ends_in_the_same_read() -> None:
    """The owner hears of the room first. It must not find any, or it would try for ever."""
    session = begun()
    stream = opened(session, headers(1))
    assert session.data(stream, bytes(70_000), True) == 65535
    assert events_told(fed(session, window(1, 1000) + window(0, 1000) + rst(1))) == ["ROOM 1", "ROOM", "RESET 1 CANCEL"]
    assert stream.window == 0
    assert session.data(stream, bytes(10), True) == 0
    session.out.clear()
    other = opened(session, headers(3))
    assert events_told(fed(session, window(3, 0))) == ["RESET 3 PROTOCOL_ERROR"]
    assert other.window == 0


def test_windows_change_with_the_setting() -> None:
    """RFC 9113, section 6.9.2: the example with a negative window."""
    session = begun()
    stream = opened(session, headers(1))
    assert session.data(stream, bytes(60 * 1024), False) == 60 * 1024
    assert events_told(fed(session, settings((4, 16 * 1024)))) == []
    assert stream.window == -44 * 1024
    assert opened(session, headers(3)).window == 16 * 1024
    assert events_told(fed(session, window(1, 44 * 1024))) == []
    assert events_told(fed(session, window(1, 1))) == ["ROOM 1"]
    assert session.data(stream, b"ab", False) == 1
    assert events_told(fed(session, settings((4, 0), (4, 16 * 1024 + 2)))) == ["ROOM 1", "ROOM 3"]
    assert events_told(fed(session, settings((4, 2**31 - 1)))) == []


def test_a_window_may_reach_its_maximum() -> None:
    session = begun()
    stream = opened(session, headers(1))
    assert fed(session, window(1, 2**31 - 1 - 65535) + window(0, 2**31 - 1 - 65535)) == []
    assert stream.window == session.window == 2**31 - 1
    assert events_told(fed(session, window(1, 1))) == ["RESET 1 FLOW_CONTROL_ERROR"]
    assert events_told(fed(session, window(0, 1))) == ["FAILED FLOW_CONTROL_ERROR"]


def test_a_smaller_table_is_obeyed_in_the_next_block() -> None:
    """RFC 7541, section 4.2. An encoder without a table begins with the instruction all the same."""
    session = begun()
    stream = opened(session, settings((1, 0)) + headers(1))
    session.head(stream, b"\x88", False)
    session.head(stream, b"\x88", False)
    assert [bytes(one)[9:] for one in session.out] == [b"\x20\x88", b"\x88"]
    session = begun()
    stream = opened(session, settings((1, 4096), (1, 65536)) + headers(1))
    session.head(stream, b"\x88", False)
    assert [bytes(one)[9:] for one in session.out] == [b"\x88"]


@given(
    st.lists(
        st.tuples(st.sampled_from(("data", "stream", "connection", "initial")), st.integers(1, 70_000)),
        max_size=40,
    )
)
def test_never_more_than_a_window(steps: list[tuple[str, int]]) -> None:
    session = begun()
    stream = opened(session, headers(1))
    mine, whole, initial = 65535, 65535, 65535
    for what, octets in steps:
        if what == "data":
            sent = session.data(stream, bytes(octets), False)
            assert sent == max(0, min(octets, mine, whole))
            mine -= sent
            whole -= sent
            assert sum(int(line.split()[2]) for line in told(session.out) if line.startswith("DATA")) == sent
        else:
            before = mine, whole
            if what == "stream":
                mine += octets
                events = fed(session, window(1, octets))
            elif what == "connection":
                whole += octets
                events = fed(session, window(0, octets))
            else:
                mine += octets - initial
                initial = octets
                events = fed(session, settings((4, octets)))
            assert events_told(events) == ["ROOM 1"] * (before[0] <= 0 < mine) + ["ROOM"] * (before[1] <= 0 < whole)
        assert (stream.window, session.window) == (mine, whole)


# ------------------------------------------------------------------------------------------------------------------------ requests


def test_requests_above_the_limit_are_refused_until_one_is_done() -> None:
    session = begun(max_streams=2)
    one, _ = opened(session, headers(1)), opened(session, headers(3))
    assert fed(session, headers(5)) == []
    assert told(session.out) == ["RST_STREAM 5 REFUSED_STREAM"]
    session.head(one, b"\x88", True)
    session.out.clear()
    assert fed(session, headers(7)) == []
    assert told(session.out) == ["RST_STREAM 7 REFUSED_STREAM"]
    session.done(one, 0)
    assert events_told(fed(session, headers(9))) == ["REQUEST 9"]
    assert session.working == 2


def test_a_stream_that_the_client_resets_counts_until_it_is_done() -> None:
    session = begun(max_streams=1)
    stream = opened(session)
    assert events_told(fed(session, rst(1))) == ["RESET 1 CANCEL"]
    assert not (stream.sending or stream.receiving or stream.answered)
    assert fed(session, headers(3)) == []
    session.done(stream, 8)
    assert events_told(fed(session, headers(5))) == ["REQUEST 5"]


def test_what_must_not_be_started() -> None:
    session = begun(max_streams=3)
    events = fed(session, b"".join(headers(number) + rst(number) for number in range(1, 21, 2)))
    assert events_told(events) == [
        f"{what} {number}{code}" for number in (1, 3, 5) for what, code in (("REQUEST", ""), ("RESET", " CANCEL"))
    ]
    assert not any(stream.sending for _, stream, _ in events)
    assert session.working == 3 and not session.streams
    for stream in {id(stream): stream for _, stream, _ in events}.values():
        session.done(stream, 8)
    assert session.working == 0


def test_heads_that_are_worked_on_are_bounded_together() -> None:
    session = begun(head_octets=5000)
    large = (*GET, ("x", "y" * 3000))
    first, second = opened(session, headers(1, large)), opened(session, headers(3))
    assert fed(session, headers(5, large)) == []
    assert told(session.out) == ["RST_STREAM 5 REFUSED_STREAM"]
    session.head(first, b"\x88", True)
    session.out.clear()
    assert fed(session, headers(7, large)) == [], "what was answered counts until nobody works for it"
    session.done(first, 8)
    session.out.clear()
    opened(session, headers(9, large))
    assert told(session.out) == []
    session.done(second, 8)


def test_a_head_alone_is_never_refused_for_its_size() -> None:
    session = begun(head_octets=1024)
    large = (*GET, ("x", "y" * 3000))
    for number in (1, 3):
        session.done(opened(session, headers(number, large)), 8)


def test_heads_that_are_too_large_count_as_well() -> None:
    """Each has an answer that may wait for a window."""
    session = begun(header_list_size=1000, head_octets=2000)
    large = (*GET, ("x", "y" * 2000))
    events = fed(session, b"".join(headers(number, large) for number in (1, 3, 5)))
    assert events_told(events) == ["REQUEST 1 431", "REQUEST 3 431"]
    assert told(session.out) == ["RST_STREAM 5 REFUSED_STREAM"]


def test_when_a_head_began_that_is_not_complete() -> None:
    session = begun()
    whole, part = headers(1), frame(1, 1, 3, block(GET)[:3])
    assert session.heading == inf
    for now, octets, began in (
        (1.0, whole + part[:5], 1.0),
        (2.0, part[5:11], 1.0),  # a frame alone
        (3.0, part[11:], 3.0),  # complete; its block is not
        (4.0, continuation(3, block(GET)[3:5], False) + b"\0", 3.0),
        (5.0, continuation(3, block(GET)[5:], True)[1:] + headers(5)[:8], 5.0),
        (6.0, headers(5)[8:] + data(7, b"x" * 100)[:20], inf),
    ):
        fed(session, octets, now=1000.0 + now)
        assert session.heading - 1000.0 == began, now


def test_a_request_that_is_too_large_is_answered() -> None:
    session = begun(header_list_size=1000)
    events = fed(session, headers(1, (*GET, ("x", "y" * 2000))) + headers(3))
    assert events_told(events) == ["REQUEST 1 431", "REQUEST 3"]


def test_a_request_that_http_1_would_refuse_for_its_size_is_answered() -> None:
    session = begun(header_size=1000)
    assert events_told(fed(session, headers(1, (*GET, ("x", "y" * 900))))) == ["REQUEST 1"]
    assert events_told(fed(session, headers(3, (*GET, ("x", "y" * 1000))))) == ["REQUEST 3 431"]


def test_trailers_that_are_too_large() -> None:
    session = begun(header_list_size=1000)
    assert events_told(fed(session, OPEN + headers(1, [("x", "y" * 2000)]))) == ["REQUEST 1", "RESET 1 ENHANCE_YOUR_CALM"]


def test_a_request_with_too_many_fields_is_answered() -> None:
    session = begun(header_count=10)
    assert events_told(fed(session, headers(1, (*GET, *((f"x{n}", "y") for n in range(20)))))) == ["REQUEST 1 431"]


def test_done_ends_what_is_open() -> None:
    session = begun()
    stream = opened(session, headers(1))
    session.head(stream, b"\x88", False)
    session.out.clear()
    session.done(stream, 2)
    assert told(session.out) == ["RST_STREAM 1 INTERNAL_ERROR"]
    assert not session.streams and not session.lingering
    stream = opened(session, headers(3))
    session.head(stream, b"\x88", True)
    session.out.clear()
    session.done(stream, 2)
    assert told(session.out) == []


# -------------------------------------------------------------------------------------------- an answer before the end of its request


def lingers(**limits: Any) -> tuple[ServerSession, Stream]:
    session = begun(**limits)
    stream = opened(session)
    fed(session, data(1, bytes(1000)))
    session.head(stream, b"\x88", True)
    session.done(stream, 0)
    assert told(session.out)[0] == "HEADERS 1 END"
    assert list(session.lingering) == [1] and session.working == 0
    return session, stream


def test_what_still_arrives_is_thrown_away() -> None:
    session, stream = lingers(window=2000)
    assert fed(session, data(1, bytes(1000)) + window(1, 5) + settings((4, 70_000))) == []
    assert told(session.out) == ["SETTINGS ACK"]
    assert fed(session, data(1, b"rest", end=True)) == []
    assert not session.lingering and not session.streams
    assert stream.unread == session._unread == 0
    assert events_told(fed(session, data(1, b"a"))) == []
    assert told(session.out) == ["RST_STREAM 1 STREAM_CLOSED"]


@pytest.mark.parametrize(
    ("length", "octets", "line"),
    [
        (None, 50_000, "WINDOW_UPDATE 1 49000"),  # the client had 1,000 left
        (1500, 50_000, None),
        (2001, 50_000, "WINDOW_UPDATE 1 49000"),
        (None, 1000, None),
        (None, 0, None),
    ],
)
def test_the_window_for_it_is_given_at_once(length: int | None, octets: int, line: str | None) -> None:
    """curl 7.88 reads no WINDOW_UPDATE that comes later than a whole answer."""
    session = begun(window=2000, linger_octets=octets)
    stream = opened(session, headers(1, [*POST, *([("content-length", str(length))] if length else [])], end=False))
    fed(session, data(1, bytes(1000)))
    session.head(stream, b"\x88", True)
    session.done(stream, 0)
    assert told(session.out) == ["HEADERS 1 END"] + ([line] if line else [])
    assert stream.credit == (octets if line else 1000)
    fed(session, data(1, bytes(600)))
    fed(session, data(1, bytes(400)))
    if length is None:
        assert (1 in session.lingering) == (octets > 1000)


@pytest.mark.parametrize("octets", [headers(1, [("a", "b")]), rst(1), data(1, end=True), headers(1, GET)])
def test_the_end_of_what_lingers(octets: bytes) -> None:
    session, _ = lingers()
    assert fed(session, octets) == []
    assert not session.lingering and not session.streams


def test_it_ends_after_some_octets() -> None:
    session, _ = lingers(linger_octets=20_000)
    assert fed(session, data(1, bytes(16384))) == []
    assert told(session.out) == []
    assert fed(session, data(1, bytes(3615))) == []
    assert told(session.out) == []
    assert fed(session, data(1, bytes(1))) == []
    assert told(session.out) == ["RST_STREAM 1 NO_ERROR"]
    assert not session.lingering and not session.streams
    assert fed(session, data(1, bytes(4000))) == []
    assert told(session.out) == []


def test_it_ends_after_some_seconds() -> None:
    session, _ = lingers(linger_seconds=2)
    session.sweep(5000.0)
    session.sweep(5001.9)
    assert told(session.out) == []
    session.sweep(5002.0)
    assert told(session.out) == ["RST_STREAM 1 NO_ERROR"]
    assert not session.lingering and not session.streams


def test_nothing_is_said_behind_a_failure() -> None:
    session, _ = lingers()
    session.sweep(5000.0)
    session.fail(2, "why")
    session.out.clear()
    assert session.sweep(9000.0) == []
    assert told(session.out) == []


def test_few_linger() -> None:
    session = begun(max_streams=3)
    for number in (1, 3, 5, 7, 9):
        stream = opened(session, headers(number, POST, end=False))
        session.head(stream, b"\x88", True)
        session.done(stream, 0)
        assert len(session.lingering) <= 3
    assert list(session.lingering) == list(session.streams) == [5, 7, 9]


# ------------------------------------------------------------------------------------------------------------------------------ GOAWAY


def test_a_drain() -> None:
    """RFC 9113, section 6.8: the announcement, a moment, and the number that holds."""
    session = begun()
    session.goaway(0, 2**31 - 1)
    assert events_told(fed(session, headers(1))) == ["REQUEST 1"]
    session.goaway(0, session.last)
    assert told(session.out) == [f"GOAWAY {2**31 - 1} NO_ERROR", "GOAWAY 1 NO_ERROR"]
    assert session.going
    assert fed(session, headers(3) + headers(5, POST, end=False) + data(5, b"abc")) == []
    assert told(session.out) == ["RST_STREAM 3 REFUSED_STREAM", "RST_STREAM 5 REFUSED_STREAM"]
    stream = session.streams[1]
    session.head(stream, b"\x88", True)
    session.done(stream, 0)
    session.goaway(0, session.last)
    session.fail(2, "why")
    assert told(session.out) == ["HEADERS 1 END", "GOAWAY 1 NO_ERROR", "GOAWAY 1 INTERNAL_ERROR"]


def test_a_failure_is_said_once() -> None:
    session = begun()
    session.fail(2, "the r\xe9ason")
    session.fail(1, "another")
    assert b"".join(bytes(one) for one in session.out).endswith(b"the r?ason")
    assert told(session.out) == ["GOAWAY 0 INTERNAL_ERROR"]
    assert (session.failed, session.fault) == (2, "the r\xe9ason")
    assert fed(session, headers(1)) == []


def test_pings_of_ours() -> None:
    session = begun()
    session.ping(b"abcdefgh")
    assert told(session.out) == ["PING abcdefgh"]
    assert events_told(fed(session, ping(b"abcdefgh", ack=True) + goaway(0, 0))) == ["PONG b'abcdefgh'", "GONE NO_ERROR 0"]
    assert fed(session, ping(b"abcdefgh", ack=True)) == []


# -------------------------------------------------------------------------------------------------------------------------- priorities


def urgency(session: ServerSession, number: int) -> tuple[int, bool]:
    return session.streams[number].urgency, session.streams[number].incremental


def test_priorities() -> None:
    """RFC 9218: the field, a frame before the request, and one after it."""
    session = begun()
    fed(session, headers(1) + headers(3, (*GET, ("priority", "u=1, i"))) + headers(5, (*GET, ("priority", "u=1, i"))))
    assert [urgency(session, number) for number in (1, 3, 5)] == [(3, False), (1, True), (1, True)]
    fed(session, headers(7, (*GET, ("priority", "u=5"), ("priority", "i"))) + headers(9))
    assert [urgency(session, number) for number in (7, 9)] == [(5, True), (3, False)]
    fed(session, priority_update(11, b"u=0") + priority_update(11, b"u=2") + headers(11, (*GET, ("priority", "u=7"))))
    assert urgency(session, 11) == (2, False)
    fed(session, priority_update(11, b"i") + priority_update(9, b"u=6"))
    assert [urgency(session, number) for number in (9, 11)] == [(6, False), (3, True)]
    assert fed(session, priority_update(9, b"no value!") + rst(9) + priority_update(9, b"u=1") + headers(13)) != []
    assert urgency(session, 13) == (3, False)


def test_priorities_of_equal_blocks_are_those_of_each() -> None:
    session = begun()
    plain, urgent = headers(1)[9:], headers(1, (*GET, ("priority", "u=0")))[9:]
    found = []
    for number, octets in zip(range(1, 17, 2), (plain, plain, urgent, urgent, plain, urgent, plain, plain), strict=True):
        fed(session, len(octets).to_bytes(3, "big") + b"\1\5" + number.to_bytes(4, "big") + octets)
        found.append(urgency(session, number)[0])
    assert found == [3, 3, 0, 0, 3, 0, 3, 3]


def test_priorities_of_streams_to_come_are_bounded() -> None:
    session = begun(max_streams=5)
    for number in range(1, 201, 2):
        fed(session, priority_update(number, b"u=0"))
    assert len(session._early) == 5
    fed(session, headers(1) + headers(195))
    assert (urgency(session, 1)[0], urgency(session, 195)[0]) == (3, 0)
