"""HTTP/2 towards backends: how requests share connections, and how each way in which a connection or a stream ends is told and retried."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from ..harness.authority import Authority
from ..harness.backends import Peer, websocket_echo
from ..harness.client import get
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until


def echo(peer: Http2Peer, asked: Asked) -> None:
    digest = hashlib.md5(asked.body).hexdigest()
    peer.answer(asked, 200, f"{asked.get(':method')} {asked.target} {len(asked.body)} {digest}".encode())


def framed(backend: Http2Backend, **keys: object) -> dict[str, object]:
    """A backend as a configuration has it."""
    return {"url": backend.url, "http2": True, "health_check": "off", **keys}


@pytest.fixture
def http2(stack):
    def make(script=echo, **options) -> Http2Backend:
        return stack.enter_context(Http2Backend(script, **options))

    return make


def at_once(proxy, targets: list[str], method: str = "GET") -> list[int]:
    """The statuses of requests that are under way at the same time."""
    found: dict[str, int] = {}

    def ask(target: str) -> None:
        found[target] = get(proxy.address, target, method=method).status

    threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[target] for target in targets]


def test_a_request_goes_on_as_fields(terraster, http2) -> None:
    backend = http2()
    proxy = terraster(service(framed(backend)))
    answer = get(proxy.address, "/a/b?c=d", fields="X-One: 1\r\nConnection: x-two\r\nX-Two: 2\r\nTE: trailers\r\nCookie: a=b\r\n")
    assert (answer.status, answer.body[:12]) == (200, b"GET /a/b?c=d")
    asked = backend.requests[0]
    assert asked.fields[:3] == [(":method", "GET"), (":scheme", "http"), (":path", "/a/b?c=d")]
    assert (asked.get(":authority"), asked.get("host"), asked.get("x-one"), asked.get("te")) == ("a.test", None, "1", "trailers")
    assert asked.get("via") == "1.1 terraster"
    assert not {"connection", "x-two", "keep-alive", "transfer-encoding", "upgrade"} & {name for name, _ in asked.fields}


def test_requests_share_a_connection(terraster, http2) -> None:
    together = threading.Barrier(8, timeout=20)
    backend = http2(lambda peer, asked: threading.Thread(target=lambda: (together.wait(), peer.answer(asked, 200, b"x"))).start())
    proxy = terraster(service(framed(backend)))
    assert at_once(proxy, [f"/{number}" for number in range(8)]) == [200] * 8
    assert len(backend.peers) == 1


def test_a_backend_that_allows_two_streams_gets_more_connections(terraster, http2) -> None:
    together = threading.Barrier(6, timeout=20)
    first = threading.Event()

    def script(peer: Http2Peer, asked: Asked) -> None:
        if asked.target == "/first":
            peer.answer(asked, 200, b"x")
        else:
            threading.Thread(target=lambda: (together.wait(), peer.answer(asked, 200, b"x"))).start()

    backend = http2(script, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    proxy = terraster(service(framed(backend)))
    assert get(proxy.address, "/first").status == 200  # from here on the limit is known
    first.set()
    assert at_once(proxy, [f"/{number}" for number in range(6)]) == [200] * 6
    assert len(backend.peers) == 3
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["backends"][0]["idle"] == 3)


def test_at_the_limit_of_connections_requests_wait_for_a_stream(terraster, http2) -> None:
    gate = threading.Semaphore(0)

    def script(peer: Http2Peer, asked: Asked) -> None:
        threading.Thread(target=lambda: (gate.acquire(), peer.answer(asked, 200, b"x"))).start()

    backend = http2(script, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    one = service(framed(backend))
    one["connection_pool"] = {"max_open": 1}
    proxy = terraster(one)
    gate.release()
    assert get(proxy.address, "/first").status == 200
    done = threading.Thread(target=lambda: [gate.release() or time.sleep(0.05) for _ in range(5)])
    done.start()
    assert at_once(proxy, [f"/{number}" for number in range(5)]) == [200] * 5
    done.join()
    assert len(backend.peers) == 1


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["known", "chunked"])
def test_bodies_arrive_whole_both_ways(terraster, http2, size, chunked) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.answer(asked, 200, asked.body, trailers=[("x-sum", hashlib.md5(asked.body).hexdigest())])

    backend = http2(script)
    proxy = terraster(service(framed(backend)), limits={"body_size": "16M"})
    body = hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1)
    body = body[:size]
    with proxy.connect() as client:
        if chunked:
            client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 50_000):
                piece = body[at : at + 50_000]
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\nX-After: yes\r\n\r\n")
        else:
            client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size + body)
        answer = client.response("POST")
    assert (answer.status, answer.body == body) == (200, True)
    asked = backend.requests[0]
    assert (len(asked.body), asked.body == body) == (size, True)
    assert asked.get("content-length") == (None if chunked else str(size))
    assert answer.trailers == [(b"x-sum", hashlib.md5(body).hexdigest().encode())]


def test_a_stream_that_the_backend_refuses_goes_elsewhere_even_if_it_is_a_post(terraster, http2) -> None:
    refusing = http2(lambda peer, asked: peer.reset(asked, ErrorCodes.REFUSED_STREAM))
    other = http2()
    proxy = terraster(service(framed(refusing), framed(other), location={"lb_policy": "round-robin"}))
    for number in range(4):
        assert get(proxy.address, f"/{number}", method="POST", fields="Content-Length: 0\r\n").status == 200
    assert len(refusing.requests) >= 1
    assert [asked.target for asked in other.requests] == [f"/{number}" for number in range(4)]


@pytest.mark.parametrize("way", ["reset", "goaway"])
def test_a_request_that_a_backend_began_to_answer_was_not_refused(terraster, http2, way) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.head(asked, 200, [("content-length", "5")])
        if way == "reset":
            peer.reset(asked, ErrorCodes.REFUSED_STREAM)
        else:
            peer.goaway(0)

    breaking, other = http2(script), http2()
    proxy = terraster(service(framed(breaking), framed(other, backup=True)), retry={"response_size": "16k"})
    answer = get(proxy.address, "/x", method="POST", fields="Content-Length: 0\r\n")
    assert (answer.status, len(breaking.requests), len(other.requests)) == (502, 1, 0)


def test_requests_above_the_last_stream_of_a_goaway_are_sent_again(terraster, http2) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        if asked.target == "/b" and peer.number == 0:
            peer.goaway(1)  # only the first request was worked on
        elif asked.target != "/a":
            peer.answer(asked, 200, b"%d" % peer.number)

    backend = http2(script)
    proxy = terraster(service(framed(backend)))
    found = {}
    waits = threading.Thread(target=lambda: found.update(a=get(proxy.address, "/a").body))
    waits.start()
    first = backend.wait(lambda: [one for one in backend.requests if one.target == "/a"])[0]
    answer = get(proxy.address, "/b", method="POST", fields="Content-Length: 0\r\n")
    assert (answer.status, answer.body) == (200, b"1")
    first.peer.answer(first, 200, b"still here")  # below the last stream, so it is worked on to its end
    waits.join()
    assert found["a"] == b"still here"
    wait_until(first.peer.ended.is_set)
    assert get(proxy.address, "/c").body == b"1"


def test_a_connection_that_ends_by_goaway_without_requests_is_not_used_again(terraster, http2) -> None:
    backend = http2(lambda peer, asked: (peer.answer(asked, 200, b"%d" % peer.number), peer.goaway(asked.stream)))
    proxy = terraster(service(framed(backend)))
    assert [get(proxy.address, "/", method="POST", fields="Content-Length: 0\r\n").body for _ in range(3)] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 502)])
def test_a_stream_that_is_reset_is_tried_elsewhere_only_if_that_does_no_harm(terraster, http2, method, status) -> None:
    breaking = http2(lambda peer, asked: peer.reset(asked, ErrorCodes.INTERNAL_ERROR))
    other = http2()
    proxy = terraster(service(framed(breaking), framed(other, backup=True)))
    answer = get(proxy.address, "/x", method=method, fields="Content-Length: 0\r\n" if method == "POST" else "")
    assert (answer.status, len(breaking.requests), len(other.requests)) == (status, 1, int(status == 200))
    if status == 502:
        assert "INTERNAL_ERROR" in (answer.get("proxy-status") or "")


def test_a_connection_that_ends_with_requests_under_way_fails_only_those(terraster, http2) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        if asked.target == "/break":
            peer.close()
        elif asked.target != "/wait":
            peer.answer(asked, 200, b"x")

    backend = http2(script)
    proxy = terraster(service(framed(backend)), retry={"attempts": 1})
    found = {}
    waits = threading.Thread(target=lambda: found.update(status=get(proxy.address, "/wait").status))
    waits.start()
    backend.wait(lambda: backend.requests)
    assert get(proxy.address, "/break").status == 502
    waits.join()
    assert found["status"] == 502
    assert get(proxy.address, "/after").status == 200


def test_a_response_that_breaks_off_is_broken_off_to_the_client(terraster, http2) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.head(asked, 200)
        peer.send(asked, b"x" * 1000)
        peer.reset(asked, ErrorCodes.INTERNAL_ERROR)

    proxy = terraster(service(framed(http2(script))), http2=True)
    with Http2(proxy.connect()) as client:
        answer = client.get("/x")
        assert (answer.status, answer.ended, answer.reset) == (200, False, 2)
    with proxy.connect() as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        octets = client.rest()
        assert octets.endswith(b"x\r\n") and not octets.endswith(b"0\r\n\r\n")


MALFORMED = {
    "no status": [("server", "x")],
    "a status of four digits": [(":status", "2000")],
    "upper case": [(":status", "200"), ("X-Up", "1")],
    "a field about the connection": [(":status", "200"), ("connection", "close")],
    "a control character": [(":status", "200"), ("x-a", "a\x01b")],
    "two lengths": [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_response_is_no_answer(terraster, http2, fields) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        if asked.target == "/ok":
            peer.answer(asked, 200, b"x")
            return
        block = peer.codec.encoder.encode(fields)
        peer.raw(len(block).to_bytes(3, "big") + b"\x01\x05" + asked.stream.to_bytes(4, "big") + block)

    proxy = terraster(service(framed(http2(script))), retry={"attempts": 1})
    answer = get(proxy.address, "/x")
    assert (answer.status, "http_protocol_error" in (answer.get("proxy-status") or "")) == (502, True)
    assert get(proxy.address, "/ok").status == 200


def test_a_stream_that_a_fault_of_the_backend_ends_is_told_so(terraster, http2) -> None:
    """Terraster resets the stream, and not the backend."""

    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.head(asked, 200, [("content-length", "5")])
        peer.raw(b"\0\0\x09\0\0" + asked.stream.to_bytes(4, "big") + b"too large")

    one = http2(script)
    proxy = terraster(service(framed(one)), retry={"attempts": 1, "response_size": "16k"})
    answer = get(proxy.address, "/x")
    assert answer.status == 502
    assert "http_protocol_error" in (answer.get("proxy-status") or "") and "broke a rule of HTTP/2" in answer.body.decode()
    assert one.wait(lambda: one.requests[0].reset) == int(ErrorCodes.PROTOCOL_ERROR)


def test_octets_that_are_not_frames_end_the_connection_with_a_reason(terraster, http2) -> None:
    proxy = terraster(service(framed(http2(lambda peer, asked: peer.raw(b"\xff" * 200)))), retry={"attempts": 1})
    answer = get(proxy.address, "/x")
    assert answer.status == 502
    assert "broke a rule of HTTP/2" in (answer.get("proxy-status") or "")


def test_a_backend_that_speaks_http1_is_told_so(terraster, backend) -> None:
    one = backend(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    answer = get(terraster(service({"url": one.url, "http2": True, "health_check": "off"})).address, "/x")
    assert (answer.status, "HTTP/1.1, and not HTTP/2" in (answer.get("proxy-status") or "")) == (502, True)


def test_an_early_answer_reaches_a_client_that_still_sends(terraster, http2) -> None:
    backend = http2(lambda peer, asked: peer.answer(asked, 413, b"too large"), early=True, takes=False)
    proxy = terraster(service(framed(backend)), limits={"body_size": "16M"})
    with proxy.connect() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)
        answer = client.response("POST")
    assert (answer.status, answer.body) == (413, b"too large")


def test_interim_responses_pass(terraster, http2) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.head(asked, 103, [("link", "</a.css>; rel=preload")])
        peer.answer(asked, 200, b"x")

    proxy = terraster(service(framed(http2(script))))
    with proxy.connect() as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = client.response()
    assert (answer.status, answer.interim) == (200, [(103, [(b"link", b"</a.css>; rel=preload")])])


def test_a_client_that_leaves_ends_the_stream_and_not_the_connection(terraster, http2) -> None:
    backend = http2(lambda peer, asked: asked.target == "/wait" or peer.answer(asked, 200, b"%d" % peer.number))
    proxy = terraster(service(framed(backend)))
    with proxy.connect() as client:
        client.send(b"GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n")
        backend.wait(lambda: backend.requests)
    assert backend.wait(lambda: backend.requests[0].reset is not None)
    assert backend.requests[0].reset == int(ErrorCodes.CANCEL)
    assert get(proxy.address, "/after").body == b"0"


def test_a_slow_client_holds_no_other(terraster, http2) -> None:
    backend = http2(lambda peer, asked: peer.answer(asked, 200, b"x" * (40_000_000 if asked.target == "/large" else 10)))
    proxy = terraster(service(framed(backend)))
    with proxy.connect() as slow:
        slow.send(b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
        backend.wait(lambda: backend.requests)
        for _ in range(20):
            assert get(proxy.address, "/small").body == b"x" * 10
        assert len(backend.peers) == 1


def test_a_backend_that_dies_without_a_word_is_found_by_ping(fresh, http2) -> None:
    """The first request ends by its timeout. From then on the connection is doubted: the next request opens another one."""
    backend = http2(mute=True)
    proxy = fresh(service(framed(backend)), retry={"attempts": 1}, timeouts={"response": "1200ms"})
    assert get(proxy.address, "/one").status == 504
    backend.mute = False
    time.sleep(1.5)  # longer than a PING may stay without an answer before no request is sent
    assert get(proxy.address, "/two").status == 200
    assert len(backend.peers) == 2


@pytest.mark.nightly
def test_a_connection_that_answers_no_ping_ends(fresh, http2) -> None:
    backend = http2(mute=True)
    proxy = fresh(service(framed(backend)), retry={"attempts": 1}, timeouts={"response": "1200ms"})
    assert get(proxy.address, "/one").status == 504
    wait_until(backend.peers[0].ended.is_set)


def test_a_reload_that_removes_the_backend_ends_its_connections(fresh, http2) -> None:
    gone, other = http2(), http2()
    proxy = fresh(service(framed(gone)))
    assert get(proxy.address, "/").status == 200
    proxy.reload(service(framed(other)))
    wait_until(gone.peers[0].ended.is_set)
    assert gone.peers[0].terminated == [0]
    assert get(proxy.address, "/").status == 200


def test_health_checks_speak_http2_too(terraster, http2, backend) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.answer(asked, 204 if asked.target == "/ready" else 200, b"" if asked.target == "/ready" else b"x" * 100_000 + b" fine")

    good, other, old = http2(script), http2(script), backend(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    check = {"type": "http", "path": "/ready", "interval": "200ms", "headers": {"X-Probe": "1"}}
    proxy = terraster(
        service(
            framed(good, health_check=check),
            framed(other, health_check={**check, "path": "/text", "body": "fine"}),
            {"url": old.url, "http2": True, "health_check": check},
        )
    )

    def states() -> list[tuple[str, str]]:
        found = proxy.status()["services"][0]["locations"][0]["backends"]
        return [(one["state"], one["reason"]) for one in found]

    wait_until(lambda: [state for state, _ in states()] == ["up", "down", "down"])
    reasons = [reason for _, reason in states()]
    assert reasons[0] == "status 204"
    assert reasons[1] == "status 200, but without the expected text"  # it is behind the octets that are read
    assert "speaks HTTP/1.1" in reasons[2]
    asked = good.requests[0]
    assert (asked.get(":method"), asked.get("x-probe"), asked.get("user-agent")) == ("GET", "1", "terraster-health-check")


@pytest.mark.parametrize("protocols, status", [(["h2"], 200), (["http/1.1"], 502), ([], 502)], ids=["h2", "http/1.1", "none"])
def test_over_tls_the_backend_must_choose_http2(terraster, http2, tmp_path, protocols, status) -> None:
    certificate, key = Authority().issue("b.test").write(tmp_path, "b")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if protocols:
        context.set_alpn_protocols(protocols)
    backend = http2(tls=context)
    proxy = terraster(service(framed(backend, skip_tls_verify=True)), retry={"attempts": 1})
    for _ in range(2):
        answer = get(proxy.address, "/x")
        assert answer.status == status
    assert len(backend.requests) == (2 if status == 200 else 0)
    if status == 200:
        assert backend.requests[0].get(":scheme") == "https"
        assert len(backend.peers) == 1
    else:
        assert "tls_protocol_error" in (answer.get("proxy-status") or "")


def test_a_body_that_finds_no_window_waits_for_the_answer_alone(terraster, http2) -> None:
    """The whole body came with the head. The backend takes none of it, and answers."""
    backend = http2(lambda peer, asked: peer.answer(asked, 401, b"who?"), early=True, takes=False)
    proxy = terraster(service(framed(backend)), retry={"attempts": 1})
    with proxy.connect() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 66000\r\n\r\n" + b"x" * 66_000)
        answer = client.response("POST")
    assert (answer.status, answer.body) == (401, b"who?")
    assert get(proxy.address, "/x").status == 401


def test_websockets_use_a_connection_of_http1(terraster, backend) -> None:
    """To the same address, which speaks both versions."""

    def script(peer: Peer) -> None:
        first = peer.sock.recv(3, socket.MSG_PEEK)
        assert first == b"GET"
        websocket_echo(peer)

    one = backend(script)
    proxy = terraster(service({"url": one.url, "http2": True, "health_check": "off"}))
    with proxy.connect() as client:
        client.send(
            b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.response(upgrade=True).status == 101
        client.send(b"\x81\x83\0\0\0\0abc")
        assert client.receive_exactly(5) == b"\x81\x03abc"


def test_trailers_behind_an_empty_body_pass(terraster, http2) -> None:
    def script(peer: Http2Peer, asked: Asked) -> None:
        peer.head(asked, 200, [("content-length", "0")])
        peer.send(asked, b"", end=True, trailers=[("x-sum", "0")])

    proxy = terraster(service(framed(http2(script))), http2=True)
    with Http2(proxy.connect()) as client:
        answer = client.get("/x")
    assert (answer.status, answer.body, answer.trailers, answer.ended) == (200, b"", [("x-sum", "0")], True)
    assert get(proxy.address, "/x").body == b""
