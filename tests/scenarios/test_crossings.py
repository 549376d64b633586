"""The four crossings: HTTP/1.1 or HTTP/2 from the client, HTTP/1.1 or HTTP/2 to the backend. A request means the same in all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from ..harness.backends import Backend, Peer
from ..harness.client import Connection
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.terraster_process import service

Fields = list[tuple[str, str]]

CROSSINGS = [(down, up) for down in ("h1", "h2") for up in ("h1", "h2")]


@dataclass
class Got:
    """A message, whatever carried it. Fields have lower-case names; those that one version has by itself are left out."""

    first: str
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    interim: list[int] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        values = [value for spelt, value in self.fields if spelt == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


@dataclass
class Reply:
    """A response of the backend. chunked: its length is not announced."""

    status: int = 200
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    chunked: bool = False
    interim: list[tuple[int, Fields]] = field(default_factory=list)


@dataclass
class World:
    """A Terraster between a client and a backend. `ask` sends a request, `asked` has those that the backend got."""

    ask: Callable[..., Got]
    asked: list[Got]
    down: str
    up: str


def _text(pairs: Any) -> Fields:
    return [(str(name, "latin-1").lower(), str(value, "latin-1")) for name, value in pairs]


def _serve_h1(answer: Callable[[Got], Reply], asked: list[Got], peer: Peer) -> None:
    while request := peer.request():
        got = Got(f"{request.method} {request.target}", _text(request.fields), bytes(request.body), _text(request.trailers))
        asked.append(got)
        reply = answer(got)
        head = [
            f"HTTP/1.1 {status} X\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n" for status, fields in reply.interim
        ]
        head.append(f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in reply.fields))
        body = reply.body
        if reply.chunked:
            head.append("Transfer-Encoding: chunked\r\n\r\n")
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n"
            body += "".join(f"{name}: {value}\r\n" for name, value in reply.trailers).encode() + b"\r\n"
        elif reply.status in (204, 304) or request.method == "HEAD":
            head.append("\r\n")
            body = b""
        else:
            head.append(f"Content-Length: {len(body)}\r\n\r\n")
        peer.send("".join(head).encode() + body)


def _serve_h2(answer: Callable[[Got], Reply], asked: list[Got], peer: Http2Peer, request: Asked) -> None:
    pseudo = dict(request.fields[:4])
    fields = [("host", pseudo[":authority"]), *[pair for pair in request.fields if pair[0][0] != ":"]]
    got = Got(f"{pseudo[':method']} {pseudo[':path']}", fields, request.body, list(request.trailers))
    asked.append(got)
    reply = answer(got)
    for status, more in reply.interim:
        peer.head(request, status, more)
    fields = list(reply.fields)
    bodiless = reply.status in (204, 304) or pseudo[":method"] == "HEAD"
    if not (reply.chunked or bodiless):
        fields.append(("content-length", str(len(reply.body))))
    peer.answer(request, reply.status, b"" if bodiless else reply.body, fields, reply.trailers or None)


class _Asks:
    """Clients of both versions."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect

    def h1(
        self, method: str, path: str, fields: Fields = (), body: bytes | None = None, trailers: Fields = (), chunked: bool = False
    ) -> Got:  # type: ignore[assignment]
        lines = "".join(f"{name}: {value}\r\n" for name, value in [("Host", "a.test"), *fields])
        data = body or b""
        if chunked:
            lines += "Transfer-Encoding: chunked\r\n"
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n"
            data += "".join(f"{name}: {value}\r\n" for name, value in trailers).encode() + b"\r\n"
        elif body is not None:
            lines += f"Content-Length: {len(body)}\r\n"
        with self._connect() as client:
            client.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
            answer = client.response(method)
        return Got(
            str(answer.status), _text(answer.fields), answer.body, _text(answer.trailers), [status for status, _ in answer.interim]
        )

    def h2(
        self, method: str, path: str, fields: Fields = (), body: bytes | None = None, trailers: Fields = (), chunked: bool = False
    ) -> Got:  # type: ignore[assignment]
        head = [(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)]
        head += [(name.lower(), value) for name, value in fields]
        if body is not None and not chunked:
            head.append(("content-length", str(len(body))))
        codec = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False))
        codec.initiate_connection()
        codec.send_headers(1, head, end_stream=body is None)
        left = body
        got = Got("", [])
        with self._connect() as client:
            ended = False
            while not ended:
                while left is not None and (not left or codec.local_flow_control_window(1)):
                    room = min(codec.local_flow_control_window(1), codec.max_outbound_frame_size)
                    last = len(left) <= room
                    if left or not trailers:
                        codec.send_data(1, left[:room], end_stream=last and not trailers)
                    if last and trailers:
                        codec.send_headers(1, list(trailers), end_stream=True)
                    left = None if last else left[room:]
                client.sock.sendall(codec.data_to_send())
                data = client.receive()
                assert data, "the connection ended within an answer"
                for event in codec.receive_data(data):
                    if isinstance(event, InformationalResponseReceived):
                        got.interim.append(int(dict(event.headers)[":status"]))
                    elif isinstance(event, ResponseReceived):
                        got.first = dict(event.headers)[":status"]
                        got.fields = [pair for pair in event.headers if pair[0] != ":status"]
                    elif isinstance(event, DataReceived):
                        got.body += event.data
                        codec.acknowledge_received_data(event.flow_controlled_length, 1)
                    elif isinstance(event, TrailersReceived):
                        got.trailers = list(event.headers)
                    elif isinstance(event, StreamEnded):
                        ended = True
                    assert not isinstance(event, StreamReset)
                    if isinstance(event, ResponseReceived) and int(got.first) >= 400:
                        left = None  # it wants no more
        return got


@pytest.fixture(params=CROSSINGS, ids=[f"{down} to {up}" for down, up in CROSSINGS])
def world(request: pytest.FixtureRequest, terraster: Any, stack: ExitStack) -> Iterator[Callable[..., World]]:
    down, up = request.param

    def make(answer: Callable[[Got], Reply], location: dict[str, Any] | None = None, **keys: Any) -> World:
        asked: list[Got] = []
        entry: dict[str, Any]
        if up == "h1":
            entry = {"url": stack.enter_context(Backend(lambda peer: _serve_h1(answer, asked, peer))).url}
        else:
            one = stack.enter_context(Http2Backend(lambda peer, got: _serve_h2(answer, asked, peer, got)))
            entry = {"url": one.url, "http2": True}
        proxy = terraster(service({**entry, "health_check": "off"}, location=location or {}), http2=True, **keys)
        return World(getattr(_Asks(proxy.connect), down), asked, down, up)

    yield make


def echo(got: Got) -> Reply:
    return Reply(body=hashlib.md5(got.body).hexdigest().encode(), fields=[("x-length", str(len(got.body)))])


def test_a_get(world) -> None:
    one = world(echo)
    got = one.ask("GET", "/a%20b/c?d=e&f", [("X-One", "1"), ("Accept", "*/*")])
    asked = one.asked[0]
    assert (got.first, got.get("x-length"), asked.first) == ("200", "0", "GET /a%20b/c?d=e&f")
    assert (asked.get("host"), asked.get("x-one"), asked.get("accept"), asked.body) == ("a.test", "1", "*/*", b"")
    assert asked.get("x-forwarded-for") == "127.0.0.1"
    assert asked.get("x-forwarded-proto") == "http"
    assert asked.get("via") == ("1.1 terraster" if one.down == "h1" else "2.0 terraster")
    assert (asked.get("content-length"), asked.get("transfer-encoding")) == (None, None)


def test_head_has_the_length_and_no_body(world) -> None:
    one = world(lambda got: Reply(fields=[("content-length", "12345")]))
    got = one.ask("HEAD", "/x")
    assert (got.first, got.get("content-length"), got.body, one.asked[0].first) == ("200", "12345", b"", "HEAD /x")


@pytest.mark.parametrize("status", [204, 304, 404, 503])
def test_statuses(world, status) -> None:
    one = world(lambda got: Reply(status, body=b"" if status in (204, 304) else b"text"), retry={"attempts": 1})
    got = one.ask("GET", "/x")
    assert (got.first, got.body) == (str(status), b"" if status in (204, 304) else b"text")


@pytest.mark.parametrize("size", [0, 1, 16_384, 300_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["known", "unknown"])
def test_request_bodies(world, size, chunked) -> None:
    one = world(echo)
    body = hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1)
    body = body[:size]
    got = one.ask("POST", "/x", [], body, chunked=chunked)
    assert (got.first, got.get("x-length"), got.body) == ("200", str(size), hashlib.md5(body).hexdigest().encode())
    assert one.asked[0].get("content-length") == (None if chunked else str(size))


@pytest.mark.parametrize("size", [0, 1, 16_384, 700_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["known", "unknown"])
def test_response_bodies(world, size, chunked) -> None:
    body = bytes(size % 251 for _ in range(size))
    one = world(lambda got: Reply(body=body, chunked=chunked))
    got = one.ask("GET", "/x")
    assert (got.first, got.body == body) == ("200", True)
    if not chunked:
        assert got.get("content-length") == str(size)


def test_trailers_of_a_request(world) -> None:
    """No server has a reason to trust those that pass."""
    one = world(echo)
    trusted = [("x-checksum", "1"), ("content-digest", "sha-256=:AA==:")]
    one.ask("POST", "/x", [], b"body", [*trusted, ("authorization", "Basic eDp5")], chunked=True)
    assert one.asked[0].trailers == trusted


def test_trailers_of_a_response(world) -> None:
    one = world(lambda got: Reply(body=b"body", chunked=True, trailers=[("x-sum", "5"), ("grpc-status", "0")]))
    got = one.ask("GET", "/x", [("TE", "trailers")])
    assert (got.body, got.trailers) == (b"body", [("x-sum", "5"), ("grpc-status", "0")])


def test_interim_responses(world) -> None:
    one = world(lambda got: Reply(body=b"x", interim=[(103, [("link", "</a>")]), (103, [("link", "</b>")])]))
    assert one.ask("GET", "/x").interim == [103, 103]


def test_cookies_and_lists_keep_their_order(world) -> None:
    one = world(lambda got: Reply(fields=[("set-cookie", "a=1"), ("x-list", "1"), ("set-cookie", "b=2"), ("x-list", "2")]))
    got = one.ask("GET", "/x", [("Cookie", "a=1; b=2"), ("X-List", "1"), ("X-List", "2")])
    asked = one.asked[0]
    assert [value for name, value in asked.fields if name == "x-list"] == ["1", "2"]
    assert "; ".join(value for name, value in asked.fields if name == "cookie") == "a=1; b=2"
    assert [value for name, value in got.fields if name == "set-cookie"] == ["a=1", "b=2"]
    assert [value for name, value in got.fields if name == "x-list"] == ["1", "2"]


def test_fields_about_a_connection_stay_on_it(world) -> None:
    one = world(lambda got: Reply(body=b"x"))
    of_connection = [("Connection", "X-Gone, Keep-Alive"), ("X-Gone", "1"), ("Keep-Alive", "5")]
    got = one.ask("GET", "/x", [("TE", "trailers")] if one.down == "h2" else of_connection)
    asked = one.asked[0]
    assert not {name for name, _ in asked.fields} & {"x-gone", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"}
    assert asked.get("te") == ("trailers" if (one.down, one.up) == ("h2", "h2") else None)
    assert got.body == b"x"


def test_header_rules_reach_both_sides(world) -> None:
    rules = {
        "request_headers": {"X-Set": "yes"},
        "remove_request_headers": ["X-Gone"],
        "response_headers": {"X-Out": "1"},
    }
    one = world(lambda got: Reply(fields=[("x-out", "0")]), {"headers": rules})
    got = one.ask("GET", "/x", [("X-Gone", "1")])
    assert (got.get("x-out"), one.asked[0].get("x-set"), one.asked[0].get("x-gone")) == ("1", "yes", None)


def test_a_body_that_is_too_large_is_refused_before_the_backend_has_all_of_it(world) -> None:
    one = world(echo, limits={"body_size": "100k"})
    got = one.ask("POST", "/x", [], b"x" * 200_000)
    assert got.first == "413"
    assert one.asked == []
