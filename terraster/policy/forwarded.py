"""Which proxies are trusted, and what they say about the client.

Each proxy on the way appends the address of its peer to X-Forwarded-For, so our peer wrote the rightmost entry. The list is read from
the right: an entry is believed if the proxy that wrote it is trusted, and it names the next proxy to ask. The first address that is not
trusted is the client. An entry that is not an address ends the walk: the proxy that passed it on counts as the client (nginx's
real_ip_recursive does the same).

X-Forwarded-Proto is one value, or a list to which each proxy appends: its first value is the client's side. WebSocket proxies write
``ws`` and ``wss`` for http and https.

Forwarded (RFC 7239) holds one element a proxy, with ``for``, ``proto`` and ``host``. Each of them is read only where the peer did not send
the X-Forwarded-* field for the same fact. Its ``for`` values are walked like X-Forwarded-For. ``proto`` and ``host`` come from the element
where the walk ended, else from the nearest one to its right that has them: the elements to the left of it were written by strangers.
A malformed Forwarded field is ignored as a whole.

Nothing that an untrusted peer says is believed. A peer on a unix socket has no address; it is trusted if "unix" is listed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..wire.names import FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID

__all__ = ["Said", "Trust", "address"]

_KNOWN = 4096  # addresses whose answer is remembered; about 0.5 MB
_HOPS = 64  # entries that are read; a longer chain is a loop or an attack
_MAX_ID = 128  # octets of an X-Request-ID that is taken over

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_BARE = r"[!#-+\--:<-~]+"  # more than a token: many proxies leave out the quotes that ":" and "[" need
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=({_BARE}|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*")[ \t]*')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_OBFUSCATED_PORT = re.compile(r":_[A-Za-z0-9._-]+\Z")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")


class Said(NamedTuple):
    """The facts that are believed about the client of one request.

    client_ip: its address, "unix" if it has none. scheme: "http" or "https". host: the host that the client asked for, as far as the
    Forwarded field or X-Forwarded-Host names one, else None. chain: the X-Forwarded-For list up to our peer, None if the peer sent none.
    request_id: the peer's X-Request-ID, None without one of ASCII, as logs and terminals show it.
    """

    client_ip: str
    scheme: str
    host: bytes | None
    chain: bytes | None
    request_id: bytes | None


def address(text: str) -> str | None:
    """The canonical address of an entry; None if the entry is not an address.

    The entry may have a port, and IPv6 may be in brackets. IPv4 within IPv6 becomes IPv4.
    """
    text = text.strip(" \t")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
        if ":" not in host:
            return None
    else:
        host, colon, port = text.partition(":")
        if colon and ":" in port:
            host = text  # bare IPv6
        elif colon and not _is_port(":" + port):
            return None
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    if parsed.version == 6:
        if parsed.scope_id:
            return None
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
    return str(parsed)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[0] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5


class Trust:
    """The trusted networks, and the answers for single addresses that were asked before."""

    __slots__ = ("_networks", "_known")

    def __init__(self, cidrs: Iterable[str]) -> None:
        """CIDRs, or "unix". ValueError for anything else."""
        networks = []
        self._known: dict[str, bool] = {"unix": False}
        for cidr in cidrs:
            if cidr == "unix":
                self._known["unix"] = True
                continue
            network = ipaddress.ip_network(cidr, strict=False)
            shift = network.max_prefixlen - network.prefixlen
            networks.append((network.version, int(network.network_address) >> shift, shift))
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        """True if anyone at all is trusted."""
        return bool(self._networks) or self._known["unix"]

    def trusts(self, ip: str) -> bool:
        """True if this address is believed about others. ip: as a socket gives it, or "unix"."""
        known = self._known.get(ip)
        if known is None:
            known = self._contains(ip)
            if len(self._known) >= _KNOWN:
                self._known = {"unix": self._known["unix"]}
            self._known[ip] = known
        return known

    def _contains(self, ip: str) -> bool:
        canonical = address(ip.partition("%")[0])
        if canonical is None:
            return False
        parsed = ipaddress.ip_address(canonical)
        value, version = int(parsed), parsed.version
        return any(v == version and value >> shift == prefix for v, prefix, shift in self._networks)

    def client_address(self, peer_ip: str, chain: bytes | None) -> str:
        """The client's address, given the peer's and the X-Forwarded-For that it sent (several fields joined by commas).

        It is the peer's own if the peer is not trusted.
        """
        if chain is None:
            return peer_ip
        entries = [entry for entry in chain.decode("latin-1").rsplit(",", _HOPS) if entry.strip(" \t")]  # RFC 9110, section 5.6.1
        return self._walk(peer_ip, entries)[0]

    def _walk(self, peer_ip: str, entries: Sequence[str]) -> tuple[str, int]:
        """The client's address, and how many entries at the right end were written by trusted proxies and read."""
        client, read = peer_ip, 0
        for entry in reversed(entries[-_HOPS:]):
            if not self.trusts(client):
                break
            read += 1
            said = address(entry)
            if said is None:
                break
            client = said
        return client, read

    def believe(self, peer_ip: str, scheme: str, special: Iterable[tuple[int, bytes, bytes]]) -> Said:
        """The facts that a peer reports about its client; the peer's own facts if it is not trusted.

        scheme: of the connection. special: the request's special fields (`terraster.wire.heads.RequestHead`).
        """
        chain: bytes | None = None
        proto: bytes | None = None
        host: bytes | None = None
        forwarded: bytes | None = None
        request_id: bytes | None = None
        if not self.trusts(peer_ip):
            return Said(peer_ip, scheme, None, None, None)
        for kind, name, value in special:
            if kind == FORWARDED_FOR:
                chain = value if chain is None else b"%b, %b" % (chain, value)
            elif kind == FORWARDED_PROTO:
                proto = value if proto is None else b"%b,%b" % (proto, value)
            elif kind == FORWARDED_HOST:
                host = _host(value.decode("latin-1")) if host is None else host
            elif kind == REQUEST_ID and 0 < len(value) <= _MAX_ID and value.isascii():
                request_id = value
            elif kind == FORWARDED and name.lower() == b"forwarded":
                forwarded = value if forwarded is None else b"%b,%b" % (forwarded, value)
        elements = None if forwarded is None else _elements(forwarded.decode("latin-1"))
        if elements:
            nodes = [_OBFUSCATED_PORT.sub("", element.get("for", "")) for element in elements]
            client_ip, read = self._walk(peer_ip, nodes)
            for element in elements[max(len(elements) - read, 0) :]:
                if proto is None and "proto" in element:
                    proto = element["proto"].encode("latin-1")
                if host is None and "host" in element:
                    host = _host(element["host"])
            if chain is None:
                known = [found for found in map(address, nodes) if found is not None]
                chain = ", ".join(known).encode("ascii") or None
                return Said(client_ip, _scheme(proto, scheme), host, chain, request_id)
        return Said(self.client_address(peer_ip, chain), _scheme(proto, scheme), host, chain, request_id)


def _scheme(said: bytes | None, default: str) -> str:
    """The scheme that an X-Forwarded-Proto list names first; the default if that is not one that we know."""
    for word in "" if said is None else said.decode("latin-1").split(","):
        word = word.strip(" \t").strip('"').strip(" \t")
        if word:
            return _SCHEMES.get(word.lower(), default)
    return default


def _host(text: str) -> bytes | None:
    """The first host of an X-Forwarded-Host list, or of Forwarded; None if it cannot be one."""
    text = text.partition(",")[0].strip(" \t")
    return text.encode("ascii") if _HOST.fullmatch(text) else None


def _elements(text: str) -> list[dict[str, str]] | None:
    """The elements of a Forwarded field, names in lower case and values unquoted; None if it is malformed (RFC 7239, section 4)."""
    elements: list[dict[str, str]] = []
    element: dict[str, str] = {}
    at, end = 0, len(text)
    while at < end:
        match = _PAIR.match(text, at)
        if match is not None:
            name, value = match[1].lower(), match[2]
            if name in element:
                return None
            element[name] = _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value
            at = match.end()
            if at < end and text[at] not in ";,":
                return None
        elif text[at] == ",":
            if element:
                elements.append(element)
                element = {}
            at += 1
        elif text[at] in "; \t":
            at += 1
        else:
            return None
    if element:
        elements.append(element)
    return elements
