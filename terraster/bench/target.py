"""Where the requests of a load go: a URL, and the address of its server."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from terraster.errors import StartError

__all__ = ["Target", "address_of", "place_of", "target_of"]

_PORTS = {"http": 80, "https": 443}
_SENT = re.compile(r"[!-~]*")
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:\s]+)):([0-9]{1,5})")
_LOOK = 1.0  # seconds in which an address must accept to be preferred to the next one


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL. host: without brackets. authority: host and port as Host has them. path: with the query, as it is sent"""

    url: str
    scheme: str
    host: str
    port: int
    authority: str
    path: str


def target_of(url: str) -> Target:
    """The target of a URL. ValueError says what is wrong with it."""
    if not _SENT.fullmatch(url):
        raise ValueError("has a blank or a character that is not ASCII: write it percent-encoded")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("must begin with http:// or https://")
    if parts.username is not None:
        raise ValueError("has a user: use -H 'Authorization: ...'")
    host = parts.hostname or ""
    if not host:
        raise ValueError("has no host")
    port = parts.port  # ValueError if it is not a port
    usual = _PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, usual) else f"{shown}:{port}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(url, parts.scheme, host, usual if port is None else port, authority, path)


def place_of(text: str) -> tuple[str, int]:
    """The host and port of HOST:PORT or [HOST]:PORT. ValueError for anything else."""
    match = _PLACE.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise ValueError("must be HOST:PORT")
    return match[1] or match[2], int(match[3])


def address_of(host: str, port: int) -> tuple[int, Any]:
    """The family and address of a server, as a socket takes them. Of several addresses of a host the first that accepts a connection, as
    "localhost" may be ::1 and 127.0.0.1. Raises `StartError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StartError(f"the host {host} does not resolve: {getattr(error, 'strerror', None) or error}") from error
    addresses = [(family, address) for family, _, _, _, address in found]
    if len(addresses) > 1:
        for family, address in addresses:
            with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_LOOK)
                probe.connect(address)
                return int(family), address
    return int(addresses[0][0]), addresses[0][1]
