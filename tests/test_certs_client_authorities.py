"""The files of authorities of clients: what is refused before it could refuse clients, and when a list ends."""

from __future__ import annotations

import time

import pytest

from terraster.certs.certificate import CertificateError
from terraster.certs.client_authorities import read_authorities

from .harness.authority import Authority

CA, OTHER = Authority("Clients"), Authority("Others")
BOTH = CA.root + CA.issuer


def test_authorities_without_lists() -> None:
    found = read_authorities(CA.root, None)
    assert (found.revokes, found.crl_until) == (False, 0.0)
    assert found.digest != read_authorities(BOTH, None).digest


def test_the_list_that_ends_first_counts_and_a_newer_one_of_the_same_authority_replaces_an_older() -> None:
    now = time.time()
    found = read_authorities(BOTH, CA.crl(days=3) + CA.crl(days=9, of_root=True))
    assert found.revokes and abs(found.crl_until - now - 3 * 86400) < 600
    found = read_authorities(BOTH, CA.crl(days=-3, begun=9) + CA.crl(days=7) + CA.crl(days=9, of_root=True))
    assert abs(found.crl_until - now - 7 * 86400) < 600


@pytest.mark.parametrize(
    ("certificates", "lists", "why"),
    [
        (b"", None, "the file is empty"),
        (b"text", None, "no certificate of an authority in PEM form"),
        (CA.root + CA.issuer[:-40], None, "not complete"),
        (CA.issue("me").alone, None, "is not the certificate of an authority"),
        (CA.root, b"", "the CRL file is empty"),
        (CA.root, b"\x30\x82", "DER form"),
        (CA.root, CA.crl(of_root=True)[:-40], "a CRL is not complete"),
        (BOTH, CA.crl(of_root=True), "there is no CRL of CN=Clients Authority"),
        (CA.issuer, CA.crls(), "is not in ca_file"),
        (Authority("Clients").root, CA.crl(of_root=True), "signed by another authority of this name"),
    ],
)
def test_files_that_would_refuse_clients_are_refused(certificates: bytes, lists: bytes | None, why: str) -> None:
    with pytest.raises(CertificateError, match=why):
        read_authorities(certificates, lists)
