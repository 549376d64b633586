"""The corpus over a real socket: what must be refused is answered once, the connection ends, and no backend hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..harness.backends import Backend, Peer, ok
from ..harness.client import Connection
from ..harness.corpus import Case, load_cases
from ..harness.terraster_process import Terraster, service

CASES = [case for case in load_cases("requests") if case.limits == (32768, 100)]
REFUSED = [case for case in CASES if not {"forward", "incomplete"} & set(case.expect)]
FORWARDED = [case for case in CASES if case.forwards]
EITHER = [case for case in CASES if "forward" in case.expect and not case.forwards]

PROBE = b"GET /probe HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


def _lenient(peer: Peer) -> None:
    """Remembers every whole request and answers it; what a proxy breaks off in the middle is no complaint here."""
    while request := peer.request():
        peer.send(ok(request.method.encode() if request.method != "HEAD" else b""))


@pytest.fixture(scope="module")
def origin() -> Iterator[Backend]:
    with Backend(_lenient) as backend:
        yield backend


@pytest.fixture(scope="module")
def proxy(origin: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraster]:
    folder: Path = tmp_path_factory.mktemp("refusals")
    # What is forwarded is compared with what was sent, so slashes are not merged.
    with Terraster(folder, service(origin.url), merge_slashes=False) as terraster:
        yield terraster


def _only_probes_since(origin: Backend, proxy: Terraster, count: int) -> None:
    """Fail if the backend got a request since ``count``, other than the probe that is sent now to be sure that all came."""
    with proxy.connect() as client:
        assert client.send(PROBE).response().status == 200
    assert [request.target for request in origin.requests[count:]] == ["/probe"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(origin: Backend, proxy: Terraster, case: Case) -> None:
    count = len(origin.requests)
    with proxy.connect(deadline=8) as client:
        client.send(case.data)
        answer = client.rest()
    status = answer[9:12].decode()
    assert answer.startswith(b"HTTP/1.1 "), answer
    assert status in case.expect, f"{case.what} [{case.rule}]"
    assert answer.count(b"HTTP/1.1 ") == 1, "answered more than once"
    assert b"\r\nConnection: close\r\n" in answer
    _only_probes_since(origin, proxy, count)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused_with_another_request_behind(origin: Backend, proxy: Terraster, case: Case) -> None:
    """Whatever comes behind a refused request is never taken for a request."""
    count = len(origin.requests)
    with proxy.connect(deadline=8) as client:
        client.send(case.data + b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = client.rest()
    assert answer[9:12].decode() in {*case.expect, "505", "400"}
    assert answer.count(b"HTTP/1.1 ") == 1, "answered more than once"
    _only_probes_since(origin, proxy, count)


@pytest.mark.parametrize("case", FORWARDED, ids=lambda case: case.name)
def test_forwarded(origin: Backend, proxy: Terraster, case: Case) -> None:
    count = len(origin.requests)
    method = case.data.lstrip(b"\r\n").split(b" ", 1)[0].decode()
    with proxy.connect() as client:
        answer = client.send(case.data).response(method)
    assert answer.status == 200, case.what
    behind = case.fact("rest") or b""  # another request comes along: the next case must not find it instead of its own
    request = origin.wait(count + (2 if b" HTTP/1.1" in behind else 1))[count]
    assert request.method == method
    body = case.fact("body")
    if body is not None:
        assert request.body == body
    for name, value in case.pairs("field"):
        assert value.decode("latin-1") in request.all(name.decode())
    if case.fact("target") is not None and case.fact("rest") is None:
        assert request.target == (case.fact("target") or b"").decode()


@pytest.mark.parametrize("case", EITHER, ids=lambda case: case.name)
def test_refused_or_forwarded_but_never_both(origin: Backend, proxy: Terraster, case: Case) -> None:
    count = len(origin.requests)
    with proxy.connect() as client:
        answer = client.send(case.data).response("POST")
    if answer.status == 200:
        request = origin.wait(count + 1)[count]
        assert request.body == (case.fact("body") or b"")
        assert {name for name, _ in request.trailers} <= {b"x-checksum"}
    else:
        assert str(answer.status) in case.expect
        _only_probes_since(origin, proxy, count)


@pytest.mark.parametrize("name", ["cl-and-te", "line-bare-lf-hides-request", "chunk-data-no-crlf"])
def test_a_refusal_arrives_though_the_client_still_sends(proxy: Terraster, name: str) -> None:
    """Closing with unread octets would reset the connection and take the answer away from the client."""
    case = next(case for case in CASES if case.name == name)
    with proxy.connect() as client:
        client.send(case.data + b"x" * 100_000)
        assert client.rest().startswith(b"HTTP/1.1 4")


def test_the_worker_lives_on(origin: Backend, proxy: Terraster) -> None:
    """After all of the corpus: the same process, no defect in the log."""
    assert Connection(proxy.address).send(PROBE).response().status == 200
    assert "Traceback" not in proxy.said


@pytest.mark.parametrize(
    ("target", "host", "seen"),
    [
        (b"http://b.test/x", b"a.test", "b.test"),
        (b"http://a.test:80/x", b"a.test", "a.test:80"),
        (b"http://a.test/x", b"a.test:80", "a.test"),
        (b"http://a.test/x", b"a.test", "a.test"),
    ],
)
def test_the_authority_of_an_absolute_target_replaces_host(
    proxy: Terraster, origin: Backend, target: bytes, host: bytes, seen: str
) -> None:
    count = len(origin.requests)
    with proxy.connect() as client:
        assert client.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host)).response().status == 200
    request = origin.wait(count + 1)[count]
    assert (request.target, request.all("host"), request.all("x-forwarded-host")) == ("/x", [seen], [seen])


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (b"OPTIONS http://a.test", "*"),
        (b"OPTIONS http://a.test:80", "*"),
        (b"OPTIONS http://a.test/", "/"),
        (b"OPTIONS http://a.test?x", "/?x"),
        (b"OPTIONS http://a.test/x", "/x"),
        (b"GET http://a.test", "/"),
    ],
)
def test_options_for_a_url_without_a_path_asks_for_the_server(proxy: Terraster, origin: Backend, line: bytes, seen: str) -> None:
    count = len(origin.requests)
    with proxy.connect() as client:
        assert client.send(b"%b HTTP/1.1\r\nHost: a.test\r\n\r\n" % line).response().status == 200
    assert origin.wait(count + 1)[count].target == seen


def test_no_host_is_made_up_for_http10(proxy: Terraster, origin: Backend) -> None:
    """The backend needs a Host, but the client named none, so X-Forwarded-Host is not sent."""
    count = len(origin.requests)
    with proxy.connect() as client:
        assert client.send(b"GET / HTTP/1.0\r\n\r\n").response().status == 200
    request = origin.wait(count + 1)[count]
    assert request.all("x-forwarded-host") == [] and len(request.all("host")) == 1


def test_trailers_that_others_speak_of_do_not_reach_a_backend(terraster, backend) -> None:
    """Its server merges them into the fields of the head, past header rules and past what the head says."""
    origin = backend(answer=ok())
    rules = {"request_headers": {"X-Client": "us"}, "remove_request_headers": ["X-Secret"]}
    names = ("X-Client", "X-Secret", "X_Forwarded_For", "Proxy-Authorization", "Content_Length", "X-In-Head", "X-Sum")
    trailers = "".join(f"{name}: trailed\r\n" for name in names)
    head = "POST / HTTP/1.1\r\nHost: a.test\r\nX_In_Head: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with terraster(service(origin.url, headers=rules)).connect() as client:
        assert client.send(f"{head}3\r\nabc\r\n0\r\n{trailers}\r\n".encode()).response("POST").status == 200
    assert origin.requests[0].trailers == [(b"x-sum", b"trailed")]


@pytest.mark.parametrize(
    ("underscores", "left"), [("drop", {"x_other"}), ("pass", {"x_other", "x_client", "x_secret", "x_forwarded_for"})]
)
def test_names_with_underscores(terraster, backend, underscores: str, left: set[str]) -> None:
    origin = backend(answer=ok())
    rules = {"request_headers": {"X-Client": "us"}, "remove_request_headers": ["X-Secret"]}
    fields = b"X_Client: 1\r\nX_Secret: 2\r\nX_Forwarded_For: 3\r\nX_Other: 4\r\nX-Secret: 5\r\n"
    with terraster(service(origin.url, headers=rules, underscores=underscores)).connect() as client:
        assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % fields).response().status == 200
    request = origin.requests[0]
    assert {name.decode() for name, _ in request.fields if b"_" in name} == left
    assert (request.all("x-client"), request.all("x-secret")) == (["us"], [])


def test_connection_takes_nothing_out_that_a_trusted_peer_said(terraster, backend) -> None:
    origin = backend(answer=ok())
    said = b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 edge\r\n"
    names = b"X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Forwarded-For, Forwarded, X-Real-IP, X-Request-ID, Via"
    with terraster(origin, trusted_proxies=["127.0.0.1"]).connect() as client:
        head = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: %b\r\n%bX-Request-ID: edge\r\n\r\n" % (names, said)
        assert client.send(head).response().status == 200
    request = origin.requests[0]
    values = [request.all(f"x-forwarded-{name}") for name in ("proto", "host", "port")]
    assert values == [["https"], ["b.test"], ["1"]]
    assert (request.all("forwarded"), request.all("x-request-id")) == (["for=1.2.3.4"], ["edge"])
    assert ", ".join(request.all("via")) == "1.1 edge, 1.1 terraster"


@pytest.mark.parametrize(
    ("method", "count", "status", "seen"),
    [
        ("OPTIONS", "3", 200, "2"),
        ("TRACE", "1", 200, "0"),
        ("OPTIONS", "0", 200, ""),
        ("TRACE", "0", 501, ""),
        ("GET", "0", 200, "0"),
    ],
)
def test_max_forwards(terraster, backend, method: str, count: str, status: int, seen: str) -> None:
    origin = backend(answer=ok())
    with terraster(origin).connect() as client:
        answer = client.send(f"{method} / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: {count}\r\n\r\n".encode()).response(method)
    assert answer.status == status
    assert [value for request in origin.requests for value in request.all("max-forwards")] == ([seen] if seen else [])
