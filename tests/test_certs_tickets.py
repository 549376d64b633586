"""Keys of session tickets: the same ticket at several workers, before and after the keys change, and at other services."""

from __future__ import annotations

import _ssl
import ctypes
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest

from terraster.certs import libssl
from terraster.certs.certificate import read_certificate
from terraster.certs.contexts import Contexts
from terraster.certs.libssl import KEY_SIZE, Libssl, Refused
from terraster.certs.tickets import TicketSecrets, derive
from terraster.config.snapshot import Tls
from terraster.wire.client_hello import HelloReader

from .harness.authority import Authority

CA = Authority()
SITE = CA.issue("a.test")
TLS = Tls(certificates=(read_certificate("site", SITE.chain, SITE.key),))
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root.decode())
    context.minimum_version = context.maximum_version = version
    return context


def worker(secrets: TicketSecrets | None, library: Libssl | None = None) -> Contexts:
    contexts = Contexts(library=library)
    contexts.secrets = secrets
    return contexts


def visit(
    at: Contexts, context: ssl.SSLContext, session: ssl.SSLSession | None = None, service: str = "a", tls: Tls = TLS
) -> ssl.SSLObject:
    """The client's end after a handshake as `terraster.phases.secure` does it, and an octet of the server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(to_client, to_server, server_hostname="a.test", session=session)
    with suppress(ssl.SSLWantReadError):
        here.do_handshake()
    hello_octets = to_server.read()
    hello = HelloReader().feed(hello_octets)
    assert hello is not None
    to_server.write(hello_octets)
    chosen, keys = at.find(service, tls)
    there = chosen.wrap_bio(to_server, to_client, server_side=True)
    others = keys is not None and keys.read(hello.tickets)
    with suppress(ssl.SSLWantReadError):
        there.do_handshake()
    if keys is not None and others:
        keys.write()
    for _ in range(3):
        for end in (here, there):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    there.write(b"x")
    assert here.read() == b"x"
    with suppress(ssl.SSLWantReadError):
        there.unwrap()  # OpenSSL forgets a session whose connection was not ended in an orderly way
    return here


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_goes_on_at_every_worker_and_after_a_change_of_the_certificate(version: ssl.TLSVersion) -> None:
    secrets = TicketSecrets.new()
    workers = [worker(secrets) for _ in range(3)]
    context = client(version)
    end = visit(workers[0], context)
    for one in (*workers, *workers):
        end = visit(one, context, end.session)
        assert end.session_reused
    again = replace(TLS, certificates=(read_certificate("new", *(lambda new: (new.chain, new.key))(CA.issue("a.test"))),))
    assert visit(workers[0], context, end.session, tls=again).session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_tickets_of_the_key_before_and_of_the_key_to_come_are_read(version: ssl.TLSVersion) -> None:
    first = TicketSecrets.new()
    second = first.rotated()
    third = second.rotated()
    one, other = worker(first), worker(second)
    context = client(version)
    early, late = visit(one, context).session, visit(other, context).session
    assert visit(other, context, early).session_reused, "a ticket of the key before"
    assert visit(one, context, late).session_reused, "a ticket of a worker that knows the new key already"
    one.secrets = third
    assert visit(one, context, late).session_reused
    assert not visit(one, context, early).session_reused, "two changes later"
    assert visit(one, context, visit(one, context).session).session_reused


def test_a_new_ticket_is_written_with_the_current_key_even_if_an_old_one_came() -> None:
    first = TicketSecrets.new()
    one = worker(first)
    context = client(ssl.TLSVersion.TLSv1_3)
    old = visit(one, context)
    one.secrets = first.rotated()
    resumed = visit(one, context, old.session)
    assert resumed.session_reused
    one.secrets = one.secrets.rotated()
    assert visit(one, context, resumed.session).session_reused


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("service", "tls"), [("b", TLS), ("a", replace(TLS, ciphers=("ECDHE-ECDSA-AES128-GCM-SHA256",)))], ids=["name", "admission"]
)
def test_a_session_of_one_service_is_worth_nothing_at_another(version: ssl.TLSVersion, service: str, tls: Tls) -> None:
    one = worker(TicketSecrets.new())
    context = client(version)
    session = visit(one, context).session
    assert not visit(one, context, session, service, tls).session_reused
    assert visit(one, context, session).session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_without_tickets_nothing_is_resumed(version: ssl.TLSVersion) -> None:
    one = worker(TicketSecrets.new())
    context = client(version)
    tls = replace(TLS, tickets=False)
    end = visit(one, context, tls=tls)
    assert not visit(one, context, end.session, tls=tls).session_reused


def test_keys_are_of_their_secret_and_their_label() -> None:
    found = {derive(secret, label) for secret in (b"1" * 48, b"2" * 48) for label in (b"a", b"b", b"ab")}
    assert len(found) == 6
    assert {len(keys) for keys in found} == {KEY_SIZE}
    assert derive(b"1" * 48, b"a") in found
    assert len({keys[:16] for keys in found} | {keys[16:48] for keys in found} | {keys[48:] for keys in found}) == 18


def test_secrets_are_in_no_text() -> None:
    secrets = TicketSecrets.new()
    assert repr(secrets.current) not in repr(secrets)
    assert repr(secrets) == "TicketSecrets()"


def _no_file(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(_ssl, "__file__")


def _no_symbols(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())


def _other_options(patch: pytest.MonkeyPatch) -> None:
    told = ctypes.CDLL(_ssl.__file__)  # a handle of its own
    told.SSL_CTX_get_options = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(lambda pointer: 12345)  # type: ignore[attr-defined]
    patch.setattr(ctypes, "CDLL", lambda name: told)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(_no_file, "library of its own"), (_no_symbols, "SSL_CTX_ctrl"), (_other_options, "another form")],
)
def test_a_library_that_cannot_be_reached_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], None], why: str
) -> None:
    monkeypatch.setattr(libssl, "_found", [])
    with monkeypatch.context() as patch:
        spoil(patch)
        with pytest.raises(Refused, match=why):
            Libssl()
        assert libssl.openssl() is None
        assert why in libssl.refusal()
        alone, other = worker(TicketSecrets.new()), worker(TicketSecrets.new())
        assert alone.find("a", TLS)[1] is None
    context = client(ssl.TLSVersion.TLSv1_3)
    session = visit(alone, context).session
    assert visit(alone, context, session).session_reused
    assert not visit(other, context, session).session_reused
