"""What ACME leaves on the disk, so that a restart neither orders again nor forgets how often it failed.

    STATE_DIR/acme/lock              held (flock) by the one process that orders
    STATE_DIR/acme/AUTHORITY/        one for each directory URL: a test authority's certificates are never served as real ones
        account.json                 the account's key and URL
        orders.json                  the moments of the orders of each name, and how many orders there were
        SERVICE.pem                  certificate, chain and key: one file, so that no reader finds one without the other
        SERVICE.record               failures, and when the authority wants a renewal
        SERVICE.order                the order under way: its URL, its key and its request; what the authority is shown: ``tokens`` and
                                     ``certificates`` as `terraster.certs.challenges.Answers` has them, ``records`` of the DNS

A service may have any name, so no file of a service ends in ".json". All of them can be read by the owner only. A file is written whole under
another name, and renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

__all__ = ["Store", "certificate_file", "folder", "lock", "write"]

_LONGEST = 150  # characters of a service's name in a file name; a longer one is shortened, with a hash


def folder(state_dir: str, directory: str) -> str:
    """Where the state of an authority is kept. directory: the URL of its ACME directory"""
    host = quote(urlsplit(directory).hostname or "authority", safe="")
    return os.path.join(state_dir, "acme", f"{host}-{hashlib.sha256(directory.encode()).hexdigest()[:8]}")


def certificate_file(state_dir: str, directory: str, service: str) -> str:
    """The file with a service's certificate, chain and key."""
    return os.path.join(folder(state_dir, directory), _stem(service) + ".pem")


def _stem(service: str) -> str:
    stem = quote(service, safe="*").replace("*", "_")
    if len(stem) > _LONGEST or "*" in service:
        stem = f"{stem[:_LONGEST]}-{hashlib.sha256(service.encode()).hexdigest()[:8]}"
    return stem


def lock(state_dir: str) -> int | None:
    """Become the process that orders. A descriptor that holds the lock while it, or a copy in another process, is open; None if another
    process has it. Raises OSError."""
    top = os.path.join(state_dir, "acme")
    os.makedirs(top, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(top, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write(path: str, octets: bytes) -> None:
    """Replace a file, readable by the owner only; after a crash it has the old or the new octets. Raises OSError."""
    parent = os.path.dirname(path)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    draft = f"{path}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        error.filename = path  # a write leaves it out, and a full disk must be named
        raise
    os.rename(draft, path)
    directory = os.open(parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Store:
    """The files of one authority. Each kind is written by one process only: account, certificate and order by the one that talks to the
    authority, the rest by the one that decides. All methods raise OSError."""

    __slots__ = ("folder",)

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def read(self, name: str) -> dict[str, Any]:
        """A file of values; {} if it is not there, or is damaged, which only a foreign hand can have done."""
        try:
            with open(self._path(name), "rb") as file:
                found = json.loads(file.read())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, name: str, values: dict[str, Any]) -> None:
        """Replace a file of values."""
        write(self._path(name), json.dumps(values, indent=1).encode())

    def account(self) -> dict[str, Any]:
        return self.read("account.json")

    def keep_account(self, values: dict[str, Any]) -> None:
        self.write("account.json", values)

    def record(self, service: str) -> dict[str, Any]:
        return self.read(_stem(service) + ".record")

    def keep_record(self, service: str, values: dict[str, Any]) -> None:
        self.write(_stem(service) + ".record", values)

    def order(self, service: str) -> dict[str, Any]:
        return self.read(_stem(service) + ".order")

    def orders(self, services: Iterable[str]) -> list[dict[str, Any]]:
        """The orders under way of these services."""
        try:
            there = {file for file in os.listdir(self.folder) if file.endswith(".order")}
        except FileNotFoundError:
            return []
        return [self.order(service) for service in services if _stem(service) + ".order" in there] if there else []

    def keep_order(self, service: str, values: dict[str, Any]) -> None:
        self.write(_stem(service) + ".order", values)

    def forget_order(self, service: str) -> None:
        try:
            os.unlink(self._path(_stem(service) + ".order"))
        except FileNotFoundError:
            return

    def certificate(self, service: str) -> bytes:
        """Certificate, chain and key in PEM; b"" if there is none."""
        try:
            with open(self._path(_stem(service) + ".pem"), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def keep_certificate(self, service: str, octets: bytes) -> None:
        write(self._path(_stem(service) + ".pem"), octets)
