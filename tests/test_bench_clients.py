"""The clients of `terraster bench` against servers that lie, break off and stall."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from terraster.bench.alarm import Alarm
from terraster.bench.record import Record
from terraster.net.reactor import Reactor

from .harness.authority import Authority
from .harness.backends import Backend, Peer, always, ok
from .harness.http2_backend import Http2Backend
from .harness.load_runner import drive, load_on
from .harness.nginx import Nginx
from .harness.ports import free_port


def once(octets: bytes, then: Callable[[Peer], None] = Peer.close) -> Callable[[Peer], None]:
    """A script that answers one request on each connection with these octets."""

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(octets)
            then(peer)

    return script


def counts(record: Record) -> tuple[dict[int, int], dict[str, int]]:
    return dict(record.statuses), dict(record.errors)


@pytest.mark.parametrize(
    "octets",
    [
        ok(b"hello"),
        ok(b""),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(b"x" * 200_000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["a length", "no octets", "no body", "interim and large", "chunks"],
)
def test_answers_of_all_forms_on_kept_connections(octets: bytes) -> None:
    with Backend(always(octets)) as backend:
        record = drive(load_on(backend.port))
        assert len(backend.requests) == 10 and len(backend.peers) == 2
    assert counts(record) == ({204 if b" 204 " in octets else 200: 10}, {})
    assert record.received == 10 * len(octets) and record.sent == sum(len(request.raw) for request in backend.requests)
    assert record.latencies.total == 10


def test_a_body_until_the_end_of_the_connection() -> None:
    with Backend(once(b"HTTP/1.1 200 OK\r\n\r\nhello")) as backend:
        assert counts(drive(load_on(backend.port))) == ({200: 10}, {})


@pytest.mark.parametrize("octets", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"])
def test_a_connection_for_each_request(octets: bytes) -> None:
    with Backend(always(octets)) as backend:
        record = drive(load_on(backend.port, keepalive=False))
        assert len(backend.peers) == 10 and backend.requests[0].get("connection") == "close"
    assert counts(record) == ({200: 10}, {})
    assert record.connects.total == 10


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (once(b""), "closed early"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Le"), "closed early"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), "closed early"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), "closed early"),
        (once(b"", Peer.reset), "reset"),
        (once(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "malformed"),
        (once(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"), "malformed"),
        (once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), "malformed"),
        (once(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "malformed"),
    ],
)
def test_a_bad_answer_is_a_failure_of_its_kind(script: Callable[[Peer], None], kind: str) -> None:
    with Backend(script) as backend:
        record = drive(load_on(backend.port))
    assert counts(record) == ({}, {kind: 10})
    assert record.texts[kind] and not record.latencies.total


@pytest.mark.parametrize("http2", [False, True])
def test_a_closed_port_refuses(http2: bool) -> None:
    assert counts(drive(load_on(free_port(), http2=http2))) == ({}, {"refused": 10})


@pytest.mark.parametrize("http2", [False, True])
def test_a_server_without_a_word_is_a_timeout_that_latencies_have(http2: bool) -> None:
    with Backend(lambda peer: peer.rest()) as backend:
        record = drive(load_on(backend.port, http2=http2, requests=2, timeout=0.2))
    assert counts(record) == ({}, {"timeout": 2})
    assert record.latencies.total == 2 and record.latencies.least >= 0.2


def test_all_parts_of_an_answer_share_a_timeout() -> None:
    def script(peer: Peer) -> None:
        if peer.request():
            time.sleep(0.3)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")
            time.sleep(0.4)
            peer.send(b"x")
            peer.rest()

    with Backend(script) as backend:
        record = drive(load_on(backend.port, requests=1, connections=1, timeout=0.5))
    assert counts(record) == ({}, {"timeout": 1})


def test_the_first_requests_of_an_open_loop_wait_for_no_connection() -> None:
    for http2, server in ((False, Backend(always(ok()))), (True, Http2Backend(lambda peer, asked: peer.answer(asked, 200)))):
        with server as backend:
            record = drive(load_on(backend.port, rate=100.0, requests=3, http2=http2))
        assert counts(record) == ({200: 3}, {}) and (record.queued.total, record.lateness.total) == (0, 3)


def test_a_timer_without_a_time_is_off() -> None:
    rung = []
    reactor = Reactor()
    alarm = Alarm(reactor, lambda: rung.append(True))
    alarm.set(reactor.clock() + 0.01)
    alarm.set(inf)
    reactor.sleep(0.05)
    assert not rung
    alarm.set(reactor.clock())
    reactor.sleep(0.05)
    alarm.close()
    assert rung == [True]


def test_a_server_that_ends_idle_connections_costs_no_request() -> None:
    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(ok())  # and the end of the connection, which no head announces

    with Backend(script) as backend:
        record = drive(load_on(backend.port, rate=20.0, requests=5, connections=1))
        assert len(backend.peers) >= 5
    assert counts(record) == ({200: 5}, {})


def test_certificates_are_checked_unless_they_are_not_to_be(tmp_path: Path) -> None:
    authority = Authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1").write(tmp_path))
    context.set_alpn_protocols(["h2"])
    (tmp_path / "root.pem").write_bytes(authority.root)
    with Http2Backend(lambda peer, asked: peer.answer(asked, 200), tls=context) as backend:
        refused = drive(load_on(backend.port, "https", http2=True))
        assert counts(refused) == ({}, {"TLS": 10}) and "certificate" in refused.texts["TLS"]
        assert counts(drive(load_on(backend.port, "https", http2=True, insecure=True))) == ({200: 10}, {})
        trusted = load_on(backend.port, "https", http2=True, authorities=str(tmp_path / "root.pem"))
        assert counts(drive(trusted)) == ({200: 10}, {})


# --------------------------------------------------------------------------------------------------------------------- HTTP/2


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_requests_share_connections_of_http2(size: int) -> None:
    with Http2Backend(lambda peer, asked: peer.answer(asked, 200, b"x" * size)) as backend:
        record = drive(load_on(backend.port, http2=True, streams=4, requests=40))
        assert len(backend.peers) == 2 and len(backend.requests) == 40
    assert counts(record) == ({200: 40}, {})
    assert record.received >= 40 * size


def test_a_client_whose_connection_is_ended_for_good_makes_one_new_one_at_a_time(tmp_path: Path) -> None:
    """nginx ends each connection after some requests; more of them are due while the next connection is made."""
    certificate, key = Authority().issue("127.0.0.1").write(tmp_path)
    port = free_port()
    tls = f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};"
    with Nginx(tmp_path / "nginx", f"{tls} keepalive_requests 10; location / {{ return 200 ok; }}"):
        load = load_on(port, "https", http2=True, insecure=True, connections=3, streams=3, rate=3000.0, requests=500)
        assert counts(drive(load)) == ({200: 500}, {})


def test_a_large_body_goes_as_the_windows_allow() -> None:
    body = bytes(range(256)) * 1000
    with Http2Backend(lambda peer, asked: peer.answer(asked, 200)) as backend:
        record = drive(load_on(backend.port, http2=True, streams=2, requests=6, body=body, method="POST"))
        assert [asked.body for asked in backend.requests] == [body] * 6
    assert counts(record) == ({200: 6}, {})


def test_streams_that_the_server_ends() -> None:
    codes = [ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR]

    def script(peer, asked) -> None:
        peer.reset(asked, codes[asked.stream // 2 % 2])

    with Http2Backend(script) as backend:
        record = drive(load_on(backend.port, http2=True, connections=1))
    assert counts(record) == ({}, {"stream refused": 5, "stream reset": 5})


def test_a_server_that_goes_away_again_and_again_is_a_timeout() -> None:
    """Each request is named as not worked on, so the client sends it again, on a connection after the other."""

    def script(peer, asked) -> None:
        peer.goaway(last=0)

    with Http2Backend(script) as backend:
        record = drive(load_on(backend.port, http2=True, connections=1, requests=1, timeout=0.3))
        assert 2 <= len(backend.requests) <= 40  # with a pause between two connections
    assert counts(record) == ({}, {"timeout": 1})


@pytest.mark.parametrize("rate", [0.0, 100.0])
def test_a_server_that_allows_no_stream_is_a_timeout(rate: float) -> None:
    with Http2Backend(lambda peer, asked: peer.answer(asked, 200), settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0}) as backend:
        record = drive(load_on(backend.port, http2=True, streams=2, requests=4, timeout=0.2, rate=rate))
    assert counts(record) == ({}, {"timeout": 4}) and record.latencies.least >= 0.2


def test_a_server_of_http1_is_said() -> None:
    with Backend(once(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as backend:
        record = drive(load_on(backend.port, http2=True, requests=2))
    assert counts(record) == ({}, {"malformed": 2})


# -------------------------------------------------------------------------------------------------- open loop and closed loop

STALL = 0.5
SLOW = 0.2  # a latency that only the stall brings


def stalled(**more: float) -> Record:
    """A load on a server that stalls once for all its connections."""
    begun = threading.Event()
    ends = [0.0]

    def answer(request) -> bytes:
        if not begun.is_set():
            begun.set()
            ends[0] = time.monotonic() + STALL
        time.sleep(max(0.0, ends[0] - time.monotonic()))
        return ok()

    with Backend(always(answer)) as backend:
        return drive(load_on(backend.port, seconds=STALL + 0.3, connections=4, timeout=5.0, **more))


def slow(record: Record) -> int:
    return sum(count for low, _, count in record.latencies.parts() if low >= SLOW)


def test_a_stall_is_in_the_latencies_of_an_open_loop_and_hardly_in_those_of_a_closed_one() -> None:
    opened, closed = stalled(rate=200.0), stalled()
    assert 4 <= slow(closed) < 0.02 * closed.latencies.total
    assert slow(opened) >= 40  # those that were due in the first 0.3 s of the stall, though only 4 could be sent
    assert opened.queued.total > opened.lateness.total / 10
