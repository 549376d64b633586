"""A Terraster that has few file descriptors for many clients: those in use are served, and operators are told."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import Connection
from ..harness.readings import total
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("prlimit")

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def limited(folder: Path, soft: int, hard: int, *urls: str, **keys: Any) -> Terraster:
    """A Terraster with one worker that is started with these limits of descriptors."""
    kind = type("Limited", (Terraster,), {"launcher": ("prlimit", f"--nofile={soft}:{hard}")})
    made: Terraster = kind(folder / "limited", service(*urls, retry="off", **keys))
    return made


def served(clients: list[Connection]) -> None:
    """Each of these kept connections gets an answer."""
    for client in clients:
        assert client.send(GET).response().status == 200


def connections(proxy: Terraster) -> int:
    return int(total(proxy, "terraster_connections"))


def kinds(proxy: Terraster) -> list[str]:
    return [problem["kind"] for problem in proxy.status()["problems"]]


@contextmanager
def silent(proxy: Terraster, count: int) -> Iterator[list[socket.socket]]:
    """Connections of clients that send nothing."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(proxy.address)
            made.append(one)
        yield made


def test_the_soft_limit_is_raised_to_the_hard_one(tmp_path, backend) -> None:
    hard = min(2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    origin = backend(answer=ok())
    with limited(tmp_path, 128, hard, origin.url) as proxy:
        assert f"file descriptors: limit raised from 128 to {hard} for each process" in proxy.said
        with proxy.connect() as client, silent(proxy, 200):
            wait_until(lambda: connections(proxy) == 201, lambda: f"{connections(proxy)} of 201 clients were let in")
            served([client])
        samples = proxy.metrics()
        for process in ("master", "admin", "proxy-1"):
            assert samples[f'terraster_process_max_fds{{process="{process}"}}'] == hard
        assert total(proxy, "terraster_idle_clients_ended_total") == 0
        assert kinds(proxy) == []


def test_idle_clients_make_room_and_those_in_use_lose_nothing(tmp_path, backend) -> None:
    origin = backend(answer=ok())
    with limited(tmp_path, 64, 64, origin.url) as proxy, ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(3)]
        served(clients)
        with silent(proxy, 60):

            def all_were_let_in() -> bool:
                served(clients)
                return total(proxy, "terraster_connections_accepted_total") >= 63

            wait_until(all_were_let_in, "clients still wait", 30)
            assert connections(proxy) < 30
            assert total(proxy, "terraster_idle_clients_ended_total") >= 33
            (problem,) = proxy.status()["problems"]
            assert problem["kind"] == "descriptors"
            assert "is short of file descriptors (limit 64)" in problem["text"]
            assert proxy.admin("/readyz").status == 200
            with proxy.connect() as client:
                served([client])
            served(clients)
        assert "of 64 file descriptors open in " in proxy.ctl("status").stdout
        lines = [line for line in proxy.said.splitlines() if "short of file descriptors" in line]
        assert len(lines) == 1, lines


def test_whoever_is_in_reaches_a_backend_and_the_others_wait(tmp_path, backend) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            assert go.wait(30)
            peer.send(ok())

    origin = backend(script)
    with limited(tmp_path, 64, 64, origin.url) as proxy, ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect(deadline=30)) for _ in range(40)]
        for client in clients:
            client.send(GET)
        wait_until(lambda: proxy.admin("/readyz").status == 503, "it still calls itself ready", 20)
        assert b"file descriptors are short" in proxy.admin("/readyz").body
        (problem,) = proxy.status()["problems"]
        assert problem["kind"] == "worker-full"
        inside = connections(proxy)
        wait_until(lambda: len(origin.requests) == inside, lambda: f"{len(origin.requests)} of {inside} reached the backend")
        assert total(proxy, "terraster_worker_full_seconds") >= 1
        go.set()
        assert [client.response().status for client in clients] == [200] * 40
        wait_until(proxy.serves, "it is full no more, and does not say so")


def test_clients_that_never_rest_take_turns(tmp_path, backend) -> None:
    """Connections that ask again at once are never idle for long. So they end with an answer when others wait."""
    origin = backend(answer=ok())
    with limited(tmp_path, 64, 64, origin.url) as proxy:
        had_one = [threading.Event() for _ in range(40)]
        stop = threading.Event()
        failures: list[BaseException] = []

        def client(done: threading.Event) -> None:
            try:
                while not stop.is_set():
                    with proxy.connect(deadline=30) as connection:
                        while not stop.is_set():
                            answer = connection.send(GET).response()
                            assert answer.status == 200
                            done.set()
                            if answer.get("connection") == "close":
                                break
                            stop.wait(0.01)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=client, args=(one,)) for one in had_one]
        for thread in threads:
            thread.start()
        try:
            for one in had_one:
                assert one.wait(30), f"{sum(not other.is_set() for other in had_one)} of 40 clients got no answer"
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        assert not failures, failures[0]


def test_backends_are_not_called_down_because_the_master_has_few_descriptors(tmp_path, stack) -> None:
    """80 backends that answer slowly enough that all are probed at once, if descriptors allow it."""
    listener = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=128))
    port = listener.getsockname()[1]

    def answer(sock: socket.socket) -> None:
        with sock:
            sock.recv(4096)
            time.sleep(0.3)
            sock.sendall(ok())

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    urls = [f"http://127.0.1.{number}:{port}" for number in range(1, 81)]
    check = {"type": "http", "path": "/", "interval": "1s", "timeout": "5s"}
    with limited(tmp_path, 64, 64, *urls, health_check=check) as proxy:
        found = proxy.status()["services"][0]["locations"][0]["backends"]
        assert {(one["state"], one["reason"]) for one in found} == {("up", "status 200")}
        assert kinds(proxy) == []


def test_a_limit_of_connections_that_is_reached_makes_it_not_ready(fresh, backend) -> None:
    origin = backend(answer=ok())
    proxy = fresh(origin, limits={"connections": 2})
    with proxy.connect() as one, proxy.connect() as other:
        served([one, other])
        with proxy.connect(deadline=20) as third:
            third.send(GET)
            wait_until(lambda: proxy.admin("/readyz").status == 503, "it still calls itself ready")
            assert b"limits.connections is reached" in proxy.admin("/readyz").body
            assert kinds(proxy) == ["worker-full"]
            one.close()
            assert third.response().status == 200
        wait_until(proxy.serves, "it is full no more, and does not say so")
