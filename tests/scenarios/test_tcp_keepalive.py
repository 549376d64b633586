"""TCP keepalive on both sides, as the kernel tells of it: the timer of each connection in /proc/net/tcp."""

from __future__ import annotations

from pathlib import Path

from ..harness.backends import ok
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
_ESTABLISHED, _KEEPALIVE = "01", "02"
_TICKS = 100  # a second


def rows() -> list[tuple[int, int, str]]:
    """(local port, remote port, timer) of every connection that stands."""
    words = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(int(row[1][-4:], 16), int(row[2][-4:], 16), row[5]) for row in words if row[3] == _ESTABLISHED]


def probes_in(local: int, remote: int) -> float | None:
    """Seconds until the connection between these ports is probed, seen from the first; None: never, or the list was read while it changed."""
    timers = [timer for here, there, timer in rows() if (here, there) == (local, remote)]
    kind, _, left = timers[0].partition(":") if timers else ("", "", "")
    return int(left, 16) / _TICKS if kind == _KEEPALIVE else None


def of_pair(proxy, client, peer) -> tuple[float | None, float | None]:
    """The same for a client's connection and a backend's, both seen from Terraster."""
    return probes_in(proxy.port, client.sock.getsockname()[1]), probes_in(peer.sock.getpeername()[1], peer.sock.getsockname()[1])


def test_both_sides_of_a_silent_tunnel_are_probed_after_a_minute(terraster, backend) -> None:
    def script(peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        peer.rest()

    origin = backend(script)
    proxy = terraster(origin)
    with proxy.connect() as client:
        assert client.send(UPGRADE).response(upgrade=True).status == 101
        for side in (0, 1):
            left = wait_until(lambda side=side: of_pair(proxy, client, origin.wait_peer())[side], f"a probe on side {side}")
            assert left <= 60.01


def test_a_reload_changes_it_for_connections_from_then_on(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, tcp_keepalive="off")
    with proxy.connect() as before:
        before.send(GET).response()
        assert "~ tcp_keepalive: 0s → 2h" in proxy.reload(service(origin.url), tcp_keepalive="2h")["changes"]
        assert of_pair(proxy, before, origin.wait_peer(0)) == (None, None)
        origin.wait_peer(0).close()
    with proxy.connect() as after:
        after.send(GET).response()
        for side in (0, 1):
            left = wait_until(lambda side=side: of_pair(proxy, after, origin.wait_peer(1))[side], f"a probe on side {side}")
            assert 3600 < left <= 7200.01
