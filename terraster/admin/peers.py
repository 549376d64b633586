"""The client at the other end of a management connection: the socket's peer, never what a header says."""

from __future__ import annotations

import ipaddress

__all__ = ["plain_address"]


def plain_address(peer: str) -> str:
    """An address of the kernel without a scope; IPv4 within IPv6 as IPv4. "" if it is not an IP address."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
