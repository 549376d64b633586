"""Names in this machine's own files: hosts(5) and resolv.conf(5)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from terraster.later import Later

if TYPE_CHECKING:
    import dns.exception
    import dns.name
else:
    dns = Later("dns")

__all__ = ["System", "SystemFile", "is_address", "parse_hosts", "parse_resolv_conf"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class System:
    """The content of resolv.conf."""

    servers: tuple[str, ...] = ("127.0.0.1",)  # what resolv.conf(5) says of a file without servers
    search: tuple[dns.name.Name, ...] = ()
    ndots: int = 1


class SystemFile(Generic[_T]):
    """A text file, and what it says; read again when it has changed. A file that is gone says what an empty one says."""

    def __init__(self, path: str, parse: Callable[[str], _T]) -> None:
        self._path = path
        self._parse = parse
        self._said = parse("")
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> _T:
        """Its content now."""
        try:
            state = os.stat(self._path)
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if seen != self._seen:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._said = self._parse(file.read())
        except OSError:
            seen = None
            self._said = self._parse("")
        self._seen = seen
        return self._said


def parse_hosts(text: str) -> dict[str, list[str]]:
    """The addresses in hosts(5), by name."""
    known: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].lower().split()
        if len(words) > 1 and is_address(words[0]):
            for name in words[1:]:
                known.setdefault(name.removesuffix("."), []).append(words[0])
    return known


def parse_resolv_conf(text: str) -> System:
    """The settings of resolv.conf(5) that matter here: ``nameserver``, ``search`` or ``domain``, ``options ndots:N``."""
    servers: list[str] = []
    search: list[str] = []
    ndots = 1
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_] if is_address(server):
                servers.append(server)
            case ["search" | "domain", *suffixes]:
                search = suffixes
            case ["options", *options]:
                numbers = [one.removeprefix("ndots:") for one in options if one.startswith("ndots:")]
                ndots = next((int(one) for one in numbers if one.isdecimal()), ndots)
    names = []
    for suffix in search:
        try:
            names.append(dns.name.from_text(suffix))
        except dns.exception.DNSException:
            continue  # no name can end so
    return System(tuple(servers) or System().servers, tuple(names), ndots)


def is_address(text: str) -> bool:
    """True if it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
