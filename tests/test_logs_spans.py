"""What a request becomes as spans, without a process: trace context taken over, names and attributes, and secrets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import AccessLog, Backend
from terraster.config.tracing import Sampling
from terraster.exchange import Exchange
from terraster.logs.spans import CLIENT, SERVER, Packer, Span, spans
from terraster.logs.trace import AttemptTrace, Propagation, trace_of
from terraster.wire.edits import Edits

WALL = 1_700_000_000.125
ON = Sampling("always_on")
Fields = list[tuple[bytes, bytes]]


def an_exchange(fields: Fields | None = None, **changes: Any) -> Exchange:
    """A finished exchange, a second after its start at 10.0."""
    x = Exchange(10.0, WALL, "192.0.2.17", "198.51.100.1", "https")
    x.head = SimpleNamespace(major=1, minor=1, fields=fields or [])
    x.method, x.target, x.path, x.host = b"GET", b"/cart?item=3", b"/cart", b"shop.example:8443"
    x.service, x.location = SimpleNamespace(name="shop"), SimpleNamespace(label="/cart")
    x.tries, x.status, x.duration, x.request_id = 1, 200, 1.0, b"abc123"
    for name, value in changes.items():
        setattr(x, name, value)
    return x


def an_attempt(**changes: Any) -> AttemptTrace:
    one = AttemptTrace(Backend("id", "http://h1:80", "http", "h1", 80), 10.25, 0)
    one.ended_at, one.head_at, one.outcome, one.status = 10.75, 10.5, 1, 200
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def made(x: Exchange, *attempts: AttemptTrace, **config: Any) -> list[Span]:
    trace = trace_of(x, ON)
    trace.attempts += attempts
    count, packed = Packer(AccessLog(**config)).pack(x, trace)
    found = spans(packed)
    assert len(found) == count
    return found


def test_times_are_those_of_the_wall() -> None:
    server, client = made(an_exchange(), an_attempt())
    assert (server.kind, client.kind) == (SERVER, CLIENT)
    begun = int(WALL * 1e9)
    assert (server.started, server.ended) == (begun, begun + 10**9)
    assert (client.started, client.ended) == (begun + 250_000_000, begun + 750_000_000)
    assert client.attributes["terraster.response_head_time"] == 0.25
    assert (client.parent_id, client.trace_id, client.is_remote) == (server.span_id, server.trace_id, False)


def test_an_attempt_that_was_not_over_ends_with_the_request() -> None:
    server, client = made(an_exchange(), an_attempt(ended_at=0.0, head_at=0.0, outcome=0, status=0))
    assert client.ended == server.ended
    assert (client.attributes["terraster.outcome"], client.failed) == ("overtaken", False)


@pytest.mark.parametrize(
    ("target", "path", "config", "expected"),
    [
        (b"/a", b"/a", {}, ("/a", None)),
        (b"/a?token=s3&b=1", b"/a", {}, ("/a", "token=****&b=1")),
        (b"/a?pin=s3&b=1", b"/a", {"redact_query": ("pin",), "mask": "#"}, ("/a", "pin=#&b=1")),
        (b"/a?b=1", b"/a", {"query": False}, ("/a", None)),
        (b"http://u:s3@shop.example/a", b"/a", {}, ("/a", None)),
        (b"http://u:s3@shop.example/a", b"", {}, ("http://****@shop.example/a", None)),
        (b"/%s3?" + b"x" * 5000, b"/%s3", {}, ("/%s3", "x" * 2043)),
        (b"/\xff\x00", b"", {}, ("/\\xff\x00", None)),
    ],
)
def test_secrets_are_masked(target: bytes, path: bytes, config: dict[str, Any], expected: tuple[str, str | None]) -> None:
    server, client = made(an_exchange(target=target, path=path), an_attempt(), **config)
    assert (server.attributes["url.path"], server.attributes.get("url.query")) == expected
    assert "s3" not in str(client.attributes["url.full"]).replace("%s3", "")


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        (b"shop.example:8443", "shop.example", 8443),
        (b"shop.example", "shop.example", None),
        (b"[2001:db8::1]:80", "2001:db8::1", 80),
        (b"[2001:db8::1]", "2001:db8::1", None),
        (b"", None, None),
        (b"shop.example:x", "shop.example:x", None),
    ],
)
def test_the_server_is_the_host_that_was_asked_for(host: bytes, name: str | None, port: int | None) -> None:
    (server,) = made(an_exchange(host=host))
    assert (server.attributes.get("server.address"), server.attributes.get("server.port")) == (name, port)


@pytest.mark.parametrize(
    ("status", "error", "failed", "kind"),
    [
        (200, "", False, None),
        (404, "", False, None),
        (499, "", False, "499"),
        (499, "connection_terminated", False, "connection_terminated"),
        (500, "", True, "500"),
        (504, "http_response_timeout", True, "http_response_timeout"),
    ],
)
def test_errors_of_a_request_are_those_of_the_server(status: int, error: str, failed: bool, kind: str | None) -> None:
    (server,) = made(an_exchange(status=status, error=error))
    assert (server.failed, server.attributes.get("error.type")) == (failed, kind)


@pytest.mark.parametrize(
    ("changes", "failed", "kind"),
    [
        ({"status": 404}, True, "404"),
        ({"status": 503, "outcome": 2}, True, "503"),
        ({"status": 0, "outcome": 3, "error": "connection_refused"}, True, "connection_refused"),
        ({"status": 0, "outcome": 0}, False, "abandoned"),
        ({"status": 200, "outcome": 4}, False, "overtaken"),
    ],
)
def test_errors_of_an_attempt(changes: dict[str, Any], failed: bool, kind: str) -> None:
    _, client = made(an_exchange(), an_attempt(**changes))
    assert (client.failed, client.attributes["error.type"]) == (failed, kind)


def test_a_method_that_nobody_knows_is_no_name() -> None:
    server, client = made(an_exchange(method=b"BREW\xff"), an_attempt())
    assert (server.name, client.name) == ("HTTP /cart", "HTTP")
    for one in (server, client):
        assert one.attributes["http.request.method"] == "_OTHER"
        assert one.attributes["http.request.method_original"] == "BREW\\xff"


PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sent(fields: Fields, sampling: Sampling = ON) -> list[bytes]:
    edits = Edits()
    Propagation(sampling).on_upstream(an_exchange(fields), edits)
    theirs = {b"traceparent", b"tracestate"}
    assert edits.drop == (theirs if theirs & {name.lower() for name, _ in fields} else set())
    return edits.extra.splitlines()


def test_two_parents_are_none() -> None:
    (line,) = sent([(b"traceparent", PARENT), (b"Traceparent", PARENT), (b"tracestate", b"a=1")])
    assert PARENT[3:35] not in line


def test_a_state_without_a_parent_is_dropped() -> None:
    assert len(sent([(b"tracestate", b"a=1")])) == 1
    assert sent([(b"tracestate", b"a=1"), (b"traceparent", PARENT), (b"TraceState", b"b=2")])[1] == b"tracestate: a=1,b=2"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"traceparent", b"TraceParent", b"tracestate", b"Tracestate", b"user-agent"]),
            st.binary(max_size=60) | st.sampled_from([PARENT, b"a=1", b"ff" + PARENT[2:], b"a=1\r\nevil: 1"]),
        ),
        max_size=5,
    ),
    st.sampled_from(["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off"]),
)
def test_any_fields_make_one_parent_and_at_most_one_state(fields: Fields, sampler: str) -> None:
    lines = sent(fields, Sampling(sampler, 0.5))
    assert [line.partition(b":")[0] for line in lines] in ([b"traceparent"], [b"traceparent", b"tracestate"])
    value = lines[0].partition(b": ")[2]
    assert len(value) == 55 and value[:3] == b"00-" and set(value) <= set(b"0123456789abcdef-")
    x = an_exchange(fields)
    trace = trace_of(x, Sampling(sampler, 0.5))
    _, packed = Packer(AccessLog()).pack(x, trace)
    assert spans(packed)[0].trace_id == trace.trace_id.decode()
