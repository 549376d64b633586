"""A master that is killed: its workers serve on, and the next master takes over from them."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from terraster.state.cells import VERSION

from ..harness.backends import ok, websocket_echo
from ..harness.client import Connection, get
from ..harness.terraster_process import ROOT, Terraster, service, wait_gone
from ..harness.waiting import wait_until
from .test_upgrade import HANDSHAKE, frame, read_frame

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
PAUSE = 0.005  # seconds before each request of a client: what is asked without a break only costs the machine
REQUESTS = 'terraster_requests_total{code="200",location="/",service="site"}'


def kill(proxy: Terraster) -> list[int]:
    """Kill the master; the pids of its workers."""
    family = [worker["pid"] for worker in proxy.status()["workers"]]
    assert proxy.program is not None
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.program.wait()
    return family


def again(proxy: Terraster) -> None:
    """Start another master with the same configuration; return when it serves."""
    proxy.start(wait=False)
    wait_until(lambda: "ready: " in proxy.said.rpartition("this worker serves on")[2], lambda: proxy.said, 30)


@contextmanager
def clients(proxy: Terraster) -> Iterator[dict[str, list[object]]]:
    """Clients of several kinds, who ask all the while: kept connections, a connection for each request, uploads. What failed, by kind."""
    done = threading.Event()
    failed: dict[str, list[object]] = {"kept": [], "new": [], "upload": []}
    counts = {"kept": 0, "new": 0, "upload": 0}

    def ask(kind: str) -> None:
        kept = None
        number = 0
        while not done.wait(PAUSE):
            number += 1
            word = f"{kind}-{number}".encode()
            try:
                if kind == "kept":
                    kept = kept or proxy.connect()
                    answer = kept.send(b"GET /" + word + b" HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
                    right = b"/" + word
                    if answer.get("connection") == "close":
                        kept.close()
                        kept = None
                elif kind == "new":
                    answer, right = get(proxy.address, "/" + word.decode()), b"/" + word
                else:
                    body = word * 20_000
                    with proxy.connect() as client:
                        client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body))
                        client.send(body[: len(body) // 2])
                        time.sleep(0.02)
                        answer, right = client.send(body[len(body) // 2 :]).response(), body
                counts[kind] += 1
                if (answer.status, answer.body) != (200, right):
                    failed[kind].append((answer.status, answer.body[:100]))
            except (OSError, AssertionError, EOFError) as error:
                failed[kind].append(repr(error))
                kept = None
        if kept is not None:
            kept.close()

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in ("kept", "kept", "new", "new", "upload")]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: min(counts.values()) > 3, "clients that ask")
        yield failed
        reached = dict(counts)
        wait_until(lambda: all(counts[kind] > reached[kind] + 3 for kind in counts), lambda: f"clients that still ask: {failed}")
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_nothing_fails_until_the_next_master_has_taken_over(fresh, slow, backend) -> None:
    chat = backend(websocket_echo)
    proxy = fresh(service(slow.url), service(chat.url, name="chat", host="chat.test"), workers=2, drain_timeout="3s")
    tunnel = proxy.connect()
    assert tunnel.send(HANDSHAKE.replace(b"a.test", b"chat.test")).response(upgrade=True).status == 101
    with clients(proxy) as failed:
        before = kill(proxy)
        counted = proxy.metrics()[REQUESTS]
        assert read_frame(tunnel.send(frame(b"alone"))) == b"alone"
        busy = proxy.connect().send(GET.replace(b"/ ", b"/slow "))
        again(proxy)
        wait_until(proxy.serves, "readyz")
        assert proxy.metrics()[REQUESTS] >= counted
        slow.go.set()
        answer = busy.response()
        assert (answer.status, answer.body) == (200, b"/slow")
        for pid in before:
            wait_gone(pid, 20)
    assert failed == {"kept": [], "new": [], "upload": []}
    wait_until(lambda: not set(proxy.workers()) & set(before), "their seats are empty")
    assert proxy.status()["pid"] == proxy.pid
    assert sorted(os.listdir(proxy.runtime_dir)) == ["control.sock", "terraster.pid"]
    tunnel.close()


def test_every_request_is_counted_once_over_the_take_over(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), workers=2)
    asked = 0

    def ask(count: int) -> None:
        nonlocal asked
        for _ in range(count):
            assert get(proxy.address).status == 200
            asked += 1
        wait_until(
            lambda: proxy.metrics()[REQUESTS] == asked, lambda: f"{asked} requests; {proxy.metrics().get(REQUESTS)} are counted"
        )

    ask(20)
    for _ in range(3):
        before = kill(proxy)
        ask(10)
        again(proxy)
        ask(10)
        for pid in before:
            wait_gone(pid, 20)
        ask(10)
    backends = [value for name, value in proxy.metrics().items() if name.startswith("terraster_backend_requests_total")]
    assert backends == [asked]


def test_without_a_master_nothing_can_be_changed_and_everything_says_so(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), orphan_timeout="60s")
    family = kill(proxy)
    wait_until(lambda: proxy.admin("/readyz").status == 503, "readyz")
    for path in ("/readyz", "/healthz"):
        assert b"the master ended" in proxy.admin(path).body
    for command in (["status"], ["reload"], ["backend", "drain", "site", "x"]):
        result = proxy.ctl(*command)
        assert result.returncode != 0 and "start Terraster again" in result.stderr, result
    assert get(proxy.address).status == 200
    wait_until(lambda: proxy.metrics().get(REQUESTS) == 1, "the request counted")
    assert proxy.ctl("stop").returncode == 0
    for pid in family:
        wait_gone(pid, 20)
    assert not [name for name in os.listdir(proxy.runtime_dir) if name.startswith("orphan")]


def test_no_orphan_stays_when_nobody_comes(fresh, slow) -> None:
    proxy = fresh(slow, workers=2, orphan_timeout="1s", drain_timeout="2s")
    family = kill(proxy)
    with proxy.connect() as idle, proxy.connect() as busy:
        assert idle.send(GET).response().status == 200
        busy.send(GET.replace(b"/ ", b"/slow "))
        slow.wait(2)
        wait_until(lambda: "no new master came within 1 s" in proxy.said, "the end of the time")
        slow.go.set()
        assert busy.response().status == 200
    for pid in family:
        wait_gone(pid, 20)
    with pytest.raises(ConnectionRefusedError):
        Connection(proxy.address)


def test_a_master_that_cannot_start_leaves_the_orphans_as_they_are(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), orphan_timeout="60s")
    kill(proxy)
    good = proxy.config_file.read_text()
    proxy.config_file.write_text(good + "no_such_key: 1\n")
    proxy.start(wait=False)
    assert proxy.program is not None
    assert proxy.program.wait(20) == 2
    assert get(proxy.address).status == 200
    proxy.config_file.write_text(good)
    again(proxy)
    assert get(proxy.address).status == 200
    wait_until(lambda: proxy.metrics()[REQUESTS] == 2)


def test_of_two_new_masters_one_takes_over(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()), orphan_timeout="60s")
    kill(proxy)
    proxy.start(wait=False)
    first = proxy.program
    proxy.start(wait=False)
    second = proxy.program
    assert first is not None and second is not None
    wait_until(lambda: (first.process.poll() is None) != (second.process.poll() is None), "one of two to end", 20)
    loser, winner = (first, second) if first.process.poll() is not None else (second, first)
    proxy.program = winner
    assert loser.process.returncode == 1 and "Already running on PID" in proxy.said
    wait_until(proxy.serves, "readyz", 20)
    assert get(proxy.address).status == 200


def test_a_drain_goes_on_without_its_master(fresh, slow) -> None:
    """The worker has had its time to leave: it neither serves on nor leaves earlier."""
    proxy = fresh(slow)
    with proxy.connect() as one:
        one.send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
        slow.wait()
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: proxy.status()["workers"][0]["state"] == "leaving", lambda: proxy.said)
        workers = kill(proxy)
        time.sleep(2)  # longer than a worker that must leave at once would wait for the request
        slow.go.set()
        assert one.response().status == 200
    wait_gone(workers)


def test_a_table_of_another_layout_is_left_and_the_ports_are_taken_over(fresh, slow, tmp_path) -> None:
    proxy = fresh(slow, workers=2)
    shutil.copytree(ROOT / "terraster", tmp_path / "next" / "terraster")
    cells = tmp_path / "next" / "terraster" / "state" / "cells.py"
    text = cells.read_text()
    cells.write_text(text.replace(f"VERSION = {VERSION}\n", f"VERSION = {VERSION + 1}\n"))
    assert cells.read_text() != text
    proxy.root = tmp_path / "next"
    with clients(proxy) as failed:
        before = kill(proxy)
        again(proxy)
        for pid in before:
            wait_gone(pid, 40)
    assert failed == {"kept": [], "new": [], "upload": []}
    assert "counters begin anew: the shared table of the workers before cannot be used" in proxy.said


def test_a_backend_that_is_removed_while_there_is_no_master_and_one_that_comes_do_not_share_counters(fresh, backend) -> None:
    one, two, three = (backend(answer=ok(name)) for name in (b"one", b"two", b"three"))
    proxy = fresh(service(one.url, two.url), orphan_timeout="60s")
    for _ in range(8):
        get(proxy.address)
    before = kill(proxy)
    proxy.write(service(one.url, three.url))
    again(proxy)
    for pid in before:
        wait_gone(pid, 40)
    for _ in range(4):
        get(proxy.address)
    wait_until(lambda: proxy.metrics()[REQUESTS] == 12, "all requests counted")
    counts = {name: value for name, value in proxy.metrics().items() if name.startswith("terraster_backend_requests_total")}
    assert sorted(counts.values()) == [2, 6], counts


def test_a_new_master_that_takes_over_is_no_cause_for_a_warning(fresh, backend) -> None:
    proxy = fresh(backend(answer=ok()))
    family = kill(proxy)
    again(proxy)
    for pid in family:
        wait_gone(pid, 20)
    lines = [line for line in proxy.said.splitlines() if "another master serves; this worker drains and leaves" in line]
    assert len(lines) == 2 and all(line.split()[1] == "info" for line in lines), lines


def test_orphans_leave_when_the_runtime_directory_is_removed(fresh, slow) -> None:
    """The service manager does that when it stops a service whose master is dead. What was asked is still answered."""
    proxy = fresh(slow, orphan_timeout="120s")
    family = kill(proxy)
    wait_until(lambda: proxy.said.count("this worker serves on for 120 s") == 2, "two orphans")
    with proxy.connect() as busy:
        busy.send(GET.replace(b"/ ", b"/slow "))
        slow.wait()
        shutil.rmtree(proxy.runtime_dir)
        wait_until(lambda: proxy.said.count("no new master can find it; this worker drains and leaves") == 2, "the drain")
        slow.go.set()
        assert busy.response().status == 200
    for pid in family:
        wait_gone(pid, 20)
