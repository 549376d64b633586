"""An upgrade in place (USR2, then TERM to the old master): what the new master knows from the old one, and who finds which."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from terraster.cli.control import Refused

from ..harness.backends import ok
from ..harness.client import get
from ..harness.terraster_process import Terraster, is_gone, service, wait_gone
from ..harness.waiting import wait_until
from ..harness.workers import by_worker

REQUESTS = 'terraster_requests_total{code="200",location="/",service="site"}'


def begin(proxy: Terraster) -> int:
    """Send USR2; the pid of the new master, whose workers serve."""
    started = proxy.said.count("new master ")
    os.kill(master(proxy), signal.SIGUSR2)
    wait_until(lambda: proxy.said.count("new master ") > started, lambda: proxy.said)
    new = int(proxy.said.rpartition("new master ")[2].split()[0])
    wait_until(lambda: re.search(rf"ready: generation .*\(pid {new}\)", proxy.said), lambda: proxy.said, 30)
    return new


def master(proxy: Terraster) -> int:
    """The pid in the pid file."""
    return int((Path(proxy.runtime_dir) / "terraster.pid").read_text())


@contextmanager
def upgraded(proxy: Terraster) -> Iterator[int]:
    """After a whole upgrade: the new master, which is ended with the scenario."""
    old = master(proxy)
    new = begin(proxy)
    try:
        os.kill(old, signal.SIGTERM)
        if old == proxy.pid:
            assert proxy.program is not None
            assert proxy.program.wait(30) == 0
        wait_gone(old, 30)
        wait_until(lambda: proxy.status()["pid"] == new, "the promotion")
        wait_until(lambda: f"[{new}] the old master has gone" in proxy.said, "its end to be noticed")
        yield new
    finally:
        if not is_gone(new):
            os.kill(new, signal.SIGTERM)
            wait_gone(new, 30)


@contextmanager
def scraping(proxy: Terraster) -> Iterator[list[float]]:
    """Scrape all the while; the values of the counter of requests."""
    done, values = threading.Event(), [0.0]

    def scrape() -> None:
        while not done.wait(0.01):
            with suppress(OSError, AssertionError):  # the old master's admin worker closes its copy of the port
                values.append(proxy.metrics().get(REQUESTS, 0.0))

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield values
    finally:
        done.set()
        thread.join()


def test_counters_never_fall_over_upgrades(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), workers=2)
    asked = 0

    def ask(count: int) -> None:
        nonlocal asked
        for _ in range(count):
            assert get(proxy.address).status == 200
            asked += 1
        wait_until(lambda: proxy.metrics()[REQUESTS] == asked, lambda: f"{asked}, counted {proxy.metrics()[REQUESTS]}")

    ask(20)
    with scraping(proxy) as values, upgraded(proxy) as first:
        ask(20)
        with upgraded(proxy) as second:
            ask(20)
            assert len({first, second, proxy.pid}) == 3
            opened = [value for name, value in proxy.metrics().items() if name.startswith("terraster_backend_requests_total")]
            assert opened == [asked]
    assert values == sorted(values)


def test_counters_go_along_when_the_old_master_ends_before_the_new_one_has_started(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    for _ in range(20):
        assert get(proxy.address).status == 200
    wait_until(lambda: proxy.metrics()[REQUESTS] == 20)
    proxy.signal(signal.SIGUSR2)
    wait_until(lambda: "new master" in proxy.said, "the fork")
    new = int(proxy.said.rpartition("new master ")[2].split()[0])
    proxy.signal(signal.SIGTERM)
    try:
        assert proxy.program is not None
        assert proxy.program.wait(30) == 0
        wait_until(lambda: re.search(rf"ready: generation .*\(pid {new}\)", proxy.said), lambda: proxy.said, 30)
        wait_until(lambda: proxy.metrics()[REQUESTS] == 20, lambda: str(proxy.metrics()))
    finally:
        if not is_gone(new):
            os.kill(new, signal.SIGTERM)
            wait_gone(new, 30)


def test_the_status_tells_an_upgrade_from_its_begin_to_its_end(fresh, slow) -> None:
    """The configuration of the old master was reloaded, so its workers and those of the new one have different generations."""
    proxy = fresh(slow, workers=2, drain_timeout="60s")
    proxy.reload(service(slow.url), service(slow.url, name="more", host="b.test"))
    assert proxy.status()["upgrade"] is None and proxy.metrics()["terraster_upgrade_in_progress"] == 0
    old = proxy.pid
    with proxy.connect() as busy:
        busy.send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
        slow.wait()
        new = begin(proxy)
        try:
            wait_until(lambda: proxy.status()["upgrade"]["new"]["serving"] == 2, lambda: str(proxy.status()["upgrade"]))
            document, text = proxy.status(), proxy.ctl("status").stdout
            assert (document["pid"], document["problems"], document["upgrade"]["old"]["pid"]) == (old, [], old)
            assert sorted({worker["master"] for worker in document["workers"]}) == sorted({old, new})
            assert "upgrade in progress:" in text and "2 of 2 workers serving" in text and "no problems" in text
            assert text.count(f"(master {new})") == 3, text
            names = [one["process"] for one in document["saturation"]["descriptors"]]
            assert len(names) == len(set(names)) == 7, names
            samples = [line.rpartition(" ")[0] for line in proxy.admin("/metrics").body.decode().splitlines() if line[:1] != "#"]
            assert len(samples) == len(set(samples)), "no sample comes twice"
            assert proxy.metrics()["terraster_upgrade_in_progress"] == 1
            os.kill(old, signal.SIGTERM)
            wait_until(
                lambda: proxy.status()["upgrade"]["old"] == {"pid": old, "serving": 0, "draining": 1, "connections": 1}, "the drain"
            )
            assert proxy.status()["problems"] == []
            said = " ".join(proxy.ctl("status").stdout.split())
            assert f"the new master {new} takes over from the old master {old}; 1 old worker drains, with 1 connection left" in said
            slow.go.set()
            assert busy.response().status == 200
            wait_gone(old, 30)
            wait_until(
                lambda: proxy.status()["upgrade"] is None and proxy.metrics()["terraster_upgrade_in_progress"] == 0, "the end", 30
            )
        finally:
            os.kill(new, signal.SIGTERM)
            wait_gone(new, 30)


def test_requests_to_both_masters_are_in_one_sum(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    for _ in range(5):
        get(proxy.address)
    new = begin(proxy)
    try:
        for _ in range(20):
            assert get(proxy.address).status == 200
        wait_until(lambda: proxy.metrics()[REQUESTS] == 25, "all of them")
        os.kill(new, signal.SIGTERM)
        wait_gone(new, 30)
        wait_until(lambda: f"the new master (pid {new}) ended; this one goes on" in proxy.said, "the old one alone")
        assert get(proxy.address).status == 200
        wait_until(lambda: proxy.metrics()[REQUESTS] == 26, "the counters of the new one too")
    finally:
        if not is_gone(new):
            os.kill(new, signal.SIGKILL)


def test_there_is_a_pid_file_of_a_living_master_at_any_time(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    path = Path(proxy.runtime_dir) / "terraster.pid"
    done, lacking = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            try:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    if file.read() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                        lacking.append("nobody holds the lock")
            except BlockingIOError:
                continue
            except OSError as error:
                lacking.append(repr(error))

    thread = threading.Thread(target=look)
    with upgraded(proxy) as new:
        assert master(proxy) == new
    proxy = fresh(backend(answer=ok()))
    path = Path(proxy.runtime_dir) / "terraster.pid"
    thread.start()
    try:
        with upgraded(proxy):
            done.set()
            thread.join()
    finally:
        done.set()
    assert lacking == []


def test_the_command_stops_both_masters(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), workers=2)
    new = begin(proxy)
    family = [worker["pid"] for worker in proxy.status()["workers"]]
    assert proxy.ctl("stop").returncode == 0
    assert proxy.program is not None
    assert proxy.program.wait(30) == 0
    for pid in (new, *family):
        assert is_gone(pid)
    assert os.listdir(proxy.runtime_dir) == []


@pytest.mark.parametrize("who", ["old", "new"])
def test_a_master_that_is_killed_during_an_upgrade(fresh, backend, who: str) -> None:
    """The other one goes on alone, and the workers of the dead one leave."""
    proxy = fresh(backend(answer=ok()), workers=2)
    old, new = proxy.pid, begin(proxy)
    for _ in range(10):
        assert get(proxy.address).status == 200
    victim, survivor = (old, new) if who == "old" else (new, old)
    children = Path(f"/proc/{victim}/task/{victim}/children").read_text().split()
    orphans = [int(pid) for pid in children if int(pid) != new]
    assert len(orphans) == 3
    try:
        os.kill(victim, signal.SIGKILL)
        for count in range(200):
            assert get(proxy.address).status == 200, count
        for pid in orphans:
            wait_gone(pid, 30)
        wait_until(lambda: proxy.status()["pid"] == survivor, "the survivor", 20, tolerate=(Refused,))
        assert get(proxy.address).status == 200
        wait_until(lambda: proxy.metrics()[REQUESTS] == 211, lambda: str(proxy.metrics()[REQUESTS]))
        wait_until(lambda: sorted(os.listdir(proxy.runtime_dir)) == ["control.sock", "terraster.pid"], "only its files")
        assert master(proxy) == survivor
    finally:
        if not is_gone(survivor):
            os.kill(survivor, signal.SIGTERM)
            wait_gone(survivor, 30)


@pytest.mark.parametrize("how", ["upgraded", "killed"])
def test_ejections_and_open_circuits_go_along(fresh, backend, how: str) -> None:
    """The next master never sends to a backend that the one before knew to fail."""
    good = backend(answer=ok(b"good"))
    bad, broken = (backend(lambda peer: peer.request() and None) for _ in range(2))
    out = {"failures": 2, "connect_errors": 0, "time": "120s", "max_time": "120s", "max_ejected": 1.0}
    breaker = {"threshold": 2, "timeout": "120s"}
    proxy = fresh(
        service(good.url, bad.url, location={"outlier": out}),
        service(
            good.url,
            broken.url,
            name="two",
            host="two.test",
            location={"outlier": "off", "middleware": [{"circuit_breaker": breaker}]},
        ),
        orphan_timeout="60s",
    )

    def states() -> dict[str, str]:
        metrics = proxy.metrics()
        found = {}
        for name, url in (("site", bad.url), ("two", broken.url)):
            labels = f'backend="{url}",location="/",service="{name}"'
            found[name] = f"{metrics.get(f'terraster_backend_circuit_state{{{labels}}}')}"
            found[f"{name} ejections"] = f"{metrics.get(f'terraster_backend_ejections_total{{{labels}}}')}"
            found[f"{name} openings"] = f"{metrics.get(f'terraster_backend_circuit_openings_total{{{labels}}}')}"
        return found

    def since() -> list[tuple[str, str, float]]:
        return [
            (backend["url"], backend["state"], backend["since"])
            for one in proxy.status()["services"]
            for backend in one["locations"][0]["backends"]
        ]

    def ask(count: int) -> None:
        for _ in range(count):
            for host in ("a.test", "two.test"):
                assert get(proxy.address, host=host).body == b"good"

    wanted = {
        "site": "0.0",
        "site ejections": "1.0",
        "site openings": "0.0",
        "two": "1.0",
        "two ejections": "0.0",
        "two openings": "1.0",
    }
    ask(10)
    wait_until(lambda: states() == wanted, lambda: str(states()))
    times = [(url, state, pytest.approx(moment, abs=0.001)) for url, state, moment in since()]
    reached = len(bad.requests), len(broken.requests)
    if how == "upgraded":
        with upgraded(proxy):
            ask(20)
            assert states() == wanted
            assert since() == times
    else:
        os.kill(proxy.pid, signal.SIGKILL)
        assert proxy.program is not None
        proxy.program.wait()
        proxy.start(wait=False)
        wait_until(lambda: proxy.said.count("ready: generation") == 2, lambda: proxy.said, 30)
        wait_until(lambda: "drain and leave" in proxy.said)
        ask(20)
        assert states() == wanted
        assert since() == times
    assert (len(bad.requests), len(broken.requests)) == reached


def test_after_an_upgrade_that_failed_the_workers_of_both_masters_are_counted_apart(fresh, slow, backend) -> None:
    """A backend may be added when the workers of the new master, which is dead, have left; they have their time for that."""
    proxy = fresh(slow)
    more = backend(answer=ok(b"more"))
    proxy.write(service(slow.url), service(more.url, name="more", host="more.test"))
    new = begin(proxy)
    workers = [int(pid) for pid in Path(f"/proc/{new}/task/{new}/children").read_text().split()]
    try:
        with ExitStack() as clients:
            found = by_worker(proxy)
            assert not found.keys().isdisjoint(workers) and len(found) == 2, "one worker of each master"
            busy = [clients.enter_context(some[0]).send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n") for some in found.values()]
            slow.wait(2)
            for client in (client for some in found.values() for client in some[1:]):
                client.close()
            os.kill(new, signal.SIGKILL)
            wait_until(lambda: f"the new master (pid {new}) ended; this one goes on" in proxy.said, lambda: proxy.said)
            refused = proxy.control("POST", "/reload", why="test")
            assert not refused["ok"] and "when they have left" in refused["problems"][0], refused
            slow.go.set()
            assert [client.response().status for client in busy] == [200] * 2
        for pid in workers:
            wait_gone(pid, 30)
        assert "did not leave in time" not in proxy.said
        wait_until(lambda: proxy.control("POST", "/reload", why="test")["ok"], "the backend is added")
        assert get(proxy.address, host="more.test").body == b"more"
        wait_until(lambda: proxy.metrics()[REQUESTS] == 2, lambda: str(proxy.metrics()))
    finally:
        if not is_gone(new):
            os.kill(new, signal.SIGKILL)
