"""Tracing of a running Terraster: spans of requests and attempts at a real receiver, and the trace context that backends get."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ..harness.backends import Backend, ok
from ..harness.client import exchange, get
from ..harness.fault import resets_before_head
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
    return {"endpoint": receiver.url, **keys}


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
