"""What a call of gRPC gets from Terraster itself: refusals, deadlines, ends. The client is a raw one, so that each frame is seen."""

from __future__ import annotations

import time

import pytest

from ..harness.backends import Peer, ok
from ..harness.fault import hangs, refusing_port
from ..harness.http2_client import HEADERS, RST_STREAM, Answer, Http2, frame
from ..harness.readings import total
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

MESSAGE = b"\0\0\0\0\0"  # a message without octets
CALL = [("content-type", "application/grpc"), ("te", "trailers")]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"


def call(proxy, path: str = "/t.T/M", *more: tuple[str, str], **how: object) -> tuple[Answer, Http2]:
    """The answer to a call, and the client whose connection has ended."""
    with Http2(proxy.connect()) as client:
        number = client.open(path, method="POST", fields=[*CALL, *more], body=MESSAGE, **how)  # type: ignore[arg-type]
        return client.answer(number), client


def outcome(answer: Answer) -> tuple[str | None, str | None]:
    """Status and message of an answer that is trailers-only."""
    assert (answer.status, answer.body, answer.trailers, answer.ended) == (200, b"", [], True)
    assert answer.get("content-type") == "application/grpc" and answer.get("content-length") is None
    return answer.get("grpc-status"), answer.get("grpc-message")


def test_an_error_is_trailers_only(terraster, stack) -> None:
    port = stack.enter_context(refusing_port())
    proxy = terraster(service(f"http://127.0.0.1:{port}"), http2=True)
    answer, client = call(proxy)
    assert outcome(answer) == ("14", "no connection to the backend (ECONNREFUSED)")
    assert "error=connection_refused" in (answer.get("proxy-status") or "") and answer.get("x-request-id")
    (head,) = [one for one in client.frames if one.kind == HEADERS]
    assert head.flags & 1, "the head does not end the stream"
    (line,) = proxy.log()
    assert (line["status"], line["error"]) == (502, "connection_refused")


def test_other_requests_get_errors_of_http(terraster, stack) -> None:
    port = stack.enter_context(refusing_port())
    proxy = terraster(service(f"http://127.0.0.1:{port}"), http2=True)
    with Http2(proxy.connect()) as client:
        for fields in ([("content-type", "application/grpc-web")], [("content-type", "application/json")]):
            answer = client.get("/", method="POST", body=b"{}", fields=fields)
            assert (answer.status, answer.get("content-type")) == (502, "application/json") and answer.body


@pytest.mark.parametrize(
    ("path", "keys", "expected"),
    [
        ("/none", {}, ("12", None)),
        ("/a", {"location": {"respond": {"status": 401, "headers": {"WWW-Authenticate": "Basic"}}}}, ("16", "Unauthorized")),
        ("/a", {"location": {"respond": {"status": 429, "body": "slow down"}}}, ("14", "Too Many Requests")),
        ("/a", {"location": {"respond": {"status": 503, "body": "<p>", "headers": {"Content-Type": "text/html"}}}}, ("14", None)),
        ("/a", {"location": {"respond": {"status": 403, "headers": {"grpc-status": "9", "Content-Type": "application/grpc"}}}}, None),
        ("/a", {"location": {"respond": {"status": 204}}}, None),
    ],
    ids=["no location", "401", "429", "a page", "an answer for calls", "no refusal"],
)  # fmt: skip
def test_answers_of_filters(terraster, backend, path: str, keys: dict, expected: tuple[str, str | None] | None) -> None:
    location = keys.get("location", {})
    backends = [] if location else [backend(answer=ok()).url]
    proxy = terraster(service(*backends, path="/a", location=location), http2=True)
    answer, _ = call(proxy, path)
    if expected is None:
        fixed = location["respond"]
        assert (answer.status, answer.get("grpc-status")) == (fixed["status"], fixed.get("headers", {}).get("grpc-status"))
        return
    status, message = outcome(answer)
    assert status == expected[0] and (expected[1] is None or message == expected[1])
    assert answer.get("www-authenticate") == location.get("respond", {}).get("headers", {}).get("WWW-Authenticate")
    (line,) = proxy.log()
    assert line["status"] == (location["respond"]["status"] if location else 404)


def test_a_deadline_of_the_client(terraster, backend) -> None:
    hung = backend(hangs)
    proxy = terraster(hung, http2=True, outlier={"failures": 1})
    before = total(proxy, "terraster_backend_failures_total")
    began = time.monotonic()
    answer, _ = call(proxy, "/t.T/M", ("grpc-timeout", "300m"))
    assert time.monotonic() - began >= 0.3
    assert outcome(answer) == ("4", "the deadline of the client has passed")
    assert hung.wait_peer().ended.wait(5), "the backend was not told"
    (line,) = proxy.log()
    assert (line["status"], line["tries"]) == (504, 1)
    assert total(proxy, "terraster_backend_failures_total") == before, "the deadline of a client counts against the backend"


@pytest.mark.parametrize("said", [[], [("grpc-timeout", "1H")]], ids=["no deadline", "a later one"])
def test_the_total_timeout_bounds_a_call(terraster, backend, said: list[tuple[str, str]]) -> None:
    proxy = terraster(backend(hangs), http2=True, timeouts={"total": "300ms"})
    assert outcome(call(proxy, "/t.T/M", *said)[0]) == ("4", "the exchange took too long")


@pytest.mark.parametrize(
    ("said", "keys", "least", "most"),
    [
        ("20S", {}, 19_000_000, 20_000_000),
        ("20S", {"timeouts": {"total": "10s"}}, 9_000_000, 10_000_000),
        ("1M", {"timeouts": {"total": "100s"}}, 59_000_000, 60_000_000),
    ],
)
def test_the_backend_learns_what_is_left(terraster, backend, said: str, keys: dict, least: int, most: int) -> None:
    one = backend(answer=ok())
    call(terraster(one, http2=True, **keys), "/t.T/M", ("grpc-timeout", said))
    value = one.wait()[0].get("grpc-timeout")
    assert value is not None and value.endswith("u") and least <= int(value[:-1]) <= most


@pytest.mark.parametrize(
    ("said", "keys", "goes_on"),
    [
        ("soon", {}, "soon"),
        ("0S", {}, "0S"),
        (None, {}, None),
        (None, {"timeouts": {"total": "10s"}}, None),
        ("20S", {"headers": {"request_headers": {"grpc-timeout": "5S"}}}, "5S"),
        ("20S", {"headers": {"remove_request_headers": ["grpc-timeout"]}}, None),
    ],
)
def test_deadlines_that_go_on_as_they_are(terraster, backend, said: str | None, keys: dict, goes_on: str | None) -> None:
    one = backend(answer=ok())
    call(terraster(one, http2=True, **keys), "/t.T/M", *([("grpc-timeout", said)] if said else []))
    assert one.wait()[0].get("grpc-timeout") == goes_on


def test_a_second_attempt_has_what_the_first_has_left(terraster, backend) -> None:
    hung = [backend(hangs) for _ in range(2)]
    keys = {"per_try_timeout": "200ms", "attempts": 2, "idempotency_key": True, "min_per_second": 100}
    call(terraster(*hung, http2=True, retry=keys), "/t.T/M", ("grpc-timeout", "2S"), ("idempotency-key", "a"))
    left = sorted(int((one.wait()[0].get("grpc-timeout") or "")[:-1]) for one in hung)
    assert 1_500_000 < left[1] <= 2_000_000 and left[1] - left[0] >= 190_000


def breaks_off(peer: Peer) -> None:
    assert peer.request()
    peer.send(HEAD + b"5\r\n" + MESSAGE + b"\r\n")
    peer.close()


def test_a_response_that_breaks_off_ends_with_a_status(terraster, backend) -> None:
    proxy = terraster(backend(breaks_off), http2=True)
    answer, client = call(proxy)
    assert (answer.status, answer.body, answer.ended, answer.reset) == (200, MESSAGE, True, None)
    assert dict(answer.trailers) == {"grpc-status": "14", "grpc-message": "the backend closed the connection within a response"}
    (line,) = wait_until(proxy.log)
    assert (line["status"], line["error"]) == (200, "connection_terminated")
    assert client.ended is False


def test_a_deadline_within_the_response(terraster, backend) -> None:
    def stalls(peer: Peer) -> None:
        assert peer.request()
        peer.send(HEAD + b"5\r\n" + MESSAGE + b"\r\n")
        peer.ended.wait(20)

    answer, _ = call(terraster(backend(stalls), http2=True), "/t.T/M", ("grpc-timeout", "300m"))
    assert (answer.body, answer.ended, dict(answer.trailers)["grpc-status"]) == (MESSAGE, True, "4")


def test_a_response_of_known_length_that_breaks_off_is_reset(terraster, backend) -> None:
    def short(peer: Peer) -> None:
        assert peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 100000\r\n\r\n" + MESSAGE)
        peer.close()

    answer, _ = call(terraster(backend(short), http2=True, retry={"response_size": 0}))
    assert (answer.body, answer.reset) == (MESSAGE, 2)


TRAILERS = b"0\r\nGrpc-Status: %d\r\n\r\n"


def outcomes(proxy) -> dict[str, float]:
    """The calls of the only service by their outcome."""
    samples = {name: count for name, count in proxy.metrics().items() if name.startswith("terraster_grpc_responses_total{")}
    return {name.partition('status="')[2].partition('"')[0]: count for name, count in samples.items() if 'location="/"' in name}


def test_each_call_is_counted_once_by_its_outcome(terraster, backend, tmp_path) -> None:
    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            what = request.target[1:]
            if what == "trailers":
                peer.send(HEAD + b"5\r\n" + MESSAGE + b"\r\n" + TRAILERS % 0)
            elif what == "late":
                peer.send(HEAD + b"5\r\n" + MESSAGE + b"\r\n" + TRAILERS % 10)
            elif what == "only":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 5\r\nContent-Length: 0\r\n\r\n")
            elif what == "page":
                peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            elif what == "silent":
                peer.send(ok())
            elif what == "short":
                peer.send(HEAD + b"5\r\n" + MESSAGE + b"\r\n")
                peer.close()
                return
            else:
                peer.ended.wait(20)
                return

    log = tmp_path / "calls.log"
    proxy = terraster(backend(script), http2=True, access_log={"path": str(log), "format": "{uri} {grpc_status}"})
    before = outcomes(proxy)
    for path in ("/trailers", "/trailers", "/late", "/only", "/page", "/silent", "/short"):
        call(proxy, path)
    call(proxy, "/hangs", ("grpc-timeout", "50m"))
    with Http2(proxy.connect()) as client:
        number = client.open("/leaves", method="POST", fields=CALL, body=MESSAGE)
        wait_until(lambda: total(proxy, "terraster_backend_active_requests") == 1)
        client.send(frame(RST_STREAM, 0, number, b"\0\0\0\x08"))
        expected = {
            "OK": 2, "ABORTED": 1, "NOT_FOUND": 1, "UNAUTHENTICATED": 1, "UNKNOWN": 1, "UNAVAILABLE": 1, "DEADLINE_EXCEEDED": 1,
            "CANCELLED": 1,
        }  # fmt: skip
        wait_until(lambda: {name: count - before.get(name, 0) for name, count in outcomes(proxy).items()} == expected)
    lines = wait_until(lambda: len(found := log.read_text().splitlines()) == 9 and found)
    assert {"/trailers OK", "/short UNAVAILABLE", "/leaves CANCELLED"} <= set(lines)


def only(status: int, more: bytes = b"") -> bytes:
    """An answer that is trailers-only."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: %d\r\n%bContent-Length: 0\r\n\r\n" % (status, more)


GOOD = HEAD + b"5\r\n" + MESSAGE + b"\r\n" + TRAILERS % 0
RETRY = {"on": [503, "grpc-unavailable"], "attempts": 3, "min_per_second": 100}


def test_a_status_that_is_named_is_tried_elsewhere(terraster, backend) -> None:
    bad, good = backend(answer=only(14)), backend(answer=GOOD)
    proxy = terraster(bad, good, http2=True, retry=RETRY)
    for _ in range(4):
        answer, _ = call(proxy)
        assert (answer.body, answer.trailers) == (MESSAGE, [("grpc-status", "0")])
    assert bad.requests and {request.body for request in (*bad.requests, *good.requests)} == {MESSAGE}
    assert any(f"{bad.url}: status grpc-unavailable" in line["detail"] for line in proxy.log(4))
    wait_until(lambda: total(proxy, "terraster_location_retries_total") == len(bad.requests))


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        (only(13), {}),
        (only(14), {"on": 503}),
        (only(14), {"attempts": 1}),
        (HEAD + b"5\r\n" + MESSAGE + b"\r\n" + TRAILERS % 14, {}),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", {}),
    ],
    ids=["another status", "no status of gRPC named", "one attempt", "in the trailers", "a status of HTTP"],
)
def test_calls_that_are_not_tried_again(terraster, backend, answer: bytes, keys: dict) -> None:
    bad = [backend(answer=answer) for _ in range(2)]
    call(terraster(*bad, http2=True, retry={**RETRY, **keys}))
    assert sum(len(one.requests) for one in bad) == 1


@pytest.mark.parametrize(("room", "asked"), [(4, 1), (64, 2)])
def test_a_message_behind_the_head_is_kept_if_there_is_room(terraster, backend, room: int, asked: int) -> None:
    bad = [backend(answer=only(14)) for _ in range(2)]
    proxy = terraster(*bad, http2=True, retry={**RETRY, "attempts": 2, "body_size": room})
    with Http2(proxy.connect()) as client:
        number = client.open("/t.T/M", method="POST", fields=CALL, end=False)
        wait_until(lambda: sum(len(one.peers) for one in bad) == 1)
        client.send(client.data(number, MESSAGE))
        assert client.answer(number).get("grpc-status") == "14"
    assert sum(len(one.requests) for one in bad) == asked


def test_a_message_that_comes_with_the_head_goes_on_whole(terraster, backend) -> None:
    """To HTTP/1.1 in chunks, whether it is empty or not; and not at all if it is too large."""
    one = backend(answer=only(0))
    proxy = terraster(one, http2=True, limits={"body_size": 10})
    with Http2(proxy.connect()) as client:
        for body in (MESSAGE, b"", b"x" * 10):
            assert client.get("/t.T/M", method="POST", fields=CALL, body=body).get("grpc-status") == "0"
        assert client.get("/t.T/M", method="POST", fields=CALL, body=b"x" * 11).get("grpc-status") == "8"
    assert [request.body for request in one.requests] == [MESSAGE, b"", b"x" * 10]
    assert {request.get("transfer-encoding") for request in one.requests} == {"chunked"}


def test_other_requests_are_not_tried_again_for_a_status_of_grpc(terraster, backend) -> None:
    bad = [backend(answer=only(14)) for _ in range(2)]
    with Http2(terraster(*bad, http2=True, retry=RETRY).connect()) as client:
        assert client.get("/").get("grpc-status") == "14"
    assert sum(len(one.requests) for one in bad) == 1


@pytest.mark.parametrize(("status", "bad"), [(14, 1), (13, 1), (0, 0), (5, 0)])
def test_backends_are_judged_by_the_status_of_calls(terraster, backend, status: int, bad: int) -> None:
    one, other = backend(answer=only(status)), backend(answer=only(status))
    proxy = terraster(one, other, http2=True, outlier={"bad_statuses": 100, "statuses": "500-599"})
    call(proxy)
    wait_until(lambda: total(proxy, "terraster_backend_responses_total") == 1)
    assert total(proxy, "terraster_backend_bad_statuses_total") == bad


def test_a_circuit_opens_for_statuses_of_calls(terraster, backend) -> None:
    bad = backend(answer=only(14))
    proxy = terraster(bad, http2=True, middleware=[{"circuit_breaker": {"threshold": 2, "timeout": "20s"}}])
    for _ in range(2):
        assert call(proxy)[0].get("grpc-status") == "14"
    answer, _ = call(proxy)
    assert outcome(answer)[0] == "14" and "destination_unavailable" in (answer.get("proxy-status") or "")
    assert len(bad.requests) == 2
