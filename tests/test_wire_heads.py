"""The two speeds of message heads are one: what is compiled says and writes what the source does (`tests/harness/head_fuzzer.py`)."""

from __future__ import annotations

import copy
import gc
import os
import random
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import HttpError
from terraster.wire import http1, names
from terraster.wire.http2.fields import request_head
from terraster.wire.names import with_dashes

from .harness.head_fuzzer import COMPILED, SOURCE, Fuzzer, Message, Writing, corpus, judge, scanned

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
KINDS = frozenset(range(1, 22))
BROWSER = (
    b"GET /app.js?v=12 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\nX-Forwarded-For: 192.0.2.1\r\nAccept: */*\r\n"
    b"TE: trailers\r\nUser-Agent: Mozilla/5.0 (X11)\r\nClient-Cert: :MII:\r\nCookie: a=b; c=d\r\nx-real-ip:10.0.0.1\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 302 Found\r\nServer: a\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nLocation: http://10.0.0.1/x\r\nKeep-Alive: timeout=5\r\n"
    b"Content-Length: 5\r\nconnection: Keep-Alive\r\nContent-Location:/y \r\n\r\nhello"
)

two_speeds = pytest.mark.skipif(not COMPILED, reason="the heads are not compiled here, so there is nothing to compare")


@two_speeds
def test_the_corpus() -> None:
    chance = random.Random(1)
    for message in corpus():
        cuts = tuple(sorted(chance.randrange(len(message.data) + 1) for _ in range(3)))
        judge(replace(message, cuts=cuts, forgets=chance.random() < 0.5))


def facts_of(head: object) -> dict[str, object]:
    slots = SOURCE.RequestHead.__slots__ if isinstance(head, http1.RequestHead) else SOURCE.ResponseHead.__slots__
    return {name: getattr(head, name, None) for name in slots if not name.startswith("_")}


def test_a_copy_has_all_that_its_head_has() -> None:
    """`copy.copy`, which mirrors and plugins use. Before and after its fields were asked for."""
    copied = 0
    for message in corpus():
        try:
            if message.method is None:
                head = http1.parse_request(message.data, *message.limits)
            else:
                head = http1.parse_response(message.data, message.method, *message.limits, message.strict)
        except HttpError:
            continue
        if head is None:
            continue
        early = copy.copy(head)
        facts = facts_of(head)
        late = copy.copy(head)
        for made in (early, late):
            assert type(made) is type(head) and facts_of(made) == facts
            if isinstance(made, http1.RequestHead):
                assert made.forward(b"/", KINDS, frozenset(), b"") == head.forward(b"/", KINDS, frozenset(), b"")
            else:
                assert made.forward(frozenset(), (), b"") == head.forward(frozenset(), (), b"")
        copied += 1
    assert copied > 100


@pytest.mark.parametrize("more", [[], [(b"te", b"trailers", 42), (b"cookie", b"a=b", 41)]])
def test_a_copy_of_a_head_of_http2_outlives_it(more: list[tuple[bytes, bytes, int]]) -> None:
    fields = [(b":method", b"GET", 42), (b":scheme", b"http", 43), (b":path", b"/a", 38), (b":authority", b"a.test", 48)]
    head = request_head([*fields, (b"accept", b"*/*", 41), *more], True, 100, 32768)
    written = head.forward(b"/b", KINDS, frozenset(), b"X: y\r\n")
    made = copy.copy(head)
    head.release()
    assert type(made) is type(head) and facts_of(made) == facts_of(head)
    assert made.forward(b"/b", KINDS, frozenset(), b"X: y\r\n") == written


@two_speeds
def test_each_name_has_the_meaning_that_it_has_in_the_source() -> None:
    """In each spelling, with a line of the same name before it, and shorter or longer by an octet."""
    known = {name for table in (names._REQUEST, names._RESPONSE) for name in table} | names.OURS | {b"x-forwarded-any"}
    for name in sorted(known):
        for spelled in (name, name.title(), name.upper(), name[:-1], name + b"x", b"x" + name[1:], name.replace(b"-", b"_")):
            for value in (b"5", b"close", b"chunked"):
                for count in (1, 2):
                    lines = b"%b: %b\r\n" % (spelled, value) * count
                    writings = (Writing(), Writing(keep=KINDS), Writing(drop=with_dashes(frozenset((name,)))))
                    for start in (
                        b"GET / HTTP/1.1\r\nHost: a.test\r\n",
                        b"GET / HTTP/1.0\r\n",
                        b"GET / HTTP/1.0\r\nHost: a.test\r\n",
                    ):
                        judge(Message(start + lines + b"\r\n", writings=writings))
                    for method, status in ((b"GET", 200), (b"HEAD", 304), (b"GET", 204)):
                        judge(Message(b"HTTP/1.1 %d \r\n%b\r\n" % (status, lines), method, writings=writings))


@two_speeds
@pytest.mark.parametrize(
    "message", [Message(BROWSER), Message(RESPONSE, b"GET"), Message(RESPONSE, b"HEAD")], ids=["request", "get", "head"]
)
def test_any_octet_at_any_place(message: Message) -> None:
    """An octet of a head in order is replaced by one that some rule names or that is next to one, or left out."""
    assert scanned(message)
    octets = [b"", *(bytes((octet,)) for octet in b"\0\t\r\x1f :@[_`{\x7f\xff9")]
    for at in range(len(message.data)):
        for octet in octets:
            judge(replace(message, data=message.data[:at] + octet + message.data[at + 1 :]))


@two_speeds
@pytest.mark.parametrize("message", [Message(BROWSER), Message(RESPONSE, b"GET")], ids=["request", "response"])
def test_in_pieces(message: Message) -> None:
    """Octet by octet, with and without a memory of what came before; each beginning; and with another head behind it."""
    ends = tuple(range(len(message.data)))
    for forgets in (False, True):
        judge(replace(message, cuts=ends, forgets=forgets))
    for end in ends:
        judge(replace(message, data=message.data[:end]))
        judge(replace(message, data=message.data + message.data[:end], cuts=(end,)))


@two_speeds
@pytest.mark.parametrize("octet", [b"h", b"\xff", b"\t", b"\0", b"\r", b"\n", b"_", b":"])
@pytest.mark.parametrize("size", [31, 32, 33, 4096, 32_760, 70_000])
def test_long_names_and_values(octet: bytes, size: int) -> None:
    many = octet * size
    for line in (b"X-A: %b\r\n" % many, b"X%b: 1\r\n" % many, b"Connection: %b\r\n" % many, b"Content-Length: %b\r\n" % many):
        for limit in (size, 1 << 20):
            writings = (Writing(drop=frozenset((b"x" + many.lower(),))),)
            judge(Message(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % many, limits=(limit, 100)))
            judge(Message(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % line, limits=(limit, 100), cuts=(size,), writings=writings))
            judge(Message(b"HTTP/1.1 200 OK\r\n%b\r\n" % line, b"GET", limits=(limit, 100), cuts=(size,), writings=writings))


@two_speeds
@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 OK\r\n"], ids=["request", "response"])
def test_limits_at_their_edges(start: bytes) -> None:
    """Octets, fields, lines that end here (compiled heads have room for 12), and spare octets, from 1,024 of which on a head is copied."""
    method = None if start.startswith(b"GET") else b"GET"
    for count in (0, 1, 11, 12, 13, 14, 99):
        data = start + b"Keep-Alive: 1\r\n" * count + b"\r\n"
        message = Message(data, method, writings=(Writing(), Writing(keep=frozenset((names.DROP,)))))
        assert scanned(message) == (count <= 12)
        for size in range(len(data) - 2, len(data) + 3):
            for fields in range(count - 1, count + 3):
                judge(replace(message, limits=(size, max(fields, 0))))
    for spare in (1, 1022, 1023, 1024, 1025, 60_000):
        judge(Message(start + b"\r\n" + b"x" * spare, method))


METHOD = st.one_of(st.sampled_from([b"GET", b"POST", b"OPTIONS"]), st.binary(max_size=4))
TARGET = st.one_of(
    st.sampled_from([b"/", b"/a?b", b"*", b"http://a.test/"]), st.binary(max_size=9).map(lambda octets: b"/" + octets)
)
NAME = st.one_of(st.sampled_from(sorted({*names._REQUEST, *names._RESPONSE, b"via", b"accept"})), st.binary(max_size=12))
SPELLED = st.builds(lambda name, change: change(name), NAME, st.sampled_from([bytes.title, bytes.upper, bytes]))
VALUE = st.one_of(st.sampled_from([b"close", b"keep-alive", b"chunked", b"5", b"a.test", b"trailers"]), st.binary(max_size=20))
LINE = st.builds(b"%b:%b%b\r\n".__mod__, st.tuples(SPELLED, st.sampled_from([b" ", b"", b"\t", b"  "]), VALUE))
START = st.one_of(
    st.builds(b"%b %b HTTP/1.%d\r\nHost: a\r\n".__mod__, st.tuples(METHOD, TARGET, st.integers(0, 3))),
    st.builds(b"HTTP/1.%d %d OK\r\n".__mod__, st.tuples(st.integers(0, 3), st.integers(99, 601))),
)
WRITING = st.builds(
    lambda keep, drop: Writing(b"/", keep, with_dashes(drop)),
    st.frozensets(st.integers(1, 21), max_size=4),
    st.frozensets(NAME.map(bytes.lower), max_size=3),
)


@two_speeds
@given(
    START, st.lists(LINE, max_size=8), st.sampled_from([b"GET", b"HEAD"]), st.booleans(), st.lists(WRITING, min_size=1, max_size=3)
)
def test_any_head(start: bytes, lines: list[bytes], method: bytes, strict: bool, writings: list[Writing]) -> None:
    data = b"".join((start, *lines, b"\r\n"))
    judge(Message(data, method if start.startswith(b"HTTP/") else None, strict, writings=tuple(writings)))


@two_speeds
def test_new_inputs_for_a_moment() -> None:
    fuzzer = Fuzzer(1)
    fuzzer.run(count=1500)
    assert fuzzer.taken > 300


@two_speeds
@pytest.mark.nightly
def test_new_inputs() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    fuzzer = Fuzzer(seed)
    fuzzer.run(SECONDS)
    assert fuzzer.taken > 100, f"seed {seed}"  # where an emulator and other work make it slow, too


REFUSED = (
    BROWSER.replace(b"Cookie", b"Transfer-Encoding"),
    BROWSER.replace(b"Cookie", b"Host"),
    BROWSER[:-2],
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\nContent-Length: 6\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"TE: a\r\n" * 20 + b"\r\n",
)


def a_turn(number: int) -> None:
    """Read and write heads of each kind, and let go of them."""
    own = b"X-Number: %d\r\n\r\n" % (number % 40)
    drop = frozenset((b"cookie", b"x-real-ip"))
    for data in (BROWSER, BROWSER[:-2] + own, *REFUSED):
        try:
            head = http1.parse_request(data, 32768, 100)
        except HttpError:
            continue
        if head is not None:
            head.forward(b"/x", KINDS, drop, own)
            head.forward(b"/x", frozenset(), frozenset(), own)
            head.lines(frozenset(), drop, own)
            assert head.fields and head.special and head.names()
    for data, method in ((RESPONSE, b"GET"), (RESPONSE, b"HEAD"), (RESPONSE.replace(b"\r\n\r\nhello", b"\r\n" + own), b"GET")):
        answer = http1.parse_response(data, method, 32768, 100)
        assert answer is not None and answer.location is not None
        answer.forward(drop, [(*answer.location[0], b"/x")], own)
        answer.forward(drop, (), own)
        answer.forward(frozenset(), (), own)
        assert answer.fields and answer.special


def test_nothing_is_left_of_a_head(turns: int = 1500) -> None:
    """With 10 heads a turn. What memories keep is bounded, and all of it is met in the first half of the turns."""
    watched = (BROWSER, RESPONSE, KINDS, b"GET")
    for number in range(turns):
        a_turn(number)
    gc.collect()
    counts, blocks = [sys.getrefcount(one) for one in watched], sys.getallocatedblocks()
    for number in range(turns, 2 * turns):
        a_turn(number)
    gc.collect()
    assert [sys.getrefcount(one) for one in watched] == counts
    assert sys.getallocatedblocks() - blocks < turns // 10
