"""HTTP/2 frames as tests write and read them, without a line of the code under test.

Octets go out by `frame` and its relatives. What a session wrote comes back as one short text for each frame (`told`), so that a table can
say what must be sent: ``"RST_STREAM 1 CANCEL"``, ``"GOAWAY 1 PROTOCOL_ERROR"``, ``"DATA 1 5 END"``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import hpack

__all__ = [
    "CODES",
    "GET",
    "KINDS",
    "POST",
    "PREFACE",
    "block",
    "continuation",
    "data",
    "events_told",
    "fed",
    "frame",
    "goaway",
    "headers",
    "ping",
    "priority",
    "priority_update",
    "rst",
    "settings",
    "told",
    "window",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"]
CODES = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]
GET = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test"))
POST = ((":method", "POST"), *GET[1:])


def frame(kind: int, flags: int = 0, number: int = 0, payload: bytes = b"") -> bytes:
    """The octets of a frame."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBL", kind, flags, number) + payload


def block(fields: Iterable[tuple[str, str]]) -> bytes:
    """Fields without reference to a dynamic table, so that blocks may be sent in any order and left out."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def headers(number: int, fields: Iterable[tuple[str, str]] = GET, end: bool = True, flags: int = 4) -> bytes:
    return frame(1, flags | end, number, block(fields))


def continuation(number: int, octets: bytes, end: bool) -> bytes:
    return frame(9, 4 if end else 0, number, octets)


def data(number: int, octets: bytes = b"", end: bool = False, pad: int | None = None) -> bytes:
    if pad is None:
        return frame(0, end, number, octets)
    return frame(0, 8 | end, number, bytes([pad]) + octets + bytes(pad))


def priority(number: int, on: int = 0, weight: int = 15) -> bytes:
    return frame(2, 0, number, struct.pack(">LB", on, weight))


def rst(number: int, code: int = 8) -> bytes:
    return frame(3, 0, number, code.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int], ack: bool = False) -> bytes:
    return frame(4, ack, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def ping(octets: bytes = b"12345678", ack: bool = False) -> bytes:
    return frame(6, ack, 0, octets)


def goaway(last: int = 0, code: int = 0, text: bytes = b"") -> bytes:
    return frame(7, 0, 0, struct.pack(">LL", last, code) + text)


def window(number: int, more: int) -> bytes:
    return frame(8, 0, number, more.to_bytes(4, "big"))


def priority_update(number: int, value: bytes, on: int = 0) -> bytes:
    return frame(16, 0, on, number.to_bytes(4, "big") + value)


def told(out: list[Any]) -> list[str]:
    """What a session has written, and takes it from there. Raises AssertionError if it is not whole frames."""
    octets, found, at = b"".join(bytes(piece) for piece in out), [], 0
    out.clear()
    while at < len(octets):
        length = int.from_bytes(octets[at : at + 3], "big")
        kind, flags, number = struct.unpack(">BBL", octets[at + 3 : at + 9])
        payload = octets[at + 9 : at + 9 + length]
        assert len(payload) == length
        at += 9 + length
        words = [KINDS[kind]]
        if KINDS[kind] in ("DATA", "HEADERS", "CONTINUATION", "RST_STREAM", "WINDOW_UPDATE", "PRIORITY"):
            words.append(str(number))
        else:
            assert not number
        match KINDS[kind]:
            case "RST_STREAM":
                words.append(CODES[int.from_bytes(payload, "big")])
            case "GOAWAY":
                last, code = struct.unpack(">LL", payload[:8])
                words += [str(last), CODES[code]]
            case "WINDOW_UPDATE":
                words.append(str(int.from_bytes(payload, "big")))
            case "DATA":
                words.append(str(length))
            case "PING":
                words.append(payload.decode("latin-1"))
            case "SETTINGS":
                words += [f"{key}={value}" for key, value in struct.iter_unpack(">HL", payload)]
        if KINDS[kind] in ("SETTINGS", "PING"):
            words += ["ACK"] * (flags & 1)
        elif KINDS[kind] in ("DATA", "HEADERS"):
            words += ["END"] * (flags & 1)
            if KINDS[kind] == "HEADERS" and not flags & 4:
                words.append("MORE")
        elif KINDS[kind] == "CONTINUATION" and not flags & 4:
            words.append("MORE")
        found.append(" ".join(words))
    return found


EVENTS = ["REQUEST", "DATA", "END", "RESET", "ROOM", "FAILED", "GONE", "PONG", "INTERIM", "RESPONSE"]


def _code(code: int) -> str:
    return CODES[code] if code < len(CODES) else str(code)


def events_told(events: list[Any]) -> list[str]:
    """Events as short texts: ``"REQUEST 1"``, ``"DATA 1 b'abc'"``, ``"RESET 1 CANCEL"``."""
    found = []
    for kind, stream, value in events:
        words = [EVENTS[kind]]
        if stream is not None:
            words.append(str(stream.id))
        match EVENTS[kind]:
            case "DATA" | "END" | "PONG":
                words.append(repr(value))
            case "RESET":
                words.append(_code(value))
            case "FAILED":
                words.append(CODES[value[0]])
            case "GONE":
                words += [_code(value[0]), str(value[1])]
            case "REQUEST" | "RESPONSE" | "INTERIM" if hasattr(value, "status"):
                words.append(str(value.status))
        found.append(" ".join(words))
    return found


def fed(session: Any, octets: bytes, cuts: Iterable[int] = (), now: float = 1000.0) -> list[Any]:
    """The events of octets that come in pieces."""
    events, at = [], 0
    for cut in [*cuts, len(octets)]:
        events += session.feed(octets[at:cut], now)
        at = cut
    return events
