"""The engine's settings of a service, tried with real clients of the library."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest

from terraster.certs.certificate import read_certificate
from terraster.certs.contexts import Contexts, server_context
from terraster.certs.libssl import openssl
from terraster.config.client_auth import Authorities, ClientAuth
from terraster.config.snapshot import Tls

from .harness.authority import Authority

CA = Authority()
EC, RSA = CA.issue("a.test"), CA.issue("a.test", kind="rsa")
CERTIFICATES = tuple(read_certificate(kind, one.chain, one.key) for kind, one in (("ec", EC), ("rsa", RSA)))


def client(**settings: object) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.root.decode())
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def talk(
    server: ssl.SSLContext, context: ssl.SSLContext, session: ssl.SSLSession | None = None, name: str = "a.test"
) -> ssl.SSLObject:
    """The client's end after a handshake and an octet in each direction."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(one, other, server_side=True)
    here = context.wrap_bio(other, one, server_hostname=name, session=session)
    for _ in range(4):
        for end in (here, there):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    there.write(b"x")
    assert here.read() == b"x"
    return here


def test_versions() -> None:
    assert talk(server_context(Tls(certificates=CERTIFICATES)), client()).version() == "TLSv1.3"
    assert (
        talk(server_context(Tls(certificates=CERTIFICATES)), client(maximum_version=ssl.TLSVersion.TLSv1_2)).version() == "TLSv1.2"
    )
    with pytest.raises(ssl.SSLError, match="(?i)protocol"):
        talk(server_context(Tls(certificates=CERTIFICATES, min_version="1.3")), client(maximum_version=ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize("suite,kind", [("ECDHE-RSA-AES128-GCM-SHA256", "RSA"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA")])
def test_both_kinds_of_certificates_side_by_side(suite: str, kind: str) -> None:
    context = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    end = talk(server_context(Tls(certificates=CERTIFICATES)), context)
    assert kind in end.cipher()[0]


def test_weak_suites_are_refused() -> None:
    context = client(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        talk(server_context(Tls(certificates=CERTIFICATES)), context)


def test_a_session_is_resumed_and_without_tickets_it_is_not() -> None:
    for tickets in (True, False):
        server = server_context(Tls(certificates=CERTIFICATES, tickets=tickets))
        context = client()
        first = talk(server, context)
        again = talk(server, context, first.session)
        assert again.session_reused is tickets


def test_a_context_is_made_once_and_again_when_its_settings_change() -> None:
    contexts = Contexts()
    one, other = Tls(certificates=CERTIFICATES), Tls(certificates=CERTIFICATES)
    first = contexts.get("a", one)
    assert contexts.get("a", one) is first
    assert contexts.get("a", other) is not first


def test_the_contexts_used_last_are_kept() -> None:
    contexts = Contexts(most=2)
    tls = Tls(certificates=CERTIFICATES[:1])
    first, _ = contexts.get("a", tls), contexts.get("b", tls)
    assert contexts.get("a", tls) is first
    contexts.get("c", tls)
    assert contexts.get("a", tls) is first, "b was used less recently"


def test_a_service_with_certificates_for_several_names_has_a_context_for_each() -> None:
    made = [CA.issue(name) for name in ("a.test", "b.test")]
    contexts, tls = Contexts(), Tls(certificates=tuple(read_certificate("c.pem", one.chain, one.key) for one in made))
    found = {name: contexts.get("s", tls, name) for name in ("a.test", "b.test", "c.test", "")}
    assert found["a.test"] is found["c.test"] is found[""] is not found["b.test"]
    for name in ("a.test", "b.test"):
        end = talk(found[name], client(), name=name)
        assert (end.getpeercert() or {})["subjectAltName"] == (("DNS", name),)


@pytest.mark.parametrize(
    ("group", "taken"), [("X25519", True), ("prime256v1", True), ("secp384r1", True), ("X448", False), ("secp521r1", False)]
)
def test_groups(group: str, taken: bool) -> None:
    context = client()
    context.set_ecdh_curve(group)
    server = Contexts().get("a", Tls(certificates=CERTIFICATES))
    if taken:
        talk(server, context)
    else:
        with pytest.raises(ssl.SSLError):
            talk(server, context)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ((), "TLS_AES_128_GCM_SHA256"),
        (("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"), "TLS_AES_128_GCM_SHA256"),
        (("TLS_AES_256_GCM_SHA384",), "TLS_AES_256_GCM_SHA384"),
        (("TLS_CHACHA20_POLY1305_SHA256",), "TLS_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_suites_of_tls_1_3(wanted: tuple[str, ...], taken: str) -> None:
    """The one that costs least is taken, from clients that prefer another one too."""
    library, context = openssl(), client()
    assert library is not None and (not wanted or library.set_suites(context, wanted))
    end = talk(Contexts().get("a", Tls(certificates=CERTIFICATES)), context)
    assert end.cipher()[0] == taken


def test_a_setting_that_the_library_refuses_leaves_no_error_for_other_connections() -> None:
    library = openssl()
    assert library is not None
    end = talk(Contexts().get("a", Tls(certificates=CERTIFICATES)), client())
    for refused in (
        library.set_groups(client(), ("no-group",)),
        library.set_suites(client(), ("no-suite",)),
    ):
        assert not refused
        with pytest.raises(ssl.SSLWantReadError):
            end.read(1)


@pytest.mark.parametrize("chain", (EC.chain, EC.alone), ids=("with its issuer", "alone"))
def test_clients_get_the_certificates_of_the_file_and_no_others(chain: bytes) -> None:
    """The authorities of clients are no part of a chain, even if one of them issued the certificate."""
    authorities = Authorities(CA.issuer + CA.root, False, 0.0, 0.0, "digest")
    tls = Tls(
        certificates=(read_certificate("ec", chain, EC.key),), client_auth=ClientAuth("request", "/ca.pem", authorities=authorities)
    )
    context = client(check_hostname=False, verify_mode=ssl.CERT_NONE)
    end = talk(Contexts().get("a", tls), context)
    sent = end._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # without the underscore from Python 3.13 on
    assert len(sent) == chain.count(b"BEGIN CERTIFICATE")


@pytest.mark.parametrize("tickets", (True, False))
def test_a_client_gets_one_ticket(tickets: bool) -> None:
    assert server_context(Tls(certificates=CERTIFICATES, tickets=tickets)).num_tickets == int(tickets)
