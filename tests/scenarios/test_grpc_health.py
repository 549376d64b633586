"""Health checks by gRPC, at a server of grpcio and at others."""

from __future__ import annotations

import pytest

from ..harness.authority import Authority
from ..harness.backends import Peer, ok
from ..harness.fault import hangs
from ..harness.grpc_server import GrpcServer
from ..harness.http2_client import DATA, HEADERS, RST_STREAM, SETTINGS, frame
from ..harness.terraster_process import service
from ..harness.tls_backends import s_server, secure_nginx
from ..harness.waiting import wait_until

QUICK = {"type": "grpc", "interval": "100ms", "timeout": "1s", "thresholds": {"healthy": 1, "unhealthy": 1}}


def told(proxy) -> tuple[str, str]:
    """State of the only backend, and its reason."""
    (backend,) = proxy.status()["services"][0]["locations"][0]["backends"]
    return str(backend["state"]), str(backend["reason"])


def test_a_server_that_comes_and_goes(terraster, stack) -> None:
    server = stack.enter_context(GrpcServer())
    proxy = terraster(service(server.url), health_check=QUICK)
    wait_until(lambda: told(proxy)[0] == "up")
    server.health[""] = 2
    wait_until(lambda: told(proxy) == ("down", "NOT_SERVING"))
    del server.health[""]
    wait_until(lambda: told(proxy) == ("down", "NOT_FOUND: unknown service"))
    server.health[""] = 0
    wait_until(lambda: told(proxy) == ("down", "UNKNOWN"))
    server.health[""] = 1
    wait_until(lambda: told(proxy) == ("up", "SERVING"))
    method, metadata = server.calls[0]
    assert method == "/grpc.health.v1.Health/Check" and metadata["user-agent"] == "terraster-health-check"


def test_one_service_of_a_server(terraster, stack) -> None:
    server = stack.enter_context(GrpcServer())
    server.health = {"shop.v1.Cart": 1}
    proxy = terraster(service(server.url), health_check={**QUICK, "service": "shop.v1.Cart", "headers": {"X-Token": "a"}})
    wait_until(lambda: told(proxy)[0] == "up")
    assert server.calls[0][1]["x-token"] == "a"
    server.health = {"": 1}
    wait_until(lambda: told(proxy)[0] == "down")


def test_over_tls(terraster, stack, tmp_path) -> None:
    """A server whose certificate is trusted, and one that does not choose HTTP/2."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.root)
    certificate, key = authority.issue("rpc").write(tmp_path, "rpc")
    server = stack.enter_context(GrpcServer(tls=(key.read_bytes(), certificate.read_bytes())))
    trusted = {**QUICK, "ca_file": str(tmp_path / "ca.pem"), "sni": "rpc"}
    proxy = terraster(service(server.url), health_check=trusted)
    wait_until(lambda: told(proxy)[0] == "up")
    for other, reason in ((secure_nginx, "no application protocol"), (s_server, "ALPN h2")):
        program, port = other(tmp_path / other.__name__, certificate, key)
        stack.enter_context(program)
        proxy.reload(service(f"https://127.0.0.1:{port}"), health_check=trusted)
        wait_until(lambda reason=reason: told(proxy)[0] == "down" and reason in told(proxy)[1], lambda: str(told(proxy)))


def frames(*out: bytes):
    """A server that answers a call with these octets behind its SETTINGS."""

    def script(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.send(frame(SETTINGS) + b"".join(out))
        peer.rest()

    return script


OK200 = b"\x88"
NOT_FOUND = b"\x8d"


def literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def head(block: bytes, end: bool = False) -> bytes:
    return frame(HEADERS, 4 | end, 1, block)


SERVING = frame(DATA, 0, 1, b"\0\0\0\0\x02\x08\x01")
GOOD = literal(b"grpc-status", b"0")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (hangs, "no answer within 1 s"),
        (lambda peer: (peer.request(), peer.send(ok())), "HTTP/2 is needed"),
        (lambda peer: peer.close(), "closed the connection"),
        (frames(head(OK200), SERVING, head(literal(b"grpc-status", b"13"), True)), "INTERNAL"),
        (frames(head(OK200 + literal(b"grpc-status", b"12") + literal(b"grpc-message", b"no %C3%A4"), True)), "UNIMPLEMENTED: no ä"),
        (frames(head(NOT_FOUND, True)), "status 404"),
        (frames(head(OK200), SERVING, head(literal(b"x-a", b"0"), True)), "without grpc-status"),
        (frames(head(OK200), frame(DATA, 1, 1, b"\0\0\0\0\x02\x08\x01")), "without grpc-status"),
        (frames(head(OK200 + GOOD, True)), "no message"),
        (frames(head(OK200), frame(DATA, 0, 1, b"\0\0\0\0\x02\x08"), head(GOOD, True)), "cut off"),
        (frames(head(OK200), frame(DATA, 0, 1, b"x" * 9000), frame(DATA, 0, 1, b"x")), "too large"),
        (frames(head(OK200), frame(RST_STREAM, 0, 1, b"\0\0\0\x07")), "reset the request"),
        (frames(frame(DATA, 0, 3, b"x")), "breaks the rules of HTTP/2"),
        (frames(head(literal(b"X", b"0"), True)), "no :status"),
    ],
    ids=[
        "silence", "HTTP/1", "end", "an error behind SERVING", "trailers-only", "a status of HTTP", "no status", "no trailers",
        "no message", "half a message", "a large message", "reset", "an unknown stream", "no head",
    ],
)  # fmt: skip
def test_servers_that_are_not_well(terraster, backend, script, reason: str) -> None:
    proxy = terraster(service(backend(script).url), health_check=QUICK)
    wait_until(lambda: told(proxy)[0] == "down" and reason in told(proxy)[1], lambda: f"{reason!r}: {told(proxy)}")


def test_octet_by_octet(terraster, backend) -> None:
    def slow(peer: Peer) -> None:
        peer.sock.recv(65536)
        for octet in frame(SETTINGS) + head(OK200) + SERVING + head(GOOD, True):
            peer.send(bytes((octet,)))
        peer.rest()

    proxy = terraster(service(backend(slow).url), health_check=QUICK)
    wait_until(lambda: told(proxy)[0] == "up")
