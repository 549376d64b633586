"""The sending half of an HTTP/2 connection: whose turn it is while the socket takes whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from types import SimpleNamespace

import pytest
from greenlet import getcurrent, greenlet

from terraster.net.http2.channel import Channel
from terraster.net.http2.outlet import Outlet
from terraster.wire.http2.limits import Limits
from terraster.wire.http2.server import ServerSession

from .harness.http2 import PREFACE, headers, settings, told, window

PIECE = bytes(32768)


class _Stream:
    """A socket that takes everything. callback: what is called when it is ready"""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.callback: Callable[[], None] | None = None

    def send_now(self, data: bytes) -> int:
        self.sent.append(data)
        return 0

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback

    def taken(self) -> list[str]:
        """The frames that were sent since the last look."""
        seen = told([b"".join(self.sent)])
        self.sent.clear()
        return seen


class _Loop:
    """now: the clock. due: what the timer that runs calls, None if none does"""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: Callable[[], None] | None = None

    def run_callback(self, function: object, *args: object) -> None: ...

    def clock(self) -> float:
        return self.now

    def timer(self, seconds: float) -> SimpleNamespace:
        assert self.due is None and 0.0 < seconds < 0.1
        return SimpleNamespace(start=self._start, close=self._start)

    def _start(self, due: Callable[[], None] | None = None) -> None:
        self.due = due


class _Outlet(Outlet):
    def _stalled(self) -> None: ...

    def _flows(self) -> None: ...


def octets(stream: _Stream) -> int:
    """Octets of bodies that were sent since the last look."""
    return sum(int(frame.split()[2]) for frame in stream.taken())


def begun(*urgencies: int) -> tuple[_Outlet, _Stream, list[Channel]]:
    """A connection with large windows and requests of these urgencies, which began a while ago."""
    stream, hub, loop = _Stream(), getcurrent(), _Loop()
    reactor = SimpleNamespace(
        loop=loop, clock=loop.clock, horizon=0.0, streams=set(), switch=hub.switch, deadline=lambda waiter, timeout: inf
    )
    plain = SimpleNamespace(reactor=reactor, closed=False, writer=None, write_deadline=inf)
    made: list[Channel] = []

    def make(number: int, octets: int) -> Channel:
        made.append(Channel(outlet, number, octets))
        return made[-1]

    outlet = _Outlet(stream, plain, ServerSession(make, Limits()), 60.0)  # type: ignore[arg-type]
    outlet.codec.feed(PREFACE + settings((4, 1 << 30), (5, 1 << 16)) + settings(ack=True) + window(0, 1 << 30), 1.0)
    outlet.codec.feed(b"".join(headers(1 + 2 * one) for one in range(len(urgencies))), 1.0)
    outlet.codec.out.clear()
    for channel, urgency in zip(made, urgencies, strict=True):
        channel.urgency = urgency
        outlet.opened(channel)
    loop.now += 1.0
    return outlet, stream, made


def download(channel: Channel, pieces: int) -> greenlet:
    """Send so many pieces whenever there is room."""

    def run() -> None:
        for _ in range(pieces):
            channel.room(60.0)
            channel.write(PIECE, False, 60.0)

    running = greenlet(run)
    running.switch()
    return running


def test_a_stream_that_never_has_to_wait_lets_the_loop_turn() -> None:
    """Else neither the client's next request nor any other connection would be looked at before the window is exhausted."""
    _, stream, (channel,) = begun(3)
    running = download(channel, 32)
    turns = 0
    while not running.dead:
        assert stream.callback is not None, "it waits for nothing"
        assert octets(stream) <= 1 << 18
        stream.callback()
        turns += 1
    assert turns >= 3  # of 256 KiB each, the first one aside


def test_while_a_more_urgent_one_is_under_way_others_send_little_at_each_turn() -> None:
    outlet, stream, (urgent, *others) = begun(0, 7, 7)
    running = [download(channel, 32) for channel in others]
    assert octets(stream) <= len(PIECE)
    for _ in range(10):
        assert stream.callback is not None
        stream.callback()
        assert 0 < octets(stream) <= len(PIECE)
    outlet.requests.discard(urgent)
    assert stream.callback is not None
    stream.callback()
    assert octets(stream) > len(PIECE)
    assert not any(one.dead for one in running)


def test_the_most_urgent_goes_first_at_each_turn() -> None:
    _, stream, (first, second, urgent) = begun(7, 7, 0)
    others = [download(first, 32), download(second, 32)]
    stream.taken()
    running = download(urgent, 3)
    while not running.dead:
        assert stream.callback is not None
        stream.callback()
        assert stream.taken()[0] == f"DATA 5 {len(PIECE)}"
    assert not any(one.dead for one in others)


def test_a_short_answer_behind_many_is_sent_at_the_next_turn() -> None:
    outlet, stream, (*others, short) = begun(*[3] * 9, 0)
    for channel in others:
        download(channel, 16)
    stream.taken()
    sending = greenlet(lambda: short.write(b"short", True, 60.0))
    sending.switch()
    assert outlet.blocked and stream.callback is not None
    stream.callback()
    assert stream.taken()[0] == f"DATA {short.id} 5 END"


def test_a_background_download_gives_way_sooner() -> None:
    _, stream, (channel,) = begun(7)
    running = download(channel, 16)
    while not running.dead:
        assert octets(stream) <= 1 << 16
        assert stream.callback is not None
        stream.callback()


def test_the_others_wait_a_moment_for_what_a_more_urgent_one_brings() -> None:
    """The moment ends with the urgent one, or by itself, and does not come again at once."""
    outlet, stream, (first, second, urgent) = begun(7, 7, 7)
    loop = outlet.reactor.loop
    running = [download(first, 64), download(second, 64)]

    def begin() -> None:
        urgent.urgency = 0
        outlet.opened(urgent)
        stream.taken()
        assert stream.callback is not None
        stream.callback()

    begin()
    assert octets(stream) == 0 and loop.due is not None
    urgent.write(b"brief", False, 60.0)
    assert stream.taken() == []  # not before the end of the turn
    outlet._turn()
    assert stream.taken() == [f"DATA {urgent.id} 5"]
    outlet.requests.discard(urgent)
    outlet._turn()
    assert octets(stream) > 0
    loop.due()
    assert loop.due is None
    loop.now += 0.005
    begin()
    assert octets(stream) > 0, "it was a moment ago"
    outlet.requests.discard(urgent)
    stream.callback()
    loop.now += 1.0
    begin()
    assert octets(stream) == 0 and loop.due is not None
    loop.now += 0.01
    loop.due()
    assert octets(stream) > 0 and loop.due is None, "the urgent one is still under way"
    assert not any(one.dead for one in running)


@pytest.mark.parametrize("takes", [0, 1, 8, 9, 10, 16393, 16394, 40000, 10**9, -1])
def test_large_payload_is_sent_whole_however_much_the_socket_takes_at_first(takes: int) -> None:
    """Payload is sent from where it lies, as long as the socket takes it. takes: octets that it takes of the first call, -1: it fails."""
    outlet, stream, (channel,) = begun(3)
    sent = bytearray()

    def sendmsg(pieces: list[bytes]) -> int:
        if takes < 0:
            raise BlockingIOError
        data = b"".join(pieces)[:takes]
        sent.extend(data)
        return len(data)

    def send_now(data: bytes) -> int:
        sent.extend(data)
        return 0

    stream.__dict__.update(
        closed=False, unsent=0, sock=SimpleNamespace(sendmsg=sendmsg), send_now=send_now, writer=None, write_deadline=inf
    )
    outlet.plain = stream  # type: ignore[assignment]
    body = bytes(number % 251 for number in range(45_000))
    channel.write(memoryview(body), True, 0.0)
    frames = told([bytes(sent)])
    assert sum(int(frame.split()[2]) for frame in frames) == len(body), frames
    assert bytes(sent).endswith(body[-100:])
    assert not outlet.codec.out
