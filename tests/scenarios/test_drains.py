"""Drains: what connections, the management port and the control socket see when Terraster stops, is upgraded or gives up a listener."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ..harness.backends import ok, websocket_echo
from ..harness.client import Connection, get
from ..harness.ports import free_port
from ..harness.program import is_gone, wait_gone
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until
from ..harness.workers import frozen
from .test_upgrade import HANDSHAKE, frame, read_frame

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n"
SERVED = 'terraster_requests_total{code="200",location="/",service="site"}'


def refuses(address: tuple[str, int]) -> bool:
    """True if connections are refused there."""
    try:
        Connection(address, deadline=1).close()
    except ConnectionRefusedError:
        return True
    return False


def answered_and_closed(clients: list[Connection]) -> None:
    """All are answered, and their connections end."""
    for client in clients:
        answer = client.response()
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert client.is_closed()


def test_connections_that_wait_to_be_accepted_are_answered_before_the_end(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    (worker,) = proxy.workers()
    with frozen(worker):
        clients = [proxy.connect().send(GET) for _ in range(100)]
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in kinds(proxy), "the master to stop")
    answered_and_closed(clients)
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0


def test_and_before_a_reload_removes_their_listener(terraster, backend) -> None:
    origin = backend(answer=ok())
    port = free_port()
    proxy = terraster(service(origin.url), service(origin.url, name="two", listen=f"127.0.0.1:{port}"))
    generation = proxy.metrics()["terraster_config_generation"]
    (worker,) = proxy.workers()
    reload = threading.Thread(target=proxy.reload, args=(service(origin.url),))
    with frozen(worker):
        clients = [Connection(("127.0.0.1", port)).send(GET) for _ in range(100)]
        reload.start()
        wait_until(lambda: proxy.metrics()["terraster_config_generation"] > generation, "the commit")
    answered_and_closed(clients)
    reload.join()
    assert refuses(("127.0.0.1", port))
    assert get(proxy.address).status == 200


def test_a_reload_that_removes_a_listener_answers_who_is_connected(terraster, backend) -> None:
    origin = backend(answer=ok())
    port = free_port()
    proxy = terraster(service(origin.url), service(origin.url, name="two", listen=f"127.0.0.1:{port}"))
    kept, new = Connection(("127.0.0.1", port)), Connection(("127.0.0.1", port))
    assert kept.send(GET).response().status == 200
    wait_until(lambda: sum(worker["connections"] for worker in proxy.status()["workers"]) == 2)
    proxy.reload(service(origin.url))
    wait_until(lambda: refuses(("127.0.0.1", port)), "still accepting")
    answered_and_closed([client.send(GET) for client in (kept, new)])


def kinds(proxy: Terraster) -> list[str]:
    """The kinds of the problems in the status."""
    return [problem["kind"] for problem in proxy.status()["problems"]]


def test_the_drain_can_be_watched_until_its_end(fresh, slow) -> None:
    """The admin worker leaves last: readyz says 503, and status and metrics answer."""
    proxy = fresh(slow)
    assert get(proxy.address).status == 200
    client = proxy.connect().send(SLOW)
    slow.wait(2)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(proxy.address), "still accepting")
    answer = proxy.admin("/readyz")
    assert (answer.status, b"1 connection is open" in answer.body) == (503, True), answer
    status = proxy.status()
    (worker,) = [worker for worker in status["workers"] if worker["role"] == "proxy"]
    assert (worker["state"], worker["draining"], worker["connections"]) == ("leaving", True, 1)
    assert "finishes open requests; 1 connection is open" in proxy.ctl("status").stdout
    assert kinds(proxy) == ["stopping"]
    wait_until(lambda: proxy.metrics().get(SERVED) == 1)
    slow.go.set()
    assert client.response().status == 200
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0


def test_the_last_counters_stay_when_the_first_worker_has_left(fresh, slow) -> None:
    proxy = fresh(slow, workers=2)
    for _ in range(10):
        assert get(proxy.address).status == 200
    client = proxy.connect().send(SLOW)
    slow.wait(11)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: len(proxy.workers()) == 1, "one of two workers to leave")
    wait_until(lambda: proxy.metrics().get(SERVED) == 10)
    slow.go.set()
    assert client.response().status == 200


def test_drain_delay_keeps_everything_going_while_readyz_says_no(fresh, slow) -> None:
    proxy = fresh(slow, drain_delay="60s")
    kept = proxy.connect()
    kept.send(GET).response()
    (worker,) = proxy.workers()
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: proxy.admin("/readyz").status == 503, "readyz")
    assert b"still accepts connections during drain_delay" in proxy.admin("/readyz").body
    assert proxy.admin("/healthz").status == 200
    with proxy.connect() as new:
        for client in (kept, new, kept, new):
            answer = client.send(GET).response()
            assert (answer.status, answer.get("connection")) == (200, None)
    assert kinds(proxy) == ["stopping"]
    os.kill(worker, signal.SIGKILL)  # workers are still replaced
    wait_until(lambda: proxy.workers() not in ([], [worker]), "a new worker")
    assert get(proxy.address).status == 200
    proxy.signal(signal.SIGTERM)  # a second one changes nothing
    assert get(proxy.address).status == 200
    busy = proxy.connect().send(SLOW)
    slow.wait(7)
    proxy.signal(signal.SIGQUIT)
    assert proxy.program is not None
    assert proxy.program.wait(10) == 0
    assert busy.rest() == b""
    slow.go.set()


def test_the_drain_follows_the_delay(fresh, slow) -> None:
    proxy = fresh(slow, drain_delay="1s")
    busy = proxy.connect().send(SLOW)
    slow.wait()
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(proxy.address), "the end of the delay")
    slow.go.set()
    answered_and_closed([busy])
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0


def test_an_upgrade_leaves_the_management_port_to_the_new_master(fresh, slow) -> None:
    """While the old one drains: its own control socket still tells who is open, and readyz never says no."""
    proxy = fresh(slow)
    client = proxy.connect().send(SLOW)
    slow.wait()
    proxy.signal(signal.SIGUSR2)
    wait_until(lambda: proxy.said.count("ready: generation") == 2, "the new master's workers")
    new = int((proxy.folder / "run" / "terraster.pid.2").read_text())
    try:
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: proxy.status()["upgrade"]["old"]["draining"], "the old master to drain")
        wait_until(lambda: all(proxy.admin("/readyz").status == 200 for _ in range(20)), "readyz of the new master alone")
        assert proxy.status()["pid"] == proxy.pid
        slow.go.set()
        answered_and_closed([client])
        assert proxy.program is not None
        assert proxy.program.wait(15) == 0
        wait_until(lambda: (proxy.folder / "run" / "terraster.pid").exists() and proxy.status()["pid"] == new, "the promotion")
        assert get(proxy.address).status == 200
    finally:
        if not is_gone(new):
            os.kill(new, signal.SIGTERM)
            wait_gone(new)


def websocket(proxy: Terraster, path: str = "/") -> Connection:
    """A WebSocket that has carried a message either way."""
    client = proxy.connect()
    client.send(HANDSHAKE.replace(b"/chat", path.encode())).response(upgrade=True)
    assert read_frame(client.send(frame(b"hello"))) == b"hello"
    return client


def test_a_reload_that_changes_a_location_ends_its_websockets_one_after_the_other(fresh, backend) -> None:
    origin = backend(websocket_echo)
    locations = [{"path": "/a", "backends": [origin.url]}, {"path": "/b", "backends": [origin.url]}]
    proxy = fresh({"name": "site", "host": "*", "locations": locations}, drain_timeout="1s", drain_jitter="3s")
    changed, untouched = [websocket(proxy, "/a") for _ in range(20)], websocket(proxy, "/b")
    generation = proxy.status()["generation"]
    locations[0]["timeouts"] = {"read": "61s"}
    began = time.monotonic()
    proxy.reload({"name": "site", "host": "*", "locations": locations})
    assert old_generations(proxy) == [{"generation": generation, "connections": 20}]
    assert f"old generations: {generation} with 20 connections" in proxy.ctl("status").stdout
    assert read_frame(changed[0].send(frame(b"still there"))) == b"still there"
    ends = []
    with ThreadPoolExecutor(len(changed)) as pool:
        for end in pool.map(said_goodbye, changed):
            ends.append(end - began)
    assert min(ends) >= 1.0 and max(ends) - min(ends) > 0.8, ends
    wait_until(lambda: old_generations(proxy) == [])
    assert read_frame(untouched.send(frame(b"still there"))) == b"still there"


def said_goodbye(client: Connection) -> float:
    """When the client got a close frame: 1001, going away (RFC 6455, section 7.4.1). It answers it, as it should."""
    assert client.receive_exactly(4) == b"\x88\x02\x03\xe9"
    end = time.monotonic()
    client.send(frame(b"\x03\xe9", 8))
    assert client.is_closed()
    return end


def old_generations(proxy: Terraster) -> list[dict[str, int]]:
    """Those of the only proxy worker."""
    (worker,) = [worker for worker in proxy.status()["workers"] if worker["role"] == "proxy"]
    return list(worker["old_generations"])


def test_a_stop_closes_websockets_before_drain_timeout_is_over(fresh, backend) -> None:
    proxy = fresh(backend(websocket_echo), drain_timeout="3s")
    client = websocket(proxy)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(proxy.address), "still accepting")
    assert read_frame(client.send(frame(b"still there"))) == b"still there"
    said_goodbye(client)
    assert proxy.program is not None
    assert proxy.program.wait(15) == 0
    assert "leaves although" not in proxy.said
