"""Backends by name: addresses that come, go and change, name servers that fail, and what clients notice of it: nothing."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ..harness.backends import Backend, Peer, always, ok
from ..harness.client import exchange, get
from ..harness.name_server import GARBAGE, NXDOMAIN, SERVFAIL, SILENCE, NameServer
from ..harness.ports import free_port
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CHECK = {"type": "http", "path": "/", "interval": "200ms", "timeout": "1s", "thresholds": {"healthy": 1, "unhealthy": 1}}


@pytest.fixture
def names(stack) -> NameServer:
    return stack.enter_context(NameServer())


def twins(stack, count: int = 2) -> list[Backend]:
    """Backends on 127.0.0.1, 127.0.0.2 …, all on one port, that answer with their address."""

    def answer(number: int) -> Callable[[Peer], None]:
        return always(ok(b"127.0.0.%d" % number))

    first = stack.enter_context(Backend(answer(1)))
    others = [Backend(answer(number), host=f"127.0.0.{number}", port=first.port) for number in range(2, count + 1)]
    return [first, *(stack.enter_context(one) for one in others)]


PAUSE = 0.002  # seconds before each request of a client: what is asked without a break only costs the machine


class Load:
    """What a client got that asked all the time: ``bodies`` in order, ``bad``: what was no 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.bad: list[object] = []


@contextmanager
def under_load(proxy: Terraster) -> Iterator[Load]:
    """Ask all the time: over one connection that stays, and over new ones."""
    load, over = Load(), threading.Event()

    def run(stays: bool) -> None:
        while not over.wait(PAUSE):
            try:
                if not stays:
                    answers = [get(proxy.address)]
                else:
                    with proxy.connect() as client:
                        answers = []
                        for _ in range(50):
                            time.sleep(PAUSE)
                            answers.append(client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response())
            except (OSError, AssertionError) as error:
                load.bad.append(error)
                continue
            load.bodies += [answer.body for answer in answers]
            load.bad += [answer for answer in answers if answer.status != 200]

    threads = [threading.Thread(target=run, args=(stays,)) for stays in (True, False)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def wait_only(load: Load, body: bytes, deadline: float = 15.0) -> None:
    """Return once the last 100 answers were all this one."""
    wait_until(lambda: len(load.bodies) >= 100 and set(load.bodies[-100:]) == {body}, f"only {body!r}", deadline)


def test_one_endpoint_of_a_name_is_drained_as_the_status_spells_it(fresh, stack, names) -> None:
    """And it stays so over a restart."""
    one, _two = twins(stack)
    names["api.test"] = ["127.0.0.1", "127.0.0.2"]
    url = f"http://api.test:{one.port}"
    proxy = fresh(service(url), nameservers=[names.address], health_check={"type": "none"})
    spelt = f"{url}@127.0.0.2"
    assert spelt in proxy.ctl("status", "--all").stdout
    assert proxy.ctl("backend", "drain", "site", spelt, "--reason", "a new disk").returncode == 0
    for _ in range(2):
        assert {get(proxy.address).body for _ in range(8)} == {b"127.0.0.1"}
        listed = proxy.ctl("backend", "list").stdout
        assert spelt in listed and "draining" in listed
        explained = proxy.ctl("why", "site", spelt).stdout
        assert f"{spelt} is draining" in explained and "a new disk" in explained
        assert proxy.program is not None
        proxy.program.stop()
        proxy.start()
    assert proxy.ctl("backend", "enable", "site", spelt).returncode == 0
    wait_until(lambda: get(proxy.address).body == b"127.0.0.2")


@pytest.mark.parametrize("check", [CHECK, {"type": "none"}], ids=["checked", "unchecked"])
def test_traffic_follows_a_name(terraster, stack, names, check: dict[str, Any]) -> None:
    one, two = twins(stack)
    names["api.test"] = ["127.0.0.1"]
    url = f"http://api.test:{one.port}"
    proxy = terraster(service(url), nameservers=[names.address], health_check=check, workers=2)
    with under_load(proxy) as load:
        wait_only(load, b"127.0.0.1")
        before = proxy.metrics()
        names["api.test"] = ["127.0.0.2"]
        wait_only(load, b"127.0.0.2")
        two_seen = len(two.requests)
        names["api.test"] = ["127.0.0.1"]
        wait_only(load, b"127.0.0.1")
    assert load.bad == [] and two_seen
    counted = next(name for name in before if name.startswith("terraster_backend_requests_total") and url in name)
    assert proxy.metrics()[counted] >= len(load.bodies), "the same backend: what was counted stays"
    assert "api.test resolves to 127.0.0.2 now" in proxy.said
    assert "a.test" in {request.get("host") for request in one.requests[-20:]}


def test_connections_to_an_address_that_is_gone_are_closed(terraster, stack, names) -> None:
    one, _two = twins(stack)
    names["api.test"] = ["127.0.0.1"]
    proxy = terraster(service(f"http://api.test:{one.port}"), nameservers=[names.address])
    get(proxy.address)
    peer = one.wait_peer()
    names["api.test"] = ["127.0.0.2"]
    assert peer.ended.wait(10)
    assert get(proxy.address).body == b"127.0.0.2"


def test_requests_in_flight_end_where_they_began(terraster, stack, names) -> None:
    go_on = threading.Event()

    def slow(peer: Peer) -> None:
        assert peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nold")
        assert go_on.wait(20)
        peer.send(b"est")

    one = stack.enter_context(Backend(slow))
    stack.enter_context(Backend(always(ok(b"new")), host="127.0.0.2", port=one.port))
    names["api.test"] = ["127.0.0.1"]
    proxy = terraster(service(f"http://api.test:{one.port}"), nameservers=[names.address])
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        one.wait()
        names["api.test"] = ["127.0.0.2"]
        wait_until(lambda: re.search(r"names: generation \d+ runs", proxy.said))
        assert get(proxy.address).body == b"new"
        go_on.set()
        assert client.response().body == b"oldest"


def test_several_addresses_are_several_endpoints(terraster, stack, names) -> None:
    one, two, _three = twins(stack, 3)
    names["api.test"] = ["127.0.0.1", "127.0.0.2"]
    url = f"http://api.test:{one.port}"
    proxy = terraster(service(url), nameservers=[names.address], health_check=CHECK)
    assert Counter(get(proxy.address).body for _ in range(20)) == {b"127.0.0.1": 10, b"127.0.0.2": 10}
    (location,) = proxy.status()["services"][0]["locations"]
    assert [(backend["url"], backend["address"]) for backend in location["backends"]] == [(url, "127.0.0.1"), (url, "127.0.0.2")]
    counted = [value for name, value in proxy.metrics().items() if name.startswith("terraster_backend_requests_total")]
    assert counted == [20], "addresses come and go, the URL stays: one series"
    with under_load(proxy) as load:
        two.close()
        wait_only(load, b"127.0.0.1")
        names["api.test"] = ["127.0.0.3"]
        wait_only(load, b"127.0.0.3")
    assert load.bad == []


@pytest.mark.parametrize("fault", [SERVFAIL, NXDOMAIN, SILENCE, GARBAGE, "empty", "gone"])
def test_the_last_good_answer_outlives_the_name_server(terraster, stack, names, fault: str) -> None:
    one, _two = twins(stack)
    names["api.test"] = ["127.0.0.1"]
    proxy = terraster(service(f"http://api.test:{one.port}"), nameservers=[names.address])
    with under_load(proxy) as load:
        wait_only(load, b"127.0.0.1")
        if fault == "empty":
            names["api.test"] = []
        elif fault == "gone":
            names.stop()
        else:
            names.fault = fault
        wait_until(lambda: "does not resolve" in proxy.said, deadline=15)
        count = len(load.bodies)
        wait_until(lambda: len(load.bodies) > count + 100)
        known = proxy.status()["names"]["api.test"]
        assert known["endpoints"] == ["127.0.0.1"] and known["failure"]
        if fault != "gone":
            names.fault = ""
            names["api.test"] = ["127.0.0.2"]
            wait_only(load, b"127.0.0.2")
    assert load.bad == []
    assert proxy.said.count("does not resolve") == 1, "it is told once"
    assert "the last answer stays: 127.0.0.1" in proxy.said


@pytest.mark.parametrize("check", [CHECK, {"type": "none"}], ids=["checked", "unchecked"])
def test_a_name_that_does_not_resolve_is_no_reason_not_to_start(terraster, stack, names, check: dict[str, Any]) -> None:
    (one,) = twins(stack, 1)
    proxy = terraster(
        service(f"http://later.test:{one.port}", name="later", host="later.test"),
        service(one.url, name="other", host="other.test"),
        nameservers=[names.address],
        health_check=check,
    )
    later, other = (b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host for host in (b"later.test", b"other.test"))
    answer = exchange(proxy.address, later)
    assert answer.status == 503 and "destination_unavailable" in (answer.get("proxy-status") or "")
    assert exchange(proxy.address, other).status == 200
    assert "the name later.test does not resolve: there is no such name; its backends are down until it does" in proxy.said
    names["later.test"] = ["127.0.0.1"]
    wait_until(lambda: exchange(proxy.address, later).status == 200)


def test_a_silent_name_server_delays_the_start_by_two_seconds_in_all(terraster, names) -> None:
    names.fault = SILENCE
    urls = [f"http://name{number}.test:{free_port()}" for number in range(40)]
    proxy = terraster(service(*urls), nameservers=[names.address], wait=False)
    wait_until(proxy.serves, deadline=8)
    assert get(proxy.address).status == 503


def test_a_reload_that_brings_a_name_waits_for_it(terraster, stack, names) -> None:
    (one,) = twins(stack, 1)
    names["api.test"] = ["127.0.0.1"]
    proxy = terraster(service(one.url), nameservers=[names.address])
    proxy.reload(service(f"http://api.test:{one.port}"))
    assert get(proxy.address).status == 200
    assert names.count("api.test") == 1


def test_localhost_needs_no_name_server(terraster, stack, names) -> None:
    names.fault = SILENCE
    (one,) = twins(stack, 1)
    proxy = terraster(service(f"http://localhost:{one.port}"), nameservers=[names.address], health_check=CHECK)
    assert get(proxy.address).status == 200
    assert names.asked == []


def test_srv_records_say_where_and_how_much(terraster, stack, names) -> None:
    """The second priority is used only where nobody of the first is there; weights hold within one."""
    one, two, three = (stack.enter_context(Backend(always(ok(body)))) for body in (b"one", b"two", b"spare"))
    names["one.test"] = names["two.test"] = names["spare.test"] = ["127.0.0.1"]
    names["_http._tcp.api.test"] = [
        (10, 30, one.port, "one.test"),
        (10, 10, two.port, "two.test"),
        (20, 0, three.port, "spare.test"),
    ]
    proxy = terraster(service("srv+http://_http._tcp.api.test"), nameservers=[names.address], health_check=CHECK)
    assert Counter(get(proxy.address).body for _ in range(40)) == {b"one": 30, b"two": 10}
    (location,) = proxy.status()["services"][0]["locations"]
    places = {f"{host}.test:{port}" for host, port in (("one", one.port), ("two", two.port), ("spare", three.port))}
    assert {backend["endpoint"] for backend in location["backends"]} == places
    assert one.requests[0].get("host") == f"one.test:{one.port}", "a probe asks for the target by its name"
    with under_load(proxy) as load:
        one.close()
        two.close()
        wait_only(load, b"spare")
        names["_http._tcp.api.test"] = [(10, 0, three.port, "spare.test")]
        wait_until(lambda: f"resolves to spare.test:{three.port} (127.0.0.1) now" in proxy.said)
        wait_only(load, b"spare")
    assert load.bad == []
