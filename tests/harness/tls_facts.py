"""Certificates as a snapshot has them, for tests that read no files."""

from __future__ import annotations

from terraster.config.snapshot import Certificate, Service, Tls

__all__ = ["DAY", "certificate", "tls_service"]

DAY = 86400.0


def certificate(
    file: str = "/etc/a.pem", *names: str, begins: float = 0.0, ends: float = 90 * DAY, kind: str = "ECDSA"
) -> Certificate:
    """A certificate without content. begins, ends: seconds since 1970"""
    return Certificate(file, b"", b"", names, kind, "Test Authority", begins, ends, file)  # type: ignore[arg-type]


def tls_service(name: str, *certificates: Certificate, hosts: tuple[str, ...] = ("*",)) -> Service:
    """A service with these certificates, and without locations."""
    return Service(name, hosts, (":443",), (), tls=Tls(certificates=certificates))
