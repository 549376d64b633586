"""Names of certificates: the configured ones, which a renewal does not change."""

from __future__ import annotations

import pytest

from terraster.certs.naming import named, names
from terraster.config.snapshot import Certificate, Snapshot

from .harness.tls_facts import certificate, tls_service

A, B = certificate("/a.pem", "a.test"), certificate("/b.pem", "b.test")
RSA = certificate("/r.pem", "a.test", kind="RSA")


@pytest.mark.parametrize(
    ("certificates", "expected"),
    [
        ((A,), ["shop"]),
        ((A, RSA), ["shop ECDSA", "shop RSA"]),
        ((A, B, RSA), ["shop a.test ECDSA", "shop b.test ECDSA", "shop RSA"]),
        ((A, certificate("/c.pem", "a.test")), ["shop a.test ECDSA /a.pem", "shop a.test ECDSA /c.pem"]),
        ((A, certificate("/c.pem")), ["shop a.test ECDSA", "shop  ECDSA"]),
        ((), []),
    ],
)
def test_a_name_says_what_tells_a_certificate_from_the_others(certificates: tuple[Certificate, ...], expected: list[str]) -> None:
    assert names(tls_service("shop", *certificates, hosts=("a.test", "b.test"))) == expected


def test_a_certificate_of_two_services_has_two_names() -> None:
    snapshot = Snapshot(1, (), (tls_service("one", A), tls_service("two", A)))
    assert [name for name, _, _ in named(snapshot)] == ["one", "two"]
