"""The files of certificates and keys, read and checked together."""

from __future__ import annotations

import os

from terraster.config.snapshot import Certificate

from .certificate import CertificateError, read_certificate

__all__ = ["LARGEST", "Signature", "read_files", "signature"]

LARGEST = 1 << 20
"""Octets of a file that is read: chains have some 5,000."""

Signature = tuple[tuple[int, int, int, int], ...]


def signature(files: tuple[str, str]) -> Signature:
    """Facts that differ if one of the files was written or replaced; links are followed, as deployments swap those. Raises OSError."""
    found = [os.stat(file) for file in files]
    return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def read_files(files: tuple[str, str]) -> Certificate:
    """The certificate of a pair of files (certificate, key). Raises `CertificateError`, which names the file that is at fault."""
    certificate, key = files
    try:
        return read_certificate(certificate, _read(certificate), _read(key))
    except CertificateError as error:
        raise CertificateError(f"certificate {certificate}{'' if key == certificate else f' with key {key}'}: {error}") from error


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            octets = stream.read(LARGEST + 1)
    except OSError as error:
        raise CertificateError(f"cannot read {file}: {error.strerror}") from error
    if len(octets) > LARGEST:
        raise CertificateError(f"{file} is larger than {LARGEST >> 10} KiB")
    return octets
