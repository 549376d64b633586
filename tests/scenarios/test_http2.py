"""HTTP/2 towards clients: requests, bodies, streams beside one another, ends. The client is a raw one (`tests.harness.http2_client`)."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import struct
import threading
import time

import pytest

from ..harness.backends import Peer, Request, ok, websocket_echo
from ..harness.http2_client import (
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2,
    frame,
    masked,
)
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, STREAM_CLOSED, CANCEL, CALM = 0, 1, 2, 5, 8, 11
_WINDOW = 4


def echo(request: Request) -> bytes:
    names = sorted(name for name, _ in request.fields)
    digest = hashlib.md5(request.body).hexdigest()
    return ok(f"{request.method} {request.target} {len(request.body)} {digest}".encode(), b"X-Names: " + b",".join(names) + b"\r\n")


@pytest.fixture
def proxy(terraster, backend):
    one = backend(answer=echo)
    served = terraster(one, http2=True)
    served.backend = one
    return served


@pytest.fixture
def client(proxy, stack):
    return stack.enter_context(Http2(proxy.connect()))


def said(method: str, path: str, body: bytes = b"") -> str:
    return f"{method} {path} {len(body)} {hashlib.md5(body).hexdigest()}"


def test_requests_one_after_the_other(client) -> None:
    for number in range(5):
        answer = client.get(f"/a/{number}?b=c")
        assert (answer.status, answer.body.decode(), answer.ended) == (200, said("GET", f"/a/{number}?b=c"), True)
        assert answer.get("date") and not answer.get("connection") and not answer.get("transfer-encoding")


def test_http_1_goes_on_on_the_same_port(proxy) -> None:
    with proxy.connect() as connection:
        connection.send(b"PRIVATE / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.response().status == 200
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.response().status == 200


def test_a_preface_in_pieces(proxy) -> None:
    connection = proxy.connect()
    with Http2.__new__(Http2) as client:
        preface: list[bytes] = []
        client.send = lambda data: preface.append(data)  # type: ignore[method-assign,assignment]
        client.__init__(connection)  # type: ignore[misc]
        del client.send
        for at in range(len(preface[0])):
            connection.sock.sendall(preface[0][at : at + 1])
        assert client.get("/").status == 200


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 65535, 65536, 1_000_000])
@pytest.mark.parametrize("known", [True, False], ids=["content-length", "no length"])
def test_uploads(client, size: int, known: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    fields = [("content-length", str(size))] if known else []
    number = client.open("/up", method="POST", fields=fields, end=False)
    sent = 0
    while True:
        room = min(65535 - sent, size) if sent < 65535 else 0
        piece = body[sent : sent + (room or 16384)]
        if sent >= 65535:  # go on only with window: what was given back
            given = 65535 + sum(
                int.from_bytes(one.payload, "big") for one in client.frames if (one.kind, one.stream) == (WINDOW_UPDATE, number)
            )
            if given - sent < len(piece):
                assert client.read() is not None
                continue
        sent += len(piece)
        client.send(client.data(number, piece, sent == size))
        if sent == size:
            break
    answer = client.answer(number)
    assert (answer.status, answer.body.decode()) == (200, said("POST", "/up", body))


def test_request_trailers_reach_the_backend(terraster, backend) -> None:
    one = backend(answer=ok())
    with Http2(terraster(one, http2=True).connect()) as client:
        number = client.open("/", method="POST", fields=[("trailer", "x-sum")], end=False)
        client.send(client.data(number, b"abc", False))
        client.send(frame(HEADERS, 5, number, client.block([("x-sum", "7")])))
        assert client.answer(number).status == 200
    seen = one.wait()[0]
    assert (seen.body, seen.trailers) == (b"abc", [(b"x-sum", b"7")])


def test_response_trailers_and_interim_answers(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")

    with Http2(terraster(backend(script), http2=True).connect()) as client:
        answer = client.get("/")
        assert (answer.status, answer.body, answer.trailers) == (200, b"hello", [("x-sum", "7")])
        assert [dict(one)[":status"] for one in answer.interim] == ["103"]
        assert dict(answer.interim[0])["link"] == "</a>; rel=preload"


def test_head_and_answers_of_our_own(terraster, backend) -> None:
    served = terraster(service(backend(answer=echo).url, path="/app"), http2=True)
    with Http2(served.connect()) as client:
        head = client.get("/app", method="HEAD")
        assert (head.status, head.body, head.ended) == (200, b"", True) and int(head.get("content-length") or 0) > 0
        missing = client.get("/other")
        assert missing.status == 404 and missing.body and missing.get("content-length") == str(len(missing.body))
        assert client.get("/app").status == 200


def test_the_backend_learns_about_the_client(terraster, backend) -> None:
    one = backend(answer=echo)
    with Http2(terraster(one, http2=True).connect()) as client:
        client.get("/", host="example.org:81", fields=[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")])
    seen = one.wait()[0]
    assert (seen.get("host"), seen.get("x-forwarded-host"), seen.get("via")) == (
        "example.org:81",
        "example.org:81",
        "2.0 terraster",
    )
    assert seen.get("cookie") == "a=1; b=2"


def test_a_body_that_breaks_off_is_a_reset(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)

    with Http2(terraster(backend(script), http2=True).connect()) as client:
        answer = client.get("/")
        assert (answer.status, answer.ended, answer.reset) == (200, False, INTERNAL_ERROR)
        assert client.get("/other").reset in (None, INTERNAL_ERROR)  # the connection goes on


def test_a_large_download_beside_a_stalled_one(terraster, backend) -> None:
    """The client takes nothing of one stream: the others go on, and Terraster holds little of the stalled one."""
    large = b"0123456789abcdef" * 65536 * 4
    served = terraster(backend(answer=lambda request: ok(large if request.target == "/large" else b"small")), http2=True)
    with Http2(served.connect(), settings={_WINDOW: 16384}, auto=False) as client:
        stalled = client.open("/large")
        client.until(lambda: len(client.answers[stalled].body) == 16384)
        client.send(frame(SETTINGS, 1))
        client.grow(0, 1 << 30)
        client.auto = True
        client.answers[stalled].ended = True  # give no more window for it
        second = client.open("/large")
        for _ in range(3):
            assert client.get("/small").body == b"small"
        assert client.answer(second).body == large
        client.answers[stalled].ended = False
        client.auto = True
        client.grow(stalled, 1 << 30)
        assert client.answer(stalled).body == large


def test_many_streams_at_the_same_time(terraster, backend) -> None:
    gate = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            assert gate.wait(30)
            peer.send(ok(request.target.encode()))

    one = backend(script)
    with Http2(terraster(one, http2=True).connect()) as client:
        numbers = [client.open(f"/{number}") for number in range(100)]
        one.wait(100)
        gate.set()
        for count, number in enumerate(numbers):
            assert client.answer(number).body == f"/{count}".encode()


def test_a_stream_that_is_reset_ends_its_request(terraster, backend) -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/slow":
                peer.rest()
                ended.set()
                return
            peer.send(ok())

    one = backend(script)
    with Http2(terraster(one, http2=True).connect()) as client:
        number = client.open("/slow")
        one.wait()
        client.send(frame(RST_STREAM, 0, number, struct.pack(">L", CANCEL)))
        assert ended.wait(10)
        assert client.get("/").status == 200


def test_a_client_that_vanishes_ends_its_requests(terraster, backend) -> None:
    ended = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.rest()
        ended.release()

    one = backend(script)
    with Http2(terraster(one, http2=True).connect()) as client:
        for _ in range(5):
            client.open("/slow")
        one.wait(5)
    for _ in range(5):
        assert ended.acquire(timeout=10)


def test_an_answer_before_the_end_of_the_upload(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(ok(b"enough", b"Connection: close\r\n"))

    with Http2(terraster(backend(script), http2=True).connect()) as client:
        number = client.open("/", method="POST", end=False)
        client.send(client.data(number, b"x" * 1000, False))
        answer = client.answer(number)
        assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"enough", True, None)
        client.send(client.data(number, b"x" * 1000, False))
        assert client.get("/", method="HEAD").reset is None


def test_a_body_above_the_limit(terraster, backend) -> None:
    served = terraster(backend(answer=echo), http2=True, limits={"body_size": 1000})
    with Http2(served.connect()) as client:
        assert client.get("/", method="POST", fields=[("content-length", "1001")], body=b"x" * 1001).status == 413
        assert client.get("/", method="POST", body=b"x" * 1001).status == 413
        assert client.get("/", method="POST", body=b"x" * 1000).status == 200


def test_a_backend_that_is_down(terraster) -> None:
    with Http2(terraster(service("http://127.0.0.1:1"), http2=True).connect()) as client:
        answer = client.get("/")
        assert answer.status == 502 and "connection_refused" in (answer.get("proxy-status") or "")
        assert client.get("/").status == 502


def test_a_silent_client_is_sent_away(terraster, backend) -> None:
    served = terraster(backend(answer=echo), http2=True, timeouts={"keepalive": 1, "client_header": 2})
    with Http2(served.connect()) as client:
        assert client.get("/").status == 200
        goaway = client.goaway()
        assert (goaway.code, goaway.last) == (NO_ERROR, 1)
    with Http2(served.connect()) as silent:
        assert silent.goaway().code == NO_ERROR


def test_pings_do_not_keep_a_connection(terraster, backend) -> None:
    served = terraster(backend(answer=echo), http2=True, timeouts={"keepalive": 1})
    with Http2(served.connect()) as client:
        assert client.get("/").status == 200
        began = time.monotonic()
        while not client.ended and time.monotonic() < began + 10:
            try:
                client.send(frame(PING, 0, 0, b"12345678"))
            except OSError:
                break
            if client.read() is None:
                break
            time.sleep(0.05)
        assert [one for one in client.frames if one.kind == GOAWAY][-1].code == NO_ERROR


def test_a_drain_has_two_goaways(fresh, backend) -> None:
    """The first announces the end and lets requests that are on their way in; the second names the last one that is answered."""
    gate = threading.Event()

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/slow":
                assert gate.wait(30)
            peer.send(ok(request.target.encode()))

    one = backend(script)
    served = fresh(one, http2=True)
    with Http2(served.connect()) as client:
        slow = client.open("/slow")
        one.wait()
        served.signal(signal.SIGTERM)
        client.until(lambda: any(one.kind == GOAWAY for one in client.frames))
        first = next(one for one in client.frames if one.kind == GOAWAY)
        assert (first.code, first.last) == (NO_ERROR, 0x7FFFFFFF)
        late = client.open("/late")
        assert client.answer(late).body == b"/late"
        gate.set()
        assert client.answer(slow).body == b"/slow"
        last = client.goaway()
        assert (last.code, last.last) == (NO_ERROR, late)


@pytest.mark.parametrize(
    ("name", "attack", "code"),
    [
        ("rapid reset", lambda client: b"".join(_reset(client) for _ in range(2000)), CALM),
        ("pings", lambda client: frame(PING, 0, 0, b"12345678") * 20000, CALM),
        ("settings", lambda client: frame(SETTINGS) * 20000, CALM),
        ("empty data", lambda client: _head(client, "POST") + frame(DATA, 0, 1) * 20000, CALM),
        ("window updates", lambda client: frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", 1)) * 20000, CALM),
        ("continuations", lambda client: frame(HEADERS, 0, 1, b"") + frame(9, 0, 1, b"") * 20000, CALM),
        ("an even stream", lambda client: frame(HEADERS, 5, 2, client.block([(":method", "GET")])), PROTOCOL_ERROR),
    ],
)
def test_floods_end_with_goaway_and_a_line(proxy, name: str, attack, code: int) -> None:
    with Http2(proxy.connect()) as client:
        with contextlib.suppress(OSError):  # it has hung up already
            client.send(attack(client))
        assert client.goaway().code == code
    with Http2(proxy.connect()) as other:
        assert other.get("/").status == 200
    wait_until(lambda: "HTTP/2 connection ended on" in proxy.said and "client 127.0.0.1" in proxy.said, "a line about it")


def _reset(client: Http2) -> bytes:
    number = client.next
    return _head(client, "GET") + frame(RST_STREAM, 0, number, struct.pack(">L", CANCEL))


def _head(client: Http2, method: str) -> bytes:
    """HEADERS of the next request. It ends with them if it is a GET."""
    number, client.next = client.next, client.next + 2
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", "/")]
    return frame(HEADERS, 5 if method == "GET" else 4, number, client.block(pseudo))


def test_a_websocket(terraster, backend) -> None:
    with Http2(terraster(backend(websocket_echo), http2=True).connect()) as client:
        client.until(lambda: any(one.kind == SETTINGS for one in client.frames))
        announced = next(one for one in client.frames if one.kind == SETTINGS).payload
        assert struct.pack(">HL", 8, 1) in [announced[at : at + 6] for at in range(0, len(announced), 6)]
        number = client.websocket()
        answer = client.answers[number]
        client.until(lambda: answer.fields)
        assert answer.status == 200 and answer.get("sec-websocket-accept") is None and answer.get("upgrade") is None
        for payload in (b"one", b"two" * 20):
            before = len(answer.body)
            client.send(frame(DATA, 0, number, masked(payload)))
            client.until(lambda: len(answer.body) >= before + 2 + len(payload))  # noqa: B023
            assert answer.body[before:] == bytes((0x82, len(payload))) + payload
        client.send(frame(DATA, 0, number, masked(struct.pack(">H", 1000), 8)))
        assert client.answer(number).ended


def test_a_websocket_that_the_backend_refuses(terraster, backend) -> None:
    def answer(request: Request) -> bytes:
        return ok(b"no", status=b"403 Forbidden" if request.target == "/refused" else b"200 OK")

    with Http2(terraster(backend(answer=answer), http2=True).connect()) as client:
        assert client.answer(client.websocket("/refused")).status == 403
        assert client.answer(client.websocket("/page")).status == 502
        assert client.answer(client.websocket(protocol="chat")).status == 501


def test_a_websocket_with_a_wrong_key(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        )
        peer.rest()

    with Http2(terraster(backend(script), http2=True).connect()) as client:
        assert client.answer(client.websocket()).status == 502


def test_a_client_that_resets_its_websocket(terraster, backend) -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        websocket_echo(peer)
        ended.set()

    with Http2(terraster(backend(script), http2=True).connect()) as client:
        number = client.websocket()
        client.until(lambda: client.answers[number].fields)
        client.send(frame(RST_STREAM, 0, number, struct.pack(">L", CANCEL)))
        assert ended.wait(10)
