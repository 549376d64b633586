"""`Reactor.sleep` and `Wakeup`: who waits, for how long, and who may end it. `Stream`: its contract, on the speed that is loaded."""

from __future__ import annotations

import ast
import errno
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import gevent
import pytest
from greenlet import getcurrent

import terraster.net
from terraster.errors import ConnectionLost, HttpError
from terraster.net.reactor import Reactor, Wakeup
from terraster.net.stream import READ_SIZE, Stream


def test_a_sleep_lasts_its_time_and_lets_others_run() -> None:
    ran: list[float] = []
    began = time.monotonic()
    gevent.spawn(lambda: ran.append(time.monotonic()))
    Reactor().sleep(0.03)
    assert ran
    assert 0.03 <= time.monotonic() - began < 1


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_sleep_of_nothing_lets_others_run_once(seconds: float) -> None:
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    Reactor().sleep(seconds)
    assert ran == [1]


def test_a_sleep_counts_from_now_not_from_when_the_loop_woke() -> None:
    def busy() -> float:
        time.sleep(0.05)  # the loop's own time stands still meanwhile
        began = time.monotonic()
        Reactor().sleep(0.03)
        return time.monotonic() - began

    assert gevent.spawn(busy).get() >= 0.03


def test_a_wait_ends_when_it_is_woken() -> None:
    wakeup = Wakeup(Reactor())
    waiter = gevent.spawn(wakeup.wait, 60.0)
    gevent.sleep(0)
    wakeup.wake()
    wakeup.wake()  # once more changes nothing
    waiter.get(timeout=5)


def test_waking_is_not_remembered() -> None:
    wakeup = Wakeup(Reactor())
    wakeup.wake()
    began = time.monotonic()
    wakeup.wait(0.03)
    assert time.monotonic() - began >= 0.03


def test_a_wait_that_was_broken_off_wakes_nobody() -> None:
    """Neither its timer nor a call that was on its way may switch into whatever its greenlet waits for next."""
    wakeup = Wakeup(Reactor())
    left: list[float] = []

    def wait() -> None:
        try:
            wakeup.wait(0.01)
        except RuntimeError:
            began = time.monotonic()
            gevent.sleep(0.05)
            left.append(time.monotonic() - began)

    waiter = gevent.spawn(wait)
    gevent.sleep(0)
    waiter.kill(RuntimeError("enough"), block=False)
    wakeup.wake()
    waiter.join(timeout=5)
    assert len(left) == 1 and left[0] >= 0.05


@pytest.mark.parametrize("size", (10, 5_000_000))
def test_the_last_octets_come_with_the_end(size: int) -> None:
    """However many they are, and however long the other side takes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = socket.create_connection(listening.getsockname())
        here = listening.accept()[0]
    here.setblocking(False)
    stream = Stream(Reactor(), here)
    octets = bytes(range(256)) * (size // 256 + 1)

    def send() -> None:
        stream.send_last(octets[:size], 10.0)
        stream.close()

    sending = gevent.spawn(send)
    gevent.sleep(0.01)
    assert sending.dead is (size == 10)
    with there:
        there.setblocking(False)
        said = b""
        while True:
            with suppress(BlockingIOError):
                piece = there.recv(1 << 20)
                if not piece:
                    break
                said += piece
            gevent.sleep(0)
    sending.get(timeout=5)
    assert said == octets[:size]


class Party:
    """The owner of a stream. unasked: how often octets came that nobody waited for."""

    def __init__(self) -> None:
        self.unasked = 0

    def unexpected(self) -> None:
        self.unasked += 1

    def timed_out(self, writing: bool) -> HttpError:
        return HttpError("too slow to read" if writing else "too slow to write", status=504)

    def lost(self) -> HttpError:
        return ConnectionLost("lost")

    def waits_for_head(self) -> bool:
        return False


class Pair:
    """A stream and the socket at its other end."""

    def __init__(self, family: int, reactor: Reactor | None = None) -> None:
        if family == socket.AF_UNIX:
            here, self.there = socket.socketpair()
        else:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                self.there = socket.socket()
                self.there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                self.there.connect(listening.getsockname())
                here = listening.accept()[0]
        here.setblocking(False)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.owner = Party()
        self.reactor = reactor or Reactor()
        self.reactor.start()
        self.stream = Stream(self.reactor, here)
        self.stream.owner = self.owner
        self.stream.listen()

    def close(self) -> None:
        self.stream.close()
        self.there.close()
        self.reactor._timer.stop()


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(request.param)
    yield made
    made.close()


def test_the_twin_has_every_method_of_the_module_that_is_the_contract() -> None:
    source = Path(terraster.net.__file__).with_name("stream.py").read_text()
    (contract,) = [one for one in ast.parse(source).body if isinstance(one, ast.ClassDef) and one.name == "Stream"]
    methods = {one.name for one in contract.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")}
    assert methods <= {name for name in dir(Stream) if not name.startswith("_")}


def test_octets_are_waited_for(pair: Pair) -> None:
    reading = gevent.spawn(pair.stream.recv, 5.0)
    gevent.sleep(0)
    assert pair.stream.reader is reading and pair.stream.read_deadline < inf
    pair.there.sendall(b"one")
    assert reading.get(timeout=5) == b"one"
    assert pair.stream.reader is None and pair.stream.read_deadline == inf
    assert pair.owner.unasked == 0


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Five streams on one reactor."""
    reactor = Reactor()
    made = [Pair(socket.AF_UNIX, reactor) for _ in range(5)]
    yield made
    for pair in made:
        pair.close()


def test_the_earliest_is_read_first(pairs: list[Pair]) -> None:
    """Also where a reader waits for more at once, so that it may give way to the next without the hub."""
    order: list[int] = []

    def read(number: int) -> None:
        for _ in range(2):
            assert pairs[number].stream.recv(5.0) == b"."
            order.append(number)

    readers = [pairs[0].reactor.spawn(read, number) for number in range(5)]
    gevent.sleep(0.01)
    for turn in ([2, 0, 4, 1, 3], [3, 1, 0, 2, 4]):
        for number in turn:
            pairs[number].there.sendall(b".")
        gevent.sleep(0.01)
        assert order[-5:] == turn
    assert all(reader.dead for reader in readers)


def test_a_reader_that_fails_or_closes_others_keeps_nobody_else_from_being_read(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[int] = []
    reported: list[object] = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda context, kind, value, trace: reported.append(kind))

    def read(number: int) -> None:
        pairs[number].stream.recv(5.0)
        order.append(number)
        if number == 1:
            pairs[2].stream.close()  # its octets have arrived, too
            pairs[4].stream.attend(lambda: order.append(-4))
            raise KeyError("failed")

    for number in range(5):
        pairs[0].reactor.spawn(read, number)
    gevent.sleep(0.01)
    for pair in pairs:
        pair.there.sendall(b".")
    gevent.sleep(0.01)
    pairs[4].stream.ignore()
    assert [number for number in order if number >= 0] == [0, 1, 3]
    assert -4 in order and reported == [KeyError]


def test_octets_that_nobody_waits_for_are_told_once_and_stay(pair: Pair) -> None:
    pair.there.sendall(b"abcdef")
    gevent.sleep(0.01)
    assert (pair.owner.unasked, pair.stream.ready) == (1, True)
    assert pair.stream.peek() == b"a"
    assert pair.stream.recv(5.0, 2) == b"ab"
    buffer = bytearray(3)
    assert pair.stream.recv_into(memoryview(buffer), 5.0) == 3 and buffer == b"cde"
    assert pair.stream.recv_now() == b"f"
    assert pair.stream.recv_now() is None and pair.stream.peek() is None
    pair.there.close()
    gevent.sleep(0.01)
    assert pair.stream.peek() == b"" and pair.stream.recv_now() == b"" and pair.stream.recv(5.0) == b""


def test_a_read_takes_no_negative_size(pair: Pair) -> None:
    pair.there.sendall(b"a")
    gevent.sleep(0.01)
    with pytest.raises(ValueError, match="negative"):
        pair.stream.recv(5.0, -1)


@pytest.mark.parametrize("timeout", [0.02, 1.0])
def test_a_wait_ends_with_the_error_of_the_owner(pair: Pair, timeout: float) -> None:
    pair.reactor.horizon -= 1.0 if timeout >= 1.0 else 0.0
    with pytest.raises(HttpError, match="too slow to write"):
        pair.stream.recv(timeout)
    assert pair.stream.reader is None and pair.stream.read_deadline == inf


def test_a_wait_is_thrown_into(pair: Pair) -> None:
    assert pair.stream.end_wait(KeyError()) is False
    reading = gevent.spawn(pair.stream.recv, 0.0)
    gevent.sleep(0)
    assert pair.stream.read_deadline == inf
    pair.stream.hasten(2.0)
    assert pair.stream.next_deadline() < inf
    pair.reactor.loop.run_callback(pair.stream.end_wait, KeyError("thrown"))
    with pytest.raises(KeyError, match="thrown"):
        reading.get(timeout=5)
    assert pair.stream.reader is None


def test_an_abandoned_reader_gets_nothing(pair: Pair) -> None:
    reading = gevent.spawn(pair.stream.recv, 5.0)
    gevent.sleep(0)
    pair.stream.abandon(getcurrent())
    assert pair.stream.reader is reading
    pair.stream.abandon(reading)
    assert pair.stream.reader is None and pair.stream.read_deadline == inf
    pair.there.sendall(b"for another")
    gevent.sleep(0.01)
    assert pair.owner.unasked == 1 and not reading.dead
    reading.kill()
    assert pair.stream.recv(5.0) == b"for another"


def test_a_callback_is_attended_in_place_of_a_reader(pair: Pair) -> None:
    seen: list[Any] = []

    def arrived() -> None:
        seen.append(pair.stream.recv_now())

    pair.stream.attend(arrived)
    pair.there.sendall(b"one")
    gevent.sleep(0.01)
    pair.stream.ignore()
    pair.there.sendall(b"two")
    gevent.sleep(0.01)
    assert seen == [b"one"]
    pair.stream.attend(None)
    assert pair.stream.recv(5.0) == b"two"


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_octets_that_the_socket_does_not_take_wait(pair: Pair, kind: Any) -> None:
    octets = bytes(range(256)) * 8_000
    assert pair.stream.send(kind(b"x"), 5.0) is False and pair.there.recv(1) == b"x"
    sending = gevent.spawn(pair.stream.send, kind(octets), 5.0)
    gevent.sleep(0)
    assert pair.stream.writes and pair.stream.write_deadline < inf
    pair.there.setblocking(False)
    came = b""
    while len(came) < len(octets):
        with suppress(BlockingIOError):
            came += pair.there.recv(1 << 20)
        gevent.sleep(0)
    assert sending.get(timeout=5) is True and came == octets
    assert not pair.stream.writes and pair.stream.write_deadline == inf


def test_octets_in_two_parts_leave_one_behind_the_other(pair: Pair) -> None:
    assert pair.stream.send(b"one ", 5.0, b"two") is False and pair.there.recv(9) == b"one two"
    head, body = b"h" * 100, bytes(range(256)) * 100
    pair.there.setblocking(False)
    for rest in (body, body * 80):  # one that fits the buffer of the compiled twin, and one that does not
        sending, came = gevent.spawn(pair.stream.send, head, 5.0, rest), b""
        while len(came) < len(head + rest):
            with suppress(BlockingIOError):
                came += pair.there.recv(1 << 20)
            gevent.sleep(0)
        sending.get(timeout=5)
        assert came == head + rest


def test_what_send_now_keeps_goes_first(pair: Pair) -> None:
    octets = bytes(range(256)) * 8_000
    assert 0 < pair.stream.send_now(octets) == pair.stream.unsent
    pair.stream.send_now(b"!")
    pair.stream.on_writable(lambda: None if pair.stream.send_now(b"") else pair.stream.on_writable(None))
    pair.there.setblocking(False)
    came = b""
    while len(came) <= len(octets):
        with suppress(BlockingIOError):
            came += pair.there.recv(1 << 20)
        gevent.sleep(0)
    assert came == octets + b"!" and pair.stream.unsent == 0


def test_an_offer_is_what_the_socket_takes_now(pair: Pair) -> None:
    octets = bytes(range(256)) * 8_000
    taken = pair.stream.offer(octets)
    assert 0 < taken < len(octets) and pair.stream.offer(octets[taken:]) >= 0
    while pair.stream.offer(b"more"):
        pass
    assert not pair.stream.unsent and pair.there.recv(taken, socket.MSG_WAITALL) == octets[:taken]


def test_errors_are_those_of_the_owner_and_say_why() -> None:
    pair = Pair(socket.AF_INET)
    pair.there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair.there.close()
    with pytest.raises(ConnectionLost) as caught:
        pair.stream.recv(5.0)
    assert isinstance(caught.value.__cause__, ConnectionResetError) and caught.value.__cause__.errno == errno.ECONNRESET
    with pytest.raises(ConnectionLost) as caught:
        pair.stream.send(b"x", 5.0)
    assert isinstance(caught.value.__cause__, BrokenPipeError) and caught.value.unsent
    with pytest.raises(ConnectionLost) as caught:
        pair.stream.send_last(b"x", 5.0)
    assert not caught.value.unsent
    pair.close()


def test_a_closed_stream_reads_and_writes_nothing(pair: Pair) -> None:
    """The kernel may have given its descriptor to another connection."""
    pair.stream.close()
    pair.stream.close()
    others = socket.socketpair()
    with others[0], others[1]:
        others[1].sendall(b"not for the closed stream")
        assert pair.stream not in pair.reactor.streams
        assert pair.stream.peek() == b""
        for call in (lambda: pair.stream.send(b"x", 1.0), pair.stream.recv_now, lambda: pair.stream.send_now(b"x")):
            with pytest.raises(ConnectionLost) as caught:
                call()
            assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.EBADF
        with pytest.raises(OSError):
            pair.stream.offer(b"x")
        others[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            others[1].recv(1)


def test_acknowledgements_and_resets_are_asked_for_on_a_socket_of_any_family(pair: Pair) -> None:
    pair.stream.quick_ack()
    pair.stream.set_tcp_option(socket.TCP_KEEPCNT, 7)
    if pair.stream.sock.family == socket.AF_INET:
        assert pair.stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 7
        with pytest.raises(OSError) as caught:
            pair.stream.set_tcp_option(socket.TCP_KEEPCNT, -1)
        assert caught.value.errno == errno.EINVAL
    pair.stream.shutdown()
    assert pair.there.recv(1) == b""
    pair.stream.reset_on_close()
    assert READ_SIZE == 65536
