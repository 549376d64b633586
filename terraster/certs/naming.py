"""The names of certificates for operators: the service, and the key or host where a service has several.

A renewed certificate keeps its name, as a serial number or a fingerprint would not: alarms and graphs go on with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from terraster.config.management import secured
from terraster.config.snapshot import Certificate, Service, Snapshot

__all__ = ["named", "names"]


def named(snapshot: Snapshot) -> Iterator[tuple[str, Service, Certificate]]:
    """Each certificate of each service, with its name. No name comes twice."""
    for service in secured(snapshot):
        assert service.tls is not None
        for name, certificate in zip(names(service), service.tls.certificates, strict=True):
            yield name, service, certificate


def names(service: Service) -> list[str]:
    """The names of a service's certificates, in their order.

    The service's name, if it has one certificate. Else with the kind of the key; where two have the same kind, with a host as well; and
    where that is the same too, with the file.
    """
    assert service.tls is not None
    certificates = service.tls.certificates
    if len(certificates) == 1:
        return [service.name]
    kinds = Counter(one.kind for one in certificates)
    found = [
        f"{service.name} {one.kind}" if kinds[one.kind] == 1 else f"{service.name} {_host(service, one)} {one.kind}"
        for one in certificates
    ]
    taken = Counter(found)
    return [name if taken[name] == 1 else f"{name} {one.file}" for name, one in zip(found, certificates, strict=True)]


def _host(service: Service, certificate: Certificate) -> str:
    """A host of the service that the certificate names; else the first name that it has."""
    return next((name for name in certificate.names if name in service.hosts), certificate.names[0] if certificate.names else "")
