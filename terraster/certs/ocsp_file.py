"""The file that an OCSP response is kept in, so that a restart has it at once, and what is said of a file of the operator's.

Fetched responses are in STATE_DIR/ocsp/FINGERPRINT.der, by the SHA-256 of the certificate in hex. They are removed some days after no service
needs them any longer.
"""

from __future__ import annotations

import os

from terraster.config.settings.ocsp import FETCH
from terraster.config.snapshot import Certificate, Service, Tls

from .certificate import CertificateError
from .files import read_files
from .ocsp import OcspError, named_serials, question, read_response, serial_of, verify

__all__ = ["complaint", "file_of", "for_nobody", "kept_file", "kept_folder"]


def kept_folder(state_dir: str) -> str:
    """Where responses that were fetched are."""
    return os.path.join(state_dir, "ocsp")


def kept_file(state_dir: str, certificate: Certificate) -> str:
    """The file with the response that was fetched for a certificate. It may not be there yet."""
    return os.path.join(kept_folder(state_dir), f"{certificate.fingerprint}.der")


def file_of(state_dir: str, tls: Tls, certificate: Certificate) -> str:
    """The file with the response for a certificate of a service, "" if responses are off."""
    return kept_file(state_dir, certificate) if tls.ocsp == FETCH else tls.ocsp


def for_nobody(certificates: tuple[Certificate, ...], response: bytes) -> str:
    """Words for a response that names none of the certificates; "" if it names one. Raises `OcspError`."""
    named, ours = named_serials(response), [serial_of(one) for one in certificates]
    if not set(ours).isdisjoint(named):
        return ""
    has = "the certificate has" if len(ours) == 1 else "the certificates have"
    return f"the response is for the serial number {_listed(named)}; {has} {_listed(ours)}"


def _listed(serials: list[int]) -> str:
    return ", ".join(f"{serial:X}" for serial in serials[:3])


def complaint(service: Service, now: float) -> str:
    """Why the certificates in the files of a service would get no OCSP response now; "" if one gets one, or if that cannot be told yet.
    now: time.time()"""
    if service.tls is None or not service.tls.ocsp:
        return ""
    try:
        certificates = tuple(map(read_files, service.tls.files))
    except CertificateError:
        return ""  # told on its own
    try:
        if service.tls.ocsp == FETCH:
            for one in certificates:
                question(one)
            return ""
        response = read_response((service.tls.ocsp,))
    except (CertificateError, OcspError) as error:
        return f"service {service.name}: no OCSP response is sent: {error}"
    why = _objection(certificates, response, now) if certificates else ""
    return f"service {service.name}: no OCSP response is sent: {service.tls.ocsp}: {why}" if why else ""


def _objection(certificates: tuple[Certificate, ...], response: bytes, now: float) -> str:
    """Why a response is of no use for the certificates; "" if it is of use."""
    try:
        if why := for_nobody(certificates, response):
            return why
        for one in certificates:
            if serial_of(one) in named_serials(response):
                verify(one, response, now)
    except OcspError as error:
        return str(error)
    return ""
