"""The PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt): the client's address, sent before its first octet.

Callers must check that the listener expects it and that the peer is trusted. A header without an address (LOCAL, UNKNOWN) says nothing about
the client, so the caller must not trust that client about others.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from terraster.errors import BadRequest

__all__ = ["ProxyHeader", "parse"]

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_LONGEST = 107  # octets, CRLF included: section 2.1


class ProxyHeader(NamedTuple):
    """The facts of a PROXY header. source_ip: "" if it names no client (LOCAL, UNKNOWN, unix). size: octets of the header."""

    source_ip: str
    source_port: int
    destination_ip: str
    destination_port: int
    size: int


def parse(data: bytes) -> ProxyHeader | None:
    """The PROXY header at the start of ``data``, or None if it is incomplete. Raises `BadRequest` for anything else."""
    if data.startswith(_V2_SIGNATURE):
        return _parse_v2(data)
    if len(data) < 12 and _V2_SIGNATURE.startswith(data):
        return None
    if not (data.startswith(b"PROXY ") or b"PROXY ".startswith(data)):
        raise BadRequest("PROXY header expected")
    end = data.find(b"\r\n", 0, _V1_LONGEST)
    if end < 0:
        if len(data) >= _V1_LONGEST or b"\n" in data or b"\r" in data[:-1]:
            raise BadRequest("malformed PROXY header")
        return None
    return _parse_v1(data[:end])


def _parse_v1(line: bytes) -> ProxyHeader:
    words = line.split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return ProxyHeader("", 0, "", 0, len(line) + 2)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadRequest("malformed PROXY header")
    family = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        if b"%" in line:  # a scope id is any text, and only its sender can use it
            raise ValueError
        source, destination = [_plain(family(word.decode("ascii"))) for word in words[2:4]]
    except ValueError:
        raise BadRequest("malformed address in the PROXY header") from None
    source_port, destination_port = [_port(word) for word in words[4:6]]
    return ProxyHeader(source, source_port, destination, destination_port, len(line) + 2)


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As it is written; IPv4 within IPv6 as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or int(word) > 65535 or (word[:1] == b"0" and word != b"0"):
        raise BadRequest("malformed port in the PROXY header")
    return int(word)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command >> 4 != 2 or command & 15 > 1:
        raise BadRequest("unknown version or command in the PROXY header")
    if length > 4096:
        raise BadRequest("PROXY header too long")
    size = 16 + length
    if len(data) < size:
        return None
    if command & 15 == 0:  # LOCAL: a health check of the balancer in front
        return ProxyHeader("", 0, "", 0, size)
    if family == 0x11:
        packed, addresses = "!4s4sHH", 12
    elif family == 0x21:
        packed, addresses = "!16s16sHH", 36
    else:  # UNSPEC, UDP, unix: section 2.2 says to take the connection's own addresses
        return ProxyHeader("", 0, "", 0, size)
    if length < addresses:
        raise BadRequest("PROXY header too short for its addresses")
    source, destination, source_port, destination_port = struct.unpack_from(packed, data, 16)
    return ProxyHeader(
        _plain(ipaddress.ip_address(source)), source_port, _plain(ipaddress.ip_address(destination)), destination_port, size
    )
