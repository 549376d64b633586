"""The client's side of HTTP/2: each state of a stream × each frame of a server, the rules of RFC 9113, and h2 as the server."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from terraster.wire.http2.client import ClientSession
from terraster.wire.http2.events import DATA, END, FAILED, RESET, RESPONSE
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.streams import Stream

from .harness.http2 import (
    GET,
    POST,
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

OK = ((":status", "200"),)
TRAILERS = (("grpc-status", "0"),)


def begun(**limits: Any) -> ClientSession:
    """After the greetings."""
    session = ClientSession(Stream, Limits(**limits))
    assert session.feed(settings() + settings(ack=True), 1000.0) == []
    session.out.clear()
    return session


def opened(session: ClientSession, end: bool = True, method: bytes = b"GET") -> Stream:
    stream = session.open(block(GET), method, end)
    session.out.clear()
    return stream


# ------------------------------------------------------------------------------------------------------------------- states × frames


def asked(session: ClientSession) -> None:
    opened(session)


def asking(session: ClientSession) -> None:
    opened(session, False, b"POST")


def answered(session: ClientSession) -> None:
    opened(session)
    fed(session, headers(1, OK, end=False))


def early(session: ClientSession) -> None:
    opened(session, False, b"POST")
    fed(session, headers(1, OK))


def ended(session: ClientSession) -> None:
    opened(session)
    fed(session, headers(1, OK))


def theirs(session: ClientSession) -> None:
    opened(session)
    fed(session, rst(1))


def ours(session: ClientSession) -> None:
    session.done(opened(session))
    session.out.clear()


def unprocessed(session: ClientSession) -> None:
    opened(session)
    fed(session, goaway(0))


def nothing(session: ClientSession) -> None:
    pass


STATES: dict[str, Callable[[ClientSession], None]] = {
    "idle": nothing,
    "asked": asked,  # half-closed (local), no response head yet
    "asking": asking,  # open, no response head yet
    "answered": answered,  # half-closed (local), behind the head
    "early": early,  # half-closed (remote): the response is complete
    "ended": ended,
    "theirs": theirs,
    "ours": ours,
    "unprocessed": unprocessed,  # above the last stream of GOAWAY
}

FRAMES: dict[str, bytes] = {
    "HEADERS": headers(1, OK),
    "HEADERS-more": headers(1, OK, end=False),
    "interim": headers(1, [(":status", "103")], end=False),
    "interim-end": headers(1, [(":status", "103")]),
    "trailers": headers(1, TRAILERS),
    "request": headers(1, GET),
    "DATA": data(1, b"abc"),
    "DATA-end": data(1, b"abc", end=True),
    "DATA-empty": data(1, b"", end=True),
    "PRIORITY": priority(1, 5),
    "RST_STREAM": rst(1, 7),
    "RST_STREAM-size": frame(3, 0, 1, b"123"),
    "SETTINGS": frame(4, 0, 1),
    "PUSH_PROMISE": frame(5, 4, 1, b"\0\0\0\2" + block(GET)),
    "PING": frame(6, 0, 1, b"12345678"),
    "GOAWAY": frame(7, 0, 1, bytes(8)),
    "WINDOW_UPDATE": window(1, 10),
    "WINDOW_UPDATE-0": window(1, 0),
    "CONTINUATION": continuation(1, b"", True),
    "PRIORITY_UPDATE": priority_update(1, b"u=1"),
    "unknown": frame(99, 255, 1, b"abc"),
}

C, S = "connection ", "stream "
PROTOCOL, CLOSED, SIZE = "PROTOCOL_ERROR", "STREAM_CLOSED", "FRAME_SIZE_ERROR"
IDLE = {"idle": C + PROTOCOL}
BEHIND = {"early": S + CLOSED, "ended": C + CLOSED, "theirs": C + CLOSED, "ours": "", "unprocessed": ""}
DATA_BEHIND = BEHIND | {"ended": S + CLOSED, "theirs": S + CLOSED}
BAD = "RESPONSE 1 502, RESET 1 PROTOCOL_ERROR"
LATE = "RESET 1 PROTOCOL_ERROR"
ALL = dict.fromkeys(STATES, C + PROTOCOL)
NONE = dict.fromkeys(STATES, "")


def row(asked: str, asking: str, answered: str, behind: dict[str, str] = BEHIND) -> dict[str, str]:
    return IDLE | {"asked": asked, "asking": asking, "answered": answered} | behind


MATRIX: dict[str, dict[str, str]] = {
    "HEADERS": row("RESPONSE 1 200", "RESPONSE 1 200", LATE),
    "HEADERS-more": row("RESPONSE 1 200", "RESPONSE 1 200", LATE),
    "interim": row("INTERIM 1 103", "INTERIM 1 103", LATE),
    "interim-end": row(BAD, BAD, LATE),
    "trailers": row(BAD, BAD, "END 1 [(b'grpc-status', b'0')]"),
    "request": row(BAD, BAD, LATE),
    "DATA": row(LATE, LATE, "DATA 1 b'abc'", DATA_BEHIND),
    "DATA-end": row(LATE, LATE, "DATA 1 b'abc', END 1 ()", DATA_BEHIND),
    "DATA-empty": row(LATE, LATE, "END 1 ()", DATA_BEHIND),
    "PRIORITY": NONE,
    "RST_STREAM": NONE | IDLE | dict.fromkeys(("asked", "asking", "answered", "early"), "RESET 1 REFUSED_STREAM"),
    "RST_STREAM-size": dict.fromkeys(STATES, C + SIZE),
    "SETTINGS": ALL,
    "PUSH_PROMISE": ALL,
    "PING": ALL,
    "GOAWAY": ALL,
    "WINDOW_UPDATE": NONE | IDLE,
    "WINDOW_UPDATE-0": NONE | IDLE | dict.fromkeys(("asked", "asking", "answered", "early"), S + PROTOCOL),
    "CONTINUATION": ALL,
    "PRIORITY_UPDATE": ALL,
    "unknown": NONE,
}


def test_the_matrix_is_whole() -> None:
    assert MATRIX.keys() == FRAMES.keys()
    assert all(row.keys() == STATES.keys() for row in MATRIX.values())


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", FRAMES)
def test_each_frame_in_each_state(state: str, name: str) -> None:
    results = []
    size = len(FRAMES[name])
    for cuts in ([], *([cut] for cut in range(1, size)), range(1, size)):
        session = begun()
        STATES[state](session)
        session.out.clear()
        events, outcome = events_told(fed(session, FRAMES[name], cuts)), MATRIX[name][state]
        out = told(session.out)
        results.append((events, out))
        kind, _, code = outcome.partition(" ")
        if kind == "connection":
            assert events[-1] == f"FAILED {code}"
            assert out == [f"GOAWAY 0 {code}"]
        else:
            assert session.failed < 0
            if kind == "stream":
                assert out == [f"RST_STREAM 1 {code}"]
                assert events in ([], [f"RESET 1 {code}"])
            else:
                assert ", ".join(events) == outcome
                assert out == (["RST_STREAM 1 PROTOCOL_ERROR"] if outcome.endswith(LATE) else [])
            if events and events[-1].startswith("RESET"):
                assert 1 not in session.streams
    assert all(result == results[0] for result in results)


RULES: list[tuple[str, bytes, str]] = [
    ("a response in pieces", frame(1, 1, 1, block(OK)[:1]) + continuation(1, block(OK)[1:], True), "RESPONSE 1 200"),
    ("another frame within a block", frame(1, 1, 1, block(OK)) + ping(), C + PROTOCOL),
    ("a block that is cut off", frame(1, 5, 1, b"\x40"), C + "COMPRESSION_ERROR"),
    ("a stream of the server", headers(2, OK), C + PROTOCOL),
    ("a stream that was not opened", headers(3, OK), C + PROTOCOL),
    ("DATA on a stream of the server", data(2, b"a"), C + PROTOCOL),
    ("DATA on the connection", data(0, b"a"), C + PROTOCOL),
    ("a frame above the limit", data(1, bytes(16385)), C + SIZE),
    (
        "interim, final, body, trailers",
        headers(1, [(":status", "103")], end=False) + headers(1, OK, end=False) + data(1, b"a") + headers(1, TRAILERS),
        "INTERIM 1 103, RESPONSE 1 200, DATA 1 b'a', END 1 [(b'grpc-status', b'0')]",
    ),
    ("101", headers(1, [(":status", "101")], end=False), BAD),
    ("no status", headers(1, [("a", "b")], end=False), BAD),
    ("a field of the connection", headers(1, [*OK, ("connection", "close")]), BAD),
    ("33 interim responses", headers(1, [(":status", "100")], end=False) * 33, ", ".join(["INTERIM 1 100"] * 32 + [BAD])),
    (
        "less than content-length",
        headers(1, [*OK, ("content-length", "5")], end=False) + data(1, b"abcd", end=True),
        "RESPONSE 1 200, " + LATE,
    ),
    (
        "more than content-length",
        headers(1, [*OK, ("content-length", "5")], end=False) + data(1, b"abcdef"),
        "RESPONSE 1 200, " + LATE,
    ),
    (
        "less, and then trailers",
        headers(1, [*OK, ("content-length", "5")], end=False) + headers(1, TRAILERS),
        "RESPONSE 1 200, " + LATE,
    ),
    ("content-length without a body", headers(1, [*OK, ("content-length", "5")]), BAD),
    ("204 with a body", headers(1, [(":status", "204")], end=False) + data(1, b"a"), "RESPONSE 1 204, " + LATE),
    (
        "304 with a length, and an empty end",
        headers(1, [(":status", "304"), ("content-length", "5")], end=False) + data(1, end=True),
        "RESPONSE 1 304, END 1 ()",
    ),
    ("trailers with a pseudo-header field", headers(1, OK, end=False) + headers(1, OK), "RESPONSE 1 200, " + LATE),
    ("trailers without the end", headers(1, OK, end=False) + headers(1, TRAILERS, end=False), "RESPONSE 1 200, " + LATE),
    ("a reset without an error behind the response", headers(1, OK) + rst(1, 0), "RESPONSE 1 200"),
    ("ENABLE_PUSH 1 of a server", settings((2, 1)), C + PROTOCOL),
    ("ENABLE_PUSH 0 of a server", settings((2, 0)), ""),
    ("ENABLE_CONNECT_PROTOCOL 2", settings((8, 2)), C + PROTOCOL),
    ("ENABLE_CONNECT_PROTOCOL taken back", settings((8, 1)) + settings((8, 0)), C + PROTOCOL),
    ("GOAWAY above the stream", goaway(1), "GONE NO_ERROR 1"),
    ("GOAWAY below the stream", goaway(0, 11), "GONE ENHANCE_YOUR_CALM 0, RESET 1 REFUSED_STREAM"),
    (
        "GOAWAY twice, the second time with the number",
        goaway(2**31 - 1) + goaway(0),
        f"GONE NO_ERROR {2**31 - 1}, GONE NO_ERROR 0, RESET 1 REFUSED_STREAM",
    ),
    ("GOAWAY with more streams than before", goaway(0) + goaway(1), C + PROTOCOL),
    (
        "and what still comes for a stream above it",
        goaway(0) + headers(1, OK, end=False) + data(1, b"abc"),
        "GONE NO_ERROR 0, RESET 1 REFUSED_STREAM",
    ),
]


@pytest.mark.parametrize(("octets", "outcome"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_each_rule(octets: bytes, outcome: str) -> None:
    results = []
    size = len(octets)
    for cuts in ([], *([cut] for cut in range(1, size) if size < 300), range(1, size) if size < 20_000 else [9, 10, 5000]):
        session = begun()
        opened(session)
        events = events_told(fed(session, octets, cuts))
        out = [line for line in told(session.out) if not line.endswith("ACK")]
        results.append((events, out))
    kind, _, code = outcome.partition(" ")
    if kind == "connection":
        assert events[-1] == f"FAILED {code}"
        assert out == [f"GOAWAY 0 {code}"]
    else:
        assert ", ".join(events) == outcome
        assert out == (["RST_STREAM 1 PROTOCOL_ERROR"] if outcome.endswith(LATE) else [])
    assert all(result == results[0] for result in results)


# --------------------------------------------------------------------------------------------------------------------------- requests


def test_what_a_client_says_first() -> None:
    session = ClientSession(Stream, Limits())
    assert session.out.pop(0) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert told(session.out) == ["SETTINGS 2=0 6=65536", "WINDOW_UPDATE 0 983041"]
    session = ClientSession(Stream, Limits(window=1 << 20, max_frame=1 << 16, connection_window=65535))
    del session.out[0]
    assert told(session.out) == ["SETTINGS 2=0 6=65536 4=1048576 5=65536"]


@pytest.mark.parametrize("octets", [b"HTTP/1.1 400 Bad Request\r\n\r\n", settings(ack=True), ping(), goaway()])
def test_a_server_that_begins_otherwise(octets: bytes) -> None:
    session = ClientSession(Stream, Limits())
    assert events_told(fed(session, octets, range(1, len(octets)))) in (["FAILED PROTOCOL_ERROR"], ["FAILED FRAME_SIZE_ERROR"])


def test_a_server_that_says_nothing() -> None:
    session = ClientSession(Stream, Limits(settings_seconds=3))
    assert session.awaiting == inf and not session.settled and session.heard == -1.0
    assert session.feed(b"", 50.0) == []
    assert session.sweep(52.9) == []
    assert events_told(session.sweep(53.1)) == ["FAILED SETTINGS_TIMEOUT"]
    assert session.room == 0


def test_requests_and_their_numbers() -> None:
    session = begun()
    assert session.settled and session.heard == 1000.0
    one, other = session.open(block(GET), b"GET", True), session.open(block(POST), b"POST", False)
    assert session.data(other, b"abc", False) == 3
    session.head(other, block(TRAILERS), True)
    assert told(session.out) == ["HEADERS 1 END", "HEADERS 3", "DATA 3 3", "HEADERS 3 END"]
    assert (one.id, other.id, session.last, session.working) == (1, 3, 3, 2)
    fed(session, headers(1, OK) + headers(3, OK))
    assert not session.streams
    session.done(one)
    session.done(other)
    assert told(session.out) == [] and session.working == 0


def test_room() -> None:
    session = ClientSession(Stream, Limits(max_streams=50))
    assert session.room == 50
    fed(session, settings((3, 2)))
    assert session.room == 2
    opened(session)
    opened(session)
    assert session.room == 0
    fed(session, settings((3, 1)))
    assert session.room == 0
    fed(session, headers(1, OK) + settings((3, 1000)))
    assert session.room == 49
    fed(session, goaway(3))
    assert session.room == 0
    session = begun()
    session.last = 2**31 - 3
    assert session.room == 128
    assert opened(session).id == 2**31 - 1
    assert session.room == 0


def test_the_windows_of_a_server() -> None:
    session = begun()
    fed(session, settings((4, 10)))
    stream = opened(session, False)
    assert session.data(stream, bytes(20), True) == 10
    assert events_told(fed(session, window(1, 20))) == ["ROOM 1"]
    assert session.data(stream, bytes(10), True) == 10
    assert told(session.out)[-1] == "DATA 1 10 END"


def test_a_response_is_consumed() -> None:
    session = begun(window=1000)
    stream = opened(session)
    fed(session, headers(1, OK, end=False) + data(1, bytes(600)))
    assert stream.unread == 600
    session.consumed(stream, 600)
    assert told(session.out) == ["WINDOW_UPDATE 1 600"]


def test_a_request_that_nobody_waits_for() -> None:
    session = begun()
    stream = opened(session)
    fed(session, headers(1, OK, end=False) + data(1, bytes(600)))
    session.done(stream)
    assert told(session.out) == ["RST_STREAM 1 CANCEL"]
    assert session._unread == session.working == 0
    assert fed(session, data(1, bytes(600)) + headers(1, TRAILERS)) == []
    assert told(session.out) == []


def test_a_tunnel() -> None:
    """RFC 8441: only DATA follows."""
    session = begun()
    fed(session, settings((8, 1)))
    assert session.connect_protocol
    stream = opened(session, False, b"CONNECT")
    assert events_told(fed(session, headers(1, OK, end=False) + data(1, b"abc"))) == ["RESPONSE 1 200", "DATA 1 b'abc'"]
    assert session.data(stream, b"abc", False) == 3
    assert events_told(fed(session, headers(1, TRAILERS))) == ["RESET 1 PROTOCOL_ERROR"]


def test_head_has_no_body() -> None:
    session = begun()
    opened(session, method=b"HEAD")
    answer = headers(1, [*OK, ("content-length", "5")], end=False)
    assert events_told(fed(session, answer + data(1, b"abcde"))) == ["RESPONSE 1 200", "RESET 1 PROTOCOL_ERROR"]
    opened(session, method=b"HEAD")
    assert events_told(fed(session, headers(3, [*OK, ("content-length", "5")]))) == ["RESPONSE 3 200"]


def test_a_response_head_that_is_too_large() -> None:
    session = begun(header_list_size=1000)
    opened(session)
    opened(session)
    assert events_told(fed(session, headers(1, [*OK, ("x", "y" * 2000)]))) == ["RESPONSE 1 502", "RESET 1 PROTOCOL_ERROR"]
    assert events_told(fed(session, headers(3, OK, end=False) + headers(3, [("x", "y" * 2000)]))) == [
        "RESPONSE 3 200",
        "RESET 3 PROTOCOL_ERROR",
    ]


def test_is_it_alive() -> None:
    session = begun()
    session.ping(b"alive???")
    assert told(session.out) == ["PING alive???"]
    assert events_told(session.feed(ping(b"alive???", ack=True), 1003.0)) == ["PONG b'alive???'"]
    assert session.heard == 1003.0


def test_a_server_that_refuses_everything_keeps_its_connection() -> None:
    session = begun(resets_per_second=10)
    for number in range(1, 1000, 2):
        stream = opened(session)
        assert events_told(fed(session, rst(number, 7))) == [f"RESET {number} REFUSED_STREAM"]
        session.done(stream)


def test_a_server_that_answers_wrongly_does_not() -> None:
    session = begun(resets_per_second=10)
    number = 1
    while session.failed < 0:
        assert number < 2000
        stream = opened(session)
        events = fed(session, data(number, b"no head"))
        session.done(stream)
        number += 2
    assert number == 63
    assert events_told(events) == ["RESET 61 PROTOCOL_ERROR", "FAILED ENHANCE_YOUR_CALM"]
    assert session.exceeded == "resets"


@pytest.mark.parametrize("octets", [headers(1, OK, end=False), data(1, b"a"), window(1, 1), rst(1)])
def test_frames_of_a_stream_that_nobody_waits_for_are_bounded(octets: bytes) -> None:
    session = begun()
    session.done(opened(session))
    for _ in range(1200):
        fed(session, octets)
        if session.failed >= 0:
            break
    assert session.exceeded in ("ignored", "window_updates")


def test_what_was_on_its_way_when_responses_were_given_up_is_no_flood() -> None:
    """A client leaves that had many responses under way. All that their windows allow may still come, and counts against no other request."""
    session = begun(window=1 << 18, connection_window=1 << 25, buffered_octets=1 << 25)
    streams = [opened(session, method=b"GET") for _ in range(100)]
    fed(session, b"".join(headers(stream.id, OK, end=False) for stream in streams))
    for stream in streams:
        session.done(stream)
    for _ in range(250):
        fed(session, b"".join(data(stream.id, bytes(1000)) for stream in streams))
    fed(session, b"".join(headers(stream.id, TRAILERS) for stream in streams))
    assert (session.failed, session.exceeded) == (-1, "")
    assert fed(session, headers(opened(session).id, OK))


def test_our_end() -> None:
    session = begun()
    opened(session)
    session.goaway(0, 0)
    assert session.room == 0
    assert told(session.out) == ["GOAWAY 0 NO_ERROR"]
    assert events_told(fed(session, headers(1, OK))) == ["RESPONSE 1 200"]


# -------------------------------------------------------------------------------------------------------------- h2 as the server


class Pair:
    """A server of h2 and a session. sent, arrived: octets of bodies by stream, both ways."""

    def __init__(self) -> None:
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.session = ClientSession(Stream, Limits(max_streams=20, window=30_000, connection_window=100_000))
        self.server.initiate_connection()
        self.streams: dict[int, Stream] = {}
        self.up: dict[int, int] = {}
        self.up_arrived: dict[int, int] = {}
        self.down: dict[int, int] = {}
        self.down_arrived: dict[int, int] = {}
        self.asked: set[int] = set()
        self.headed: set[int] = set()
        self.answered: set[int] = set()
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.exchange()

    def exchange(self) -> None:
        while True:
            octets = b"".join(bytes(piece) for piece in self.session.out)
            self.session.out.clear()
            for event in self.server.receive_data(octets) if octets else ():
                if isinstance(event, h2.events.RequestReceived):
                    self.asked.add(event.stream_id)
                elif isinstance(event, h2.events.DataReceived):
                    self.up_arrived[event.stream_id] = self.up_arrived.get(event.stream_id, 0) + len(event.data)
                    self.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    self.reset.add(event.stream_id)
            answer = self.server.data_to_send()
            for kind, stream, value in self.session.feed(answer, 1000.0):
                assert kind != FAILED, value
                if kind == RESPONSE:
                    assert value.status == 200
                    if stream is not None and not stream.receiving:
                        self.ended.add(stream.id)
                elif kind == DATA:
                    assert stream is not None
                    self.down_arrived[stream.id] = self.down_arrived.get(stream.id, 0) + len(value)
                elif kind == END:
                    assert stream is not None
                    self.ended.add(stream.id)
                elif kind == RESET:
                    assert stream is not None
                    self.reset.add(stream.id)
            if not octets and not answer:
                return

    def step(self, what: str, number: int, octets: int) -> None:
        server, session = self.server, self.session
        if what == "open":
            if session.room:
                end = octets % 3 == 0
                stream = session.open(block(GET if octets % 2 else POST), b"GET", end)
                self.streams[stream.id] = stream
        elif what == "settings":
            server.update_settings({4: octets, 5: 16384 + octets, 3: 1 + octets % 30})
        elif what == "window":
            server.increment_flow_control_window(octets + 1)
        elif self.streams:
            stream = self.streams[sorted(self.streams)[number % len(self.streams)]]
            number = stream.id
            if what in ("upload", "upload-end"):
                sent = session.data(stream, bytes(octets), what == "upload-end")
                self.up[number] = self.up.get(number, 0) + sent
            elif what == "trailers":
                session.head(stream, block(TRAILERS), True)
            elif what == "consume":
                session.consumed(stream, octets)
            elif what == "done":
                if number in session.streams:
                    self.reset.add(number)
                del self.streams[number]
                session.done(stream)
            elif number in self.asked and number not in self.reset and number not in self.answered:
                if what == "reset":
                    server.reset_stream(number, 7)
                    self.reset.add(number)
                elif number not in self.headed:
                    server.send_headers(number, [(":status", "103")])
                    server.send_headers(number, OK, end_stream=what == "answer-trailers")
                    self.headed.add(number)
                    if what == "answer-trailers":
                        self.answered.add(number)
                elif what == "answer-trailers":
                    server.send_headers(number, TRAILERS, end_stream=True)
                    self.answered.add(number)
                else:
                    octets = max(0, min(octets, server.local_flow_control_window(number), server.max_outbound_frame_size) - 20)
                    server.send_data(number, bytes(octets), end_stream=what == "answer-end", pad_length=octets % 20 or None)
                    self.down[number] = self.down.get(number, 0) + octets
                    if what == "answer-end":
                        self.answered.add(number)


OFTEN = ["open", "upload", "consume", "answer"]
ONCE = ["upload-end", "trailers", "settings", "window", "reset", "done", "answer-end", "answer-trailers"]


@bounded(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*OFTEN, *OFTEN, *ONCE]), st.integers(0, 30), st.integers(0, 40_000)), max_size=60))
def test_a_server_of_h2(steps: list[tuple[str, int, int]]) -> None:
    """Whatever it does, neither side finds fault with the other, and no octet is lost."""
    pair = Pair()
    for step in steps:
        pair.step(*step)
        pair.exchange()
    for number in pair.streams:
        if number not in pair.reset:
            assert pair.up.get(number, 0) == pair.up_arrived.get(number, 0)
            assert pair.down.get(number, 0) == pair.down_arrived.get(number, 0)
            assert (number in pair.answered) == (number in pair.ended)


def test_what_a_whole_exchange_is() -> None:
    pair = Pair()
    for step in [
        ("open", 0, 1),
        ("upload", 0, 70_000),
        ("answer", 0, 0),
        ("answer", 0, 10_000),
        ("trailers", 0, 0),
        ("answer-trailers", 0, 0),
    ]:
        pair.step(*step)
        pair.exchange()
    assert pair.up == pair.up_arrived == {1: 65535}
    assert pair.down == pair.down_arrived == {1: 9980}
    assert pair.ended == {1} and not pair.reset
