"""Floods of HTTP/2: each ends with ENHANCE_YOUR_CALM within its bound, keeps no memory, and no honest connection is ended by it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from terraster.wire.http2.bounds import BOUNDS
from terraster.wire.http2.events import DATA, REQUEST, RESET
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

OPEN = headers(1, POST, end=False)


def begun(**limits: Any) -> ServerSession:
    session = ServerSession(Stream, Limits(**limits))
    assert session.feed(PREFACE + settings() + settings(ack=True), 1000.0) == []
    session.out.clear()
    return session


def worked(session: ServerSession, events: list[Any]) -> int:
    """Do what an owner does: answer requests that are whole, end those that are reset. Returns how many were started."""
    started = 0
    for kind, stream, value in events:
        if kind == REQUEST:
            started += stream.sending
            if stream.sending and not stream.receiving:
                session.head(stream, b"\x88", True)
                session.done(stream, 8)
        elif kind == DATA:
            session.consumed(stream, len(value))
        elif kind == RESET:
            session.done(stream, 8)
    return started


def pieces(name: str) -> Iterator[bytes]:
    """The octets of a flood, read by read, without an end."""
    number = 1
    match name:
        case "rapid resets":  # CVE-2023-44487, a request for each read
            while True:
                yield headers(number) + rst(number)
                number += 2
        case "rapid resets at once":
            while True:
                yield b"".join(headers(number + 2 * one) + rst(number + 2 * one) for one in range(300))
                number += 600
        case "resets of our making":  # CVE-2025-8671
            while True:
                yield headers(number, POST, end=False) + window(number, 0)
                number += 2
        case "malformed requests":
            while True:
                yield headers(number, GET[1:])
                number += 2
        case "DATA on closed streams":
            yield headers(2**30 + 1)
            while True:
                yield data(number, b"x")
                number += 2
        case "window overflow":
            while True:
                yield headers(number, POST, end=False) + window(number, 2**31 - 1)
                number += 2
        case "refused":
            yield b"".join(headers(one, POST, end=False) for one in range(1, 2 * 128, 2))
            number = 257
            while True:
                yield headers(number)
                number += 2
        case "heads that are held":
            while True:
                yield headers(number, [*GET, ("a", "b" * 15000)])
                number += 2
        case "empty CONTINUATION":
            yield frame(1, 1, 1, block(GET))
            while True:
                yield continuation(1, b"", False)
        case "CONTINUATION":  # CVE-2024-27316
            yield frame(1, 1, 1, block(GET))
            while True:
                yield continuation(1, b"\0\1x" + b"\x7f\x80\x7f" + bytes(16000), False)
        case "HPACK bomb":
            yield headers(1, GET)
            entry = b"\x40\1x" + b"\x7f\xa1\x1e" + bytes([97]) * 4000  # an entry of the table of about 4 kB
            yield frame(1, 5, 3, entry)
            number = 5
            while True:
                yield frame(1, 5, number, b"\xbe" * 4000)
                number += 2
        case "SETTINGS":
            while True:
                yield settings((4, 65535))
        case "many settings":
            while True:
                yield settings(*[(4, 65535)] * 40)
        case "acknowledgements":
            while True:
                yield settings(ack=True)
        case "PING":
            while True:
                yield ping()
        case "PING answers":
            while True:
                yield ping(ack=True)
        case "PRIORITY":
            while True:
                yield priority(2**30 + 1, 3)
        case "PRIORITY_UPDATE":
            while True:
                yield priority_update(2**30 + 1, b"u=1")
        case "empty DATA":
            yield OPEN
            while True:
                yield data(1)
        case "padding alone":
            yield OPEN
            while True:
                yield data(1, pad=10)
        case "WINDOW_UPDATE":
            yield OPEN
            while True:
                yield window(1, 1)
        case "WINDOW_UPDATE of the connection":
            while True:
                yield window(0, 1)
        case "WINDOW_UPDATE of a closed stream":
            yield headers(1) + rst(1)
            while True:
                yield window(1, 1)
        case "HEADERS of a stream that we reset":
            yield OPEN + window(1, 0)
            while True:
                yield headers(1, [("a", "b")])
        case "DATA of a stream that we reset":
            yield OPEN + window(1, 0)
            while True:
                yield data(1, b"a")
        case "unknown frames":
            while True:
                yield frame(200, 0, 0)
        case "GOAWAY":
            while True:
                yield goaway()
        case "RST_STREAM of a closed stream":
            yield headers(1) + rst(1)
            while True:
                yield rst(1)


FLOODS = {
    "rapid resets": ("resets", 301),
    "rapid resets at once": ("resets", 900),
    "resets of our making": ("resets", 301),
    "malformed requests": ("resets", 301),
    "DATA on closed streams": ("resets", 302),
    "window overflow": ("resets", 301),
    "refused": ("refused", 1002),
    "heads that are held": ("refused", 17 + 1001),
    "empty CONTINUATION": ("continuations", 34),
    "CONTINUATION": ("continuations", 10),
    "HPACK bomb": ("oversized", 103),
    "SETTINGS": ("settings", 99),
    "many settings": ("settings", 1),
    "acknowledgements": ("settings", 99),
    "PING": ("pings", 1001),
    "PING answers": ("ignored", 1001),
    "PRIORITY": ("priorities", 1001),
    "PRIORITY_UPDATE": ("priorities", 1001),
    "empty DATA": ("empty_data", 502),
    "padding alone": ("empty_data", 502),
    "WINDOW_UPDATE": ("window_updates", 1002),
    "WINDOW_UPDATE of the connection": ("window_updates", 1001),
    "WINDOW_UPDATE of a closed stream": ("window_updates", 1002),
    "unknown frames": ("ignored", 1001),
    "HEADERS of a stream that we reset": ("ignored", 1002),
    "DATA of a stream that we reset": ("ignored", 1002),
    "GOAWAY": ("ignored", 1001),
    "RST_STREAM of a closed stream": ("ignored", 1002),
}


def test_each_bound_has_its_flood() -> None:
    assert {bound for bound, _ in FLOODS.values()} == BOUNDS.keys()


@pytest.mark.parametrize("name", FLOODS)
def test_each_flood_ends(name: str) -> None:
    bound, most = FLOODS[name]
    session, reads = begun(), 0
    begin = time.process_time()
    for octets in pieces(name):
        reads += 1
        assert reads <= most + 5
        session.out.clear()
        events = session.feed(octets, 1000.0)
        if bound != "refused":  # those have requests that nobody answers
            worked(session, events)
        assert sum(map(len, session.out)) <= 1.5 * len(octets) + 200
        if session.failed >= 0:
            break
    assert time.process_time() - begin < 2.0
    assert session.exceeded == bound
    assert session.fault == f"too many {BOUNDS[bound][2]}"
    assert told(session.out)[-1].endswith("ENHANCE_YOUR_CALM")
    if name == "rapid resets at once":
        assert reads <= 4
    else:
        assert reads == most


def test_no_request_of_rapid_resets_is_started_if_both_come_at_once() -> None:
    session, started, events = begun(), 0, []
    for octets in pieces("rapid resets at once"):
        events = session.feed(octets, 1000.0)
        started += worked(session, events)
        if session.failed >= 0:
            break
    assert started == 0


@pytest.mark.parametrize(
    "name", [name for name in FLOODS if FLOODS[name][0] not in ("continuations", "refused") and name != "many settings"]
)
def test_below_the_rate_nothing_ends(name: str) -> None:
    """Slower than the bound leaks, for an hour."""
    session, now = begun(), 1000.0
    bound = FLOODS[name][0]
    rate = 100.0 if bound == "resets" else BOUNDS[bound][0]
    many = 300 if name == "rapid resets at once" else 1
    for count, octets in enumerate(pieces(name)):
        now += 1.2 * many / rate
        worked(session, session.feed(octets, now))
        session.out.clear()
        assert session.failed < 0, count
        if count > (40 if name == "HPACK bomb" else 2000 / many):
            break


def test_a_flood_keeps_no_memory() -> None:
    tracemalloc.start()
    try:
        for name in FLOODS:
            session, now = begun(), 1000.0
            bound = FLOODS[name][0]
            if bound in ("continuations", "refused") or name in ("many settings", "rapid resets at once", "HPACK bomb"):
                continue
            rate = 100.0 if bound == "resets" else BOUNDS[bound][0]
            sizes = []
            for count, octets in enumerate(pieces(name)):
                now += 1.2 / rate
                worked(session, session.feed(octets, now))
                session.out.clear()
                if count in (100, 400):
                    sizes.append(tracemalloc.get_traced_memory()[0])
                if count > 400:
                    break
            assert sizes[1] - sizes[0] < 12_000, name
    finally:
        tracemalloc.stop()


def test_resets_are_made_good_by_answers_that_were_ended() -> None:
    """A client that cancels every second request is ended only if the others fail, too."""
    session, number = begun(), 1
    for _ in range(2000):
        worked(session, session.feed(headers(number), 1000.0))
        worked(session, session.feed(headers(number + 2, POST, end=False), 1000.0) + session.feed(rst(number + 2), 1000.0))
        number += 4
        session.out.clear()
        assert session.failed < 0


def test_a_reset_behind_a_whole_answer_is_none() -> None:
    """A client of gRPC resets a stream whose answer came before the end of its own messages: as often as it calls."""
    session, number = begun(), 1
    for _ in range(3000):
        events = session.feed(headers(number, POST, end=False) + data(number, b"12345"), 1000.0)
        stream = session.streams[number]
        session.head(stream, b"\x88", False)
        session.head(stream, b"\x88", True)
        session.done(stream, 0)
        session.feed(rst(number), 1000.0)
        session.feed(rst(number), 1000.0)  # and one that is late
        session.out.clear()
        number += 2
        assert session.failed < 0 and not session.lingering and events


def test_resets_are_not_made_good_by_streams_that_were_reset() -> None:
    session, number = begun(), 1
    while session.failed < 0:
        assert number < 2000
        events = session.feed(headers(number), 1000.0)
        session.feed(rst(number), 1000.0)
        for _, stream, _ in events:
            session.done(stream, 8)
        number += 2
    assert number == 603
    assert session.exceeded == "resets"


def test_a_busy_honest_connection() -> None:
    """Small messages both ways, each with its window updates and pings, as gRPC sends them: thousands within a second."""
    session, number = begun(), 1
    for _ in range(4000):
        events = session.feed(headers(number, POST, end=False) + data(number, b"12345", end=True) + ping(), 1000.0)
        stream = session.streams[number]
        session.consumed(stream, sum(len(value) for kind, _, value in events if kind == DATA))
        session.head(stream, b"\x88", False)
        session.data(stream, b"12345", False)
        session.head(stream, b"\x88", True)
        session.done(stream, 0)
        session.feed(window(0, 5) + window(number, 5) + priority(number), 1000.0)
        session.out.clear()
        number += 2
        assert session.failed < 0


def test_a_large_download_with_small_window_updates() -> None:
    session = begun()
    fed(session, settings((4, 1 << 20)) + headers(1))
    stream = session.streams[1]
    for _ in range(500):
        assert session.data(stream, bytes(16384), False) == 16384
        session.feed(b"".join(window(0, 1024) + window(1, 1024) for _ in range(16)), 1000.0)
        session.out.clear()
        assert session.failed < 0


def test_one_octet_of_window_at_a_time() -> None:
    """A client that takes a response octet by octet: each makes a frame."""
    session = begun()
    fed(session, settings((4, 0)) + headers(1))
    stream = session.streams[1]
    sent = 0
    while session.failed < 0:
        assert sent < 2000
        session.feed(window(1, 1), 1000.0)
        sent += session.data(stream, bytes(10_000), True)
        session.out.clear()
    assert session.exceeded == "window_updates"
    assert 1000 <= sent < 1010


def test_windows_by_settings() -> None:
    session = begun()
    fed(session, settings((4, 0)) + b"".join(headers(number) for number in range(1, 201, 2)))
    begin = time.process_time()
    for _ in range(200):
        session.feed(settings(*[(4, 0), (4, 1)] * 16), 1000.0)
        if session.failed >= 0:
            break
    assert session.exceeded == "settings"
    assert time.process_time() - begin < 3.0


def test_the_manual_has_each_bound() -> None:
    text = (Path(__file__).parents[1] / "docs" / "http2.md").read_text()
    for name, (rate, most, _) in BOUNDS.items():
        row = text.partition(f"| `{name}` |")[2].partition("\n")[0]
        numbers = f"| {rate:g} | {most:g} |".replace("| 0 |", "| |")
        assert row.endswith("| `http2.resets_per_second` | three times that |" if name == "resets" else numbers), name


def test_events_of_a_flood_are_the_same_octet_by_octet() -> None:
    octets = b"".join(ping() for _ in range(1002))
    one, other = begun(), begun()
    assert events_told(fed(one, octets)) == events_told(fed(other, octets, range(1, len(octets))))
    assert told(one.out) == told(other.out)
