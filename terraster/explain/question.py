"""A request to be explained, as a person writes it: ``GET https://shop.example.com/api/cart``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

__all__ = ["Question", "ask"]

_TEXT = re.compile(r"(?:([A-Z][A-Z0-9-]*)\s+)?(https?)://([^/?#\s]+)([^#\s]*)(?:#\S*)?", re.ASCII)
_PORT = re.compile(r":([0-9]{1,5})\Z")
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n]*)")
_PORTS = {"http": 80, "https": 443}

CLIENT = "192.0.2.1"
"""The address of the client if none is given: one of those for documentation (RFC 5737), which no rule should name."""


class Question(NamedTuple):
    """A request that nobody has sent.

    scheme: "http" or "https". Octets that are not UTF-8 are surrogates in texts, as in arguments of a command.
    host: that of the URL, or the first Host among the fields. port: of the URL, or else the scheme's. fields: as (name, value).
    client: its IP address
    """

    method: str
    scheme: str
    host: str
    port: int
    target: str
    fields: tuple[tuple[str, str], ...]
    client: str

    def shown(self) -> str:
        """The request in one line, of characters that can be printed."""
        text = f"{self.method} {self.scheme}://{self.host}{self.target} from {self.client}"
        octets = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return "".join([char if char.isprintable() else ascii(char)[1:-1] for char in octets])

    def head(self) -> bytes:
        """The request head as a client sends it."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if not any(name.lower() == "host" for name, _ in self.fields):
            lines.append(f"Host: {self.host}")
        lines += [f"{name}: {value}" for name, value in self.fields]
        return "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape")


def ask(text: str, fields: Iterable[str] = (), client: str = "") -> Question:
    """The request that a text describes: a URL with a method before it, else GET. fields: as "Name: value". ValueError if it cannot be read."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a valid request: {_fault(text)}; write one as 'GET https://shop.example.com/api/cart'")
    method, scheme, authority, target = match.groups()
    said = _PORT.search(authority)
    pairs = []
    for line in fields:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise ValueError(f"{line!r} is not a valid header; write it as 'Name: value'")
        pairs.append((field[1], field[2].strip()))
    authority = next((value for name, value in pairs if name.lower() == "host"), authority)
    try:
        address = str(ip_address(client or CLIENT))
    except ValueError:
        raise ValueError(f"{client!r} is not a valid IP address of a client") from None
    if not target.startswith("/"):
        target = "/" + target
    return Question(method or "GET", scheme, authority, int(said[1]) if said else _PORTS[scheme], target, tuple(pairs), address)


def _fault(text: str) -> str:
    """The fault of a text that is not a valid request, in words."""
    words = text.split()
    if len(words) > 2:
        return "it has more than a method and a URL"
    if not words or re.match(r"https?://[^/?#]", words[-1]) is None:
        return "its URL does not begin with http:// or https:// and a host"
    return f"{words[0]!r} is not a method in capitals"
