"""Under load with TLS clients: reloads, certificates that are swapped, killed workers. Nobody notices who was not in a killed worker."""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from terraster.master.backoff import Backoff

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.sizes import times
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority()
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
CLIENTS = 4
PER_CONNECTION = 3
PAUSE = 0.005  # seconds before each connection of a client, so that other tests may run beside


class Clients:
    """Clients that connect, with the session of the time before, ask a few times, and begin anew, until they are stopped.

    answered: requests. failed: what went wrong. resumed: handshakes that went on from a session. seen: serial numbers of certificates
    """

    def __init__(self, proxy: Terraster) -> None:
        self._address = proxy.address
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.answered = self.resumed = 0
        self.failed: list[str] = []
        self.seen: set[str] = set()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        context = ssl.create_default_context(cadata=CA.root.decode())
        context.maximum_version = ssl.TLSVersion.TLSv1_3 if number % 2 else ssl.TLSVersion.TLSv1_2
        session: Any = None
        while not self._stopped.wait(PAUSE):
            try:
                with Connection(self._address) as one:
                    sock: Any = context.wrap_socket(one.sock, server_hostname="a.test", session=session)
                    one.sock = sock
                    for _ in range(PER_CONNECTION):
                        answer = one.send(GET).response()
                        assert (answer.status, answer.body) == (200, b"x")
                        with self._lock:
                            self.answered += 1
                    session = sock.session
                    with self._lock:
                        self.resumed += sock.session_reused
                        self.seen.add(sock.getpeercert()["serialNumber"])
            except (OSError, AssertionError) as error:
                session = None
                with self._lock:
                    self.failed.append(repr(error))

    def some_more(self) -> None:
        """Wait until each client had time for a few connections."""
        goal = self.answered + 2 * CLIENTS * PER_CONNECTION
        wait_until(lambda: self.answered >= goal, lambda: f"{self.answered} answers of {goal}; failed: {self.failed}")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    chain, key = CA.issue("a.test").write(tmp_path, "a")
    return {"cert_file": str(chain), "key_file": str(key)}


def swap(files: dict[str, str]) -> None:
    """Put another certificate in the place of the one before, as a client for certificates does: each file is whole."""
    folder = Path(files["cert_file"]).parent
    CA.issue("a.test").write(folder, "next")
    for name in ("pem", "key"):
        (folder / f"next.{name}").replace(folder / f"a.{name}")


@times(25, 40, 100)
def test_reloads_and_new_certificates_in_a_row(fresh, backend, files, count: int) -> None:
    """Not one request fails, sessions go on, and the new certificates are in use."""
    here = service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files)
    proxy = fresh(here, workers=2, access_log="off", cert_manager={"check_interval": "100ms"})
    before = proxy.workers()
    swaps = 0
    with Clients(proxy) as clients:
        clients.some_more()
        next_swap = time.monotonic()
        for number in range(count):
            more = [service(name=f"n{one}", host=f"n{one}.test", respond={"status": 200}) for one in range(number % 3)]
            proxy.reload(here, *(one | {"tls": files} for one in more))
            if time.monotonic() >= next_swap or number == count - 1:
                swap(files)
                swaps += 1
                next_swap = time.monotonic() + 1
            clients.some_more()
        wait_until(lambda: proxy.said.count(": changed;") >= 1, "no certificate was swapped")
        clients.some_more()
    assert clients.failed == []
    assert clients.answered > count * CLIENTS
    assert clients.resumed > count
    assert proxy.workers() == before, "a reload must not cost a worker"
    assert swaps >= 1


@times(5, 8, 20)
def test_workers_killed(fresh, backend, files, count: int) -> None:
    """What fails is what a killed worker had: at most one connection of each client. A worker that dies young is replaced ever later, so
    the older one is killed, once it has grown."""
    proxy = fresh(
        service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files),
        workers=2,
        access_log="off",
        cert_manager={"check_interval": "100ms"},
    )
    seen_at = dict.fromkeys(proxy.workers(), time.monotonic())
    with Clients(proxy) as clients:
        for _ in range(count):
            clients.some_more()
            swap(files)
            victim = next(iter(seen_at))
            time.sleep(max(0.0, seen_at.pop(victim) + Backoff.GROWN + 0.1 - time.monotonic()))
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: victim not in proxy.workers() and len(proxy.workers()) == 2, "not replaced")  # noqa: B023
            (born,) = set(proxy.workers()) - seen_at.keys()
            seen_at[born] = time.monotonic()
        clients.some_more()
    assert len(clients.failed) <= count * CLIENTS, clients.failed
    assert clients.resumed > 0
    assert len(clients.seen) > 1, "no new certificate was served"
