"""The scanners that auditors use find nothing to complain of, with the settings that a service has by default."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..harness import scanners
from ..harness.authority import Authority
from ..harness.program import find
from ..harness.terraster_process import Terraster, service

pytestmark = pytest.mark.nightly

CA = Authority()
CHAIN = ("cert", "chain", "OCSP", "CAA", "CRL", "certificate", "DNS_CAA", "intermediate")
"""Findings about the certificates, which are those of a test."""


@pytest.fixture
def site(terraster, backend, tmp_path: Path) -> Terraster:
    """Terraster with a.test, which has certificates of both kinds."""
    (tmp_path / "root.pem").write_bytes(CA.root)
    ecdsa, rsa = (CA.issue("a.test", kind=kind, days=90).write(tmp_path, kind) for kind in ("ec", "rsa"))
    pairs = [{"cert_file": str(chain), "key_file": str(key)} for chain, key in (ecdsa, rsa)]
    return terraster(
        service(backend(answer=b"HTTP/1.1 204 No Content\r\n\r\n").url, host="a.test", tls={**pairs[0], "certificates": pairs[1:]})
    )


def test_sslyze(site, tmp_path: Path) -> None:
    folder = Path(sys.prefix) / "var" / "terraster-tests" / "sslyze"
    problem = scanners.install_sslyze(folder)
    if problem:
        pytest.skip(f"left out: {problem}")
    found = scanners.sslyze(folder, site.port, "a.test", "intermediate")
    assert [one for one in found if not one.startswith("certificate_path_validation")] == []  # the root is none of the system's


@pytest.mark.night
@pytest.mark.needs("testssl")
def test_testssl(site, tmp_path: Path) -> None:
    program = find("testssl")
    assert program is not None
    found = scanners.testssl(program, site.port, "a.test", tmp_path / "root.pem", tmp_path / "findings.json")
    grave = ("LOW", "MEDIUM", "HIGH", "CRITICAL")  # "WARN" says that a check could not be made, as resumption on a busy machine
    assert {one["id"]: one["finding"] for one in found if one["severity"] in grave and not one["id"].startswith(CHAIN)} == {}
    offered = {one["id"]: one["finding"] for one in found}
    assert offered["TLS1_3"].startswith("offered") and offered["TLS1_1"].startswith("not offered")
