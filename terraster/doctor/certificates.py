"""Certificates of services: files that cannot be used, ends that are near, names that are not covered, and chains that are not whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cryptography import x509

from terraster.certs.certificate import CertificateError
from terraster.certs.choice import uncovered
from terraster.certs.faults import faults
from terraster.certs.files import read_files
from terraster.certs.folder import pairs
from terraster.config.management import secured
from terraster.config.snapshot import Certificate, Service, Snapshot
from terraster.policy.expiry import span, state

from .finding import Finding

__all__ = ["check"]


def check(snapshot: Snapshot, now: float) -> Iterator[Finding]:
    """Reads the files. now: time.time()"""
    for fault in faults(snapshot):
        yield Finding(
            "certificates",
            "problem",
            f"{fault.where}: {fault.words}.",
            "Terraster does not start with it, and a reload is refused.",
            f"Replace {fault.file}, then check it with `terraster --check`.",
        )
    seen: set[str] = set()
    for service in secured(snapshot):
        assert service.tls is not None
        certificates = _certificates(service)
        for one in certificates:
            if one.fingerprint not in seen:
                seen.add(one.fingerprint)
                yield from _dates(snapshot, service, one, now)
                yield from _chain(one)
        bare = uncovered(replace(service, tls=replace(service.tls, certificates=tuple(certificates))))
        missing = [host for host in bare if host not in service.tls.domains]
        if certificates and missing:
            yield Finding(
                "certificates",
                "warning",
                f"No certificate of service {service.name} has the name {', '.join(missing[:5])}.",
                "Browsers and programs refuse to connect to this name.",
                "Get a certificate with all names of the service, or take the name out of `host`.",
            )


def _certificates(service: Service) -> list[Certificate]:
    """Those that can be read."""
    assert service.tls is not None
    files = list(service.tls.files)
    for folder in service.tls.folders:
        try:
            files += [(one[0], one[1]) for one in pairs(folder)[0]]
        except OSError:
            continue
    found = []
    for pair in dict.fromkeys(files):
        try:
            found.append(read_files(pair))
        except CertificateError:
            continue  # of `files` it is a fault
    return found


def _dates(snapshot: Snapshot, service: Service, one: Certificate, now: float) -> Iterator[Finding]:
    word = state(one.not_before, one.not_after, snapshot.certificate_threshold, now)
    left = one.not_after - now
    if word == "valid":
        return
    said = {
        "expired": f"expired {span(-left)} ago",
        "expiring": f"ends in {span(left)}",
        "not-yet-valid": f"is not valid before {span(one.not_before - now)} from now",
    }[word]
    yield Finding(
        "certificates",
        "warning" if word == "expiring" else "problem",
        f"The certificate {one.file} of service {service.name} {said}.",
        "Clients refuse a certificate that is not valid.",
        "Renew it; Terraster takes the new file by itself. If it is renewed by a program, see why that did not run.",
    )


def _chain(one: Certificate) -> Iterator[Finding]:
    found = x509.load_pem_x509_certificates(one.chain)
    if len(found) == 1 and found[0].issuer != found[0].subject:
        yield Finding(
            "certificates",
            "note",
            f"The file {one.file} has the server's certificate only, without those of the authorities ({one.issuer} issued it).",
            "If that authority is not one that clients know by themselves, they refuse it: browsers may have it, programs seldom do.",
            "Use the file that has the whole chain, often called fullchain.pem.",
        )
