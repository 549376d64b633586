"""Circuit breakers: what the trials of a half-open circuit come to, whatever answers them, and where nobody asks the circuit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ..harness.backends import Peer, ok, websocket_echo
from ..harness.client import get
from ..harness.readings import of, quiet
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CLOSED, OPEN, HALF_OPEN = 0, 1, 2

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def circuit(proxy: Terraster, url: str) -> int:
    return int(of(proxy, "terraster_backend_circuit_state", url))


def breaker(**keys: Any) -> dict[str, Any]:
    """A circuit that the first failure opens for a second, and nothing else that judges a backend. (For half a second after a failure
    a worker goes by what it saw itself.)"""
    return {
        "circuit_breaker": {"threshold": 1, "timeout": "1s", "probes": 1, **keys},
        "outlier": False,
        "retry": False,
    }


class Moody:
    """A script that closes without an answer while it is bad, and then does what ``well`` does."""

    def __init__(self, well: Any) -> None:
        self.bad = True
        self.well = well

    def __call__(self, peer: Peer) -> None:
        if self.bad:
            peer.request()
            return
        self.well(peer)


def test_a_trial_that_becomes_a_tunnel_closes_the_circuit(terraster, backend) -> None:
    """At its handshake: the tunnel may last for days, and nobody else would be let in for as long."""
    script = Moody(websocket_echo)
    origin = backend(script)
    proxy = terraster(origin, **breaker())
    assert get(proxy.address).status == 502
    wait_until(lambda: circuit(proxy, origin.url) == OPEN)
    script.bad = False
    wait_until(lambda: circuit(proxy, origin.url) == HALF_OPEN)
    with proxy.connect() as first, proxy.connect() as second:
        assert first.send(HANDSHAKE).response(upgrade=True).status == 101
        wait_until(lambda: circuit(proxy, origin.url) == CLOSED, "the tunnel is no result", 3)
        assert second.send(HANDSHAKE).response(upgrade=True).status == 101
    quiet(proxy)


def test_a_trial_that_becomes_a_long_download_closes_the_circuit(terraster, backend) -> None:
    go = threading.Event()

    def downloads(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        go.wait(10)
        peer.send(b"4\r\nlast\r\n0\r\n\r\n")

    script = Moody(downloads)
    origin = backend(script)
    proxy = terraster(origin, **breaker())
    assert get(proxy.address).status == 502
    script.bad = False
    wait_until(lambda: circuit(proxy, origin.url) == HALF_OPEN)
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        wait_until(lambda: circuit(proxy, origin.url) == CLOSED, "the head is no result", 3)
        go.set()
        assert client.response().body == b"firstlast"


@pytest.mark.parametrize(
    ("status", "state"),
    [(b"200 OK", CLOSED), (b"404 Not Found", CLOSED), (b"503 Busy", CLOSED), (b"500 Oops", OPEN)],
    ids=["good", "of the client", "counted by outlier only", "counted by the circuit"],
)
def test_a_trial_has_a_result_whatever_status_answers_it(terraster, backend, status: bytes, state: int) -> None:
    """One that the circuit does not count is a good one, also where ejection would count it."""

    def answers(peer: Peer) -> None:
        while peer.request():
            peer.send(ok(b"x", status=status))

    script = Moody(answers)
    origin = backend(script)
    keys = breaker(statuses=500)
    keys["outlier"] = {"bad_statuses": 100, "statuses": 503, "failures": 0, "connect_errors": 0}
    proxy = terraster(origin, **keys)
    assert get(proxy.address).status == 502
    script.bad = False
    wait_until(lambda: circuit(proxy, origin.url) == HALF_OPEN)
    assert get(proxy.address).status == int(status[:3])
    wait_until(lambda: circuit(proxy, origin.url) == state, "the trial has no result", 3)


def test_where_there_is_nobody_else_an_open_circuit_shuts_nobody_out(terraster, backend) -> None:
    """Panic: bad answers are better than none, at every request, not only at those that come between two failures."""
    origin = backend(answer=ok(b"bad", status=b"500 Oops"))
    keys = breaker(threshold=2, timeout="60s")
    proxy = terraster(service(origin.url, location={"panic_threshold": 0.5}), **keys)
    for _ in range(2):
        assert get(proxy.address).status == 500
    wait_until(lambda: circuit(proxy, origin.url) == OPEN)
    wait_until(lambda: get(proxy.address).status == 500)
    assert [get(proxy.address).status for _ in range(40)] == [500] * 40
    assert circuit(proxy, origin.url) == OPEN
