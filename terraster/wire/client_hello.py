"""The ClientHello of TLS (RFC 8446, sections 4.1.2 and 5.1), read before a TLS engine exists.

The engine's settings (client certificates, versions, ciphers, tickets) are those of the host that the client names. An engine that
switches settings within the handshake keeps some of the first ones: Python's `sni_callback` leaves `verify_mode` and `minimum_version`
in force. So the name is read first, and the engine is made with the right settings from the start.

Only the parts that choose the settings are judged here. The engine gets all octets afterwards and judges the rest.
"""

from __future__ import annotations

from terraster.errors import TerrasterError

__all__ = ["ClientHello", "HelloError", "HelloReader", "alert"]

_RECORD_HEADER, _EXTENSION_HEADER = 5, 4
_LEAST = 9 + 2 + 32  # octets of a hello in one record, at least
_MOST_IN_RECORD = 16384  # octets: RFC 8446, section 5.1
_MOST_IN_HELLO = 131072  # octets; clients with post-quantum key shares send some 2,000

_ALERT, _HANDSHAKE = 21, 22  # content types
_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN, _SESSION_TICKET, _PRE_SHARED_KEY = 0, 16, 35, 41  # extensions
_KEY_NAME = 16  # octets: RFC 5077, section 4
_READ = frozenset((_SERVER_NAME, _ALPN, _SESSION_TICKET, _PRE_SHARED_KEY))
_MOST_TICKETS = 8  # that are looked at; a client with more of them makes a full handshake at worst
_HOST_NAME = 0


UNEXPECTED_MESSAGE, RECORD_OVERFLOW, ILLEGAL_PARAMETER, DECODE_ERROR, PROTOCOL_VERSION, UNRECOGNIZED_NAME = 10, 22, 47, 50, 70, 112


def alert(code: int) -> bytes:
    """The record of a fatal alert, as it goes out in clear before a handshake (RFC 8446, section 6)."""
    return bytes((_ALERT, 3, 1, 0, 2, 2, code))


class HelloError(TerrasterError):
    """These octets are not the beginning of a handshake that can go on.

    code:  the alert to answer with; 0 for none
    plain: True if they look like HTTP in clear
    """

    __slots__ = ("code", "plain")

    def __init__(self, message: str, code: int = DECODE_ERROR, plain: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.plain = plain


class ClientHello:
    """The wishes of a client. server_name: lower-case, without a trailing dot; "" for none, and for an address, which is not a name
    (RFC 6066, section 3). alpn: the protocols, the client's first choice first. tickets: the first 16 octets of each session ticket, which name
    its keys."""

    __slots__ = ("alpn", "server_name", "tickets")

    def __init__(self, server_name: str = "", alpn: tuple[bytes, ...] = (), tickets: tuple[bytes, ...] = ()) -> None:
        self.server_name = server_name
        self.alpn = alpn
        self.tickets = tickets


class HelloReader:
    """Reads one ClientHello from octets that come in any pieces. The cost is linear in the octets, however small records and pieces are.

    received: all octets so far, for the engine
    """

    __slots__ = ("received", "_at", "_message")

    def __init__(self) -> None:
        self.received = bytearray()
        self._at = 0  # the next record begins here
        self._message = bytearray()

    def feed(self, data: bytes) -> ClientHello | None:
        """The hello, or None if more octets are needed. Raises `HelloError`.

        A hello that comes whole, in one record and in one piece, is read where it is: that costs 4 µs less.
        """
        received = self.received
        received += data
        if (
            not self._at
            and len(received) == len(data) > _LEAST
            and data[0] == _HANDSHAKE
            and data[1] == 3
            and data[5] == _CLIENT_HELLO
        ):
            size = data[3] << 8 | data[4]
            end = 9 + (data[6] << 16 | data[7] << 8 | data[8])
            if end <= _RECORD_HEADER + size <= len(data) and size <= _MOST_IN_RECORD:
                self._message = received[_RECORD_HEADER:end]
                return _parse(data, 9, end)
        while len(received) > self._at:
            self._check_record()
            end = self._at + _RECORD_HEADER
            if len(received) < end:
                return None
            size = received[end - 2] << 8 | received[end - 1]
            if not size:
                raise HelloError("an empty handshake record", UNEXPECTED_MESSAGE)
            if size > _MOST_IN_RECORD:
                raise HelloError("a record that is too long", RECORD_OVERFLOW)
            if len(received) < end + size:
                return None
            self._message += received[end : end + size]
            self._at = end + size
            message = self._message
            if message[0] != _CLIENT_HELLO:
                raise HelloError("a handshake that does not begin with a ClientHello", UNEXPECTED_MESSAGE)
            if len(message) < 4:
                continue
            size = int.from_bytes(message[1:4], "big")
            if size > _MOST_IN_HELLO:
                raise HelloError("a ClientHello that is too long", ILLEGAL_PARAMETER)
            if len(message) >= 4 + size:
                return _parse(bytes(message), 4, 4 + size)
        return None

    @property
    def message(self) -> bytes:
        """The whole ClientHello, with its header of 4 octets, once `feed` gave it."""
        return bytes(self._message)

    def _check_record(self) -> None:
        """Look at the first octets of a record, as many as there are. Raises `HelloError`."""
        received, at = self.received, self._at
        kind = received[at]
        if kind != _HANDSHAKE:
            if at:
                raise HelloError("a record of another kind within the ClientHello", UNEXPECTED_MESSAGE)
            if _is_token_octet(kind) or kind in b"\r\n":
                raise HelloError("plain HTTP", 0, plain=True)
            if kind & 0x80:
                raise HelloError("a hello of SSL 2", PROTOCOL_VERSION)
            raise HelloError("no TLS handshake", 0 if kind == _ALERT else UNEXPECTED_MESSAGE)
        if len(received) > at + 1 and received[at + 1] != 3:
            raise HelloError("a version of TLS that does not exist", PROTOCOL_VERSION)


def _is_token_octet(octet: int) -> bool:
    """True for a letter, which begins the request line of every method that exists."""
    return 65 <= octet <= 90 or 97 <= octet <= 122


def _parse(data: bytes, at: int, size: int) -> ClientHello:
    """The message behind its length is from ``at`` to ``size`` in the octets."""
    try:
        at += 35 + data[at + 34]  # legacy_version, random, legacy_session_id
        at += 2 + (data[at] << 8 | data[at + 1])  # cipher_suites
        at += 1 + data[at]  # legacy_compression_methods
    except IndexError:
        at = size + 1
    if at == size:
        return ClientHello()
    if at + 2 > size:
        raise _beyond()
    end = at + 2 + (data[at] << 8 | data[at + 1])
    if end != size:
        raise _beyond() if end > size else HelloError("octets behind the extensions")
    at += 2
    server_name: str | None = None
    alpn: tuple[bytes, ...] | None = None
    tickets: tuple[bytes, ...] = ()
    last = size - _EXTENSION_HEADER
    while at < size:
        if at > last:
            raise _beyond()
        kind = data[at] << 8 | data[at + 1]
        length = data[at + 2] << 8 | data[at + 3]
        at += _EXTENSION_HEADER
        end = at + length
        if end > size:
            raise _beyond()
        if kind in _READ:
            if kind == _SERVER_NAME:
                if server_name is not None:
                    raise HelloError("two server_name extensions", ILLEGAL_PARAMETER)
                server_name = _server_name(data[at:end])
            elif kind == _ALPN:
                if alpn is not None:
                    raise HelloError("two ALPN extensions", ILLEGAL_PARAMETER)
                alpn = _protocols(data[at:end])
            elif kind == _PRE_SHARED_KEY:
                tickets = (*_identities(data[at:end]), *tickets)[:_MOST_TICKETS]
            elif length >= _KEY_NAME:
                tickets = (data[at : at + _KEY_NAME], *tickets[: _MOST_TICKETS - 1])
        at = end
    return ClientHello(server_name or "", alpn or (), tickets)


def _beyond() -> HelloError:
    return HelloError("a length that leads beyond the ClientHello")


def _skip(body: bytes, at: int, width: int) -> int:
    """The end of a vector at ``at`` whose length has ``width`` octets. Raises `HelloError`."""
    start = at + width
    end = start + int.from_bytes(body[at:start], "big")
    if start > len(body) or end > len(body):
        raise _beyond()
    return end


def _identities(data: bytes) -> tuple[bytes, ...]:
    """The first octets of each identity of a pre_shared_key extension (RFC 8446, section 4.2.11). Its form is for the engine to judge."""
    found: list[bytes] = []
    at, end = 2, min(len(data), 2 + int.from_bytes(data[:2], "big"))
    while at + 2 + _KEY_NAME <= end and len(found) < _MOST_TICKETS:
        found.append(data[at + 2 : at + 2 + _KEY_NAME])
        at += 2 + int.from_bytes(data[at : at + 2], "big") + 4
    return tuple(found)


def _server_name(data: bytes) -> str:
    """The one host name of the extension (RFC 6066, section 3)."""
    if len(data) < 6 or _skip(data, 0, 2) != len(data) or data[2] != _HOST_NAME or _skip(data, 3, 2) != len(data):
        raise HelloError("a server_name extension that is not one host name")
    try:
        name = data[5:].decode("ascii").lower().rstrip(".")
    except UnicodeDecodeError:
        raise HelloError("a server name that is not ASCII", UNRECOGNIZED_NAME) from None
    if not name or "\0" in name or len(name) > 255:
        raise HelloError("an impossible server name", UNRECOGNIZED_NAME)
    return "" if _is_address(name) else name


def _is_address(name: str) -> bool:
    return ":" in name or name.rpartition(".")[2].isdigit()


def _protocols(data: bytes) -> tuple[bytes, ...]:
    """The protocols of the ALPN extension (RFC 7301, section 3.1): at least one, none empty."""
    if len(data) < 4 or _skip(data, 0, 2) != len(data):
        raise HelloError("an ALPN extension without protocols")
    found = []
    at = 2
    while at < len(data):
        end = _skip(data, at, 1)
        if end == at + 1:
            raise HelloError("an empty ALPN protocol")
        found.append(data[at + 1 : end])
        at = end
    return tuple(found)
