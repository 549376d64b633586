"""Which session a new connection to a backend resumes: both engines in memory, and the time an argument."""

from __future__ import annotations

import gc
import ssl
from pathlib import Path

import pytest

from terraster.certs.client_contexts import ClientContexts
from terraster.config.snapshot import Backend, Credentials
from terraster.net.client_tls import FULL, ClientTls

from .harness.authority import Authority


@pytest.fixture(scope="module", params=["1.2", "1.3"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority().issue("a.test").write(folder))
    context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_2 if request.param == "1.2" else ssl.TLSVersion.TLSv1_3
    return context


def way(name: str = "a.test") -> ClientTls:
    return ClientTls(Backend("b", f"https://{name}", "https", name, 443, skip_tls_verify=True), ClientContexts())


def connect(client: ClientTls, server: ssl.SSLContext, now: float, keep: bool = True) -> bool:
    """One connection. True if it resumed a session."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.engine(back, there, now)
    theirs = server.wrap_bio(there, back, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for engine in (ours, theirs):
            try:
                engine.do_handshake()
                done.add(engine)
            except ssl.SSLWantReadError:
                pass
    client.shaken(ours, now)
    theirs.write(b"answer")
    assert ours.read() == b"answer"
    if keep:
        client.keep(ours)
    return bool(ours.session_reused)


def test_the_newest_session_is_resumed(server: ssl.SSLContext) -> None:
    client = way()
    assert [connect(client, server, now) for now in (1.0, 2.0, 3.0)] == [False, True, True]


def test_without_a_session_nothing_is_resumed(server: ssl.SSLContext) -> None:
    client = way()
    assert [connect(client, server, now, keep=False) for now in (1.0, 2.0)] == [False, False]


def test_a_certificate_is_verified_again_after_a_while(server: ssl.SSLContext) -> None:
    """However many connections resumed a session since, each of which brought a new one."""
    client = way()
    times = (1.0, 0.9 * FULL, FULL, 1.0 + FULL, 2.0 + FULL, 1.9 * FULL, 1.0 + 2 * FULL)
    assert [connect(client, server, now) for now in times] == [False, True, True, False, True, True, False]


def test_after_a_handshake_that_failed_the_next_one_is_full(server: ssl.SSLContext) -> None:
    client = way()
    connect(client, server, 1.0)
    client.forget()
    assert [connect(client, server, now) for now in (2.0, 3.0)] == [False, True]


def test_sessions_of_two_backends_are_apart(server: ssl.SSLContext) -> None:
    connect(one := way(), server, 1.0)
    assert not connect(way(), server, 2.0)
    assert connect(one, server, 3.0)


def test_contexts_are_shared_while_they_are_used() -> None:
    contexts, plain = ClientContexts(), Credentials()
    verified, other = contexts.get(False, plain), contexts.get(True, plain)
    assert contexts.get(False, Credentials()) is verified is not other
    assert (verified.verify_mode, other.verify_mode) == (ssl.CERT_REQUIRED, ssl.CERT_NONE)
    assert verified.minimum_version == other.minimum_version == ssl.TLSVersion.TLSv1_2
    del verified
    gc.collect()
    assert len(contexts._made) == 1
