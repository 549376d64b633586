"""Upgrades in place from each kept release to this code, and back: nobody who is served, and nothing that was ordered, is lost."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from terraster.compiled import rooms

from ..harness.backends import Request, ok
from ..harness.client import Connection, Response
from ..harness.program import wait_gone
from ..harness.releases import ARCHIVES, Installed, layout, unpack, without_extensions
from ..harness.terraster_process import ROOT, service
from ..harness.waiting import wait_until

SITE, SESSION = "site.test", "session.test"
NAMES = ("a", "b", "c", "d")
PAUSE = 0.01  # seconds between two requests of a client
IDLE = 1.0  # seconds for which a busy machine may have stopped a client


class Clients:
    """Clients that ask without an end: on kept connections and on fresh ones, by each listener, and one with a session.

    answered: how many answers came, by host. bodies: how often each backend answered, since `looked`. failed: what went wrong.

    A kept connection that ends instead of answering is replaced once if it was idle for longer than `IDLE`, as a server may close an idle
    connection at any time (RFC 9112, section 9.3.1). forgiving: the same for every connection, and up to three times,
    as each worker of some releases does that to kept and to fresh ones when it drains.
    """

    def __init__(self, addresses: list[tuple[str, int] | str], session: tuple[str, str], *, forgiving: bool = False) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self._forgiving = forgiving
        self._session = session
        self._bodies: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(address, host, kept))
            for address in addresses
            for host, kept in ((SITE, True), (SITE, True), (SITE, False), (SESSION, True), (SESSION, False))
        ]

    def looked(self) -> Counter[str]:
        """Which backends answered on fresh and kept connections since the last call."""
        with self._lock:
            bodies, self._bodies = self._bodies, Counter()
        return bodies

    def some_more(self) -> None:
        """Wait for more answers, many for each client."""
        before = self.answered.total()
        wait_until(lambda: self.answered.total() > before + 300 or self.failed, "answers", 60)
        assert not self.failed, self.failed[:5]

    @contextmanager
    def asking(self) -> Iterator[Clients]:
        """They ask meanwhile. Behind the block all that they asked has been answered."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join()

    def _run(self, address: tuple[str, int] | str, host: str, kept: bool) -> None:
        cookie, owner = self._session
        more = f"Cookie: {cookie}\r\n" if host == SESSION else ""
        client: Connection | None = None
        number, last = 0, 0.0
        while not self._done.wait(PAUSE):
            number += 1
            request = f"GET /{number} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()
            used = client is not None
            idle = time.monotonic() - last
            try:
                client = client or Connection(address)
                answer = _ask(client, request)
                again = 3 if self._forgiving else int(used and idle > IDLE)
                while answer is None and again:
                    again -= 1
                    client.close()
                    client = Connection(address)
                    answer = _ask(client, request)
            except (OSError, AssertionError) as error:
                self.failed.append(f"{host} {number} on a {'kept' if used else 'fresh'} connection: {error!r}")
                client = None
                continue
            last = time.monotonic()
            name, _, echo = answer.body.decode().partition(" ") if answer else ("", "", "")
            if answer is None or answer.status != 200 or echo != f"/{number}" or (host == SESSION and name != owner):
                self.failed.append(f"{host} {number}: {answer}")
            with self._lock:
                self.answered[host] += 1
                if host == SITE:
                    self._bodies[name] += 1
            if not kept or answer is None or answer.get("connection") == "close":
                client.close()
                client = None
        if client is not None:
            client.close()


def _ask(client: Connection, request: bytes) -> Response | None:
    """The answer; None if the connection ends without one octet of it."""
    try:
        client.send(request)
        client.held = client.receive()
    except (ConnectionResetError, BrokenPipeError):
        return None
    return client.response() if client.held else None


def master(proxy: Installed) -> int:
    """The pid in the pid file."""
    return int((Path(proxy.runtime_dir) / "terraster.pid").read_text())


def counted(proxy: Installed) -> float:
    """The requests of the site, as the metrics have them."""
    return sum(value for name, value in proxy.metrics().items() if re.match(r'terraster_requests_total\{.*service="site"', name))


def orders(proxy: Installed) -> dict[str, tuple[str, int, str]]:
    """State, weight and reason of each backend of the site, by its name."""
    (site,) = [one for one in proxy.status()["services"] if one["name"] == "site"]
    rows = site["locations"][0]["backends"]
    return {
        name: (row["state"], row["weight"], (row["order"] or {}).get("reason", "")) for name, row in zip(NAMES, rows, strict=True)
    }


def upgrade(proxy: Installed, release: Path, clients: Clients, wanted: dict[str, tuple[str, int, str]]) -> int:
    """Install a release, send USR2, and TERM to the old master when both have served for a while; the pid of the new one."""
    old = master(proxy)
    listeners = sorted(proxy.status()["listeners"])
    proxy.install(release)
    ready = proxy.said.count("ready: ")
    os.kill(old, signal.SIGUSR2)
    wait_until(lambda: proxy.said.count("ready: ") > ready, lambda: proxy.said, 60)
    new = int(proxy.said.rpartition("new master ")[2].split()[0])
    clients.some_more()
    os.kill(old, signal.SIGTERM)
    if old == proxy.pid:
        assert proxy.program is not None
        assert proxy.program.wait(60) == 0
    wait_gone(old, 60)
    promoted = rf"\[{new}\] (the old master has gone|Master has been promoted)"
    wait_until(lambda: re.search(promoted, proxy.said), lambda: proxy.said, 60)
    wait_until(lambda: proxy.status()["pid"] == new, "the promotion", 60, tolerate=(Exception,))
    wait_until(lambda: master(proxy) == new, "the pid file", tolerate=(OSError,))
    assert sorted(proxy.status()["listeners"]) == listeners
    assert orders(proxy) == wanted
    clients.looked()
    clients.some_more()
    assert set(clients.looked()) == {name for name, (state, _, _) in wanted.items() if state == "up"}
    return new


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name.removesuffix(".tar.xz"))
def test_an_upgrade_from_a_release_and_back(stack, tmp_path, sockets, backend, archive: Path) -> None:
    there_and_back(stack, tmp_path, sockets, backend, unpack(archive, tmp_path))


@pytest.mark.nightly
@pytest.mark.skipif(not rooms().compiled, reason="nothing is compiled: `make compile`")
def test_an_upgrade_from_pure_python_to_compiled_rooms_and_back(stack, tmp_path, sockets, backend) -> None:
    pure = without_extensions(tmp_path)
    speeds = there_and_back(stack, tmp_path, sockets, backend, pure)
    assert [bool(speed["compiled"]) for speed in speeds] == [False, True, False]


def there_and_back(stack, tmp_path: Path, sockets, backend, release: Path) -> list[dict[str, list[str]]]:
    """Upgrade from a release to this code and back. Returns the rooms of all three, as their status has them."""
    keeps = layout(release) == layout(ROOT)  # and then it drains without a loss, too
    origins = {name: backend(answer=_named(name)) for name in NAMES}
    urls = [origins[name].url for name in NAMES]
    listen = f"unix:{sockets}/web.sock"
    session = service(*urls, name="session", host=SESSION, location={"lb_policy": "sticky-session"})
    proxy = Installed(tmp_path / "house", release, service(*urls, host=SITE), session, workers=2, drain_timeout="20s")
    proxy.base["listen"] = [proxy.base["listen"], listen]
    proxy.write(service(*urls, host=SITE), session)
    proxy = stack.enter_context(proxy)
    proxy.start()
    stack.callback(_end, proxy)

    proxy.command("backend", "drain", "site", origins["c"].url, "--reason", "disk swap")
    proxy.command("backend", "maintain", "site", origins["d"].url, "--for", "12h")
    proxy.command("backend", "weight", "site", origins["a"].url, "3")
    wanted = {"a": ("up", 3, ""), "b": ("up", 1, ""), "c": ("draining", 1, "disk swap"), "d": ("maintenance", 1, "")}
    wait_until(lambda: orders(proxy) == wanted, lambda: str(orders(proxy)))
    with Connection(proxy.address) as client:
        answer = _ask(client, f"GET / HTTP/1.1\r\nHost: {SESSION}\r\n\r\n".encode())
    assert answer is not None
    cookie, owner = answer.all("set-cookie")[0].partition(";")[0], answer.body.decode().split()[0]
    asked = 0

    def told(clients: Clients, keeps: bool) -> None:
        """Nothing failed, and the counters are those that the manual promises."""
        nonlocal asked
        assert not clients.failed, (len(clients.failed), clients.failed[:5])
        asked += clients.answered[SITE]
        if keeps:
            wait_until(lambda: counted(proxy) == asked, lambda: f"{asked} answered, {counted(proxy)} counted")
        else:
            assert counted(proxy) < asked

    def rooms_now() -> dict[str, list[str]]:
        return proxy.status().get("rooms") or {}

    speeds = [rooms_now()]
    addresses = [proxy.address, f"{sockets}/web.sock"]
    with Clients(addresses, (cookie, owner), forgiving=not keeps).asking() as clients:
        clients.some_more()
        upgrade(proxy, ROOT, clients, wanted)
    told(clients, keeps)
    assert keeps or "counters begin anew: " in proxy.said
    speeds.append(rooms_now())

    proxy.command("backend", "enable", "site", origins["d"].url)
    proxy.command("backend", "drain", "site", origins["b"].url, "--reason", "new kernel", "--for", "12h")
    wanted |= {"d": ("up", 1, ""), "b": ("draining", 1, "new kernel")}
    wait_until(lambda: orders(proxy) == wanted, lambda: str(orders(proxy)))
    with Clients(addresses, (cookie, owner)).asking() as clients:
        clients.some_more()
        upgrade(proxy, release, clients, wanted)
    told(clients, keeps)
    assert sorted(os.listdir(proxy.runtime_dir)) == ["control.sock", "terraster.pid"]
    return [*speeds, rooms_now()]


def _named(name: str):
    def answer(request: Request) -> bytes:
        return ok(f"{name} {request.target}".encode())

    return answer


def _end(proxy: Installed) -> None:
    """End the last master, which is not the program that the scenario started."""
    pid = master(proxy)
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid, 60)
