"""Certificates by ACME, against pebble: each kind of challenge, what goes wrong, what is not done twice, and renewals under load."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.disks import fill
from ..harness.pebble import Pebble
from ..harness.ports import free_port
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until
from .test_upgrades import upgraded

pytestmark = pytest.mark.needs("pebble", "pebble-challtestsrv")

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


class Site:
    """Terraster, whose services get their certificates from a pebble."""

    def __init__(self, proxy: Terraster, pebble: Pebble, tls_port: int, plain_port: int) -> None:
        self.proxy = proxy
        self.pebble = pebble
        self.tls_port = tls_port
        self.plain_port = plain_port

    def shake(self, name: str = "a.test") -> list[str]:
        """The names in the certificate that a client gets, which it verifies."""
        context = ssl.create_default_context(cadata=self.pebble.root().decode())
        with Connection(("127.0.0.1", self.tls_port)).secure(context, name) as one:
            sock: Any = one.sock
            return [value for kind, value in sock.getpeercert()["subjectAltName"] if kind == "DNS"]

    def has_certificate(self, name: str = "a.test") -> bool:
        try:
            return bool(self.shake(name))
        except (OSError, AssertionError):
            return False


Make = Callable[..., Site]


@pytest.fixture
def site(fresh: Any, backend: Any, stack: ExitStack, tmp_path: Path) -> Make:
    def make(
        challenge: str = "http-01",
        hosts: tuple[str, ...] = ("a.test",),
        start: bool = True,
        tls: Any = None,
        acme: Any = None,
        state_dir: str | None = None,
        **of_pebble: Any,
    ) -> Site:
        tls_port, http_port = free_port(), free_port()
        ports = {"http_port": http_port, "tls_port": tls_port}
        pebble = stack.enter_context(Pebble(tmp_path / "pebble", **{**ports, **of_pebble}))
        here = backend(answer=lambda request: ok(b"served")).url
        proxy = fresh(
            service(here, name="a", host=list(hosts), listen=f"127.0.0.1:{tls_port}", tls={"auto_cert": True, **(tls or {})}),
            service(here, name="plain", host="*", listen=f"127.0.0.1:{http_port}", http_redirect=True),
            acme={"directory": pebble.directory, "ca_file": str(pebble.ca_file), "challenge": challenge, **(acme or {})},
            start=start,
            **({"state_dir": state_dir} if state_dir else {}),
        )
        return Site(proxy, pebble, tls_port, http_port)

    return make


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_certificate_is_obtained_and_put_into_effect(site: Make, challenge: str) -> None:
    one = site(challenge, ("a.test", "www.a.test"))
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)
    assert sorted(one.shake("www.a.test")) == ["a.test", "www.a.test"]
    (row,) = wait_until(lambda: [row for row in one.proxy.status()["certificate_orders"] if row["state"] == "obtained"])
    assert (row["service"], row["challenge"], row["failures"], row["last_error"]) == ("a", challenge, 0, "")
    assert row["next"] > time.time()
    found = one.proxy.metrics()
    assert [found[f'terraster_acme_orders_total{{result="{result}"}}'] for result in ("obtained", "failed")] == [1, 0]


def test_an_authority_that_rejects_nonces_is_asked_again(site: Make) -> None:
    one = site(rejects=20)
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)


def dns_program(one: Site, hook: Path, calls: Path, held: Path) -> None:
    """Write the program for records. It notes its calls, and takes as long as the file ``held`` is there."""
    hook.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time, urllib.request\n"
        "action, name, value = sys.argv[1:]\n"
        f"print(action, name, file=open({str(calls)!r}, 'a'))\n"
        f"while os.path.exists({str(held)!r}):\n"
        "    time.sleep(0.01)\n"
        "verb = {'present': 'set-txt', 'cleanup': 'clear-txt'}[action]\n"
        "body = json.dumps({'host': name + '.', 'value': value}).encode()\n"
        f"urllib.request.urlopen(urllib.request.Request({one.pebble.names_url!r} + '/' + verb, body), timeout=5).read()\n"
    )


def test_dns_01_by_a_program_and_for_a_wildcard(site: Make, tmp_path: Path) -> None:
    hook, calls = tmp_path / "hook", tmp_path / "calls"
    one = site(
        "dns-01", ("*.a.test",), start=False, tls={"domains": ["a.test", "*.a.test"]}, acme={"dns_hook": str(_touched(hook))}
    )
    dns_program(one, hook, calls, tmp_path / "held")
    one.proxy.start()
    wait_until(lambda: one.has_certificate("x.a.test"), lambda: one.proxy.said, 60)
    assert sorted(one.shake("x.a.test")) == ["*.a.test", "a.test"]
    wait_until(lambda: calls.read_text().count("cleanup _acme-challenge.a.test") == 2)
    assert calls.read_text().count("present _acme-challenge.a.test") == 2


@pytest.mark.nightly
def test_an_upgrade_during_a_call_of_the_program_lets_it_end(site: Make, tmp_path: Path) -> None:
    """test_acme_dns.py has the other moments of an order."""
    hook, calls, held = tmp_path / "hook", tmp_path / "calls", tmp_path / "held"
    one = site("dns-01", start=False, acme={"dns_hook": str(_touched(hook))})
    dns_program(one, hook, calls, held)
    held.touch()
    one.proxy.start()
    wait_until(calls.exists, lambda: one.proxy.said, 60)
    with upgraded(one.proxy):
        held.unlink()
        wait_until(one.has_certificate, lambda: one.proxy.said, 60)
        assert calls.read_text().splitlines() == ["present _acme-challenge.a.test", "cleanup _acme-challenge.a.test"]
        assert len(_orders(one)["a.test"]) == 1


def test_a_program_that_fails_is_named_with_what_it_said(site: Make, tmp_path: Path) -> None:
    hook = _touched(tmp_path / "hook")
    hook.write_text("#!/bin/sh\necho the zone is locked\nexit 3\n")
    one = site("dns-01", acme={"dns_hook": str(hook)})
    words = f"`acme.dns_hook` {hook} present _acme-challenge.a.test failed (exit code 3): the zone is locked"
    wait_until(lambda: words in one.proxy.said, lambda: one.proxy.said, 60)
    assert "tried again at" in one.proxy.said


def _touched(hook: Path) -> Path:
    hook.touch()
    hook.chmod(0o755)
    return hook


def test_an_external_account_is_bound(site: Make) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    one = site(accounts={"kid-1": key}, acme={"eab": {"kid": "kid-1", "hmac_key": key}})
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)
    assert key not in one.proxy.said


def test_an_authority_that_wants_an_external_account_is_said_to(site: Make) -> None:
    one = site(accounts={"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"})
    wait_until(lambda: "the authority wants an external account: set `acme.eab`" in one.proxy.said, lambda: one.proxy.said, 60)


def test_until_the_certificate_is_there_the_rest_is_served(site: Make) -> None:
    one = site(acme={"directory": f"https://localhost:{free_port()}/dir"})
    wait_until(lambda: "no certificate was obtained (failure 1): cannot reach" in one.proxy.said, lambda: one.proxy.said, 60)
    assert "service a has no certificate yet" in one.proxy.said
    table = one.proxy.ctl("certificates").stdout
    assert "FAILING" in table and "cannot reach" in table
    assert one.proxy.metrics()['terraster_acme_orders_total{result="failed"}'] >= 1
    with Connection(("127.0.0.1", one.pebble.http_port)) as plain:
        assert plain.send(GET).response().status in (301, 308)
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        Connection(("127.0.0.1", one.tls_port)).secure(context, "a.test")


def test_a_restart_does_not_order_again(site: Make) -> None:
    one = site()
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)
    state = one.proxy.folder / "state" / "acme"
    files = [file for file in state.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {"", ".json", ".pem", ".record"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    before = _orders(one)
    assert one.proxy.program is not None
    one.proxy.program.stop()
    one.proxy.start()
    assert one.has_certificate()
    wait_until(lambda: one.proxy.said.count("ready: ") == 2)
    assert _orders(one) == before and len(before["a.test"]) == 1


def _orders(one: Site) -> dict[str, list[float]]:
    """The orders that were counted, by name."""
    (file,) = (one.proxy.folder / "state" / "acme").glob("*/orders.json")
    found: dict[str, list[float]] = json.loads(file.read_text())["orders"]
    return found


def test_an_order_whose_processes_were_killed_is_resumed(site: Make) -> None:
    one = site(sleeps=4)
    acme = one.proxy.folder / "state" / "acme"
    wait_until(lambda: [file for file in acme.glob("*/a.order") if '"url"' in file.read_text()], deadline=60)
    workers = [worker["pid"] for worker in one.proxy.status()["workers"] if worker["role"] == "admin"]
    for pid in [*workers, *_children(workers[0])]:
        os.kill(pid, signal.SIGKILL)
    wait_until(one.has_certificate, lambda: one.proxy.said, 90)
    assert len(_orders(one)["a.test"]) == 1


class Door:
    """Between an authority and Terraster: whoever comes waits until ``open``. port: where the authority asks"""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=16))
        self.port: int = self._listening.getsockname()[1]

    def somebody_waits(self) -> bool:
        waiting = select.poll()  # the test process may have more descriptors than `select.select` takes
        waiting.register(self._listening, select.POLLIN)
        return bool(waiting.poll(0))

    def open(self, port: int) -> None:
        """Lead all to this port from now on."""
        thread = threading.Thread(target=self._lead, args=(port,), daemon=True)
        self._stack.callback(thread.join)
        self._stack.callback(self._listening.shutdown, socket.SHUT_RDWR)
        thread.start()

    def _lead(self, port: int) -> None:
        while True:
            try:
                one = self._listening.accept()[0]
            except OSError:
                return  # the test is over
            with one, socket.create_connection(("127.0.0.1", port)) as other, suppress(ConnectionError):
                ends = {one: other, other: one}
                waiting = select.poll()
                for end in ends:
                    waiting.register(end, select.POLLIN)
                by_number = {end.fileno(): end for end in ends}
                while octets := (reader := by_number[waiting.poll(10_000)[0][0]]).recv(65536):
                    ends[reader].sendall(octets)


@pytest.mark.parametrize("challenge", ["http-01", pytest.param("tls-alpn-01", marks=pytest.mark.nightly)])
def test_an_authority_that_asks_after_an_upgrade_gets_the_answer_of_before(site: Make, stack: ExitStack, challenge: str) -> None:
    """It is answered by the first worker of the new master that it comes to, and the order goes on."""
    door = Door(stack)
    one = site(challenge, **{"http_port" if challenge == "http-01" else "tls_port": door.port})
    wait_until(door.somebody_waits, lambda: one.proxy.said, 60)
    with upgraded(one.proxy):
        door.open(one.plain_port if challenge == "http-01" else one.tls_port)
        wait_until(one.has_certificate, lambda: one.proxy.said, 60)
        assert len(_orders(one)["a.test"]) == 1
        assert "set INVALID" not in one.pebble.output()
        assert "no certificate was obtained" not in one.proxy.said


@pytest.mark.nightly
def test_a_full_disk_is_told_and_the_rest_is_served_until_there_is_room(site: Make, disk: Path) -> None:
    one = site(state_dir=str(disk / "state"), start=False)
    filler = fill(disk)
    one.proxy.start()
    words = f"no certificate was obtained (failure 1): {disk}/state/acme/"
    wait_until(lambda: words in one.proxy.said, lambda: one.proxy.said, 60)
    assert "account.json: No space left on device" in one.proxy.said
    assert "cannot be kept: None" not in one.proxy.said
    with Connection(("127.0.0.1", one.pebble.http_port)) as plain:
        assert plain.send(GET).response().status in (301, 308)
    assert one.pebble.orders() == 0  # an order that cannot be counted is not made
    filler.unlink()
    (admin,) = [worker["pid"] for worker in one.proxy.status()["workers"] if worker["role"] == "admin"]
    os.kill(admin, signal.SIGKILL)  # the next one does not know of the failure, which could not be kept, and orders at once
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("lifetime", "acme", "certificates"),
    [
        pytest.param(12, {"renew_before": "11s"}, 3, id="after a third"),
        pytest.param(15, {}, 2, id="after two thirds", marks=pytest.mark.nightly),
    ],
)
def test_short_certificates_are_renewed_under_load_without_a_failed_request(
    site: Make, lifetime: int, acme: dict[str, str], certificates: int
) -> None:
    """None ends before the next one is there, though an order may take seconds on a busy machine."""
    one = site(lifetime=lifetime, acme=acme)
    wait_until(one.has_certificate, lambda: one.proxy.said, 60)
    context = ssl.create_default_context(cadata=one.pebble.root().decode())
    seen: set[str] = set()
    end = time.monotonic() + 90
    while len(seen) < certificates and time.monotonic() < end:
        with Connection(("127.0.0.1", one.tls_port)).secure(context, "a.test") as client:
            sock: Any = client.sock
            seen.add(sock.getpeercert()["serialNumber"])
            for _ in range(5):
                assert client.send(GET).response().status == 200
        time.sleep(0.02)
    assert len(seen) >= certificates, one.proxy.said
    assert len(_orders(one)["a.test"]) <= certificates + 1


def test_tokens_that_nobody_ordered_go_the_ordinary_way(site: Make) -> None:
    one = site()
    with Connection(("127.0.0.1", one.pebble.http_port)) as plain:
        target = b"GET /.well-known/acme-challenge/none HTTP/1.1\r\nHost: a.test\r\n\r\n"
        assert plain.send(target).response().status in (301, 308)
