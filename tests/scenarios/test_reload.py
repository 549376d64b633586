"""Reloads: at once, whole or not at all, and not felt by anybody who is being served."""

from __future__ import annotations

import re
import threading

import pytest

from ..harness.backends import Peer, ok, websocket_echo
from ..harness.client import get
from ..harness.ports import free_port
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from .test_upgrade import HANDSHAKE, frame, read_frame

SERVED = 'terraster_requests_total{code="200",location="/",service="site"}'

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.fixture
def one(backend):
    return backend(answer=ok(b"one"))


@pytest.fixture
def two(backend):
    return backend(answer=ok(b"two"))


def test_a_reload_is_in_force_when_the_command_returns(terraster, one, two) -> None:
    proxy = terraster(one, workers=2)
    with proxy.connect() as client:
        for origin, body in ((two, b"two"), (one, b"one"), (two, b"two")):
            proxy.write(service(origin.url))
            result = proxy.ctl("reload")
            assert result.returncode == 0, result
            assert str(origin.port) in result.stdout, "it does not say what changed"
            assert client.send(GET).response().body == body, "a connection that was open runs on the old configuration"
            assert {get(proxy.address).body for _ in range(8)} == {body}


def test_a_reload_may_bring_thousands_of_services(fresh, one, two) -> None:
    """The shared table was sized by the first configuration, which had one."""
    proxy = fresh(one)
    proxy.reload(*(service(two.url, one.url, name=f"s{number}", host=f"h{number}.test") for number in range(3000)))
    assert get(proxy.address, host="h2999.test").body in (b"one", b"two")
    assert proxy.status()["generation"] == 2


def test_a_reload_on_hup(terraster, one, two) -> None:
    import signal

    proxy = terraster(one)
    proxy.write(service(two.url))
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: get(proxy.address).body == b"two")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("services: [", "terraster.yaml:"),
        ("servces: []\n", "servces"),
        ("services:\n- name: x\n  locations:\n  - path: /\n    lb_policy: fastest\n", "fastest"),
        ("services:\n- name: x\n  locations:\n  - path: /\n    backends: [{url: nonsense}]\n", "nonsense"),
        ("services:\n- name: x\n  locations:\n  - path: /\n    backends: ['http://h']\n    middleware: [{shed: {}}]\n", "loop_lag"),
        (None, "terraster.yaml"),
    ],
    ids=["no YAML", "unknown key", "unknown algorithm", "unusable URL", "levels that say too little", "file gone"],
)
def test_a_bad_file_changes_nothing_and_says_why(terraster, one, text: str | None, complaint: str) -> None:
    """On the terminal that asked, with the place, and in a metric."""
    proxy = terraster(one)
    if text is None:
        proxy.config_file.unlink()
    else:
        base = "".join(line for line in proxy.config_file.read_text().partition("services:")[0])
        proxy.config_file.write_text(base + text)
    result = proxy.ctl("reload", find_by="runtime dir")
    assert result.returncode == 1, (result.stdout, result.stderr)
    said = result.stderr + result.stdout
    assert complaint in said, said
    if text is not None:
        line = next(line for line in said.splitlines() if "terraster.yaml:" in line)
        assert re.search(r"terraster\.yaml:\d+:\d+: ", line), line
    assert get(proxy.address).body == b"one"
    assert proxy.metrics()["terraster_config_last_reload_successful"] == 0
    proxy.reload(service(one.url))
    assert proxy.metrics()["terraster_config_last_reload_successful"] == 1


def test_a_bad_file_is_reported_by_its_name_too(terraster, one) -> None:
    """Where the socket is stands in the file that is broken: the command finds it all the same."""
    proxy = terraster(one)
    proxy.config_file.write_text(proxy.config_file.read_text() + "servces: []\n")
    result = proxy.ctl("reload")
    assert result.returncode == 1, (result.stdout, result.stderr)
    assert "servces" in result.stderr + result.stdout


def test_a_request_in_flight_ends_on_the_configuration_it_began_with(terraster, backend, two) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            assert go.wait(20)
            peer.send(ok(b"slow one"))

    slow = backend(script)
    proxy = terraster(slow)
    with proxy.connect() as client:
        client.send(GET)
        slow.wait()
        proxy.reload(service(two.url))
        assert get(proxy.address).body == b"two"
        go.set()
        assert client.response().body == b"slow one"
        assert client.send(GET).response().body == b"two"


def test_an_open_websocket_survives(terraster, backend, one, two) -> None:
    """Even reloads that take its own backend away."""
    echo = backend(websocket_echo)
    chat = service(echo.url, name="chat", host="chat.test")
    proxy = terraster(chat, service(one.url, name="site"))
    with proxy.connect() as client:
        client.send(HANDSHAKE.replace(b"a.test", b"chat.test")).response(upgrade=True)
        for origin in (two, one, two):
            proxy.reload(chat, service(origin.url, name="site"))
            assert read_frame(client.send(frame(b"still here"))) == b"still here"
        proxy.reload(service(one.url, name="site"))
        assert read_frame(client.send(frame(b"still here"))) == b"still here"


def test_pooled_connections_of_untouched_backends_survive(terraster, one, two) -> None:
    proxy = terraster(service(one.url, name="one", host="one.test"))
    with proxy.connect() as client:
        for number in range(4):
            assert client.send(b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n").response().body == b"one"
            proxy.reload(service(one.url, name="one", host="one.test"), service(two.url, name=f"two{number}", host="two.test"))
    assert len(one.peers) == 1


def test_counters_survive(terraster, one, two) -> None:
    proxy = terraster(one)
    for _ in range(3):
        get(proxy.address)
    proxy.reload(service(one.url, two.url))
    get(proxy.address), get(proxy.address)
    wait_until(lambda: proxy.metrics().get(SERVED) == 5)


def test_listeners_come_and_go(terraster, one, two) -> None:
    proxy = terraster(one)
    port = free_port()
    proxy.reload(service(one.url), service(two.url, name="two", listen=f"127.0.0.1:{port}"))
    assert get(("127.0.0.1", port)).body == b"two"
    assert get(proxy.address).body == b"one"
    proxy.reload(service(one.url))
    with pytest.raises(ConnectionRefusedError):
        get(("127.0.0.1", port))
    assert get(proxy.address).body == b"one"


def test_a_listener_that_cannot_bind_fails_the_reload(terraster, one, two) -> None:
    proxy = terraster(one)
    proxy.write(service(one.url), service(two.url, name="two", listen=f"127.0.0.1:{two.port}"))
    result = proxy.ctl("reload")
    assert result.returncode == 1
    assert str(two.port) in result.stderr + result.stdout
    assert get(proxy.address).body == b"one"


def test_reloads_under_load(terraster, one, two) -> None:
    """Clients that never stop see nothing but answers."""
    proxy = terraster(one, workers=2)
    stop = threading.Event()
    bad: list[object] = []
    count = [0] * 4

    def ask(number: int) -> None:
        try:
            with proxy.connect() as client:
                while not stop.is_set():
                    answer = client.send(GET).response()
                    count[number] += 1
                    if answer.status != 200:
                        bad.append(answer)
        except (OSError, AssertionError) as error:
            bad.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for origins in ((one, two), (two,), (one,), (two, one), (one,)):
            proxy.reload(service(*(origin.url for origin in origins)))
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert bad == []
    assert min(count) > 10
