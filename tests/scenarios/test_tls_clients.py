"""TLS towards clients: which service and certificate a client gets, what is refused and how, and that octets come through whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from terraster.wire.client_hello import alert

from ..harness.authority import Authority
from ..harness.backends import Peer, ok
from ..harness.client import Connection
from ..harness.ports import free_port
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import wait_until

CA = Authority()
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"


def client(**settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root.decode())
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("certificates")
    found = {}
    for name, names in (("a", ("a.test",)), ("b", ("*.b.test",)), ("any", ("fallback.test",))):
        chain, key = CA.issue(*names).write(folder, name)
        found[name] = {"cert_file": str(chain), "key_file": str(key)}
    return found


@pytest.fixture
def site(terraster, backend, certificates) -> Terraster:
    """Terraster with a.test and *.b.test."""
    here = backend(answer=lambda request: ok(request.raw)).url
    return terraster(
        service(here, name="a", host="a.test", tls=certificates["a"]),
        service(here, name="b", host="*.b.test", tls=certificates["b"]),
    )


def dial(proxy: Terraster, name: str | None = "a.test", **settings: Any) -> Connection:
    return proxy.connect().secure(client(**settings), name)


def subjects(connection: Connection) -> list[str]:
    sock: Any = connection.sock
    return [value for kind, value in sock.getpeercert()["subjectAltName"] if kind == "DNS"]


def test_a_request_over_tls(site) -> None:
    with dial(site) as one:
        for _ in range(3):
            answer = one.send(GET).response()
            assert answer.status == 200
            assert b"X-Forwarded-Proto: https\r\n" in answer.body
        assert one.sock.version() == "TLSv1.3"  # type: ignore[attr-defined]


def test_the_name_chooses_service_and_certificate(site) -> None:
    for name, expected in (("a.test", "a.test"), ("x.b.test", "*.b.test"), ("A.TEST", "a.test")):
        with dial(site, name) as one:
            assert subjects(one) == [expected]
            answer = one.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % name.encode()).response()
            assert answer.status == 200


@pytest.mark.parametrize("name", ["c.test", "b.test", None, "127.0.0.1"])
def test_an_unknown_name_is_refused_with_its_alert(site, name: str | None) -> None:
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        dial(site, name, check_hostname=False)


def test_a_name_that_an_expression_matches(terraster, backend, certificates) -> None:
    """It chooses service, settings and certificate, as any other name does."""
    here = backend(answer=lambda request: ok(request.raw)).url
    proxy = terraster(
        service(here, name="a", host="a.test", tls=certificates["a"]),
        service(here, name="b", host=r"~[x-z]\.b\.test", tls={**certificates["b"], "min_version": "1.3"}),
    )
    with dial(proxy, "x.b.test") as one:
        assert subjects(one) == ["*.b.test"] and one.sock.version() == "TLSv1.3"  # type: ignore[attr-defined]
        assert one.send(b"GET / HTTP/1.1\r\nHost: y.b.test\r\n\r\n").response().status == 200
        assert one.send(GET).response().status == 421
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        dial(proxy, "w.b.test")


def test_a_default_service_takes_unknown_names(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"default")).url
    proxy = terraster(
        service(here, name="a", host="a.test", tls=certificates["a"]),
        service(here, name="d", host="d.test", tls={**certificates["any"], "default": True}),
    )
    for name in ("c.test", None):
        with dial(proxy, name, check_hostname=False) as one:
            assert subjects(one) == ["fallback.test"]


def test_a_service_for_all_hosts_takes_unknown_names(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"any")).url
    proxy = terraster(
        service(here, name="a", host="a.test", tls=certificates["a"]), service(here, name="d", tls=certificates["any"])
    )
    for name in ("c.test", None):
        with dial(proxy, name, check_hostname=False) as one:
            assert subjects(one) == ["fallback.test"]
            assert one.send(b"GET / HTTP/1.1\r\nHost: c.test\r\n\r\n").response().body == b"any"


def test_a_client_without_a_name_gets_the_only_certificate(terraster, backend, certificates) -> None:
    proxy = terraster(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=certificates["a"]))
    with dial(proxy, None, check_hostname=False) as one:
        assert subjects(one) == ["a.test"]
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        dial(proxy, "c.test")


def test_protocols(terraster, backend, certificates) -> None:
    proxy = terraster(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=certificates["a"], http2=False))
    context = client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with proxy.connect().secure(context, "a.test") as one:
        assert one.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]
    context = client()
    context.set_alpn_protocols(["h2", "spdy/3"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        proxy.connect().secure(context, "a.test")


def test_h2_is_offered_first_where_it_is_on(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"x")).url
    proxy = terraster(
        service(here, name="a", host="a.test", tls=certificates["a"], http2=True),
        service(here, name="b", host="*.b.test", tls={**certificates["b"], "http2": False}, http2={"max_streams": 5}),
    )
    for name, chosen in (("a.test", "h2"), ("x.b.test", "http/1.1")):
        context = client()
        context.set_alpn_protocols(["http/1.1", "h2"])
        with proxy.connect().secure(context, name) as one:
            assert one.sock.selected_alpn_protocol() == chosen  # type: ignore[attr-defined]


def test_versions_of_each_service(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"x")).url
    proxy = terraster(
        service(here, name="a", host="a.test", tls=certificates["a"]),
        service(here, name="b", host="*.b.test", tls={**certificates["b"], "min_version": "1.3"}),
    )
    old = ssl.TLSVersion.TLSv1_2
    with dial(proxy, "a.test", maximum_version=old) as one:
        assert one.sock.version() == "TLSv1.2"  # type: ignore[attr-defined]
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        dial(proxy, "x.b.test", maximum_version=old)


def test_a_handshake_for_one_service_is_none_for_a_stricter_one(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"x")).url
    proxy = terraster(
        service(here, name="a", host="a.test", tls={**certificates["a"], "min_version": "1.3"}),
        service(here, name="b", host="*.b.test", tls=certificates["b"]),
        service(here, name="c", host="c.test", tls=certificates["b"]),
    )
    with dial(proxy, "x.b.test", maximum_version=ssl.TLSVersion.TLSv1_2) as one:
        assert one.send(b"GET / HTTP/1.1\r\nHost: c.test\r\n\r\n").response().status == 200
        assert one.send(GET).response().status == 421


def test_plain_http_gets_one_clear_answer(site) -> None:
    with site.connect() as one:
        answer = one.send(GET + GET).response()
        assert answer.status == 400
        assert b"plain HTTP on a port for TLS" in answer.body
        assert "close" in answer.all("connection")
        assert one.is_closed()


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"\x80\x2e\x01\x03\x01", alert(70)),
        (b"\x16\x03\x01\x00\x00", alert(10)),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", alert(10)),
        (b"\x15\x03\x01\x00\x02\x02\x28", b""),
        (b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", alert(50)),
    ],
    ids=["SSL 2", "an empty record", "no hello", "an alert", "half a hello"],
)
def test_what_is_no_hello(site, octets: bytes, answer: bytes) -> None:
    with site.connect() as one:
        one.send(octets)
        assert one.rest() == answer
    with dial(site) as one:
        assert one.send(GET).response().status == 200


def test_a_hello_octet_by_octet(site) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = client().wrap_bio(incoming, outgoing, server_hostname="a.test")
    with site.connect() as one:
        while True:
            try:
                engine.do_handshake()
                break
            except ssl.SSLWantReadError:
                for octet in outgoing.read():
                    one.sock.sendall(bytes([octet]))
                incoming.write(one.sock.recv(65536))
        engine.write(GET)
        one.sock.sendall(outgoing.read())
        incoming.write(one.sock.recv(65536))
        while True:
            try:
                assert engine.read().startswith(b"HTTP/1.1 200 OK\r\n")
                break
            except ssl.SSLWantReadError:
                incoming.write(one.sock.recv(65536))


def test_a_silent_client_and_half_a_hello_are_ended(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"x")).url
    proxy = terraster(service(here, name="a", host="a.test", tls=certificates["a"]), timeouts={"client_header": "300ms"})
    for octets in (b"", b"\x16\x03\x01\x02\x00\x01", b"\x16"):
        began = time.monotonic()
        with proxy.connect() as one:
            one.sock.sendall(octets)
            assert one.rest() == b""
            assert time.monotonic() - began >= 0.3


def test_a_client_that_drips_its_hello_is_ended(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"x")).url
    proxy = terraster(service(here, name="a", host="a.test", tls=certificates["a"]), timeouts={"client_header": "500ms"})
    with proxy.connect() as one:
        one.sock.sendall(b"\x16\x03\x01\x20\x00")
        with pytest.raises(OSError):
            for _ in range(100):
                one.sock.sendall(b"x")
                time.sleep(0.1)


def test_large_bodies_both_ways(site) -> None:
    body = os.urandom(3_000_000)
    with dial(site) as one:
        answer = one.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body).response("POST")
        assert answer.status == 200
        assert hashlib.sha256(answer.body[-len(body) :]).digest() == hashlib.sha256(body).digest()
        assert one.send(GET).response().status == 200


def test_requests_sent_ahead(site) -> None:
    with dial(site) as one:
        one.send(GET * 5)
        assert [one.response().status for _ in range(5)] == [200] * 5


def test_a_client_that_sends_ahead_while_the_backend_works_loses_nothing(terraster, backend, certificates) -> None:
    def slow(peer: Peer) -> None:
        while request := peer.request():
            time.sleep(0.3)
            peer.send(ok(request.raw))

    proxy = terraster(service(backend(slow).url, name="a", host="a.test", tls=certificates["a"]))
    with dial(proxy) as one:
        one.send(GET)
        time.sleep(0.1)  # the backend works: the next request arrives meanwhile
        one.send(b"GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert b"GET /x " in one.response().body
        assert b"GET /second " in one.response().body


def test_a_client_that_leaves_while_the_backend_works_is_noticed(terraster, backend, certificates) -> None:
    left: list[float] = []

    def hangs(peer: Peer) -> None:
        peer.request()
        peer.rest()
        left.append(time.monotonic())

    proxy = terraster(service(backend(hangs).url, name="a", host="a.test", tls=certificates["a"]))
    for leave in ("close_notify", "end"):
        left.clear()
        one = dial(proxy).send(GET)
        time.sleep(0.1)
        if leave == "end":
            plain = socket.socket(fileno=os.dup(one.sock.fileno()))
            one.sock.detach()
            plain.shutdown(socket.SHUT_RDWR)
            plain.close()
        else:
            one.close()
        wait_until(lambda: len(left) == 1, f"after {leave} the backend works on")


def test_the_end_of_an_answer_until_close_is_told(terraster, backend, certificates) -> None:
    """close_notify says that nothing was cut off; an answer that breaks off ends without."""

    def until_close(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        peer.send(b"HTTP/1.0 200 OK\r\n\r\nwhole")

    proxy = terraster(service(backend(until_close).url, name="a", host="a.test", tls=certificates["a"]))
    context = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    sock = context.wrap_socket(proxy.connect().sock, server_hostname="a.test", suppress_ragged_eofs=False)
    sock.sendall(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
    octets = b""
    while more := sock.recv(65536):
        octets += more
    assert octets.endswith(b"whole")


def test_an_answer_that_breaks_off_is_no_whole_one(terraster, backend, certificates) -> None:
    def cut(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(0.2)
        peer.reset()

    proxy = terraster(service(backend(cut).url, name="a", host="a.test", tls=certificates["a"]))
    sock = client().wrap_socket(proxy.connect().sock, server_hostname="a.test", suppress_ragged_eofs=False)
    sock.sendall(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
    octets = b""
    with pytest.raises(OSError):  # a reset, or an end without close_notify
        while more := sock.recv(65536):
            octets += more
        raise AssertionError(f"it ended well: {octets!r}")
    sock.close()


def test_redirects_from_the_plain_port(fresh, backend, certificates) -> None:
    clear, secure = free_port(), free_port()
    here = backend(answer=ok(b"x")).url
    one = service(here, name="a", host="a.test", tls=certificates["a"], http_redirect=True, redirect_port=secure)
    two = service(here, name="b", host=r"~[xyz]\.b\.test", tls=certificates["b"], http_redirect=True, redirect_port=secure)
    fresh(one, two, listen=None, http_port=clear, https_port=secure)
    for host in ("a.test", "y.b.test"):
        with Connection(("127.0.0.1", clear)) as plain:
            answer = plain.send(b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()).response()
        assert (answer.status, answer.get("location")) == (308, f"https://{host}:{secure}/x")
    with Connection(("127.0.0.1", secure)).secure(client(), "a.test") as secured:
        assert secured.send(GET).response().status == 200


@pytest.mark.needs("openssl")
def test_openssl_resumes_a_session(site, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(CA.root)
    openssl = shutil.which("openssl")
    assert openssl is not None
    where = ["-connect", f"127.0.0.1:{site.port}", "-servername", "a.test", "-CAfile", str(root), "-verify_return_error", "-tls1_2"]

    def talk(*more: str) -> str:
        result = subprocess.run([openssl, "s_client", *where, *more], input=b"Q\n", capture_output=True, timeout=30)
        return result.stdout.decode()

    assert "Verify return code: 0 (ok)" in talk("-sess_out", str(tmp_path / "session"))
    assert "Reused, TLSv1.2" in talk("-sess_in", str(tmp_path / "session"))


@pytest.mark.needs("curl")
def test_curl(site, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(CA.root)
    result = subprocess.run(
        ["curl", "-sS", "--cacert", root, "--resolve", f"a.test:{site.port}:127.0.0.1", f"https://a.test:{site.port}/x"],
        capture_output=True,
        timeout=30,
    )
    assert result.returncode == 0, result.stderr
    assert b"X-Forwarded-Proto: https" in result.stdout


def test_a_changed_certificate_is_taken_without_a_reload(terraster, backend, tmp_path: Path) -> None:
    chain, key = CA.issue("a.test", serial=1001).write(tmp_path)
    tls = {"cert_file": str(chain), "key_file": str(key)}
    proxy = terraster(
        service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=tls), cert_manager={"check_interval": "200ms"}
    )

    def serial() -> int:
        with dial(proxy) as one:
            sock: Any = one.sock
            return int(sock.getpeercert()["serialNumber"], 16)

    with dial(proxy) as kept:
        assert (kept.send(GET).response().status, serial()) == (200, 1001)
        renewed = CA.issue("a.test", serial=1002)
        chain.write_bytes(renewed.chain)  # without its key: half of a renewal
        time.sleep(0.5)
        assert serial() == 1001
        key.write_bytes(renewed.key)
        wait_until(lambda: serial() == 1002, "the new certificate was not taken")
        assert kept.send(GET).response().status == 200


def test_a_certificate_that_cannot_be_used_refuses_the_reload(site, tmp_path: Path, backend) -> None:
    one, other = CA.issue("a.test"), CA.issue("a.test")
    chain, key = one.write(tmp_path)
    key.write_bytes(other.key)
    tls = {"cert_file": str(chain), "key_file": str(key)}
    site.write(service(backend(answer=ok(b"x")).url, name="a", host="a.test", tls=tls))
    outcome = site.control("POST", "/reload", why="test")
    assert not outcome["ok"] and "the key does not belong to the certificate" in str(outcome["problems"])
    with dial(site) as client_:
        assert client_.send(GET).response().status == 200


def test_a_reload_from_clear_to_tls_and_back(terraster, backend, certificates) -> None:
    here = backend(answer=ok(b"x")).url
    proxy = terraster(service(here, name="a", host="a.test"))
    with proxy.connect() as clear:
        assert clear.send(GET).response().status == 200
    proxy = terraster(service(here, name="a", host="a.test", tls=certificates["a"]))
    with dial(proxy) as secured:
        assert secured.send(GET).response().status == 200


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\n"], ids=["idle", "half a head"])
def test_a_connection_in_clear_does_not_outlive_a_reload_to_tls(terraster, backend, certificates, begun: bytes) -> None:
    """Else it would be a way around the handshake, and around certificates of clients."""
    origin = backend(answer=ok(b"x"))
    proxy = terraster(service(origin.url, name="a", host="a.test"))
    with proxy.connect() as kept:
        assert kept.send(GET).response().status == 200
        kept.send(begun)
        if begun:
            time.sleep(0.2)
        before = len(origin.requests)
        assert proxy.reload(service(origin.url, name="a", host="a.test", tls=certificates["a"]))["ok"]
        with suppress(OSError):
            kept.send(GET[len(b"GET /x HTTP/1.1\r\n") :] if begun else GET)
            rest = kept.rest()
            assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")
        assert len(origin.requests) == before
