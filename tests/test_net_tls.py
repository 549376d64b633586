"""TLS towards a backend, against the standard library's own server in a thread."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from terraster.certs.client_contexts import ClientContexts
from terraster.config.snapshot import Backend, ConnectionPool
from terraster.errors import ClientGone, ConnectFailed, HttpError, TimedOut
from terraster.exchange import Exchange
from terraster.net.client_tls import ClientTls
from terraster.net.duplex import Duplex
from terraster.net.memory_bio import shrinker
from terraster.net.origin import Origin
from terraster.net.reactor import Reactor
from terraster.net.stream import Stream
from terraster.net.tls import TlsStream
from terraster.net.upstream import Upstream
from terraster.state.cells import SeatBackend
from terraster.state.table import Table
from terraster.state.view import SeatView

from .harness.terraster_process import rss
from .harness.waiting import wait_until

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's, with a certificate of its own."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class Peer:
    """A server: each connection is handed to ``serve``, then closed. context: None: without TLS"""

    def __init__(self, context: ssl.SSLContext | None, serve: Callable[[Any], None]) -> None:
        self._context = context
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                self._serve(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


NOBODY = Exchange(0.0, 0.0, "", "", "http")
"""An exchange of no client: these origins ask nothing of it."""


class House:
    """One worker's origins."""

    def __init__(self) -> None:
        self.table = Table(4, 4, 2)
        self.view = SeatView(self.table)
        self.view.sit(1)
        self.reactor = Reactor()
        self.reactor.start()

    def origin(self, port: int, sni: str = "localhost") -> Origin:
        url = f"https://127.0.0.1:{port}"
        backend = Backend("b", url, "https", "127.0.0.1", port, address="127.0.0.1", sni=sni, skip_tls_verify=True, slot=0)
        return Origin(self.reactor, backend, 0, ConnectionPool(), self.view, ClientContexts())

    def cell(self, which: int) -> int:
        return int(self.table.q[self.view.backends + which])


@pytest.fixture
def peer(context: ssl.SSLContext) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(serve: Callable[[Any], None], plain: bool = False) -> Peer:
        peers.append(Peer(None if plain else context, serve))
        return peers[-1]

    yield make
    for one in peers:
        one.close()


def run(job: Callable[[], Any]) -> Any:
    """Run a job as a worker runs a connection."""
    return gevent.spawn(job).get(timeout=10)


def test_a_name_that_tls_refuses_costs_nothing() -> None:
    house = House()
    for name in (".example.com", "a..b", "a\0b", "x" * 70):
        origin = house.origin(1, name)
        run(lambda origin=origin: pytest.raises(ConnectFailed, origin.connect, NOBODY, 1.0))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            run(lambda origin=origin: pytest.raises(ConnectFailed, origin.connect, NOBODY, 1.0))
        assert len(os.listdir("/proc/self/fd")) == before
        origin.close()
    assert house.cell(SeatBackend.OPEN) == 0 and not house.reactor.streams


def test_what_fails_while_a_response_is_awaited_was_sent(peer: Callable[..., Peer]) -> None:
    """TLS may want to say something of its own there (a key update), and the socket may be gone: the request was not lost with it."""
    heard: list[bytes] = []
    gone = threading.Event()

    def serve(connection: ssl.SSLSocket) -> None:
        heard.append(connection.recv(65536))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        gone.set()

    house = House()
    origin = house.origin(peer(serve).port)

    def job() -> HttpError:
        upstream = origin.connect(NOBODY, 5.0)
        upstream.send(b"POST /pay HTTP/1.1\r\n\r\n", 5.0)
        wait_until(gone.is_set, pause=gevent.sleep)
        upstream.stream._outgoing.write(b"\x17\x03\x03\x00\x01x")  # type: ignore[union-attr]  # what the engine would have to say
        with pytest.raises(HttpError) as caught:
            upstream.recv(5.0)
        upstream.close()
        return caught.value

    assert not run(job).unsent
    assert heard == [b"POST /pay HTTP/1.1\r\n\r\n"]


def test_messages_of_tls_are_sent_though_nothing_else_is() -> None:
    """A client may ask for as many key updates as it likes, and send nothing else. The answers neither gather nor wait."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    reactor = Reactor()
    plain = Stream(reactor, here)
    plain.owner = SimpleNamespace(lost=lambda: ClientGone("gone"))  # type: ignore[assignment]
    stream = TlsStream(plain, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    try:
        there.send(b"\x16")  # a part of a record
        stream._outgoing.write(b"answer")
        assert stream.recv_now() is None
        assert there.recv(65536) == b"answer"
        with pytest.raises(ClientGone):
            for _ in range(100):  # the other side reads nothing
                there.send(b"\x03"[:1])
                stream._outgoing.write(bytes(65536))
                stream.recv_now()
        assert len(stream._rest) + plain.unsent < 300_000
    finally:
        plain.close()
        there.close()


def test_how_long_an_https_backend_keeps_connections_is_learnt(peer: Callable[..., Peer]) -> None:
    """The clock moves by hand: on a busy machine an end is seen late, and ages that differ too much are not one timeout."""
    over = threading.Event()

    def serve(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        connection.sendall(b"hi")
        assert over.wait(10)
        over.clear()

    house = House()
    now = [time.monotonic()]
    house.reactor.clock = lambda: now[0]
    origin = house.origin(peer(serve).port)

    def job() -> None:
        upstream = origin.connect(NOBODY, 5.0)
        upstream.send(b"GET / HTTP/1.1\r\n\r\n", 5.0)
        assert upstream.recv(5.0) == b"hi"
        upstream.give_back(True)
        assert origin.pool.idle
        now[0] += 0.4  # its keep-alive timeout
        over.set()
        wait_until(lambda: not origin.pool.idle, pause=gevent.sleep)

    for times in range(3):
        assert origin.pool.keepalive.seconds == 0.0, times
        run(job)
    assert origin.pool.keepalive.seconds == pytest.approx(0.4)
    assert house.cell(SeatBackend.OPEN) == house.cell(SeatBackend.IDLE) == 0


def test_a_reset_within_the_handshake_is_a_connection_that_was_not_made(peer: Callable[..., Peer]) -> None:
    """So another backend is asked, even for a POST."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)  # the client's first message
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    house = House()
    origin = house.origin(peer(serve, plain=True).port)
    error = run(lambda: pytest.raises(HttpError, origin.connect, NOBODY, 5.0)).value
    assert isinstance(error, ConnectFailed)
    assert error.unsent and error.unconnected and error.reason == "tls_protocol_error"
    assert house.cell(SeatBackend.OPEN) == 0


def test_messages_of_the_engine_keep_their_order_while_another_greenlet_sends(peer: Callable[..., Peer]) -> None:
    """A backend that asks for new keys while it does not read: what the reading greenlet has to say comes behind what is under way."""
    size = 8_000_000
    go = threading.Event()
    heard = bytearray()

    def serve(connection: ssl.SSLSocket) -> None:
        go.wait(10)
        while len(heard) < size + 1 and (data := connection.recv(65536)):
            heard.extend(data)
        connection.sendall(b"done")

    house = House()
    origin = house.origin(peer(serve).port)

    def job() -> bytes:
        upstream = origin.connect(NOBODY, 5.0)
        stream: Any = upstream.stream
        sender = gevent.spawn(upstream.send, b"a" * size, 10.0)
        wait_until(lambda: stream._plain.writer is not None, pause=gevent.sleep)  # the socket takes no more
        stream._tls.write(b"b")  # a record that the engine adds while it reads
        reader = gevent.spawn(upstream.recv, 10.0)
        wait_until(lambda: stream._plain.reader is not None, pause=gevent.sleep)
        go.set()
        sender.get(timeout=10)
        answer: bytes = reader.get(timeout=10)
        upstream.close()
        return answer

    assert run(job) == b"done"
    assert bytes(heard) == b"a" * size + b"b"


def test_what_the_socket_does_not_take_goes_before_the_next_octets(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.come(0.0, raw=plain.tickets)
    stream._tls.write(b"b")
    plain.takes = 10
    plain.come(0.0, b"one")
    assert stream.recv(1.0) == b"one"
    plain.takes = 0
    plain.come(0.0, b"two")
    stream._tls.write(b"c")
    assert stream.recv(1.0) == b"two"
    stream.send(b"d", 1.0)
    assert [plain.server.read(), plain.server.read(), plain.server.read()] == [b"b", b"c", b"d"]


@pytest.mark.parametrize(("size", "ends"), [(60_000, False), (66_000, True)])
def test_a_peer_that_reads_nothing_and_asks_for_more_is_left(context: ssl.SSLContext, size: int, ends: bool) -> None:
    """The engine's answers to it would need more and more memory."""
    plain = Clocked(context)
    stream = plain.connected()
    plain.owner.lost = lambda: ClientGone("it reads nothing")
    stream._tls.write(b"a" * size)
    plain.come(0.0, raw=plain.tickets)
    plain.come(0.0, b"one")
    plain.come(0.0, b"two")
    assert stream.recv(1.0) == b"one"
    stream._tls.write(b"b")
    if ends:
        with pytest.raises(ClientGone):
            stream.recv(1.0)
    else:
        assert stream.recv(1.0) == b"two"


class Clocked(Duplex):
    """A plain stream in memory with a TLS server behind it. Its clock moves while it is waited for what will `come`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.now = 100.0
        self.reactor = SimpleNamespace(clock=lambda: self.now, horizon=100.0, swollen=set())
        self.owner: Any = SimpleNamespace(phase="connect")
        self.owner.waits_for_head = lambda: self.owner.phase == "response"
        self.owner.timed_out = lambda writing: TimedOut("too long")
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self._in, self._out, server_side=True)
        self.takes = 0  # octets that the socket takes while nobody waits
        self.shaken = False
        self.slow = 0.0  # seconds between two octets of the handshake
        self._coming: list[tuple[float, bytes, Callable[[], None] | None]] = []

    def connected(self, timeout: float = 5.0) -> Any:
        """The client's stream after its handshake. The session tickets that the server sends behind it have not `come` yet."""
        backend = Backend("b", "https://localhost", "https", "localhost", 443, skip_tls_verify=True)
        stream = TlsStream(self, ClientTls(backend, ClientContexts()))  # type: ignore[arg-type]
        stream.handshake(timeout)
        self._shake()
        self.tickets = self._out.read()
        assert self.tickets
        self.owner.phase = "response"
        return stream

    def _shake(self) -> None:
        try:
            self.server.do_handshake()
            self.shaken = True
        except ssl.SSLWantReadError:
            pass

    def octets(self, data: bytes) -> bytes:
        """The record of this data."""
        self.server.write(data)
        return self._out.read()

    def come(
        self, seconds: float, octets: bytes | None = None, *, raw: bytes = b"", then: Callable[[], None] | None = None
    ) -> None:
        """So long after what came before, a record comes, or raw octets; ``then`` is called at that moment."""
        self._coming.append((seconds, raw if octets is None else self.octets(octets), then))

    # what a plain stream does

    def offer(self, data: bytes) -> int:
        return self._in.write(data[: self.takes]) if self.takes else 0

    def quick_ack(self) -> None:
        pass

    def hasten(self, seconds: float) -> None:
        pass

    def wait_no_longer_than(self, timeout: float) -> None:
        pass

    def send(self, data: bytes, timeout: float, more: bytes = b"") -> bool:
        self._in.write(data)
        return False

    def recv(self, timeout: float, size: int) -> bytes:
        if not self.shaken and not self._coming:
            self._shake()
            octets = self._out.read()
            self._coming = [(self.slow, octets[at : at + 1], None) for at in range(len(octets))]
        seconds, octets, then = self._coming.pop(0)
        if timeout and seconds > timeout:
            self.now += timeout
            raise TimedOut("too long")
        self.now += seconds
        if then is not None:
            then()
        return octets


def test_the_time_for_a_head_is_not_lengthened_by_records_without_data(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.come(2.0, raw=plain.tickets)
    plain.come(2.0, b"too late")
    with pytest.raises(TimedOut):
        stream.recv(3.0)
    assert plain.now == pytest.approx(103.0)


def test_nor_by_parts_of_a_record(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.come(0.0, raw=plain.tickets)
    record = plain.octets(b"x" * 100)
    for at in range(len(record)):
        plain.come(0.9, raw=record[at : at + 1])
    with pytest.raises(TimedOut):
        stream.recv(3.0)
    assert plain.now == pytest.approx(103.0)


def test_a_bound_that_is_set_within_a_wait_outlasts_records_without_data(context: ssl.SSLContext) -> None:
    """The request body has been sent, and from then on the response is waited for so long."""
    plain = Clocked(context)
    stream = plain.connected()
    plain.come(50.0, raw=plain.tickets, then=lambda: stream.wait_no_longer_than(3.0))
    plain.come(4.0, b"too late")
    with pytest.raises(TimedOut):
        stream.recv(0.0)
    assert plain.now == pytest.approx(153.0)


def test_a_wait_that_is_hastened_is_not_lengthened_by_records_without_data(context: ssl.SSLContext) -> None:
    """A worker that drains gives idle connections a moment, whatever a client sends meanwhile."""
    plain = Clocked(context)
    stream = plain.connected()
    plain.come(50.0, raw=plain.tickets, then=lambda: stream.hasten(2.0))
    plain.come(4.0, b"too late")
    with pytest.raises(TimedOut):
        stream.recv(75.0)
    assert plain.now == pytest.approx(152.0)


def test_within_a_body_each_octet_begins_the_time_anew(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.come(0.0, raw=plain.tickets)
    plain.owner.phase = "read"
    record = plain.octets(b"body")
    for at in range(len(record)):
        plain.come(2.9, raw=record[at : at + 1])
    assert stream.recv(3.0) == b"body"
    plain.come(3.1, b"more")
    with pytest.raises(TimedOut):
        stream.recv(3.0)


def two_tickets(plain: Clocked) -> tuple[bytes, bytes]:
    """Two records without data."""
    end = 5 + int.from_bytes(plain.tickets[3:5])
    assert 0 < end < len(plain.tickets)
    return plain.tickets[:end], plain.tickets[end:]


def test_within_a_body_records_without_data_do_not_begin_it_anew(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.owner.phase = "read"
    for ticket in two_tickets(plain):
        plain.come(2.0, raw=ticket)
    plain.come(2.0, b"too late")
    with pytest.raises(TimedOut):
        stream.recv(3.0)
    assert plain.now == pytest.approx(103.0)


def test_nor_if_the_next_one_begins_with_each(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.owner.phase = "read"
    one, two = two_tickets(plain)
    record = plain.octets(b"too late")
    plain.come(2.9, raw=one + two[:1])
    plain.come(2.9, raw=two[1:] + record[:1])
    plain.come(2.9, raw=record[1:])
    with pytest.raises(TimedOut):
        stream.recv(3.0)
    assert plain.now == pytest.approx(105.8)


def test_a_record_with_data_may_take_its_time_behind_one_without(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    stream = plain.connected()
    plain.owner.phase = "read"
    record = plain.octets(b"body")
    plain.come(2.9, raw=plain.tickets + record[:1])
    for at in range(1, len(record)):
        plain.come(2.9, raw=record[at : at + 1])
    assert stream.recv(3.0) == b"body"


@pytest.mark.parametrize("phase", ["response", "read"])
def test_records_that_come_without_a_break_do_not_outlast_the_time(context: ssl.SSLContext, phase: str) -> None:
    """There is no moment at which it is waited for octets."""
    plain = Clocked(context)
    stream = plain.connected()
    plain.owner.phase = phase

    def pass_time() -> None:
        plain.now += 2.0

    for ticket in two_tickets(plain):
        plain.come(0.0, raw=ticket, then=pass_time)
    plain.come(0.0, b"too late")
    with pytest.raises(TimedOut):
        stream.recv(3.0)


def test_the_time_for_a_handshake_is_for_all_of_it(context: ssl.SSLContext) -> None:
    plain = Clocked(context)
    plain.slow = 0.9
    with pytest.raises(ConnectFailed):
        plain.connected(3.0)
    assert plain.now == pytest.approx(103.0)


def test_connecting_and_the_handshake_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    now = [100.0]
    seen: list[float] = []
    house.reactor.clock = lambda: now[0]

    class Slow(Upstream):
        def connect(self, stream: Any, address: Any, timeout: float) -> None:
            seen.append(timeout)
            now[0] += 3.5

        def start_tls(self, stream: Any, timeout: float) -> None:
            seen.append(timeout)

    monkeypatch.setattr("terraster.net.origin.Upstream", Slow)
    origin = house.origin(1)
    origin.connect(NOBODY, 5.0).close()
    origin.connect(NOBODY, 0.0).close()
    assert seen == [5.0, 1.5, 0.0, 0.0]


class Client(Duplex):
    """A plain stream in memory with a TLS client behind it. sent: the pieces that were sent to the client."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = version
        self.reactor = SimpleNamespace(clock=lambda: 100.0, horizon=100.0, swollen=set())
        self.owner = SimpleNamespace(waits_for_head=lambda: True)
        self.sent: list[bytes] = []
        self.waits = 0
        self.closed = False
        self.ahead: list[bytes] = []  # what the client sends behind its last message of the handshake, or later
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.engine = context.wrap_bio(self._in, self._out)
        self.go_on()
        self.hello = self._out.read()

    def go_on(self) -> bool:
        """True if the client has done its handshake."""
        try:
            self.engine.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def quick_ack(self) -> None:
        pass

    def offer(self, data: bytes) -> int:
        return self.send(data)

    def send(self, data: bytes | memoryview, timeout: float = 0.0, more: bytes = b"") -> int:  # type: ignore[override]  # as the socket's
        self.sent.append(bytes(data))
        self._in.write(data)
        return len(data)

    def send_last(self, data: bytes, timeout: float) -> int:
        return self.send(data)

    def recv(self, timeout: float, size: int = 0) -> bytes:
        if self.go_on() and self.ahead:
            self.engine.write(self.ahead.pop(0))
        self.waits = len(self.sent)  # so many were sent before the wait
        return self._out.read()

    def close(self) -> None:
        self.closed = True

    def takes(self, size: int) -> bool:
        """True if so many octets have come."""
        while size > 0:
            size -= len(self.engine.read(65536))
        return not size


def accepted(context: ssl.SSLContext, client: Client) -> Any:
    stream = TlsStream(client, context)  # type: ignore[arg-type]
    stream.accept(client.hello, 0.0)
    return stream


def test_session_tickets_leave_with_the_answer(context: ssl.SSLContext) -> None:
    client = Client(ssl.TLSVersion.TLSv1_3)
    client.ahead = [b"request"]  # in the packet that ends the handshake
    stream = accepted(context, client)
    assert stream.recv(0.0) == b"request"
    stream.send(b"answer", 0.0)
    assert len(client.sent) == 2
    assert client.engine.read() == b"answer"
    assert client.engine.session is not None and client.engine.session.has_ticket


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
def test_the_end_leaves_with_the_last_octets(context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    client = Client(version)
    client.ahead = [b"request"]
    stream = accepted(context, client)
    assert client.go_on() and stream.recv(0.0) == b"request"
    client.sent.clear()
    stream.send_last(b"answer", 0.0)
    stream.close()
    assert len(client.sent) == 1
    assert client.engine.read(3) + client.engine.read() == b"answer"
    assert client.engine.read() == b""  # close_notify


class Halting(Client):
    """The last octets of a request, so many, come after a pause."""

    def __init__(self, octets: int) -> None:
        super().__init__(ssl.TLSVersion.TLSv1_3)
        self.ahead = [b"request"]
        self._size = octets
        self._late = b""

    def recv(self, timeout: float, size: int) -> bytes:
        late, self._late = self._late, b""
        if late:
            return late
        octets = super().recv(timeout, size)
        self._late = octets[len(octets) - self._size :]
        return octets.removesuffix(self._late)


@pytest.mark.parametrize(("late", "whole"), [(0, True), (1, False), (25, False), (28, False), (29, True)])
def test_records_are_followed_from_the_end_of_the_handshake_on(context: ssl.SSLContext, late: int, whole: bool) -> None:
    """A record of 7 octets of data has 29. Its first part may come in the packet that ends the handshake."""
    client = Halting(late)
    stream = accepted(context, client)
    assert stream._records.are_whole == whole
    assert stream.recv(0.0) == b"request"
    assert stream._records.are_whole


def records(client: Client) -> list[int]:
    """The lengths in the heads of the records that were sent since the last call."""
    sent, client.sent[:] = b"".join(client.sent), []
    found = []
    while sent:
        size = int.from_bytes(sent[3:5], "big")
        found.append(size)
        sent = sent[5 + size :]
    return found


@pytest.mark.parametrize(("version", "added"), [(ssl.TLSVersion.TLSv1_2, 24), (ssl.TLSVersion.TLSv1_3, 17)])
def test_a_large_answer_begins_with_records_of_one_segment(context: ssl.SSLContext, version: ssl.TLSVersion, added: int) -> None:
    client = Client(version)
    stream = accepted(context, client)
    assert client.go_on()
    stream.send(b"x", 0.0)  # with the session ticket of TLS 1.3
    assert client.takes(1)
    client.sent.clear()
    large, small = [16384 + added], [1396 + added]
    octets = bytes(range(256)) * 400

    def sent(data: bytes | memoryview, last: bool = False) -> list[int]:
        (stream.send_last if last else stream.send)(data, 0.0)
        got = b""
        while len(got) < len(data):
            got += client.engine.read(65536)
        assert got == data
        return records(client)

    assert sent(octets[:1000]) == [1000 + added] and sent(octets[:4000]) == [4000 + added]
    assert sent(octets[:5000]) == small * 3 + [5000 - 3 * 1396 + added]
    assert sent(octets[:1000]) == [1000 + added]
    rest = 10 * 1396 - 5000
    assert sent(memoryview(octets)) == small * 6 + [rest - 6 * 1396 + added] + large * 5 + [len(octets) - rest - 5 * 16384 + added]
    whole = large * 6 + [len(octets) - 6 * 16384 + added]
    for seconds in (0.0, 0.9, 0.9):
        stream.reactor.horizon += seconds
        assert sent(octets) == whole
    stream.reactor.horizon += 1.1
    assert sent(octets[:16384]) == small * 10 + [16384 - 13960 + added]
    assert sent(octets) == whole
    stream.reactor.horizon += 1.1
    assert sent(octets[:4096], last=True)[:3] == small * 2 + [4096 - 2 * 1396 + added]


def test_session_tickets_leave_before_the_first_wait(context: ssl.SSLContext) -> None:
    client = Client(ssl.TLSVersion.TLSv1_3)
    stream = accepted(context, client)
    client.ahead = [b"request"]
    assert stream.recv(0.0) == b"request"
    assert client.waits == len(client.sent) == 2


def test_the_end_of_an_older_handshake_leaves_at_once(context: ssl.SSLContext) -> None:
    client = Client(ssl.TLSVersion.TLSv1_2)
    accepted(context, client)
    assert client.go_on()


def test_what_a_large_answer_made_grow_is_given_back(context: ssl.SSLContext) -> None:
    """An idle connection costs the same, whatever it carried."""
    library = shrinker()
    assert library is not None
    clients = [Client(ssl.TLSVersion.TLSv1_3) for _ in range(40)]
    streams = [accepted(context, client) for client in clients]
    before = 0
    for number, (stream, client) in enumerate(zip(streams, clients, strict=True)):
        stream.send(b"x", 0.0)
        assert client.go_on() and client.takes(1)
        if number == 8:
            before = rss(os.getpid())
        for octets in (65536, 100, 65536):
            stream.reactor.swollen.discard(stream)
            stream.slim()  # as the reactor does
            assert not stream.reactor.swollen
            stream.send(bytes(octets), 0.0)
            assert client.takes(octets)
            assert bool(stream.reactor.swollen) is (octets > 100)
        client.ahead = [b"more"]
        assert stream.recv(0.0) == b"more"
        stream.slim()
        assert library.shrink(client._in)
        client.sent.clear()
    assert rss(os.getpid()) - before < 32 * 20_000


def test_buffers_in_use_are_asked_again(context: ssl.SSLContext) -> None:
    client = Client(ssl.TLSVersion.TLSv1_3)
    stream = accepted(context, client)
    stream.reactor.swollen.clear()
    stream._incoming.write(b"\x17\x03\x03")  # a part of a record
    stream.slim()
    assert stream in stream.reactor.swollen and stream._incoming.pending == 3
    stream.close()
    assert not stream.reactor.swollen
