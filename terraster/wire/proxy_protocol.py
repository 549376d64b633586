"""The PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt): the client's address, sent before its first octet.

`parse` reads a header, `compose` and `local` write one. Callers of `parse` must check that the listener expects it and that the peer is
trusted. A header without an address (LOCAL, UNKNOWN) says nothing about the client, so the caller must not trust that client about others.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from terraster.errors import BadRequest

__all__ = ["ProxyHeader", "compose", "local", "parse"]

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


def compose(version: str, source: tuple[str, int], destination: tuple[str, int] | None) -> bytes:
    """The header of a connection that is made for a client. version: "v1" or "v2".

    source, destination: IP address and port. A source without an IP address ("unix") is not named: UNKNOWN, or the family UNSPEC. A
    destination of None is named as an address of zeros. If only one of the two is IPv6, the other is written as an IPv4-mapped address.
    """
    client, server = _address(source[0]), _address(destination[0]) if destination is not None else None
    if client is None:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _V2_SIGNATURE + b"\x21\x00\x00\x00"
    if server is None:
        server = ipaddress.ip_address("0.0.0.0" if client.version == 4 else "::")
    port = destination[1] if destination is not None else 0
    if client.version != server.version:
        client, server = _mapped(client), _mapped(server)
    if version == "v1":
        line = f"PROXY TCP{client.version} {_written(client)} {_written(server)} {source[1]} {port}\r\n"
        return line.encode("ascii")
    packed = client.packed + server.packed + struct.pack("!HH", source[1], port)
    return _V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if client.version == 4 else 0x21, len(packed)) + packed


def local(version: str) -> bytes:
    """The header of a connection that the proxy makes for itself, such as a health check."""
    return b"PROXY UNKNOWN\r\n" if version == "v1" else _V2_SIGNATURE + b"\x20\x00\x00\x00"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address without its scope id, which means something on one host only. None for any other text."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    return (
        address if isinstance(address, ipaddress.IPv6Address) else ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    )


def _written(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The text of an address, the same in every version of Python."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return f"::ffff:{mapped}" if mapped is not None else str(address)
