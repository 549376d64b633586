"""The PROXY protocol, both versions: who the client is, or a refusal; cut anywhere."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.errors import BadRequest
from terraster.wire.proxy_protocol import compose, local, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int = 1, family: int = 0x11, body: bytes | None = None, version: int = 2, length: int | None = None) -> bytes:
    if body is None:
        body = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 54321, 443)
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family, len(body) if length is None else length) + body


V6 = bytes.fromhex("20010db8000000000000000000000007") + bytes.fromhex("20010db8000000000000000000000001")

GOOD = [
    ("v1 over IPv4", b"PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n", ("192.0.2.7", 54321, "198.51.100.1", 443)),
    ("v1 over IPv6", b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", ("2001:db8::7", 1, "2001:db8::1", 65535)),
    ("v1 unknown", b"PROXY UNKNOWN\r\n", ("", 0, "", 0)),
    ("v1 unknown with words", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ("", 0, "", 0)),
    ("v2 over IPv4", v2(), ("192.0.2.7", 54321, "198.51.100.1", 443)),
    ("v2 over IPv6", v2(family=0x21, body=V6 + struct.pack("!HH", 1, 2)), ("2001:db8::7", 1, "2001:db8::1", 2)),
    ("v2 with TLVs", v2(body=bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81]) + b"\x04\0\x03abc"), ("10.0.0.1", 80, "10.0.0.2", 81)),
    ("v2 LOCAL", v2(command=0, family=0, body=b""), ("", 0, "", 0)),
    ("v2 LOCAL with octets to skip", v2(command=0), ("", 0, "", 0)),
    ("v2 unspecified family", v2(family=0, body=b"12345"), ("", 0, "", 0)),
    ("v2 unix", v2(family=0x31, body=bytes(216)), ("", 0, "", 0)),
]

BAD = [
    ("no header at all", b"GET / HTTP/1.1\r\n\r\n"),
    ("nothing like it", b"\x16\x03\x01"),
    ("lower case", b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n"),
    ("v1 bare LF", b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n"),
    ("v1 bare CR", b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\rX"),
    ("v1 two spaces", b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n"),
    ("v1 a word too few", b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n"),
    ("v1 a word too many", b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n"),
    ("v1 unknown protocol", b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n"),
    ("v1 address of another family", b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n"),
    ("v1 not an address", b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n"),
    ("v1 leading zero in the address", b"PROXY TCP4 192.0.02.7 198.51.100.1 1 2\r\n"),
    ("v1 port too large", b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n"),
    ("v1 port with a sign", b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n"),
    ("v1 port with a leading zero", b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n"),
    ("v1 empty port", b"PROXY TCP4 192.0.2.7 198.51.100.1  2\r\n"),
    ("v1 too long", b"PROXY UNKNOWN " + b"a" * 100),
    ("v1 octets over 0x7f", b"PROXY TCP4 192.0.2.\xb2 198.51.100.1 1 2\r\n"),
    ("v2 other version", v2(version=3)),
    ("v2 other command", v2(command=2)),
    ("v2 too short for its addresses", v2(body=b"\1\2\3\4")),
    ("v2 absurd length", v2(length=65535)),
    ("v2 signature broken", b"\r\n\r\n\0\r\nQUIX\n" + b"\x21\x11\0\0"),
]


@pytest.mark.parametrize(("name", "data", "addresses"), GOOD, ids=[row[0] for row in GOOD])
def test_good_headers_cut_anywhere(name: str, data: bytes, addresses: tuple[str, int, str, int]) -> None:
    for junk in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n\0"):
        header = parse(data + junk)
        assert header is not None
        assert tuple(header) == (*addresses, len(data))
    for at in range(len(data)):
        assert parse(data[:at]) is None, f"cut at {at}"


@pytest.mark.parametrize(("name", "data"), BAD, ids=[row[0] for row in BAD])
def test_bad_headers_are_refused_cut_anywhere(name: str, data: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(data)
    for at in range(len(data)):
        try:
            assert parse(data[:at]) is None
        except BadRequest:
            continue


@given(st.binary(max_size=60), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]))
def test_any_octets_are_a_header_or_not_yet_or_one_clean_refusal(data: bytes, start: bytes) -> None:
    try:
        header = parse(start + data)
    except BadRequest as error:
        assert error.status == 400 and error.close
        return
    assert header is None or header.size <= len(start + data)


WRITTEN = [
    ("IPv4", ("192.0.2.7", 54321), ("198.51.100.1", 443), b"PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n", v2()),
    (
        "IPv6",
        ("2001:db8::7", 1),
        ("2001:db8::1", 65535),
        b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
        v2(family=0x21, body=V6 + struct.pack("!HH", 1, 65535)),
    ),
    (
        "IPv6 at an IPv4 address",
        ("2001:db8::7", 0),
        ("198.51.100.1", 80),
        b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 0 80\r\n",
        v2(family=0x21, body=V6[:16] + bytes(10) + b"\xff\xff" + bytes([198, 51, 100, 1]) + struct.pack("!HH", 0, 80)),
    ),
    (
        "a scope id",
        ("fe80::1%eth0", 7),
        ("fe80::2", 80),
        b"PROXY TCP6 fe80::1 fe80::2 7 80\r\n",
        v2(family=0x21, body=b"\xfe\x80" + bytes(13) + b"\1\xfe\x80" + bytes(13) + b"\2" + struct.pack("!HH", 7, 80)),
    ),
    (
        "an unknown destination",
        ("192.0.2.7", 0),
        None,
        b"PROXY TCP4 192.0.2.7 0.0.0.0 0 0\r\n",
        v2(body=bytes([192, 0, 2, 7]) + bytes(8)),
    ),
    ("no address", ("unix", 0), None, b"PROXY UNKNOWN\r\n", v2(family=0, body=b"")),
    ("no address, but a destination", ("unix", 0), ("198.51.100.1", 80), b"PROXY UNKNOWN\r\n", v2(family=0, body=b"")),
]


@pytest.mark.parametrize(("name", "source", "destination", "first", "second"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_headers_that_are_written(
    name: str, source: tuple[str, int], destination: tuple[str, int] | None, first: bytes, second: bytes
) -> None:
    assert compose("v1", source, destination) == first
    assert compose("v2", source, destination) == second


def test_headers_of_connections_for_nobody() -> None:
    assert local("v1") == b"PROXY UNKNOWN\r\n"
    assert local("v2") == v2(command=0, family=0, body=b"")
    assert [parse(local(version))[:4] for version in ("v1", "v2")] == [("", 0, "", 0)] * 2  # type: ignore[index]


ADDRESSES = st.ip_addresses().map(lambda address: str(getattr(address, "ipv4_mapped", None) or address))
PORTS = st.integers(0, 65535)


@given(st.sampled_from(["v1", "v2"]), ADDRESSES, PORTS, ADDRESSES, PORTS)
def test_what_is_written_can_be_read(version: str, source: str, port: int, destination: str, other: int) -> None:
    written = compose(version, (source, port), (destination, other))
    assert version == "v2" or len(written) <= 107
    assert parse(written + b"GET /") == (source, port, destination, other, len(written))
