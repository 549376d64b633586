"""Whom to believe about who the client is.

X-Forwarded-For is written by everybody on the way, the client first. What stands at its right end was put there by our peer, so it
is read from the right: as long as the one who spoke is trusted, the entry it wrote is believed, and is the next one to ask. The
first that is not trusted is the client. Entries that are no addresses end the walk: the one who passed them on is as far as we can
see (nginx's real_ip_recursive, Envoy's xff_num_trusted_hops by networks).

From a peer that is not trusted nothing is believed at all. Peers on a unix socket have no address; they are trusted if "unix" is
listed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["Trust", "address"]

_KNOWN = 4096  # addresses whose standing is remembered; about 0.5 MB
_HOPS = 64  # entries looked at; a longer chain is a loop or an attack


def address(text: str) -> str | None:
    """The canonical form of an entry: an address, maybe with a port, IPv6 maybe in brackets; IPv4 within IPv6 becomes IPv4. None
    if it is none."""
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
    """The networks that are trusted, and what is known of single addresses."""

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
        """Whether anyone at all is trusted."""
        return bool(self._networks) or self._known["unix"]

    def trusts(self, ip: str) -> bool:
        """Whether what this address says of others is believed. ``ip`` as a socket gives it, or "unix"."""
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
        """The client, given the peer and the X-Forwarded-For it sent (several fields joined by commas). The peer, if it is not
        trusted."""
        client = peer_ip
        if chain is None:
            return client
        entries = chain.decode("latin-1").rsplit(",", _HOPS)
        while entries and self.trusts(client):
            entry = entries.pop()
            if not entry.strip(" \t"):
                continue  # an empty list element means nothing: RFC 9110, section 5.6.1
            said = address(entry)
            if said is None:
                break
            client = said
        return client
