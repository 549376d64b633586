"""Which of two certificates is certain for a client: against tables, and against what the engine chooses."""

from __future__ import annotations

import _ssl
import ctypes
import ssl
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from terraster.certs.contexts import INTERMEDIATE, server_context
from terraster.certs.libssl import openssl
from terraster.config.snapshot import Tls
from terraster.policy.key_kind import certain_kind
from terraster.wire.client_hello import HelloReader
from terraster.wire.hello_offer import Offer, offer

from .test_certs_contexts import CERTIFICATES, client

BOTH = {"ECDSA": "secp256r1", "RSA": ""}
EC, RSA, PSS = 0x0403, 0x0401, 0x0804
SUITE, RSA_SUITE = 0xC02B, 0xC02F


def hello(tls13: bool, *signatures: int, suites: tuple[int, ...] = (), groups: tuple[int, ...] = (23,), **more: object) -> Offer:
    return Offer(True, tls13, frozenset(suites), frozenset(groups), frozenset(signatures), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (hello(True, EC, PSS), "ECDSA"),
        (hello(True, PSS, RSA), "RSA"),
        (hello(True, 0x0503, PSS), ""),  # ECDSA, but of another curve
        (hello(True), ""),
        (hello(False, EC, RSA, suites=(SUITE, RSA_SUITE)), "ECDSA"),
        (hello(False, EC, RSA, suites=(RSA_SUITE,)), "RSA"),
        (hello(False, RSA, suites=(SUITE, RSA_SUITE)), "RSA"),
        (hello(False, EC, RSA, suites=(SUITE, RSA_SUITE), groups=(29,)), ""),
        (hello(True, EC, PSS, signatures_in_certificates=frozenset((EC, PSS, RSA))), "ECDSA"),
        (hello(True, EC, PSS, signatures_in_certificates=frozenset((RSA,))), ""),
    ],
)
def test_the_kind_that_is_certain(given: Offer, kind: str) -> None:
    assert certain_kind(BOTH, given, INTERMEDIATE) == kind


def test_other_keys_and_other_suites_are_not_certain() -> None:
    one = hello(True, EC, PSS)
    assert certain_kind({"ECDSA": "secp256r1", "EdDSA": ""}, one, INTERMEDIATE) == ""
    assert certain_kind({"ECDSA": "brainpoolP256r1", "RSA": ""}, one, INTERMEDIATE) == ""
    old = hello(False, EC, RSA, suites=(0xC009, RSA_SUITE))
    assert certain_kind(BOTH, old, ("ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256")) == ""


CLIENTS = {
    "all": {},
    "rsa": {"sigalgs": "rsa_pss_rsae_sha256:RSA+SHA256"},
    "p384": {"sigalgs": "ECDSA+SHA384:rsa_pss_rsae_sha256:RSA+SHA256"},
    "ecdsa": {"sigalgs": "ECDSA+SHA256:rsa_pss_rsae_sha256:RSA+SHA256"},
    "rsa-suites": {"suites": "ECDHE-RSA-AES128-GCM-SHA256"},
    "ecdsa-suites": {"suites": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"},
    "x25519": {"groups": "X25519"},
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", CLIENTS)
def test_what_is_certain_is_what_the_engine_chooses(name: str, version: ssl.TLSVersion) -> None:
    settings: dict[str, str] = CLIENTS[name]  # type: ignore[assignment]
    context = client(maximum_version=version, minimum_version=version)
    if suites := settings.get("suites"):
        context.set_ciphers(suites)
    if groups := settings.get("groups"):
        context.set_ecdh_curve(groups)
    if algorithms := settings.get("sigalgs"):
        set_signatures(context, algorithms)
    chosen, seen = shake(server_context(Tls(certificates=CERTIFICATES)), context)
    kind = certain_kind({one.kind: one.curve for one in CERTIFICATES}, seen, INTERMEDIATE)
    assert kind in (chosen, "")
    if name in ("all", "rsa"):
        assert kind == chosen


def set_signatures(context: ssl.SSLContext, algorithms: str) -> None:
    """The signature algorithms that a client offers, which Python cannot set."""
    library = openssl()
    assert library is not None
    control = ctypes.CDLL(_ssl.__file__).SSL_CTX_ctrl
    control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p)
    assert control(library.pointer(context), 98, 0, algorithms.encode()) == 1  # SSL_CTRL_SET_SIGALGS_LIST


def shake(server: ssl.SSLContext, context: ssl.SSLContext) -> tuple[str, Offer]:
    """The kind of the certificate that a client got, and what it offered."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(one, other, server_side=True)
    here = context.wrap_bio(other, one, server_hostname="a.test")
    with suppress(ssl.SSLWantReadError):
        here.do_handshake()
    first = one.read()
    one.write(first)
    reader = HelloReader()
    assert reader.feed(first) is not None
    for _ in range(4):
        for end in (there, here):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    got = here.getpeercert(binary_form=True)
    assert got is not None
    key = x509.load_der_x509_certificate(got).public_key()
    return "RSA" if isinstance(key, rsa.RSAPublicKey) else "ECDSA", offer(reader.message)
