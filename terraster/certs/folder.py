"""A folder of certificates: the pairs of files in it, and in the folders below it, two deep.

    shop.pem or shop.crt  with  shop.key, shop-key.pem or shop.key.pem
    shop.pem              alone: the file has the key as well; a file with one of them only is left out
    fullchain.pem or cert.pem  with  privkey.pem or key.pem      (certbot has one folder for each certificate)
    one certificate       with  one key          whatever their names, if nothing else is left in the folder

Links are followed. Names that begin with a dot are left out, because the tools that swap links keep their versions there (Kubernetes). File
names mean nothing beyond that: the names within a certificate count.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence

from .certificate import CertificateError
from .files import has_both, read_files

__all__ = ["complaints", "pairs", "pairs_of", "remaining"]

Files = tuple[str, str]

_CERTIFICATES = (".pem", ".crt")
_KEYS = (".key", "-key.pem", ".key.pem")
_WHOLE = ("fullchain.pem", "cert.pem")
_PARTS = (*_WHOLE, "chain.pem", "privkey.pem", "key.pem")
_DEPTH = 2  # /etc/letsencrypt has live/NAME/fullchain.pem


def pairs(folder: str) -> tuple[list[Files], list[OSError]]:
    """The pairs (certificate, key) in a folder and those below it, in the order of their names, and the errors of folders below it that
    cannot be listed. A file that may have both is paired with itself. Raises OSError if the folder itself cannot be listed."""
    errors: list[OSError] = []
    return _pairs(folder, _DEPTH, errors), errors


def _pairs(folder: str, depth: int, errors: list[OSError]) -> list[Files]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (folders if entry.is_dir() else files).append(entry.name)
    found = [(os.path.join(folder, certificate), os.path.join(folder, key)) for certificate, key in pairs_of(files)]
    for name in sorted(folders) if depth else ():
        try:
            found += _pairs(os.path.join(folder, name), depth - 1, errors)
        except OSError as error:
            errors.append(error)
    return found


def remaining(before: Iterable[Files], found: Sequence[Files], unlisted: Container[str]) -> list[Files]:
    """The pairs in a folder, with those from before that are being written rather than gone: half of the pair is there, or its folder
    cannot be listed. before: pairs that were good. found: what `pairs` found. unlisted: folders below that it could not list"""
    by_certificate = dict(found)
    kept = []
    for certificate, key in before:
        now = by_certificate.get(certificate, "")
        if now == certificate != key and not _is_whole(certificate):  # not a file with both, but one whose key is not there
            kept.append((certificate, key))
            del by_certificate[certificate]
        elif not now and (os.path.lexists(certificate) or os.path.lexists(key) or os.path.dirname(certificate) in unlisted):
            kept.append((certificate, key))
    return sorted([*by_certificate.items(), *kept])


def complaints(folder: str) -> list[str]:
    """The reasons why a folder cannot be listed, or pairs in it cannot be used, a line each."""
    try:
        found, errors = pairs(folder)
    except OSError as error:
        found, errors = [], [error]
    lines = [f"cannot list {error.filename}: {error.strerror}" for error in errors]
    for files in found:
        try:
            if files[0] != files[1] or has_both(files[0]):
                read_files(files)
        except CertificateError as error:
            lines.append(f"{error}; it is not used")
    return lines


def _is_whole(file: str) -> bool:
    try:
        return has_both(file)
    except CertificateError:
        return False


def pairs_of(names: Iterable[str]) -> list[Files]:
    """The pairs among the names of one folder's files."""
    rest = set(names)
    found: list[Files] = []
    chain, private = (next((name for name in names if name in rest), "") for names in (_WHOLE, ("privkey.pem", "key.pem")))
    if chain and private:
        found.append((chain, private))
        rest -= {*_PARTS}
    keys = {name for name in rest if name.endswith(_KEYS)}
    alone = []
    for name in sorted(rest - keys):
        stem, extension = os.path.splitext(name)
        if extension in _CERTIFICATES:
            key = next((stem + ending for ending in _KEYS if stem + ending in keys), "")
            if key:
                found.append((name, key))
            else:
                alone.append(name)
    left = keys - {key for _, key in found}
    if len(alone) == len(left) == 1 and not found:
        return [(alone[0], left.pop())]
    return found + [(name, name) for name in alone]
