"""Under load, all at once: reloads, killed workers, backends that die and return. Nobody notices who was not in the middle of it."""

from __future__ import annotations

import itertools
import os
import signal
import time

import pytest

from ..harness.backends import websocket_echo
from ..harness.nginx import Nginx
from ..harness.sizes import times
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from ..harness.wrk import Wrk
from .test_upgrade import HANDSHAKE, frame, read_frame

pytestmark = pytest.mark.needs("wrk", "nginx")

CONNECTIONS = 16


@pytest.fixture
def origins(stack, tmp_path) -> list[Nginx]:
    return [stack.enter_context(Nginx(tmp_path / f"nginx{number}")) for number in range(3)]


@pytest.fixture
def load(stack, tmp_path):
    def start(proxy) -> Wrk:
        return stack.enter_context(Wrk(f"{proxy.url}/hello", tmp_path / "wrk", connections=CONNECTIONS, seconds=200))

    return start


@pytest.mark.alone
@times(25, 50, 100)
def test_reloads_in_a_row(fresh, backend, origins, load, count: int) -> None:
    """Backends come and go with each; an open WebSocket stays; not one request fails."""
    chat = service(backend(websocket_echo).url, name="chat", host="chat.test")
    proxy = fresh(chat, service(*(origin.url for origin in origins)), workers=2, access_log="off")
    before = proxy.workers()
    sets = itertools.cycle([origins[:1], origins[:2], origins[1:], origins[2:], origins])
    with proxy.connect() as socket:
        socket.send(HANDSHAKE.replace(b"a.test", b"chat.test")).response(upgrade=True)
        wrk = load(proxy)
        for number, some in zip(range(count), sets, strict=False):
            proxy.reload(chat, service(*(origin.url for origin in some)))
            text = b"reload %d" % number
            assert read_frame(socket.send(frame(text))) == text
        seen = wrk.stop()
    assert seen.failed == 0, seen
    assert seen.requests > 10 * count
    status = proxy.status()
    assert status["reloads"] == count
    assert proxy.workers() == before, "a reload must not cost a worker"


@pytest.mark.alone
@times(3, 8)
def test_a_worker_killed_each_second(fresh, origins, load, count: int) -> None:
    """What fails is what was in the killed worker: at most one request for each connection that it held."""
    proxy = fresh(*origins, workers=2, access_log="off")
    wrk = load(proxy)
    lost = 0
    for _ in range(count):
        time.sleep(1)
        victim = max(
            (worker for worker in proxy.status()["workers"] if worker["role"] == "proxy"), key=lambda one: one["connections"]
        )
        lost += CONNECTIONS
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(lambda pid=victim["pid"]: pid not in proxy.workers() and len(proxy.workers()) == 2, "not replaced", 5)
    time.sleep(1)
    seen = wrk.stop()
    assert (seen.bad, seen.connect, seen.timeout) == (0, 0, 0), seen
    assert seen.failed <= lost, seen
    assert proxy.metrics()["terraster_worker_restarts_total"] == count


@pytest.mark.alone
@times(1, 3)
def test_a_backend_that_dies_and_returns(terraster, stack, tmp_path, origins, load, count: int) -> None:
    """GETs are asked elsewhere; the checks take it out and bring it back."""
    check = {"type": "http", "interval": "200ms", "timeout": "1s", "thresholds": {"healthy": 1, "unhealthy": 2}}
    proxy = terraster(service(*(origin.url for origin in origins), health_check=check), workers=2, access_log="off")
    victim = origins[0]
    wrk = load(proxy)
    for _ in range(count):
        time.sleep(1)
        victim.program.stop()
        wait_until(lambda: _up(proxy) == 2, "the dead backend was not taken out")
        time.sleep(0.5)
        victim = stack.enter_context(Nginx(tmp_path / "nginx0", port=victim.port))
        wait_until(lambda: _up(proxy) == 3, "the backend was not brought back")
    seen = wrk.stop()
    assert seen.failed == 0, seen


def _up(proxy) -> float:
    return sum(value for name, value in proxy.metrics().items() if name.startswith("terraster_backend_up{"))


@times(1_000, 4_000, 10_000)
def test_reloads_of_many_services(tmp_path, count: int) -> None:
    """No request fails. How long a reload takes and what it costs the slowest request is for ``make bench-reload`` to say."""
    from ..harness.reload_probe import measure

    report = measure(tmp_path, services=count, reloads=3)
    assert report.failures == []
    assert report.requests > min(1_000, count // 4)
    assert len(report.reloads) == 3
