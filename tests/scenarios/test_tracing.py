"""Tracing of a running Terraster: spans of requests and attempts at a real receiver, and the trace context that backends get."""

from __future__ import annotations

import re
import threading
from typing import Any

import grpc
import pytest

from ..harness.backends import Backend, Peer, ok, websocket_echo
from ..harness.client import exchange, get
from ..harness.fault import resets_before_head
from ..harness.grpc_server import GrpcServer
from ..harness.http2_client import Http2
from ..harness.otlp_receiver import GrpcReceiver, HttpReceiver, Receiver
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

THEIRS = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
FROM_CLIENT = f"traceparent: 00-{THEIRS}-{PARENT}-01\r\ntracestate: one=1, two=2\r\n"


@pytest.fixture
def receiver(stack) -> HttpReceiver:
    return stack.enter_context(HttpReceiver())


def to(receiver: Receiver, **keys: Any) -> dict[str, Any]:
    return {"endpoint": receiver.url, "timeout": 2, **keys}


def sent(origin: Backend, number: int = 0) -> tuple[str, str, str]:
    """Trace id, span id and flags that a backend got with a request."""
    request = origin.wait(number + 1)[number]
    fields = request.all("traceparent")
    assert len(fields) == 1
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", fields[0])
    assert match is not None
    return match[1], match[2], match[3]


def test_a_request_and_its_attempt_are_spans(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    proxy: Terraster = terraster(
        origin, tracing=to(receiver, service_name="edge", resource={"deployment.environment.name": "test"})
    )
    assert get(proxy.address, "/cart?token=secret&a=1", fields="User-Agent: u/1\r\n").status == 200
    (server,) = receiver.wait()
    (client,) = receiver.clients(server)
    assert sent(origin) == (server.trace_id, client.span_id, "01")
    assert (server.name, server.parent_id, server.status) == ("GET /", "", 0)
    assert (client.name, client.trace_id, client.status) == ("GET", server.trace_id, 0)
    assert server.started <= client.started <= client.ended <= server.ended
    assert {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/cart",
        "url.query": "token=****&a=1",
        "server.address": "a.test",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "u/1",
        "http.response.status_code": 200,
        "http.route": "/",
        "terraster.service": "site",
        "terraster.termination_state": "--",
    }.items() <= server.attributes.items()
    assert {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": origin.port,
        "url.full": f"{origin.url}/cart?token=****&a=1",
        "terraster.outcome": "good",
    }.items() <= client.attributes.items()
    assert client["terraster.connect_time"] > 0 and client["http.request.resend_count"] is None
    assert {"service.name": "edge", "deployment.environment.name": "test"}.items() <= receiver.resources[0].items()
    assert receiver.fields[0][":path"] == "/v1/traces"
    wait_until(lambda: proxy.metrics()["terraster_trace_spans_exported_total"] >= 2)


def test_the_clients_trace_goes_on(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    proxy: Terraster = terraster(origin, tracing=to(receiver))
    get(proxy.address, fields=FROM_CLIENT)
    (server,) = receiver.wait()
    (client,) = receiver.clients(server)
    assert (server.trace_id, server.parent_id, server.state) == (THEIRS, PARENT, "one=1,two=2")
    assert sent(origin) == (THEIRS, client.span_id, "01")
    assert origin.requests[0].all("tracestate") == ["one=1,two=2"]


def test_a_client_that_does_not_record_decides_for_all(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    proxy: Terraster = terraster(origin, tracing=to(receiver))
    get(proxy.address, fields=f"traceparent: 00-{THEIRS}-{PARENT}-00\r\n")
    assert sent(origin)[::2] == (THEIRS, "00") and sent(origin)[1] != PARENT
    get(proxy.address, "/recorded")
    assert [span["url.path"] for span in receiver.wait()] == ["/recorded"]


def test_without_tracing_the_clients_context_passes_untouched(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    odd = f"TraceParent: 00-{THEIRS}-{PARENT}-00\r\nTracestate: a=1 ,b=2\r\n"
    plain, off = service(origin.url, name="plain"), service(origin.url, name="off", host="off.test", tracing="off")
    proxy: Terraster = terraster(plain)
    get(proxy.address, fields=odd)
    proxy.reload(plain, off, tracing=to(receiver))
    get(proxy.address, fields=odd, host="off.test")
    get(proxy.address)
    first, second, _ = origin.wait(3)
    for request in (first, second):
        assert (request.all("traceparent"), request.all("tracestate")) == ([f"00-{THEIRS}-{PARENT}-00"], ["a=1 ,b=2"])
    assert [span["terraster.service"] for span in receiver.wait()] == ["plain"]


def test_one_service_alone_can_be_traced(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    one = service(origin.url, name="one", host="one.test", tracing={"sampler": "always_on"})
    proxy: Terraster = terraster(one, service(origin.url, name="two"), tracing=to(receiver, enabled=False, sampler="always_off"))
    get(proxy.address)
    get(proxy.address, host="one.test")
    assert [span["terraster.service"] for span in receiver.wait()] == ["one"]
    assert not origin.requests[0].all("traceparent")


def test_each_attempt_has_a_span(terraster, backend, receiver: HttpReceiver) -> None:
    turns = iter((b"503 Full", b"200 OK"))
    origin = backend(answer=lambda _: ok(status=next(turns)))
    proxy: Terraster = terraster(
        origin, backend(resets_before_head), tracing=to(receiver), retry={"on": [503], "attempts": 4}, outlier="off"
    )
    assert get(proxy.address).status == 200
    (server,) = receiver.wait()
    found = receiver.clients(server)
    assert [span["http.request.resend_count"] for span in found] == [None, *range(1, len(found))]
    outcomes = {span["terraster.outcome"] for span in found}
    assert found[-1]["terraster.outcome"] == "good" and len(outcomes) > 1
    failed = [span for span in found if span["terraster.outcome"] == "failed"]
    assert all(span.status == 2 and span["error.type"] and span["http.response.status_code"] is None for span in failed)
    refused = [span for span in found if span["http.response.status_code"] == 503]
    assert len(refused) == 1 and (refused[0].status, refused[0]["error.type"]) == (2, "503")
    assert {sent(origin, number)[1] for number in range(2)} == {refused[0].span_id, found[-1].span_id}
    assert server.status == 0


def test_answers_without_a_backend_are_spans_without_attempts(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    site = {
        "name": "site",
        "host": "a.test",
        "locations": [{"path": "/own", "respond": {"status": 204}}, {"path": "/deep", "backends": [origin.url]}],
    }
    proxy: Terraster = terraster(site, tracing=to(receiver))
    assert get(proxy.address, "/own", fields=FROM_CLIENT).status == 204
    assert get(proxy.address, "/none").status == 404
    assert get(proxy.address, "/", host="other.test").status == 421
    assert exchange(proxy.address, b"BAD\r\n\r\n", "GET").status == 400
    found = {span["http.response.status_code"]: span for span in receiver.wait(4)}
    assert not any(receiver.clients(span) for span in found.values())
    assert (found[204].trace_id, found[204].parent_id, found[204]["http.route"]) == (THEIRS, PARENT, "/own")
    assert (found[404].name, found[404]["http.route"], found[404]["terraster.service"]) == ("GET", None, "site")
    assert found[421]["terraster.service"] is None
    assert (found[400].name, found[400]["http.request.method"]) == ("HTTP", "_OTHER")
    assert {span.status for span in found.values()} == {0}


def test_a_receiver_of_grpc(terraster, backend, stack) -> None:
    receiver = stack.enter_context(GrpcReceiver())
    origin = backend(answer=ok())
    headers = {"Authorization": "Bearer x"}
    proxy: Terraster = terraster(origin, tracing=to(receiver, protocol="grpc", headers=headers, compression="gzip"))
    get(proxy.address)
    (server,) = receiver.wait()
    assert len(receiver.clients(server)) == 1
    assert receiver.fields[0]["authorization"] == "Bearer x"


def test_a_hedge_has_a_span_beside_that_of_the_slow_attempt(terraster, backend, receiver: HttpReceiver) -> None:
    late, go = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            if late.is_set():
                go.wait(30)
            peer.send(ok(b"late"))

    erratic, steady = backend(script), backend(answer=ok(b"soon"))
    retry = {"hedge": 90, "budget": "100%", "min_per_second": 1000}
    proxy: Terraster = terraster(erratic, steady, retry=retry, tracing=to(receiver, sampler="parentbased_always_off"))
    with proxy.connect() as client:
        for _ in range(120):
            client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
    late.set()
    recorded = f"traceparent: 00-{THEIRS}-{PARENT}-01\r\n"
    for number in range(
        6
    ):  # backends take turns, but one in ten requests to the steady one is hedged as well, which is a turn of its own
        assert get(proxy.address, f"/{number}", fields=recorded).body == b"soon"
    go.set()
    ports = [erratic.port, steady.port]
    hedged = wait_until(
        lambda: [one for one in receiver.servers() if [each["server.port"] for each in receiver.clients(one)] == ports]
    )[0]
    first, second = receiver.clients(hedged)
    assert (first["terraster.outcome"], second["terraster.outcome"]) == ("overtaken", "good")
    assert (second["http.request.resend_count"], first.status) == (1, 0)
    assert first.span_id != second.span_id and hedged.status == 0


def test_a_websocket_is_a_span_until_its_end(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(websocket_echo)
    plain = service(backend(answer=ok()).url, name="plain", host="plain.test")
    proxy: Terraster = terraster(service(origin.url), plain, tracing=to(receiver))
    with proxy.connect() as client:
        client.send(
            b"GET /chat HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert client.response(upgrade=True).status == 101
        get(proxy.address, "/plain", host="plain.test")
        assert [span["url.path"] for span in receiver.wait()] == ["/plain"]
    (chat,) = [span for span in receiver.wait(2) if span["url.path"] == "/chat"]
    (attempt,) = receiver.clients(chat)
    assert chat["http.response.status_code"] == attempt["http.response.status_code"] == 101
    assert attempt["terraster.outcome"] == "good" and sent(origin)[1] == attempt.span_id


def test_requests_of_http2_are_spans(terraster, backend, receiver: HttpReceiver, stack) -> None:
    origin = backend(answer=ok())
    proxy: Terraster = terraster(origin, http2=True, tracing=to(receiver))
    client = stack.enter_context(Http2(proxy.connect()))
    assert client.get("/h2", fields=[("traceparent", f"00-{THEIRS}-{PARENT}-01"), ("user-agent", "u/2")]).status == 200
    (server,) = receiver.wait()
    assert (server.trace_id, server.parent_id, server["network.protocol.version"]) == (THEIRS, PARENT, "2")
    assert server["user_agent.original"] == "u/2"
    (client_span,) = receiver.clients(server)
    assert sent(origin) == (THEIRS, client_span.span_id, "01")


def test_calls_of_grpc_are_spans(terraster, receiver: HttpReceiver, stack) -> None:
    server = stack.enter_context(GrpcServer("one"))
    proxy: Terraster = terraster(service({"url": server.url, "http2": True}), http2=True, tracing=to(receiver))
    with grpc.insecure_channel("{}:{}".format(*proxy.address), [("grpc.enable_retries", 0)]) as channel:
        assert channel.unary_unary("/t.T/Echo")(b"x", timeout=20) == b"x"
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/t.T/Fail")(b"14", timeout=20)
    found = {span["url.path"]: span for span in receiver.wait(2)}
    echo, fail = found["/t.T/Echo"], found["/t.T/Fail"]
    assert (echo["rpc.system"], echo["rpc.grpc.status_code"], echo.status) == ("grpc", 0, 0)
    assert (fail["rpc.grpc.status_code"], fail.status) == (14, 2)
    (attempt,) = receiver.clients(echo)
    name, fields = server.calls[0]
    assert name == "/t.T/Echo" and fields["traceparent"] == f"00-{echo.trace_id}-{attempt.span_id}-01"


def test_a_client_that_vanishes_ends_its_spans(terraster, backend, receiver: HttpReceiver) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        assert peer.rest() == b""

    origin = backend(script)
    proxy: Terraster = terraster(origin, tracing=to(receiver))
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    origin.wait()
    client.reset()
    (server,) = receiver.wait()
    (attempt,) = receiver.clients(server)
    assert (server["http.response.status_code"], server.status) == (499, 0) and server["error.type"]
    assert (attempt["terraster.outcome"], attempt["http.response.status_code"]) == ("abandoned", None)
    assert attempt.ended <= server.ended


def test_access_lines_have_the_ids(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    named = service(origin.url, name="named", host="b.test", access_log={"fields": ["trace_id", "span_id"]})
    untraced = service(origin.url, name="untraced", host="c.test", tracing="off", log_options={"trace": True})
    proxy: Terraster = terraster(service(origin.url, log_options={"trace": True}), named, untraced, tracing=to(receiver))
    for host in ("a.test", "b.test", "c.test"):
        get(proxy.address, host=host)
    by_service = {span["terraster.service"]: span for span in receiver.wait(2)}
    lines = proxy.log(3)
    (short,) = [one for one in lines if len(one) == 2]
    found = {one["service"]: one for one in lines if one is not short} | {"named": short}
    for name, span in by_service.items():
        assert (found[name]["trace_id"], found[name]["span_id"]) == (span.trace_id, span.span_id)
    assert (found["untraced"]["trace_id"], found["untraced"]["span_id"]) == ("", "")


def test_header_rules_have_the_last_word(terraster, backend, receiver: HttpReceiver) -> None:
    origin = backend(answer=ok())
    rules = {"remove_request_headers": ["tracestate"], "request_headers": {"Traceparent": "mine"}}
    proxy: Terraster = terraster(service(origin.url, headers=rules), tracing=to(receiver))
    get(proxy.address, fields=FROM_CLIENT)
    (request,) = origin.wait()
    assert (request.all("traceparent"), request.all("tracestate")) == (["mine"], [])
