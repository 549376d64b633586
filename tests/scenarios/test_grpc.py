"""Calls of gRPC through Terraster, with grpcio on both sides."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import yaml

from ..harness.authority import Authority
from ..harness.grpc_server import SIZE, GrpcServer, status
from ..harness.readings import total
from ..harness.terraster_process import ROOT, service
from ..harness.waiting import DEADLINE, wait_until
from .test_upgrades import upgraded

OK, CANCELLED, DEADLINE_EXCEEDED, UNIMPLEMENTED, UNAVAILABLE = map(status, (0, 1, 4, 12, 14))


@pytest.fixture
def server(stack) -> GrpcServer:
    return stack.enter_context(GrpcServer("one"))


def to(*servers: GrpcServer, **keys: Any) -> dict[str, Any]:
    """A service with these backends."""
    return service(*({"url": one.url, "http2": True} for one in servers), **keys)


class Client:
    """A channel to Terraster.

    unseen: True if grpcio makes a call again that no server has seen, as it does by default. A call that begins while GOAWAY comes in has no
    other way.
    """

    def __init__(self, proxy, credentials: Any = None, host: str = "", *, unseen: bool = False) -> None:
        options = [*SIZE, ("grpc.enable_retries", int(unseen)), ("grpc.use_local_subchannel_pool", 1)]
        if host:
            options.append(("grpc.default_authority", host))
            if credentials is not None:
                options.append(("grpc.ssl_target_name_override", host))
        address = "{}:{}".format(*proxy.address)
        self.channel = (
            grpc.insecure_channel(address, options) if credentials is None else grpc.secure_channel(address, credentials, options)
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def unary(self, name: str, message: bytes = b"", **how: Any) -> bytes:
        return bytes(self.channel.unary_unary(f"/t.T/{name}")(message, **{"timeout": DEADLINE, **how}))

    def fails(self, name: str, message: bytes = b"", **how: Any) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as failed:
            self.unary(name, message, **how)
        return failed.value

    def stream(self, name: str, message: bytes) -> Any:
        return self.channel.unary_stream(f"/t.T/{name}")(message, timeout=DEADLINE)


@pytest.fixture
def client(terraster, server: GrpcServer, stack) -> Client:
    proxy = terraster(to(server), http2=True)
    client: Client = stack.enter_context(Client(proxy))
    client.proxy = proxy  # type: ignore[attr-defined]
    return client


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, 4 << 20], ids=lambda size: f"{size} octets")
def test_unary_calls(client: Client, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert client.unary("Echo", message) == message


def test_many_calls_at_once(client: Client) -> None:
    echo = client.channel.unary_unary("/t.T/Echo")
    calls = [echo.future(b"%d" % number, timeout=DEADLINE) for number in range(100)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(100)]


def test_client_streaming(client: Client) -> None:
    size = client.channel.stream_unary("/t.T/Size")
    assert size(iter([b"x" * 1000] * 300), timeout=DEADLINE) == b"300 300000"
    assert size(iter([]), timeout=DEADLINE) == b"0 0"


def test_server_streaming(client: Client) -> None:
    assert list(client.stream("Count", b"500")) == [b"%d" % number for number in range(500)]


def test_bidirectional_streaming_is_not_buffered(client: Client) -> None:
    """Each message goes out only when the answer to the one before has come."""
    messages: queue.Queue[bytes | None] = queue.Queue()
    answers = client.channel.stream_stream("/t.T/Chat")(iter(messages.get, None), timeout=DEADLINE)
    for message in (b"ab", b"", b"cd" * 50_000):
        messages.put(message)
        assert next(answers) == message[::-1]
    messages.put(None)
    assert list(answers) == []


@pytest.mark.parametrize("name", ["Fail", "Late"])
@pytest.mark.parametrize("number", [1, 5, 9, 16])
def test_statuses_messages_and_trailers(client: Client, name: str, number: int) -> None:
    if name == "Fail":
        error: Any = client.fails(name, b"%d" % number)
    else:
        answers = client.stream(name, b"%d" % number)
        assert next(answers) == b"first"
        with pytest.raises(grpc.RpcError) as failed:
            next(answers)
        error = failed.value
    assert (error.code(), error.details()) == (status(number), "no: ä%")
    assert dict(error.trailing_metadata())["x-why"] == "because"


def test_a_method_that_is_not_there(client: Client) -> None:
    assert client.fails("None").code() == UNIMPLEMENTED


def test_metadata(client: Client, server: GrpcServer) -> None:
    client.unary("Echo", metadata=(("x-word", "a"), ("x-octets-bin", b"\x00\xff")))
    _, metadata = server.calls[-1]
    assert (metadata["x-word"], metadata["x-octets-bin"]) == ("a", b"\x00\xff")
    assert metadata["x-forwarded-proto"] == "http" and metadata["via"] == "2.0 terraster"


def test_outcomes_are_counted(client: Client) -> None:
    def outcomes() -> dict[str, float]:
        names = client.proxy.metrics().items()  # type: ignore[attr-defined]
        found = {name: count for name, count in names if name.startswith("terraster_grpc_responses_total{")}
        return {name.partition('status="')[2].partition('"')[0]: count for name, count in found.items() if 'location="/"' in name}

    before = outcomes()
    for _ in range(3):
        client.unary("Echo")
    client.fails("Fail", b"9")
    client.fails("None")
    list(client.stream("Count", b"2"))
    expected = {"OK": 4, "FAILED_PRECONDITION": 1, "UNIMPLEMENTED": 1}
    wait_until(lambda: {name: count - before.get(name, 0) for name, count in outcomes().items()} == expected)


def test_a_deadline_ends_the_call_everywhere(client: Client, server: GrpcServer) -> None:
    assert client.fails("Slow", timeout=0.4).code() == DEADLINE_EXCEEDED
    assert server.cancelled.wait(DEADLINE), "the server was not told"
    assert server.remaining and 0 < server.remaining < 0.4


def test_a_deadline_of_the_configuration(terraster, server: GrpcServer, stack) -> None:
    proxy = terraster(to(server), http2=True, timeouts={"total": "300ms"})
    error = stack.enter_context(Client(proxy)).fails("Slow")
    assert (error.code(), error.details()) == (DEADLINE_EXCEEDED, "the exchange took too long")
    assert server.cancelled.wait(DEADLINE), "the server was not told"


def test_a_client_that_cancels(client: Client, server: GrpcServer) -> None:
    call = client.channel.unary_unary("/t.T/Slow").future(b"", timeout=DEADLINE)
    assert server.begun.wait(DEADLINE)
    call.cancel()
    assert server.cancelled.wait(DEADLINE), "the server was not told"
    assert client.unary("Echo", b"on") == b"on"


def test_a_client_that_cancels_a_stream(client: Client, server: GrpcServer) -> None:
    answers = client.stream("Count", b"100000000")
    assert [next(answers) for _ in range(3)] == [b"0", b"1", b"2"]
    answers.cancel()
    assert server.cancelled.wait(DEADLINE), "the server was not told"
    assert client.unary("Echo", b"on") == b"on"


def test_a_server_that_dies(client: Client, server: GrpcServer) -> None:
    call = client.channel.unary_unary("/t.T/Slow").future(b"", timeout=DEADLINE)
    assert server.begun.wait(DEADLINE)
    server.stop(0)
    assert call.exception(DEADLINE).code() in (UNAVAILABLE, CANCELLED)  # grpcio's server ends its calls as cancelled if it can
    assert client.fails("Echo").code() == UNAVAILABLE


def test_errors_of_terraster(terraster, server: GrpcServer, stack) -> None:
    proxy = terraster(to(server, path="/t.T/"), http2=True)
    client = stack.enter_context(Client(proxy))
    error = client.channel.unary_unary("/other.T/M")
    with pytest.raises(grpc.RpcError) as failed:
        error(b"", timeout=DEADLINE)
    assert failed.value.code() == UNIMPLEMENTED
    server.stop(0)
    error = client.fails("Echo")
    assert error.code() == UNAVAILABLE and error.details()
    assert "terraster; error=" in dict(error.initial_metadata() + error.trailing_metadata())["proxy-status"]


def calling(client: Client, ended: threading.Event, failed: list[str]) -> Callable[[], int]:
    """Call without a pause until ``ended``. Returns a function that waits for the end and says how many calls there were."""
    made = 0

    def run() -> None:
        nonlocal made
        while not ended.is_set():
            try:
                client.unary("Name")
            except grpc.RpcError as error:
                failed.append(repr(error))
            made += 1

    thread = threading.Thread(target=run)
    thread.start()

    def join() -> int:
        thread.join(DEADLINE)
        return made

    return join


def test_no_call_is_lost_when_a_server_ends_connections(terraster, stack) -> None:
    """It ends each connection by GOAWAY when it is 100 ms old, and works on what has reached it before."""
    age = (("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 10_000))
    server = stack.enter_context(GrpcServer("a", options=age))
    proxy = terraster(to(server), http2=True)
    ended, failed = threading.Event(), []
    calls = [calling(stack.enter_context(Client(proxy)), ended, failed) for _ in range(3)]
    try:
        wait_until(lambda: failed or len(server.peers) >= 5)
    finally:
        ended.set()
        made = sum(join() for join in calls)
    assert not failed
    assert len(server.calls) == made, "a call was made twice"


def test_streams_outlive_reloads(terraster, server: GrpcServer, stack) -> None:
    proxy = terraster(to(server), http2=True)
    client = stack.enter_context(Client(proxy))
    messages: queue.Queue[bytes | None] = queue.Queue()
    answers = client.channel.stream_stream("/t.T/Chat")(iter(messages.get, None), timeout=DEADLINE)
    for number in range(4):
        messages.put(b"%d" % number)
        assert next(answers) == b"%d" % number
        proxy.reload(to(server, headers={"request_headers": {"x-turn": str(number)}}))
    messages.put(None)
    assert list(answers) == []


@pytest.mark.nightly
def test_no_call_fails_over_reloads_and_an_upgrade(fresh, server: GrpcServer, stack) -> None:
    """Calls without a pause, and a stream that is open all the time until the old master ends."""
    proxy = fresh(to(server), http2=True, workers=2)
    ended, failed = threading.Event(), []
    clients = [stack.enter_context(Client(proxy, unseen=True)) for _ in range(4)]
    messages: queue.Queue[bytes | None] = queue.Queue()
    answers = clients[0].channel.stream_stream("/t.T/Chat")(iter(messages.get, None), timeout=DEADLINE)
    calls = [calling(one, ended, failed) for one in clients[1:]]
    try:
        for turn in range(5):
            seen = len(server.calls)
            proxy.reload(to(server, headers={"request_headers": {"x-turn": str(turn)}}))
            messages.put(b"%d" % turn)
            assert next(answers) == b"%d" % turn
            wait_until(lambda seen=seen: len(server.calls) > seen + 10)
        messages.put(None)
        assert list(answers) == []
        seen = len(server.calls)
        with upgraded(proxy):
            wait_until(lambda: len(server.calls) > seen + 10)
            ended.set()
            made = sum(join() for join in calls)
    finally:
        ended.set()
        messages.put(None)
    assert not failed
    assert len(server.calls) == made + 1, "a call was made twice"


def test_retries_by_status(terraster, stack) -> None:
    servers = [stack.enter_context(GrpcServer(name)) for name in ("a", "b")]
    proxy = terraster(to(*servers), http2=True, retry={"on": "grpc-unavailable", "min_per_second": 100})
    client = stack.enter_context(Client(proxy))
    before = total(proxy, "terraster_location_retries_total")
    servers[0].failing = servers[1].failing = 1
    assert client.unary("Echo", b"again") == b"again"
    assert total(proxy, "terraster_location_retries_total") - before == 2
    assert sum(len(one.calls) for one in servers) == 3


def test_calls_over_tls(terraster, stack, tmp_path) -> None:
    """TLS on both sides, with ALPN."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.root)
    certificate, key = authority.issue("rpc.test").write(tmp_path, "rpc")
    server = stack.enter_context(GrpcServer(tls=(key.read_bytes(), certificate.read_bytes())))
    tls = {"cert_file": str(certificate), "key_file": str(key)}
    proxy = terraster(to(server, host="rpc.test", tls=tls, ca_file=str(tmp_path / "ca.pem"), sni="rpc.test"))
    client = stack.enter_context(Client(proxy, grpc.ssl_channel_credentials(authority.root), "rpc.test"))
    assert client.unary("Echo", b"x" * 100_000) == b"x" * 100_000
    assert list(client.stream("Count", b"3")) == [b"0", b"1", b"2"]


def test_the_example(terraster, stack, tmp_path) -> None:
    """Each location of etc/examples/grpc.yaml, with servers of the test in place of those of the reader."""
    config = yaml.load(
        (ROOT / "etc" / "examples" / "grpc.yaml").read_text(), yaml.BaseLoader
    )  # `on` is a word here, as in Terraster
    del config["port"]
    log = tmp_path / "calls.log"
    config["access_log"]["path"] = str(log)
    (one,) = config.pop("services")
    paths = {}
    for location in one["locations"]:
        name = location["path"].strip("/")
        for backend in location["backends"]:
            server = stack.enter_context(GrpcServer(name))
            server.health = {"": 1, "shop.v1.Events": 1}
            backend["url"] = server.url
        paths[location["path"]] = name
    proxy = terraster(one, **config)
    client = stack.enter_context(Client(proxy, host="shop.internal"))
    for path, name in paths.items():
        assert client.channel.unary_unary(f"{path}Name")(b"", timeout=DEADLINE) == name.encode()
    lines = wait_until(lambda: len(found := log.read_text().splitlines()) == len(paths) and found)
    assert {json.loads(line)["grpc_status"] for line in lines} == {"OK"}
