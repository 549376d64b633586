"""TLS handshakes as operators see them: counted by outcome, one line of the log for each kind of failure, fields of access lines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority()
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
HALF = b"\x16\x03\x01\x02\x00\x01\x00\x01"  # the beginning of a hello


def client(**settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root.decode())
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    chain, key = CA.issue("a.test").write(tmp_path_factory.mktemp("certificates"), "a")
    return {"cert_file": str(chain), "key_file": str(key)}


def counts(proxy: Terraster) -> dict[tuple[str, str, str], float]:
    """(version, resumed, result, with the protocol if one was agreed on) → handshakes, without zeros."""
    found = {}
    for sample, value in proxy.metrics().items():
        if sample.startswith("terraster_tls_handshakes_total{") and value:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', sample))
            alpn = "" if labels["alpn"] == "none" else f" {labels['alpn']}"
            found[labels["version"], labels["resumed"], labels["result"] + alpn] = value
    return found


def get(proxy: Terraster, context: ssl.SSLContext) -> None:
    with proxy.connect().secure(context, "a.test") as one:
        assert one.send(GET).response().status == 200


def fail(proxy: Terraster, context: ssl.SSLContext, name: str) -> None:
    with pytest.raises(OSError):
        proxy.connect().secure(context, name).receive()


def test_handshakes_are_counted_by_outcome(fresh, backend, files) -> None:
    proxy = fresh(
        service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files | {"min_version": "1.3", "http2": True}),
        service(backend(answer=ok(b"x")).url, name="b", host="b.test", tls=files),
        timeouts={"client_header": "500ms"},
        workers=2,
    )
    for _ in range(3):
        get(proxy, client())
    old = client(maximum_version=ssl.TLSVersion.TLSv1_2, check_hostname=False)
    proxy.connect().secure(old, "b.test").close()
    fail(proxy, old, "a.test")
    fail(proxy, client(), "nobody.test")
    for protocol in ("h2", "http/1.1"):
        offers = client()
        offers.set_alpn_protocols([protocol])
        proxy.connect().secure(offers, "a.test").close()
    other = client()
    other.set_alpn_protocols(["smtp"])
    fail(proxy, other, "a.test")
    fail(proxy, ssl.create_default_context(), "a.test")  # it does not know the authority
    ciphers = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    ciphers.set_ciphers("AES128-SHA")
    fail(proxy, ciphers, "b.test")
    with proxy.connect() as plain:
        assert plain.send(GET).response().status == 400
    with proxy.connect() as strange:
        assert strange.send(b"\x00\x01\x02").receive()
    with proxy.connect() as slow:
        slow.send(HALF)
        assert slow.receive() == b""
    with proxy.connect() as left:
        left.send(HALF)
    proxy.connect().close()  # no handshake
    expected = {
        ("TLSv1.3", "no", "ok"): 3.0,
        ("TLSv1.2", "no", "ok"): 1.0,
        ("TLSv1.3", "no", "ok h2"): 1.0,
        ("TLSv1.3", "no", "ok http/1.1"): 1.0,
        ("none", "no", "version"): 1.0,
        ("none", "no", "unrecognized_name"): 1.0,
        ("none", "no", "no_application_protocol"): 1.0,
        ("none", "no", "no_common_parameters"): 1.0,
        ("none", "no", "client_refused"): 1.0,
        ("none", "no", "plain_http"): 1.0,
        ("none", "no", "protocol"): 1.0,
        ("none", "no", "timeout"): 1.0,
        ("none", "no", "client_gone"): 1.0,
    }
    wait_until(lambda: counts(proxy) == expected, lambda: f"counted: {counts(proxy)}")


def test_counts_outlive_workers_reloads_and_other_listeners(fresh, backend, files) -> None:
    here = service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files)
    proxy = fresh(here, workers=2)
    for round in range(1, 4):
        for _ in range(4):
            get(proxy, client())
        fail(proxy, client(), "nobody.test")
        expected = {("TLSv1.3", "no", "ok"): 4.0 * round, ("none", "no", "unrecognized_name"): 1.0 * round}
        wait_until(lambda: counts(proxy) == expected, lambda: f"counted {counts(proxy)}, not {expected}")  # noqa: B023
        before = proxy.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(proxy.workers()) == 2 and not set(before) & set(proxy.workers()), "the workers were not replaced")  # noqa: B023
        more = [service(name=f"n{number}", host=f"n{number}.test", respond={"status": 200}) for number in range(round)]
        assert proxy.reload(here, *(one | {"tls": files} for one in more))["ok"]
        assert counts(proxy) == expected


def test_failures_of_one_kind_and_reason_make_one_line(fresh, backend, files) -> None:
    proxy = fresh(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files), workers=1)
    for _ in range(50):
        fail(proxy, client(), "nobody.test")
    wait_until(lambda: counts(proxy).get(("none", "no", "unrecognized_name")) == 50, lambda: f"counted {counts(proxy)}")
    assert proxy.said.count("TLS handshake failed on") == 1
    assert "unrecognized_name (no service for the server name 'nobody.test'; client 127.0.0.1)" in proxy.said
    with contextlib.suppress(ssl.SSLError), proxy.connect() as one:
        one.send(b"\x00\x01\x02").receive()
    wait_until(lambda: proxy.said.count("TLS handshake failed on") == 2, "another kind of failure was not said")
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: ": 49 more within" in proxy.said, "the others were not counted")


def test_another_reason_has_a_line_of_its_own_but_a_scanner_does_not_fill_the_log(fresh, backend, files) -> None:
    proxy = fresh(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files), workers=1)
    for number in range(20):
        fail(proxy, client(), f"nobody{number}.test")
    wait_until(lambda: counts(proxy).get(("none", "no", "unrecognized_name")) == 20, lambda: f"counted {counts(proxy)}")
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: ": 12 more within" in proxy.said, "the others were not counted")
    assert [f"'nobody{number}.test'" in proxy.said for number in range(20)] == [True] * 8 + [False] * 12


def test_access_lines_have_the_fields_that_are_asked_for(fresh, backend, files, tmp_path) -> None:
    fields = ["uri", "tls_version", "tls_cipher", "sni", "alpn", "tls_resumed", "status"]
    proxy = fresh(
        service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files),
        access_log={"path": str(tmp_path / "access.log"), "fields": fields},
    )
    context = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    get(proxy, context)
    with proxy.connect() as plain:
        plain.send(GET).response()
    log = tmp_path / "access.log"
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 2, "the lines did not come")
    secure, clear = map(json.loads, log.read_text().splitlines())
    assert list(secure) == list(clear) == fields
    assert secure == {
        "uri": "/x",
        "tls_version": "TLSv1.2",
        "tls_cipher": secure["tls_cipher"],
        "sni": "a.test",
        "alpn": "http/1.1",
        "tls_resumed": False,
        "status": 200,
    }
    assert secure["tls_cipher"].startswith("ECDHE-ECDSA-")
    assert clear["tls_version"] == clear["tls_cipher"] == clear["sni"] == clear["alpn"] == ""
    assert clear["tls_resumed"] is None


def test_of_too_many_handshakes_the_oldest_end(fresh, backend, files, stack) -> None:
    proxy = fresh(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files), workers=1, limits={"connections": 64})
    flood = []
    for number in range(1, 21):
        flood.append(stack.enter_context(proxy.connect()).send(HALF))
        wait_until(lambda: sum(connections(proxy)) == min(number, 16), "a connection is not there")  # noqa: B023
    assert [one.receive() for one in flood[:4]] == [b""] * 4
    wait_until(lambda: counts(proxy) == {("none", "no", "overload"): 4.0}, lambda: f"counted {counts(proxy)}")
    get(proxy, client())  # and it takes the place of one more
    assert flood[4].receive() == b""
    expected = {("none", "no", "overload"): 5.0, ("TLSv1.3", "no", "ok"): 1.0}
    wait_until(lambda: counts(proxy) == expected, lambda: f"counted {counts(proxy)}")


def connections(proxy: Terraster) -> list[float]:
    """Open connections of each worker."""
    return [value for name, value in proxy.metrics().items() if name.startswith("terraster_connections{")]


def test_a_flood_of_half_open_handshakes_leaves_open_connections_alone(fresh, backend, files, stack) -> None:
    proxy = fresh(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files), workers=1)
    with proxy.connect().secure(client(), "a.test") as open_one:
        assert open_one.send(GET).response().status == 200
        for number in range(1000):
            stack.enter_context(proxy.connect()).send(HALF)
            if number % 10 == 0:
                assert open_one.send(GET).response().status == 200
        get(proxy, client())
        assert open_one.send(GET).response().status == 200
    assert proxy.log(103)
    wait_until(lambda: counts(proxy).get(("none", "no", "overload"), 0) >= 488, lambda: f"counted {counts(proxy)}")
    assert counts(proxy)["none", "no", "overload"] <= 489
    assert counts(proxy)["TLSv1.3", "no", "ok"] == 2


@pytest.mark.parametrize(
    "settings, alert",
    [({"maximum_version": ssl.TLSVersion.TLSv1_2}, "PROTOCOL_VERSION"), ({}, "BAD_RECORD_MAC")],
    ids=["a version that is not allowed", "octets that do not belong there"],
)
def test_the_alert_reaches_a_client_that_goes_on_sending(terraster, backend, files, settings: dict[str, Any], alert: str) -> None:
    """A socket that is closed with octets unread sends a reset, and that would overtake the alert."""
    proxy = terraster(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=files | {"min_version": "1.3"}))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = client(**settings).wrap_bio(incoming, outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    wrong = b"\x17\x03\x03\x40\x00" + bytes(16384)
    with proxy.connect() as one:
        before = sum(counts(proxy).values())
        one.send(outgoing.read() + wrong * 20)
        wait_until(lambda: sum(counts(proxy).values()) > before)
        one.half_close()
        incoming.write(one.rest())
    with pytest.raises(ssl.SSLError, match=alert):
        engine.do_handshake()
        engine.read()
