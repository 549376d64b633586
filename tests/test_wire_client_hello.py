"""The ClientHello: the name and the protocols of a client, or a refusal; cut anywhere, in records of any size."""

from __future__ import annotations

import random
import ssl
import struct
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terraster.wire.client_hello import ClientHello, HelloError, HelloReader, alert


def from_openssl(
    name: str | None = "a.test", alpn: tuple[str, ...] = ("h2", "http/1.1"), most: ssl.TLSVersion | None = None
) -> bytes:
    """The first octets of a real client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if most:
        context.maximum_version = most
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def sni(*names: bytes, kind: int = 0) -> bytes:
    listed = b"".join(struct.pack("!BH", kind, len(name)) + name for name in names)
    return extension(0, struct.pack("!H", len(listed)) + listed)


def alpn(*protocols: bytes) -> bytes:
    listed = b"".join(bytes([len(one)]) + one for one in protocols)
    return extension(16, struct.pack("!H", len(listed)) + listed)


def hello(*extensions: bytes, tail: bytes | None = None, session: bytes = b"", kind: int = 1) -> bytes:
    """A handshake message. tail: what stands in place of the extensions and their length."""
    if tail is None:
        together = b"".join(extensions)
        tail = struct.pack("!H", len(together)) + together
    body = b"\x03\x03" + bytes(32) + bytes([len(session)]) + session + b"\x00\x02\x13\x01\x01\x00" + tail
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def records(message: bytes, size: int = 16384, kind: int = 22, version: bytes = b"\x03\x01") -> bytes:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(bytes([kind]) + version + struct.pack("!H", len(part)) + part for part in parts)


def read(*pieces: bytes) -> ClientHello | None:
    reader = HelloReader()
    found = None
    for piece in pieces:
        assert found is None
        found = reader.feed(piece)
    return found


def told(found: ClientHello | None) -> tuple[str, tuple[bytes, ...]]:
    assert found is not None
    return found.server_name, found.alpn


GOOD = [
    ("a name and protocols", hello(sni(b"a.test"), alpn(b"h2", b"http/1.1")), "a.test", (b"h2", b"http/1.1")),
    ("upper case and a trailing dot", hello(sni(b"WWW.A.Test.")), "www.a.test", ()),
    ("neither", hello(extension(10, b"\0\x02\0\x1d")), "", ()),
    ("no extensions", hello(), "", ()),
    ("not even their length", hello(tail=b""), "", ()),
    ("an IPv4 address is no name", hello(sni(b"192.0.2.1")), "", ()),
    ("an IPv6 address is no name", hello(sni(b"2001:db8::1")), "", ()),
    ("a digit within a name is a name", hello(sni(b"1.a2.test")), "1.a2.test", ()),
    ("unknown extensions around", hello(extension(0xFAFA, b""), sni(b"a.test"), extension(21, bytes(300))), "a.test", ()),
    ("a long session id", hello(sni(b"a.test"), session=bytes(32)), "a.test", ()),
    ("a protocol of 255 octets", hello(alpn(b"x" * 255)), "", (b"x" * 255,)),
    ("a hello of 60,000 octets", hello(extension(41, bytes(20000)), extension(42, bytes(40000)), sni(b"a.test")), "a.test", ()),
]

BAD = [
    ("a request in clear", b"GET / HTTP/1.1\r\n", 0, True),
    ("a request in clear behind an empty line", b"\r\nGET / HTTP/1.1\r\n", 0, True),
    ("the preface of HTTP/2 in clear", b"PRI * HTTP/2.0\r\n", 0, True),
    ("SSL 2", b"\x80\x2e\x01\x03\x01", 70, False),
    ("an alert", b"\x15\x03\x01\x00\x02\x02\x28", 0, False),
    ("application data", b"\x17\x03\x03\x00\x01x", 10, False),
    ("zeros", bytes(20), 10, False),
    ("version 4", b"\x16\x04\x00\x00\x05", 70, False),
    ("an empty record", b"\x16\x03\x01\x00\x00", 10, False),
    ("a record of 16,385 octets", b"\x16\x03\x01\x40\x01", 22, False),
    ("a message of another kind", records(hello(kind=2)), 10, False),
    ("a message of 128 KiB and an octet", records(b"\x01\x02\x00\x01" + bytes(10)), 47, False),
    ("another record within", records(hello(sni(b"a.test"))[:20]) + records(b"\x01\x00", kind=21), 10, False),
    ("two names", records(hello(sni(b"a.test", b"b.test"))), 50, False),
    ("no name in the list", records(hello(extension(0, b"\0\0"))), 50, False),
    ("an empty name", records(hello(sni(b""))), 50, False),
    ("an empty server_name extension", records(hello(extension(0, b""))), 50, False),
    ("a name of another kind", records(hello(sni(b"a.test", kind=1))), 50, False),
    ("only a dot", records(hello(sni(b"."))), 112, False),
    ("a NUL in the name", records(hello(sni(b"a.test\0.b.test"))), 112, False),
    ("a name that is not ASCII", records(hello(sni("ä.test".encode()))), 112, False),
    ("a name of 256 octets", records(hello(sni(b"a" * 256))), 112, False),
    ("two server_name extensions", records(hello(sni(b"a.test"), sni(b"a.test"))), 47, False),
    ("two ALPN extensions", records(hello(alpn(b"h2"), alpn(b"h2"))), 47, False),
    ("an empty protocol", records(hello(alpn(b"h2", b""))), 50, False),
    ("no protocols", records(hello(alpn())), 50, False),
    ("a protocol that is cut off", records(hello(extension(16, b"\0\x03\x05h2"))), 50, False),
    ("an extension beyond the end", records(hello(tail=b"\0\x06\0\x10\0\x09\0\0")), 50, False),
    ("half an extension header", records(hello(tail=b"\0\x03\0\x10\0")), 50, False),
    ("extensions beyond the end", records(hello(tail=b"\0\x09\0\x10\0\0")), 50, False),
    ("octets behind the extensions", records(hello(tail=b"\0\0x")), 50, False),
    ("one octet for the length of extensions", records(hello(tail=b"\0")), 50, False),
    ("only a version", records(b"\x01\x00\x00\x02\x03\x03"), 50, False),
    ("an empty hello", records(b"\x01\x00\x00\x00"), 50, False),
]


@pytest.mark.parametrize("what,message,name,protocols", GOOD, ids=[row[0] for row in GOOD])
def test_read(what: str, message: bytes, name: str, protocols: tuple[bytes, ...]) -> None:
    assert told(read(records(message))) == (name, protocols)
    assert told(read(records(message, 7 if len(message) < 2000 else 999))) == (name, protocols)


@pytest.mark.parametrize("what,octets,code,plain", BAD, ids=[row[0] for row in BAD])
def test_refused(what: str, octets: bytes, code: int, plain: bool) -> None:
    with pytest.raises(HelloError) as whole:
        read(octets)
    assert (whole.value.code, whole.value.plain) == (code, plain)
    with pytest.raises(HelloError) as in_pieces:
        read(*(octets[at : at + 1] for at in range(len(octets))))
    assert (in_pieces.value.code, in_pieces.value.plain) == (code, plain)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100, 16384])
def test_every_cut_of_a_real_hello(size: int) -> None:
    first = from_openssl()
    octets = records(first[5:], size)
    for cut in range(len(octets)):
        reader = HelloReader()
        assert reader.feed(octets[:cut]) is None
        assert told(reader.feed(octets[cut:])) == ("a.test", (b"h2", b"http/1.1"))
        assert reader.received == octets


def identities(*tickets: bytes) -> bytes:
    listed = b"".join(struct.pack("!H", len(one)) + one + bytes(4) for one in tickets)
    return extension(41, struct.pack("!H", len(listed)) + listed + b"\x00\x21\x20" + bytes(32))


A, B = b"A" * 16, b"B" * 16


@pytest.mark.parametrize(
    ("extensions", "names"),
    [
        ((), ()),
        ((extension(35, b""),), ()),
        ((extension(35, A + bytes(200)),), (A,)),
        ((extension(35, A[:15]),), ()),
        ((identities(A + bytes(200)),), (A,)),
        ((identities(A, B + b"x"),), (A, B)),
        ((identities(b"short", B),), (B,)),
        ((extension(41, b"\x00\xff" + struct.pack("!H", 5000) + A),), (A,)),
        ((extension(41, b"\x00"),), ()),
        ((identities(*[A] * 1000, B),), (A,) * 8),
        ((extension(35, A),) * 3000, (A,) * 8),
    ],
)
def test_the_names_of_the_keys_of_tickets(extensions: tuple[bytes, ...], names: tuple[bytes, ...]) -> None:
    """Their form is for the engine to judge, so a damaged one is no error here."""
    found = read(records(hello(*extensions)))
    assert found is not None
    assert tuple(name for name in found.tickets if name in (A, B)) == names


def test_real_clients_of_other_kinds() -> None:
    assert told(read(from_openssl(None, ()))) == ("", ())
    assert told(read(from_openssl("b.test", most=ssl.TLSVersion.TLSv1_2))) == ("b.test", (b"h2", b"http/1.1"))


def test_octets_behind_the_hello_are_kept() -> None:
    octets = from_openssl()
    reader = HelloReader()
    assert reader.feed(octets + b"early data")
    assert reader.received == octets + b"early data"


def test_an_engine_takes_what_was_received() -> None:
    """It gets the alert of its own for what is not judged here: a session without a certificate fails later."""
    reader = HelloReader()
    assert reader.feed(from_openssl())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(reader.received)
    with pytest.raises(ssl.SSLError, match="(?i)no.shared.cipher"):
        engine.do_handshake()


def test_an_alert_is_understood_by_a_client() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(alert(112))
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        client.do_handshake()


def test_the_cost_is_linear_in_the_octets() -> None:
    """128 KiB in records of one octet, octet by octet: some 800,000 calls, and no part is read twice."""

    def cost(size: int) -> float:
        octets = records(hello(extension(42, bytes(size))), 1)
        reader = HelloReader()
        began = time.process_time()
        for at in range(0, len(octets), 3):
            reader.feed(octets[at : at + 3])
        return time.process_time() - began

    small, large = min(cost(2000) for _ in range(3)), cost(32000)
    assert large < 16 * small * 5


@given(st.binary(max_size=400))
@example(b"\x16")
def test_any_octets_get_a_hello_or_a_refusal(octets: bytes) -> None:
    for data in (octets, records(b"\x01" + len(octets).to_bytes(3, "big") + octets), records(hello(tail=octets))):
        try:
            read(data)
        except HelloError as error:
            assert error.code in (0, 10, 22, 47, 50, 70, 112)


def test_damaged_hellos() -> None:
    """As the engine of OpenSSL would see them: a name that is read here is the one that stands there."""
    chance = random.Random(7)
    octets = from_openssl()
    for _ in range(3000):
        damaged = bytearray(octets)
        for _ in range(chance.choice((1, 1, 2, 5))):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 1, 255, chance.randrange(256)))
        try:
            found = read(bytes(damaged))
        except HelloError:
            continue
        if found is not None and found.server_name:
            assert found.server_name.encode() in bytes(damaged).lower()
