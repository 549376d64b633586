"""The files of certificates and keys, read and checked together."""

from __future__ import annotations

import os
import re
import stat

from terraster.config.snapshot import Certificate

from .certificate import CertificateError, read_certificate

__all__ = [
    "LARGEST",
    "Files",
    "Signature",
    "has_both",
    "open_to_others",
    "read_files",
    "read_client_pair",
    "read_octets",
    "signature",
]

LARGEST = 1 << 20
"""Octets of a file that is read: chains have some 5,000."""

_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_KEY_MARK = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")

Files = tuple[str, ...]
"""Names of files that are read together."""

Signature = tuple[tuple[int, int, int, int, int], ...]


def signature(files: Files) -> Signature:
    """Facts that differ if one of the files was written, replaced, or given other permissions; links are followed, as deployments swap
    those. Raises OSError."""
    found = [os.stat(file) for file in files]
    return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_mode) for one in found)


def open_to_others(found: Signature) -> int:
    """The permissions of the key file, if its group or all users may read or write it; else 0."""
    mode = stat.S_IMODE(found[-1][-1])
    return mode if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~(stat.S_IXGRP | stat.S_IXOTH) else 0


def has_both(file: str) -> bool:
    """True if a PEM file has a certificate and a private key, as far as its marks tell. Raises `CertificateError`."""
    octets = read_octets(file)
    return _CERTIFICATE_MARK in octets and _KEY_MARK.search(octets) is not None


def read_files(files: tuple[str, str], key_name: str = "key_file") -> Certificate:
    """The certificate of a pair of files (certificate, key). Raises `CertificateError`, which names the file that is at fault.

    key_name: the key of the configuration that names a private key in a file of its own
    """
    certificate, key = files
    try:
        octets = read_octets(certificate)
        if key == certificate and _CERTIFICATE_MARK in octets and _KEY_MARK.search(octets) is None:
            raise CertificateError(f"there is no private key in it: name the key's file with `{key_name}`")
        return read_certificate(certificate, octets, octets if key == certificate else read_octets(key), key)
    except CertificateError as error:
        pair = f"certificate {certificate}{'' if key == certificate else f' with key {key}'}"
        raise CertificateError(f"{pair}: {error}", error.file or certificate) from error


def read_client_pair(files: Files) -> Certificate:
    """`read_files` for a certificate that backends are shown."""
    certificate, key = files
    return read_files((certificate, key), "client_key")


def read_octets(file: str, largest: int = LARGEST) -> bytes:
    """The octets of a file. largest: how many it may have. Raises `CertificateError`."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CertificateError(f"{file} is not a file", file)
            octets = stream.read(largest + 1)
    except OSError as error:
        raise CertificateError(f"cannot read {file}: {error.strerror}", file) from error
    if len(octets) > largest:
        raise CertificateError(f"{file} is larger than {largest >> 10} KiB", file)
    return octets
