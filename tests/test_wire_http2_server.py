"""The server's side of HTTP/2: each state of a stream × each frame, each rule of RFC 9113 with the error that goes out, cut at every octet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
    priority,
    priority_update,
    rst,
    settings,
    told,
    window,
)

START = PREFACE + settings()
OPEN = headers(1, POST, end=False)
ANSWER = b"\x88"


def server(**limits: Any) -> ServerSession:
    return ServerSession(Stream, Limits(**limits))


def begun(**limits: Any) -> ServerSession:
    """After the greetings."""
    session = server(**limits)
    assert session.feed(START + settings(ack=True), 1000.0) == []
    session.out.clear()
    return session


def answer(session: ServerSession) -> None:
    for stream in list(session.streams.values()):
        session.head(stream, ANSWER, True)
    session.out.clear()


def reset(session: ServerSession) -> None:
    session.reset(session.streams[1], 8)
    session.out.clear()


def nothing(session: ServerSession) -> None:
    pass


# ------------------------------------------------------------------------------------------------------------------- states × frames

STATES: dict[str, tuple[bytes, Callable[[ServerSession], None]]] = {
    "idle": (b"", nothing),
    "open": (OPEN, nothing),
    "remote": (headers(1), nothing),  # half-closed (remote): the client has sent END_STREAM
    "local": (OPEN, answer),  # half-closed (local): we have
    "ended": (headers(1), answer),
    "theirs": (OPEN + rst(1), nothing),  # closed by their reset
    "ours": (OPEN, reset),  # closed by our reset
    "skipped": (headers(3), nothing),  # closed by a higher number
}

FRAMES: dict[str, bytes] = {
    "HEADERS": headers(1),
    "HEADERS-open": OPEN,
    "trailers": headers(1, [("a", "b")]),
    "DATA": data(1, b"abc"),
    "DATA-end": data(1, b"abc", end=True),
    "PRIORITY": priority(1, 5),
    "PRIORITY-self": priority(1, 1),
    "PRIORITY-size": frame(2, 0, 1, b"1234"),
    "RST_STREAM": rst(1),
    "RST_STREAM-size": frame(3, 0, 1, b"123"),
    "SETTINGS": frame(4, 0, 1),
    "PUSH_PROMISE": frame(5, 4, 1, b"\0\0\0\2" + block(GET)),
    "PING": frame(6, 0, 1, b"12345678"),
    "GOAWAY": frame(7, 0, 1, bytes(8)),
    "WINDOW_UPDATE": window(1, 10),
    "WINDOW_UPDATE-0": window(1, 0),
    "WINDOW_UPDATE-max": window(1, 2**31 - 1),
    "CONTINUATION": continuation(1, b"", True),
    "PRIORITY_UPDATE": priority_update(1, b"u=1"),
    "PRIORITY_UPDATE-on": priority_update(1, b"u=1", on=1),
    "unknown": frame(99, 255, 1, b"abc"),
}

C, S = "connection ", "stream "
PROTOCOL, CLOSED, SIZE, FLOW = "PROTOCOL_ERROR", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "FLOW_CONTROL_ERROR"
ALL_PROTOCOL = dict.fromkeys(STATES, C + PROTOCOL)
IGNORED = dict.fromkeys(STATES, "")
NOT_OPEN = dict.fromkeys(("idle", "ended", "theirs", "ours", "skipped"), C + PROTOCOL)

MATRIX: dict[str, dict[str, str]] = {
    "HEADERS": {
        "idle": "REQUEST 1",
        "open": S + PROTOCOL,  # trailers with pseudo-header fields
        "remote": S + CLOSED,
        "local": S + PROTOCOL,
        "ended": C + CLOSED,
        "theirs": C + CLOSED,
        "ours": "",
        "skipped": C + PROTOCOL,
    },
    "HEADERS-open": {
        "idle": "REQUEST 1",
        "open": S + PROTOCOL,
        "remote": S + CLOSED,
        "local": S + PROTOCOL,
        "ended": C + CLOSED,
        "theirs": C + CLOSED,
        "ours": "",
        "skipped": C + PROTOCOL,
    },
    "trailers": {
        "idle": S + PROTOCOL,  # a request without a method
        "open": "END 1 b'a: b\\r\\n'",
        "remote": S + CLOSED,
        "local": "END 1 b'a: b\\r\\n'",
        "ended": C + CLOSED,
        "theirs": C + CLOSED,
        "ours": "",
        "skipped": C + PROTOCOL,
    },
    "DATA": {
        "idle": C + PROTOCOL,
        "open": "DATA 1 b'abc'",
        "remote": S + CLOSED,
        "local": "DATA 1 b'abc'",
        "ended": S + CLOSED,
        "theirs": S + CLOSED,
        "ours": "",
        "skipped": S + CLOSED,
    },
    "DATA-end": {
        "idle": C + PROTOCOL,
        "open": "DATA 1 b'abc', END 1 b''",
        "remote": S + CLOSED,
        "local": "DATA 1 b'abc', END 1 b''",
        "ended": S + CLOSED,
        "theirs": S + CLOSED,
        "ours": "",
        "skipped": S + CLOSED,
    },
    "PRIORITY": IGNORED,
    "PRIORITY-self": {state: NOT_OPEN.get(state, S + PROTOCOL) for state in STATES},
    "PRIORITY-size": {state: C + SIZE if state in NOT_OPEN else S + SIZE for state in STATES},
    "RST_STREAM": IGNORED | {"idle": C + PROTOCOL, "open": "RESET 1 CANCEL", "remote": "RESET 1 CANCEL", "local": "RESET 1 CANCEL"},
    "RST_STREAM-size": dict.fromkeys(STATES, C + SIZE),
    "SETTINGS": ALL_PROTOCOL,
    "PUSH_PROMISE": ALL_PROTOCOL,
    "PING": ALL_PROTOCOL,
    "GOAWAY": ALL_PROTOCOL,
    "WINDOW_UPDATE": IGNORED | {"idle": C + PROTOCOL},
    "WINDOW_UPDATE-0": {
        state: NOT_OPEN.get(state, S + PROTOCOL) if state in ("idle", "open", "remote", "local") else "" for state in STATES
    },
    "WINDOW_UPDATE-max": IGNORED | {"idle": C + PROTOCOL, "open": S + FLOW, "remote": S + FLOW, "local": S + FLOW},
    "CONTINUATION": ALL_PROTOCOL,
    "PRIORITY_UPDATE": IGNORED,
    "PRIORITY_UPDATE-on": ALL_PROTOCOL,
    "unknown": IGNORED,
}


def test_the_matrix_is_whole() -> None:
    assert MATRIX.keys() == FRAMES.keys()
    assert all(row.keys() == STATES.keys() for row in MATRIX.values())


def expected(outcome: str, session: ServerSession, events: list[str], out: list[str], last: int = 1) -> None:
    """outcome: a connection error, a stream error, or the events."""
    kind, _, code = outcome.partition(" ")
    if kind == "connection":
        assert events[-1] == f"FAILED {code}"
        assert out[-1] == f"GOAWAY {last} {code}"
        assert session.failed >= 0 and session.fault
        assert session.feed(ping(), 1000.0) == [] and not session.out
    elif kind == "stream":
        assert f"RST_STREAM 1 {code}" in out
        assert not any(event.startswith("FAILED") for event in events)
        assert not any(line.startswith("GOAWAY") for line in out)
    else:
        assert ", ".join(events) == outcome
        assert not out


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", FRAMES)
def test_each_frame_in_each_state(state: str, name: str) -> None:
    before, then = STATES[state]
    last = {"idle": 1 if name.startswith(("HEADERS", "trailers")) else 0, "skipped": 3}.get(state, 1)
    results = []
    size = len(FRAMES[name])
    for cuts in ([], *([cut] for cut in range(1, size)), range(1, size)):
        session = begun()
        fed(session, before)
        session.out.clear()
        then(session)
        handed = 1 in session.streams
        events = events_told(fed(session, FRAMES[name], cuts))
        out = told(session.out)
        results.append((events, out))
        if cuts == []:
            outcome = MATRIX[name][state]
            expected(outcome, session, events, out, last)
            if outcome.startswith(S):
                assert events == ([f"RESET 1 {outcome[len(S) :]}"] if handed else []) or name.startswith("WINDOW_UPDATE")
                assert 1 not in session.streams
                assert fed(session, headers(5)), "the connection goes on"
    assert all(result == results[0] for result in results)


# ----------------------------------------------------------------------------------------------------------------------- every MUST

PADDED_HEADERS = frame(1, 4 | 1 | 8, 1, b"\3" + block(GET) + bytes(3))
RULES: list[tuple[str, bytes, str]] = [
    # 4.1, 4.2
    ("4.2 a frame above SETTINGS_MAX_FRAME_SIZE", frame(0, 0, 1, bytes(16385)), C + SIZE),
    ("4.2 an unknown one, too", frame(77, 0, 0, bytes(16385)), C + SIZE),
    ("4.2 the largest frame", OPEN + data(1, bytes(16384)), f"REQUEST 1, DATA 1 {bytes(16384)!r}"),
    ("4.1 the reserved bit is ignored", frame(1, 5, 1 | 1 << 31, block(GET)), "REQUEST 1"),
    ("4.1 flags without meaning are ignored", frame(1, 0xD7 | 5, 1, block(GET)), "REQUEST 1"),
    # 4.3
    ("4.3 a block that is cut off", frame(1, 5, 1, block(GET)[:-1]), C + "COMPRESSION_ERROR"),
    ("4.3 an index that does not exist", frame(1, 5, 1, b"\xff\x7f"), C + "COMPRESSION_ERROR"),
    ("4.3 a block in pieces", frame(1, 1, 1, block(GET)[:3]) + continuation(1, block(GET)[3:], True), "REQUEST 1"),
    (
        "4.3 a block in more pieces",
        frame(1, 1, 1) + continuation(1, block(GET)[:9], False) + continuation(1, block(GET)[9:], True),
        "REQUEST 1",
    ),
    ("4.3 another frame within a block", frame(1, 1, 1, block(GET)) + ping(), C + PROTOCOL),
    ("4.3 an unknown frame within a block", frame(1, 1, 1, block(GET)) + frame(99, 0, 1), C + PROTOCOL),
    ("4.3 another stream within a block", frame(1, 1, 1, block(GET)) + continuation(3, b"", True), C + PROTOCOL),
    ("4.3 HEADERS within a block", frame(1, 1, 1, block(GET)) + headers(3), C + PROTOCOL),
    # 5.1.1
    ("5.1.1 an even number", headers(2), C + PROTOCOL),
    ("5.1.1 the connection itself", headers(0), C + PROTOCOL),
    ("5.1.1 a number below an earlier one", headers(5) + headers(3), C + PROTOCOL),
    ("5.1.1 the same number again", headers(1) + headers(1), S + CLOSED),
    ("5.1.1 DATA on an even number", headers(5) + data(2, b"a"), C + PROTOCOL),
    ("5.1.1 RST_STREAM on an even number", headers(5) + rst(2), C + PROTOCOL),
    ("5.1.1 WINDOW_UPDATE on an even number", headers(5) + window(2, 1), C + PROTOCOL),
    ("5.1.1 HEADERS on an even number below", headers(5) + headers(2), C + PROTOCOL),
    ("5.1.1 the last number of all", headers(2**31 - 1), f"REQUEST {2**31 - 1}"),
    # 5.5
    ("5.5 unknown frames are ignored", frame(10, 0, 0) + frame(255, 255, 7, b"abc"), ""),
    # 6.1
    ("6.1 DATA on the connection", data(0, b"a"), C + PROTOCOL),
    ("6.1 padding", OPEN + data(1, b"abc", pad=5), "REQUEST 1, DATA 1 b'abc'"),
    ("6.1 padding alone", OPEN + data(1, b"", pad=5), "REQUEST 1"),
    ("6.1 as much padding as there is", OPEN + frame(0, 8, 1, b"\4abc"), C + PROTOCOL),
    ("6.1 all of it padding", OPEN + frame(0, 8 | 1, 1, b"\3abc"), "REQUEST 1, END 1 b''"),
    ("6.1 no length of the padding", OPEN + frame(0, 8, 1, b""), C + SIZE),
    ("6.1 empty, and the end", OPEN + data(1, end=True), "REQUEST 1, END 1 b''"),
    # 6.2
    ("6.2 padding", PADDED_HEADERS, "REQUEST 1"),
    ("6.2 more padding than there is", frame(1, 4 | 1 | 8, 1, b"\xff" + block(GET)), C + PROTOCOL),
    ("6.2 no length of the padding", frame(1, 4 | 1 | 8, 1), C + SIZE),
    ("6.2 a priority", frame(1, 4 | 1 | 32, 1, bytes(5) + block(GET)), "REQUEST 1"),
    ("6.2 a priority and padding", frame(1, 4 | 1 | 32 | 8, 1, b"\2" + bytes(5) + block(GET) + bytes(2)), "REQUEST 1"),
    ("6.2 too short for its priority", frame(1, 4 | 1 | 32, 1, b"abcd"), C + SIZE),
    ("6.2 padding that leaves no priority", frame(1, 4 | 1 | 32 | 8, 1, b"\2abcdef"), C + SIZE),
    ("5.3.1 a stream that depends on itself", frame(1, 4 | 1 | 32, 1, b"\0\0\0\1\0" + block(GET)), S + PROTOCOL),
    (
        "5.3.1 and its block in two frames",
        frame(1, 1 | 32, 1, b"\0\0\0\1\0" + block(GET)[:1]) + continuation(1, block(GET)[1:], True),
        S + PROTOCOL,
    ),
    # 6.3
    ("6.3 PRIORITY on the connection", priority(0), C + PROTOCOL),
    ("6.3 PRIORITY on a stream that is still idle", priority(7) + headers(1), "REQUEST 1"),
    # 6.4
    ("6.4 RST_STREAM on the connection", rst(0), C + PROTOCOL),
    ("6.4 an unknown error code", headers(1) + rst(1, 12345), "REQUEST 1, RESET 1 12345"),
    # 6.5
    ("6.5 SETTINGS of a wrong size", frame(4, 0, 0, b"12345"), C + SIZE),
    ("6.5 an acknowledgement with octets", frame(4, 1, 0, bytes(6)), C + SIZE),
    ("6.5 unknown settings are ignored", settings((7, 5), (0x1234, 2**32 - 1)) + headers(1), "REQUEST 1"),
    ("6.5 as many settings as are taken", settings(*[(4, 5)] * 32) + headers(1), "REQUEST 1"),
    ("6.5.2 ENABLE_PUSH 0", settings((2, 0)) + headers(1), "REQUEST 1"),
    ("6.5.2 ENABLE_PUSH 1", settings((2, 1)) + headers(1), "REQUEST 1"),
    ("6.5.2 ENABLE_PUSH 2", settings((2, 2)), C + PROTOCOL),
    ("6.5.2 INITIAL_WINDOW_SIZE 2^31", settings((4, 2**31)), C + FLOW),
    ("6.5.2 MAX_FRAME_SIZE 16383", settings((5, 16383)), C + PROTOCOL),
    ("6.5.2 MAX_FRAME_SIZE 2^24", settings((5, 2**24)), C + PROTOCOL),
    ("6.5.2 MAX_FRAME_SIZE 2^24-1", settings((5, 2**24 - 1)) + headers(1), "REQUEST 1"),
    ("RFC 8441, 3: ENABLE_CONNECT_PROTOCOL 2", settings((8, 2)), C + PROTOCOL),
    ("RFC 9218, 2.1: NO_RFC7540_PRIORITIES 2", settings((9, 2)), C + PROTOCOL),
    # 6.7, 6.8, 6.9
    ("6.7 PING of a wrong size", frame(6, 0, 0, b"1234567"), C + SIZE),
    ("6.7 an answer to no PING", ping(ack=True) + headers(1), "REQUEST 1"),
    ("6.8 GOAWAY of a wrong size", frame(7, 0, 0, b"1234567"), C + SIZE),
    ("6.8 GOAWAY with a text", goaway(0, 2, b"because"), "GONE INTERNAL_ERROR 0"),
    ("6.8 and the streams go on", headers(1) + goaway(0), "REQUEST 1, GONE NO_ERROR 0"),
    ("6.8 GOAWAY with more streams than before", goaway(4) + goaway(6), C + PROTOCOL),
    ("6.9 WINDOW_UPDATE of a wrong size", frame(8, 0, 0, b"123"), C + SIZE),
    ("6.9 and on a stream", headers(1) + frame(8, 0, 1, b"12345"), C + SIZE),
    ("6.9 WINDOW_UPDATE by 0 of the connection", window(0, 0), C + PROTOCOL),
    ("6.9 the reserved bit is ignored", window(0, 1 | 1 << 31) + headers(1), "REQUEST 1"),
    ("6.9.1 the window of the connection above 2^31-1", window(0, 2**31 - 1), C + FLOW),
    ("6.9.1 the window of a stream above 2^31-1", headers(1) + window(1, 2**31 - 1), S + FLOW),
    ("6.9.2 the same by a setting", headers(1) + window(1, 2**30) + settings((4, 2**31 - 1)), C + FLOW),
    ("6.9.1 more than the window of a stream", OPEN + data(1, bytes(16384)) * 4, S + FLOW),
    # 8.1
    ("8.1 trailers without the end", OPEN + headers(1, [("a", "b")], end=False), S + PROTOCOL),
    ("8.1 trailers that depend on themselves", OPEN + frame(1, 4 | 1 | 32, 1, b"\0\0\0\1\0" + block([("a", "b")])), S + PROTOCOL),
    ("8.1 trailers with a pseudo-header field", OPEN + headers(1, [(":path", "/")]), S + PROTOCOL),
    ("8.1.1 content-length without a body", headers(1, (*POST, ("content-length", "5"))), S + PROTOCOL),
    (
        "8.1.1 less than content-length",
        headers(1, (*POST, ("content-length", "5")), end=False) + data(1, b"abcd", end=True),
        S + PROTOCOL,
    ),
    ("8.1.1 more than content-length", headers(1, (*POST, ("content-length", "5")), end=False) + data(1, b"abcdef"), S + PROTOCOL),
    (
        "8.1.1 less, and then trailers",
        headers(1, (*POST, ("content-length", "5")), end=False) + data(1, b"abc") + headers(1, [("a", "b")]),
        S + PROTOCOL,
    ),
    (
        "8.1.1 content-length in two frames with padding",
        headers(1, (*POST, ("content-length", "5")), end=False) + data(1, b"abc", pad=9) + data(1, b"de", end=True),
        "REQUEST 1, DATA 1 b'abc', DATA 1 b'de', END 1 b''",
    ),
    ("8.2.2 a field of the connection", headers(1, (*GET, ("connection", "close"))), S + PROTOCOL),
    ("8.3 no method", headers(1, GET[1:]), S + PROTOCOL),
    ("8.4 PUSH_PROMISE", frame(5, 4, 1, b"\0\0\0\2" + block(GET)), C + PROTOCOL),
    (
        "8.5 trailers on a tunnel",
        headers(1, [(":method", "CONNECT"), (":authority", "a.test:80")], end=False) + headers(1, [("a", "b")]),
        S + PROTOCOL,
    ),
    # RFC 9218, 7.1
    ("7.1 PRIORITY_UPDATE too short", frame(16, 0, 0, b"123"), C + SIZE),
    ("7.1 PRIORITY_UPDATE of the connection", priority_update(0, b"u=1"), C + PROTOCOL),
    ("7.1 PRIORITY_UPDATE of an even number", priority_update(2, b"u=1"), C + PROTOCOL),
    ("7.1 PRIORITY_UPDATE without a value", priority_update(1, b"") + headers(1), "REQUEST 1"),
]


@pytest.mark.parametrize(("octets", "outcome"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_each_rule(octets: bytes, outcome: str) -> None:
    session = begun()
    events = fed(session, octets)
    out = [line for line in told(session.out) if not line.endswith("ACK")]
    expected(outcome, session, events_told(events), out, session.last)
    size = len(octets)
    for cuts in ([[cut] for cut in range(1, size)] if size < 300 else []) + [
        list(range(1, size)) if size < 30000 else [9, 10, 5000]
    ]:
        other = begun()
        assert events_told(fed(other, octets, cuts)) == events_told(events)
        assert [line for line in told(other.out) if not line.endswith("ACK")] == out
