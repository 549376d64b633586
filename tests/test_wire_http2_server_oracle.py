"""The server's side of HTTP/2 against python-hyper's h2 as its client, and against any frames at all."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.wire.http2.events import DATA, END, FAILED, REQUEST, RESET
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession
from terraster.wire.http2.streams import Stream

from .harness.frame_fuzzer import judge
from .harness.http2 import GET, POST, PREFACE, block, frame

TRAILERS = [("grpc-status", "0")]


class Pair:
    """A client of h2 and a session, with what each has seen of the other.

    uploads, downloads: octets by stream, as they were sent and as they arrived. ended: streams whose end arrived. over: streams that a side
    has reset.
    """

    def __init__(self) -> None:
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.session = ServerSession(Stream, Limits(max_streams=20, window=30_000, connection_window=100_000))
        self.client.initiate_connection()
        self.sent: dict[int, int] = {}
        self.uploads: dict[int, int] = {}
        self.answered: dict[int, int] = {}
        self.downloads: dict[int, int] = {}
        self.open: list[int] = []
        self.streams: dict[int, Stream] = {}
        self.headed: set[int] = set()
        self.request_over: set[int] = set()
        self.response_over: set[int] = set()
        self.reset: set[int] = set()
        self.exchange()

    def exchange(self) -> None:
        """All octets to the other side, until none is left."""
        while True:
            octets = self.client.data_to_send()
            for kind, stream, value in self.session.feed(octets, 1000.0):
                assert kind != FAILED, value
                if kind == REQUEST:
                    assert stream is not None
                    self.streams[stream.id] = stream
                    self.uploads.setdefault(stream.id, 0)
                elif kind == DATA:
                    assert stream is not None
                    self.uploads[stream.id] += len(value)
                elif kind == END:
                    assert stream is not None
                    self.request_over.add(stream.id)
                elif kind == RESET:
                    assert stream is not None
                    self.reset.add(stream.id)
            answer = b"".join(bytes(piece) for piece in self.session.out)
            self.session.out.clear()
            if not octets and not answer:
                return
            for event in self.client.receive_data(answer):
                if isinstance(event, h2.events.DataReceived):
                    self.downloads[event.stream_id] = self.downloads.get(event.stream_id, 0) + len(event.data)
                    self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.response_over.add(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    self.reset.add(event.stream_id)

    def step(self, what: str, number: int, octets: int) -> None:
        client, session = self.client, self.session
        if what == "open" and len(self.open) < 20:
            number = client.get_next_available_stream_id()
            end = octets % 3 == 0
            client.send_headers(
                number, POST if octets % 2 else GET, end_stream=end, priority_weight=16 if octets % 5 == 0 else None
            )
            self.sent[number] = 0
            if not end:
                self.open.append(number)
        elif what in ("upload", "upload-end", "trailers") and self.open:
            number = self.open[number % len(self.open)]
            if number in self.reset:
                self.open.remove(number)
                return
            if what == "trailers":
                client.send_headers(number, TRAILERS, end_stream=True)
            else:
                octets = min(octets, client.local_flow_control_window(number), client.max_outbound_frame_size)
                octets = max(0, octets - 20)
                client.send_data(number, bytes(octets), end_stream=what == "upload-end", pad_length=octets % 20 or None)
                self.sent[number] += octets
            if what != "upload":
                self.open.remove(number)
        elif what == "ping":
            client.ping(b"abcdefgh")
        elif what == "settings":
            client.update_settings({4: octets, 5: 16384 + octets})
        elif what == "window":
            client.increment_flow_control_window(octets + 1)
        elif self.streams:
            stream = self.streams[sorted(self.streams)[number % len(self.streams)]]
            if what == "reset":
                if stream.sending and stream.id not in self.reset:
                    client.reset_stream(stream.id, 8)
                    self.reset.add(stream.id)
            elif what == "consume":
                session.consumed(stream, octets)
            elif what == "done":
                if session.working and stream.id in self.streams:
                    del self.streams[stream.id]
                    if stream.sending and stream.id in session.streams:
                        self.reset.add(stream.id)
                    session.done(stream, 2)
            elif stream.id not in self.headed:
                if stream.sending:
                    session.head(stream, block([(":status", "103")])[:], False)
                    session.head(stream, block([(":status", "200")]), False)
                    self.headed.add(stream.id)
            elif what == "answer-trailers":
                session.head(stream, block(TRAILERS), True)
            else:
                sent = session.data(stream, bytes(octets), what == "answer-end")
                self.answered[stream.id] = self.answered.get(stream.id, 0) + sent


OFTEN = ["open", "upload", "consume", "answer"]
ONCE = ["upload-end", "trailers", "ping", "settings", "window", "reset", "done", "answer-end", "answer-trailers"]
STEPS = st.tuples(st.sampled_from([*OFTEN, *OFTEN, *ONCE]), st.integers(0, 30), st.integers(0, 40_000))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_a_client_of_h2(steps: list[tuple[str, int, int]]) -> None:
    """Whatever it does, neither side finds fault with the other, and no octet is lost."""
    pair = Pair()
    for step in steps:
        pair.step(*step)
        pair.exchange()
    for number, octets in pair.uploads.items():
        if number not in pair.reset and number in pair.streams:
            assert octets == pair.sent[number]
    for number, stream in pair.streams.items():
        if number not in pair.reset:
            assert (number in pair.response_over) == stream.answered
            assert pair.downloads.get(number, 0) == pair.answered.get(number, 0)
            if number in pair.request_over:
                assert not stream.receiving


def test_what_a_whole_exchange_is() -> None:
    """The steps above do reach what they are for."""
    pair = Pair()
    for step in [
        ("open", 0, 1),
        ("upload", 0, 9000),
        ("answer", 0, 0),
        ("answer", 0, 70_000),
        ("trailers", 0, 0),
        ("window", 0, 100_000),
        ("answer", 0, 1),
        ("settings", 0, 40_000),
        ("answer-trailers", 0, 0),
    ]:
        pair.step(*step)
        pair.exchange()
    assert pair.uploads == {1: 8980} == pair.sent
    assert pair.downloads == pair.answered
    assert pair.downloads[1] > 60_000
    assert pair.request_over == pair.response_over == {1}
    assert not pair.reset


# ---------------------------------------------------------------------------------------------------------------------------- any frames

NUMBERS = st.sampled_from((0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1, 2**31 + 1))
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        (block(GET), block(POST), block(TRAILERS), b"", bytes(4), b"\0\0\0\1", bytes(8), bytes(300), b"\x7f\xff\xff\xff")
    ),
    st.lists(st.tuples(st.integers(0, 10), st.sampled_from((0, 1, 2, 16384, 65535, 2**31 - 1, 2**32 - 1))), max_size=4).map(
        lambda pairs: b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs)
    ),
)
FRAMES = st.builds(
    frame,
    st.sampled_from((0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 16, 99)),
    st.sampled_from((0, 1, 4, 5, 5, 8, 9, 13, 32, 36, 37, 45, 255)),
    NUMBERS,
    PAYLOADS,
)
SOUP = st.lists(FRAMES, max_size=20).map(b"".join)
START = PREFACE + frame(4, 0, 0)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from((b"", PREFACE, START, START + frame(1, 4, 1, block(POST)))), SOUP | st.binary(max_size=200), st.randoms())
def test_any_frames(start: bytes, soup: bytes, chance: Any) -> None:
    judge(start + soup, chance)


@pytest.mark.parametrize("octets", [PREFACE + frame(4, 0, 0) + frame(1, 5, 1, block(GET)) + frame(0, 0, 1, b"abc")])
def test_the_judge_sees_what_there_is(octets: bytes) -> None:
    import random

    assert judge(octets, random.Random(1)) == (["REQUEST 1", "RESET 1 STREAM_CLOSED"], -1)
