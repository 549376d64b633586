"""How a compiled worker accepts clients: what it makes of them is what the interpreter's sockets make."""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from terraster.certs.certificate import read_certificate
from terraster.certs.contexts import server_context
from terraster.config.snapshot import Listener, Tls
from terraster.net.reactor import Reactor
from terraster.net.stream import Stream
from terraster.net.tls import TlsStream
from terraster.worker.accept import Acceptor

from .harness.authority import Authority

accepted = pytest.importorskip("terraster.net.accepted", reason="this Terraster is not compiled")

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue("a.test")
TLS = Tls(certificates=(read_certificate("c.pem", ISSUED.chain, ISSUED.key),))

V4, V6 = socket.AF_INET, socket.AF_INET6


@contextmanager
def listening(family: int, address: Any) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as made:
        if family == V6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
        made.listen()
        made.setblocking(False)
        yield made


def taken(sock: socket.socket) -> Any:
    return accepted.accept(sock.fileno(), sock.family, sock.type, sock.proto)


def by_an_acceptor(sock: socket.socket, own: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str, int]:
    """What an acceptor welcomes. It gives the socket up."""
    if not own:
        monkeypatch.setattr("terraster.worker.accept._own", None)
    found: list[Any] = []
    welcome: Callable[..., None] = lambda *one: found.append(one[:3])  # noqa: E731
    Acceptor(Reactor(), Listener(""), sock, welcome, lambda: 9, lambda: 9, lambda error: False).close(last=True)
    (one,) = found
    return one  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("family", "address", "near"),
    [(V4, "127.0.0.1", "127.0.0.1"), (V6, "::", "127.0.0.1"), (V6, "::1", "::1"), (V6, "::", "::1")],
)
def test_addresses_are_those_of_the_interpreter(family: int, address: str, near: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for own in (True, False):
        with listening(family, (address, 0)) as sock, socket.create_connection((near, sock.getsockname()[1])) as client:
            made, ip, port = by_an_acceptor(sock, own, monkeypatch)
            assert (ip, port, made.family, type(made) is accepted.Accepted) == (near, client.getsockname()[1], family, own)
            assert not os.get_blocking(made.fileno()) and not os.get_inheritable(made.fileno())
            made.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    with listening(socket.AF_UNIX, str(tmp_path / "s")) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        made, ip, port = taken(sock)
        assert (ip, port, made.family) == ("unix", 0, socket.AF_UNIX)


def test_nobody_waits_and_errors() -> None:
    with listening(V4, ("127.0.0.1", 0)) as sock:
        assert taken(sock) is None
        with socket.create_connection(sock.getsockname()):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
                with pytest.raises(OSError) as few:
                    taken(sock)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert few.value.errno == errno.EMFILE
            assert taken(sock) is not None, "the client waits on"
    with pytest.raises(OSError) as bad, socket.socket() as plain:
        taken(plain)
    assert bad.value.errno == errno.EINVAL


@pytest.mark.parametrize("asks", [False, True])
def test_a_stream_has_the_interpreters_socket_if_it_is_asked_for(asks: bool) -> None:
    with listening(V4, ("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()) as client:
        made, _, _ = taken(sock)
        number = made.fileno()
        stream = Stream(Reactor(), made)
        if asks:
            assert stream.sock is stream.sock
            assert stream.sock.fileno() == number and stream.sock.gettimeout() == 0.0
            assert stream.sock.getpeername() == client.getsockname()
            assert made.fileno() == -1
        client.sendall(b"?")
        assert stream.recv_now() == b"?"
        stream.shutdown()
        assert client.recv(1) == b""
        stream.close()
        stream.close()
        stream.shutdown()
        with pytest.raises(OSError) as error:
            os.fstat(number)
        assert error.value.errno == errno.EBADF
        assert stream.sock.fileno() == -1
        with pytest.raises(OSError):
            stream.sock.recv(1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_conversation_over_tls_needs_no_socket_of_the_interpreter(version: ssl.TLSVersion) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.load_verify_locations(cadata=AUTHORITY.root.decode())
    theirs.maximum_version = version
    reactor = Reactor()
    with listening(V4, ("127.0.0.1", 0)) as sock:
        client = gevent.get_hub().threadpool.spawn(talk, theirs, sock.getsockname())
        while (found := taken(sock)) is None:
            gevent.sleep(0.001)
        made = found[0]
        plain = Stream(reactor, made)
        plain.owner = Owner()
        plain.listen()
        stream = TlsStream(plain, server_context(TLS))
        stream.accept(plain.recv(5.0), 0.0)
        assert stream.recv(5.0) == b"question"
        assert stream.peek() is None
        stream.send(bytes(2_000_000), 5.0)  # more than the kernel takes at once
        assert stream.recv(5.0) == b"more"
        stream.shutdown()
        assert made.fileno() >= 0, "a socket of the interpreter has taken it over"
        assert client.get(timeout=10) == b""
        stream.close()
    assert made.fileno() == -1


def talk(context: ssl.SSLContext, address: Any) -> bytes:
    """A client of the standard library. Returns what comes at the end: b"" is a goodbye."""
    with socket.create_connection(address, timeout=10) as sock, context.wrap_socket(sock, server_hostname="a.test") as secure:
        secure.sendall(b"question")
        left = 2_000_000
        while left:
            left -= len(secure.recv(65536))
        secure.sendall(b"more")
        return secure.recv(1)


class Owner:
    def unexpected(self) -> None: ...

    def timed_out(self, writing: bool) -> Exception:
        return TimeoutError()

    def lost(self) -> Exception:
        return ConnectionError()

    def waits_for_head(self) -> bool:
        return False


def test_a_client_that_nobody_keeps_is_closed() -> None:
    with listening(V4, ("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()) as client:
        taken(sock)
        client.settimeout(5)
        assert client.recv(1) == b""
