"""Bodies, both ways: framed as they came, streamed, whole."""

from __future__ import annotations

import hashlib
import threading

import pytest

from ..harness.backends import Peer, Request, ok
from ..harness.client import exchange

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 1234\r\n\r\n'),
        (b"GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n'),
    ],
)
def test_answers_without_a_body_keep_both_connections(terraster, backend, request_line: bytes, answer: bytes) -> None:
    origin = backend(answer=answer)
    with terraster(origin).connect() as client:
        for _ in range(3):
            got = client.send(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % request_line).response(request_line.decode())
            assert got.body == b""
            assert got.get("connection") is None
    assert len(origin.peers) == 1


def test_length_of_a_head_answer_is_passed_on(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    assert exchange(terraster(origin).address, b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").get("content-length") == "1234"


def test_204_has_no_length(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert exchange(terraster(origin).address, GET).get("content-length") is None


@pytest.mark.parametrize("size", [0, 1, 127, 65535, 65536, 65537, 1_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
def test_response_bodies(terraster, backend, framing: str, size: int) -> None:
    body = bytes(number * 7 % 251 for number in range(size))

    def answer(_: Request) -> bytes:
        if framing == "length":
            return ok(body)
        if framing == "until close":
            return b"HTTP/1.1 200 OK\r\n\r\n" + body
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(body[at : at + 9999]), body[at : at + 9999]) for at in range(0, size, 9999))
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    def script(peer: Peer) -> None:
        while request := peer.request():
            peer.send(answer(request))
            if framing == "until close":
                return

    with terraster(backend(script)).connect() as client:
        for _ in range(2):
            got = client.send(GET).response()
            assert got.body == body
            assert got.get("content-length") == (str(size) if framing == "length" else None)


@pytest.mark.parametrize("size", [0, 1, 65536, 300_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_request_bodies(terraster, backend, chunked: bool, size: int) -> None:
    body = bytes(number * 3 % 251 for number in range(size))
    origin = backend(answer=ok())
    with terraster(origin).connect() as client:
        for _ in range(2):
            if chunked:
                pieces = b"".join(
                    b"%X;a=b\r\n%b\r\n" % (len(body[at : at + 7777]), body[at : at + 7777]) for at in range(0, size, 7777)
                )
                framed = b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
            else:
                framed = b"Content-Length: %d\r\n\r\n%b" % (size, body)
            assert client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framed).response("POST").status == 200
    assert [request.body for request in origin.requests] == [body, body]
    for request in origin.requests:
        assert request.get("content-length") == (None if chunked else str(size))
        assert request.get("transfer-encoding") == ("chunked" if chunked else None)


def test_trailers_both_ways_and_extensions_dropped(terraster, backend) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    origin = backend(answer=head + b"2;name=val\r\nhi\r\n0;last\r\nX-Sum: 42\r\n\r\n")
    with terraster(origin).connect() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Digest\r\n\r\n"
            b'3;ext="a;b"\r\nabc\r\n0\r\nX-Digest: 900150983cd24fb0\r\n\r\n'
        )
        answer = client.response("POST")
    assert answer.body == b"hi"
    assert answer.trailers == [(b"x-sum", b"42")]
    assert answer.get("trailer") == "X-Sum"
    request = origin.requests[0]
    assert request.body == b"abc"
    assert request.trailers == [(b"x-digest", b"900150983cd24fb0")]
    assert request.get("trailer") == "X-Digest"
    assert b"ext" not in request.raw


@pytest.mark.parametrize(("chunked", "megabytes"), [(False, 64), (True, 64)])
def test_big_upload(terraster, backend, chunked: bool, megabytes: int) -> None:
    """The backend sees every octet, without the proxy holding them."""
    block = bytes(range(256)) * 4096
    wanted = hashlib.md5(block * megabytes).hexdigest()

    def script(peer: Peer) -> None:
        assert peer.head() is not None
        digest = hashlib.md5()
        for piece in peer.pieces():
            digest.update(piece)
        peer.send(ok(digest.hexdigest().encode()))

    with terraster(backend(script)).connect(deadline=60) as client:
        size = len(block) * megabytes
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        client.send(b"PUT /big HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n" % framing)
        for _ in range(megabytes):
            client.send(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        if chunked:
            client.send(b"0\r\n\r\n")
        assert client.response("PUT").body.decode() == wanted


@pytest.mark.needs("nginx")
def test_big_download_from_nginx(terraster, stack, tmp_path) -> None:
    from ..harness.nginx import Nginx

    origin = stack.enter_context(Nginx(tmp_path / "nginx"))
    block = bytes(range(256)) * 4096
    with (origin.files / "big").open("wb") as file:
        for _ in range(200):
            file.write(block)
    with terraster(origin).connect(deadline=60) as client:
        client.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n")
        head = client.receive_until(b"\r\n\r\n")
        assert b"Content-Length: 209715200\r\n" in head
        digest, left = hashlib.md5(), 209715200
        while left:
            piece = client.receive(min(left, 1 << 20))
            assert piece
            digest.update(piece)
            left -= len(piece)
        assert digest.hexdigest() == hashlib.md5(block * 200).hexdigest()
        assert client.send(b"GET /hello HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"hello"


@pytest.mark.needs("nginx")
def test_ranges_from_nginx(terraster, stack, tmp_path) -> None:
    from ..harness.nginx import Nginx

    origin = stack.enter_context(Nginx(tmp_path / "nginx"))
    (origin.files / "file").write_bytes(bytes(range(256)))
    request = b"GET /file HTTP/1.1\r\nHost: a.test\r\nRange: bytes=10-19\r\n\r\n"
    answer = exchange(terraster(origin).address, request)
    assert (answer.status, answer.body) == (206, bytes(range(10, 20)))
    assert answer.get("content-range") == "bytes 10-19/256"


def test_wsgi_backend(terraster, stack) -> None:
    """An HTTP/1.0 server that answers until it closes."""
    from ..harness.backends import WsgiBackend

    def application(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), b"?", environ["QUERY_STRING"].encode(), b" ", body]

    origin = stack.enter_context(WsgiBackend(application))
    with terraster(origin).connect() as client:
        for _ in range(3):
            client.send(b"POST /app?x=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody")
            assert client.response("POST").body == b"/app?x=1 body"


def test_upload_and_download_at_once(terraster, backend) -> None:
    """An echo that answers while it still reads: neither side waits for the other."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in peer.pieces():
            peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        peer.send(b"0\r\n\r\n")

    with terraster(backend(script)).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n")
        client.receive_until(b"\r\n\r\n")
        for _ in range(10):
            client.send(b"x" * 100)
            got = 0
            while got < 100:
                size = int(client.receive_until(b"\r\n"), 16)
                client.receive_exactly(size + 2)
                got += size
        assert client.receive_exactly(5) == b"0\r\n\r\n"


def test_half_a_request_body_never_becomes_a_request(terraster, backend) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        try:
            assert peer.request() is None
        finally:
            done.set()

    with terraster(backend(script)).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf")
        client.half_close()
        client.rest()
    assert done.wait(10)


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
    ],
)
def test_half_a_response_body_is_never_passed_off_as_whole(terraster, backend, cut: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(cut)

    with terraster(backend(script)).connect() as client:
        answer = client.send(GET).rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"hello" in body
    assert not body.endswith(b"0\r\n\r\n")
    assert b"Content-Length: 10" in head or b"chunked" in head


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_half_a_chunked_body_to_http10_ends_in_a_reset(terraster, backend, version: bytes) -> None:
    """HTTP/1.0 knows no chunks, so a plain end would say that all is well."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    with terraster(backend(script)).connect() as client:
        client.send(b"GET / HTTP/%b\r\nHost: a.test\r\n\r\n" % version)
        if version == b"1.1":
            assert not client.rest().endswith(b"0\r\n\r\n")
        else:
            with pytest.raises(ConnectionResetError):
                while client.receive():
                    pass
