"""Receivers of spans that are away, slow or changed, and the process that exports to them: no request notices, and each span is counted."""

from __future__ import annotations

import os
import re
import signal

import pytest

from ..harness.client import get
from ..harness.otlp_receiver import HttpReceiver
from ..harness.ports import free_port
from ..harness.readings import total
from ..harness.terraster_process import Terraster, wait_gone
from ..harness.waiting import wait_until
from .test_upgrades import upgraded


class Counts:
    """The counters of spans, from the start of the test on: exported, dropped, processes that ended."""

    def __init__(self, proxy: Terraster) -> None:
        self._proxy = proxy
        self._before = [total(proxy, name) for name in COUNTERS]

    def are(self, *expected: int) -> None:
        """Wait for these counts."""
        wait_until(lambda: self.now() == list(expected), lambda: f"counts are {self.now()}, not {expected}")

    def now(self) -> list[float]:
        return [total(self._proxy, name) - before for name, before in zip(COUNTERS, self._before, strict=True)]


SITE = {"name": "site", "locations": [{"path": "/", "respond": {"status": 204}}]}
COUNTERS = tuple(f"terraster_trace_{what}_total" for what in ("spans_exported", "spans_dropped", "exporters_ended"))


@pytest.fixture
def receiver(stack) -> HttpReceiver:
    return stack.enter_context(HttpReceiver())


def exporter(proxy: Terraster, number: int = 1) -> int:
    """The pid of the process that exports, once so many were started."""
    wait_until(lambda: len(_exporters(proxy)) >= number)
    return _exporters(proxy)[-1]


def _exporters(proxy: Terraster) -> list[int]:
    return [int(pid) for pid in re.findall(r"tracing: process (\d+) exports", proxy.said)]


def ask(proxy: Terraster, count: int) -> None:
    """So many requests, all of which are answered."""
    with proxy.connect() as client:
        for _ in range(count):
            assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 204


def test_a_dead_receiver_costs_spans_and_no_request(fresh) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": f"http://127.0.0.1:{free_port()}", "timeout": 0.2})
    counts = Counts(proxy)
    ask(proxy, 300)
    counts.are(0, 300, 0)
    wait_until(lambda: "tracing: the receiver has not got" in proxy.said)  # counted first
    ask(proxy, 300)
    counts.are(0, 600, 0)
    assert proxy.said.count("tracing: the receiver has not got") == 1, "once a minute"


def test_a_receiver_that_refuses_is_told(fresh, receiver: HttpReceiver) -> None:
    """On a Terraster of its own: a shared one may still have spans of another test, which would be counted here."""
    receiver.status = 401
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url})
    counts = Counts(proxy)
    get(proxy.address)
    counts.are(0, 1, 0)
    wait_until(lambda: re.search(r"tracing: the receiver has not got 1 span so far: .*401.*\n", proxy.said))  # counted first
    receiver.status = 200
    get(proxy.address)
    assert len(receiver.wait()) == 1
    counts.are(1, 1, 0)


def test_while_the_exporting_process_stands_still_workers_keep_spans(fresh, receiver: HttpReceiver) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url})
    pid, counts = exporter(proxy), Counts(proxy)
    os.kill(pid, signal.SIGSTOP)
    try:
        ask(proxy, 2000)  # more than the socket takes
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len(receiver.wait(2000)) == 2000
    counts.are(2000, 0, 0)


def test_another_process_follows_one_that_was_killed(fresh, receiver: HttpReceiver) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url})
    first, counts = exporter(proxy), Counts(proxy)
    receiver.go.clear()
    ask(proxy, 20)
    wait_until(lambda: receiver.asked, "a batch is under way")
    os.kill(first, signal.SIGKILL)
    second = exporter(proxy, 2)
    assert second != first
    wait_until(lambda: "was ended by signal 9" in proxy.said)
    counts.are(0, 20, 1)
    receiver.go.set()
    get(proxy.address, "/after")
    wait_until(lambda: "/after" in [span["url.path"] for span in receiver.servers()])
    counts.are(1, 20, 1)


def test_a_reload_changes_the_receiver(fresh, receiver: HttpReceiver, stack) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url})
    old, counts = exporter(proxy), Counts(proxy)
    receiver.go.clear()
    get(proxy.address, "/before")
    wait_until(lambda: receiver.asked, "a batch is under way")
    other = stack.enter_context(HttpReceiver())
    proxy.reload(SITE, tracing={"endpoint": f"{other.url}/otlp/x", "headers": {"X-Key": "k"}})
    get(proxy.address, "/behind")
    assert [span["url.path"] for span in other.wait()] == ["/behind"]
    receiver.go.set()  # the one that was replaced ends what it began
    assert [span["url.path"] for span in receiver.wait()] == ["/before"]
    assert (other.fields[0][":path"], other.fields[0]["x-key"]) == ("/otlp/x", "k")
    wait_gone(old)
    proxy.reload(SITE, tracing="off")
    wait_gone(exporter(proxy, 2))
    counts.are(2, 0, 0)


def test_the_last_spans_are_exported_at_the_end(fresh, receiver: HttpReceiver) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url})
    pid = exporter(proxy)
    get(proxy.address)
    receiver.wait()  # its start is over
    ask(proxy, 50)
    proxy.signal(signal.SIGTERM)
    assert proxy.program is not None and proxy.program.wait(20) == 0
    wait_gone(pid)
    assert len(receiver.servers()) == 51


def test_the_process_does_not_outlive_workers_of_a_master_that_was_killed(fresh, receiver: HttpReceiver) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url}, orphan_timeout="1s")
    pid = exporter(proxy)
    get(proxy.address)
    receiver.wait()  # its start is over
    os.kill(proxy.pid, signal.SIGKILL)
    get(proxy.address, "/orphan")
    assert [span["url.path"] for span in receiver.wait(2)] == ["/", "/orphan"]
    wait_gone(pid)


def test_spans_go_on_after_an_upgrade(fresh, receiver: HttpReceiver) -> None:
    proxy: Terraster = fresh(SITE, tracing={"endpoint": receiver.url})
    old, counts = exporter(proxy), Counts(proxy)
    get(proxy.address, "/old")
    with upgraded(proxy):
        wait_gone(old)
        get(proxy.address, "/new")
        assert [span["url.path"] for span in receiver.wait(2)] == ["/old", "/new"]
        counts.are(2, 0, 0)
