"""Spans on their way: kept within bounds while nobody takes them, sent whole, and counted when they are lost."""

from __future__ import annotations

import json
import marshal
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from terraster.logs import trace_exporter, tracer
from terraster.logs.log_channel import LogChannel
from terraster.logs.spans import VERSION
from terraster.logs.trace_exporter import Control, Waiting
from terraster.logs.tracer import MOST_OCTETS, MOST_SPANS, Tracer
from terraster.state.cells import Seat


@pytest.fixture
def channel() -> Iterator[LogChannel]:
    made = LogChannel()
    os.set_blocking(made.far, False)
    yield made
    for fd in (made.near, made.far):
        os.close(fd)


def received(channel: LogChannel) -> list[tuple[int, list[bytes]]]:
    found = []
    try:
        while True:
            version, count, packed = marshal.loads(os.read(channel.far, 1 << 20))
            assert version == VERSION
            found.append((count, packed))
    except BlockingIOError:
        return found


def no_warning(text: str) -> None:
    raise AssertionError(text)


def test_messages_are_filled_and_keep_the_order(channel: LogChannel) -> None:
    one = Tracer(channel.near, no_warning)
    for number in range(100):
        one.keep(2, b"%04d" % number + b"x" * 996)
    assert one.waiting == 200
    one.flush()
    found = received(channel)
    assert len(found) == 4, "32 of a thousand octets in a message"
    assert b"".join(packed[:4] for _, batch in found for packed in batch) == b"".join(b"%04d" % number for number in range(100))
    assert sum(count for count, _ in found) == 200 and one.waiting == one.lost == 0


def test_a_request_that_is_longer_than_a_message_goes_alone(channel: LogChannel) -> None:
    one = Tracer(channel.near, no_warning)
    for octets in (b"a", b"b" * 50000, b"c"):
        one.keep(1, octets)
    one.flush()
    assert [batch for _, batch in received(channel)] == [[b"a"], [b"b" * 50000], [b"c"]]


def test_many_spans_do_not_wait_for_the_next_turn(channel: LogChannel) -> None:
    one = Tracer(channel.near, no_warning)
    for _ in range(512):
        one.keep(1, b"x")
    assert one.waiting == 0 and sum(count for count, _ in received(channel)) == 512


@pytest.mark.parametrize("octets", [100, 2000])
def test_a_process_keeps_so_many_and_counts_the_others(channel: LogChannel, octets: int) -> None:
    said: list[str] = []
    clock = [0.0]
    one = Tracer(channel.near, said.append, lambda: clock[0])
    for _ in range(80000):
        one.keep(1, b"x" * octets)
    kept = one.waiting
    assert kept == min(MOST_SPANS, MOST_OCTETS // octets)
    here = sum(count for count, _ in received(channel))
    assert kept + here + one.lost == 80000
    q = memoryview(bytearray(8 * Seat.CELLS)).cast("Q")
    one.publish(q, 0)
    one.publish(q, 0)
    assert q[Seat.SPANS_DROPPED] == one.lost and len(said) == 1
    one.keep(1, b"")
    while one.waiting:
        one.flush()
        received(channel)
    for clock[0] in (59.0, 61.0):
        one._lose(1)
        one.publish(q, 0)
    assert len(said) == 2 and q[Seat.SPANS_DROPPED] == one.lost


def test_without_a_channel_all_are_lost_and_counted() -> None:
    said: list[str] = []
    one = Tracer(-1, said.append)
    one.keep(3, b"x")
    one.close()
    assert one.lost == 3 and said == ["tracing: 3 spans lost so far: the process that exports them is too slow"]


def test_what_the_socket_does_not_take_at_the_end_is_counted(channel: LogChannel) -> None:
    said: list[str] = []
    one = Tracer(channel.near, said.append)
    for number in range(8000):
        one.keep(1, b"%01000d" % number)
    one.close()
    assert 0 < one.lost < 8000 and one.waiting == 0 and len(said) == 1
    assert sum(count for count, _ in received(channel)) + one.lost == 8000


def message(count: int, *packed: bytes, version: int = VERSION) -> bytes:
    return marshal.dumps((version, count, list(packed)))


def test_the_exporting_process_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_exporter, "MOST_SPANS", 10)
    waiting = Waiting()
    for number in range(5):
        waiting.take(message(4, b"%d" % number))
    assert waiting.report() == {"taken": 20, "exported": 0, "dropped": 12, "reason": "the receiver is too slow"}
    waiting.end()
    monkeypatch.setattr(trace_exporter, "spans", lambda packed: [packed] * 4)
    assert waiting.batch() == [b"3"] * 4 + [b"4"] * 4
    assert waiting.batch() == []
    waiting.done(8, True, "")
    assert waiting.report() == {"taken": 20, "exported": 8, "dropped": 12, "reason": ""}


def test_the_exporting_process_keeps_so_many_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_exporter, "MOST_OCTETS", 10000)
    waiting = Waiting()
    for _ in range(20):
        waiting.take(message(1, b"x" * 1000))
    assert waiting.report()["dropped"] == 11


def test_messages_of_another_version_are_counted_and_not_read() -> None:
    waiting = Waiting()
    waiting.take(message(3, b"x", version=VERSION + 1))
    assert waiting.report() == {
        "taken": 3,
        "exported": 0,
        "dropped": 3,
        "reason": "the workers run another version of Terraster",
    }
    waiting.take(b"junk")
    assert waiting.report()["taken"] == 3


def test_spans_that_cannot_be_read_are_dropped_and_others_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(packed: bytes) -> list[bytes]:
        if packed == b"broken":
            raise struct.error("short")
        return [packed]

    monkeypatch.setattr(trace_exporter, "spans", read)
    waiting = Waiting()
    waiting.take(message(512, *[b"broken"] * 512))  # a batch of nothing else is not the end
    waiting.take(message(2, b"broken", b"whole"))
    waiting.end()
    assert waiting.batch() == [b"whole"] and waiting.batch() == []
    report = waiting.report()
    assert report["dropped"] == 513 and report["reason"] == "a worker's span cannot be read: error"


def test_a_batch_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_exporter, "spans", lambda packed: [packed])
    waiting = Waiting()
    for _ in range(3):
        waiting.take(message(300, *[b"x"] * 300))
    waiting.end()
    assert [len(waiting.batch()) for _ in range(4)] == [300, 300, 300, 0]
    assert tracer.MOST_SPANS < trace_exporter.MOST_SPANS


def test_an_exporting_process_that_is_told_to_end_before_it_has_begun_takes_nothing(channel: LogChannel) -> None:
    ours, of_admin = socket.socketpair()
    with ours, of_admin:
        ours.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in ({"timeout": 5}, {"seconds": 30, "empties": False})))
        ours.shutdown(socket.SHUT_WR)
        control, waiting = Control(of_admin), Waiting()
        assert control.settings() == {"timeout": 5}
        os.write(channel.near, message(1, b"of another process"))
        trace_exporter._take(channel.far, control, waiting)
    assert waiting.report()["taken"] == 0
    assert received(channel) == [(1, [b"of another process"])]
