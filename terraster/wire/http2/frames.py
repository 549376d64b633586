"""Frames of HTTP/2 (RFC 9113, sections 4, 6 and 7): their numbers, and the octets of those that are sent.

A frame begins with 9 octets: 24 bits of length, 8 of kind, 8 of flags, 32 of stream number. `HEAD` packs the length and the kind as one
integer, because one ``struct`` call for each frame is what a reader can afford.
"""

from __future__ import annotations

from struct import Struct

__all__ = [
    "ACK",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "CONTINUATION",
    "DATA",
    "ENHANCE_YOUR_CALM",
    "END_HEADERS",
    "END_STREAM",
    "ERRORS",
    "FIRST_WINDOW",
    "FLOW_CONTROL_ERROR",
    "FRAME_SIZE_ERROR",
    "GOAWAY",
    "HEAD",
    "HEADERS",
    "HTTP_1_1_REQUIRED",
    "INADEQUATE_SECURITY",
    "INTERNAL_ERROR",
    "LONG",
    "LONGEST_FRAME",
    "MOST",
    "NO_ERROR",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PRIORITY_UPDATE",
    "PROTOCOL_ERROR",
    "PUSH_PROMISE",
    "REFUSED_STREAM",
    "RST_STREAM",
    "SETTINGS",
    "SETTINGS_ACK",
    "SETTINGS_TIMEOUT",
    "SMALLEST_FRAME",
    "STREAM_CLOSED",
    "S_CONNECT_PROTOCOL",
    "S_ENABLE_PUSH",
    "S_HEADER_LIST_SIZE",
    "S_HEADER_TABLE_SIZE",
    "S_MAX_FRAME_SIZE",
    "S_MAX_STREAMS",
    "S_NO_PRIORITIES",
    "S_WINDOW",
    "WINDOW_UPDATE",
    "ConnectionFault",
    "frame",
    "goaway",
    "rst_stream",
    "settings",
    "unpadded",
    "window_update",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first octets of a client: section 3.4."""

# Kinds: section 6, and RFC 9218, section 7.1.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16

# Flags.
ACK = END_STREAM = 1
END_HEADERS = 4
PADDED = 8
PRIORITY_FLAG = 32

# Error codes: section 7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED = range(7, 14)

ERRORS = (
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
)
"""The names of the codes, for log lines."""

# Settings: section 6.5.2; RFC 8441, section 3; RFC 9218, section 2.1.
S_HEADER_TABLE_SIZE, S_ENABLE_PUSH, S_MAX_STREAMS, S_WINDOW, S_MAX_FRAME_SIZE, S_HEADER_LIST_SIZE = range(1, 7)
S_CONNECT_PROTOCOL = 8
S_NO_PRIORITIES = 9

MOST = (1 << 31) - 1
"""The largest window, and the largest stream number."""

FIRST_WINDOW = 65535
"""Both windows of every connection before any setting, octets: section 6.9.2."""

SMALLEST_FRAME = 16384
LONGEST_FRAME = (1 << 24) - 1
"""The limits of SETTINGS_MAX_FRAME_SIZE, octets. Each connection begins with the smallest one."""

HEAD = Struct(">LBL")
"""(length * 256 + kind, flags, stream number)"""

LONG = Struct(">L")

_SETTING = Struct(">HL")
_FOUR = 4 << 8
_EIGHT = 8 << 8

SETTINGS_ACK = HEAD.pack(SETTINGS, ACK, 0)


class ConnectionFault(Exception):
    """The peer broke a rule, and the connection must end (section 5.4.1).

    code: an error code. text: the broken rule, for a log line. bound: the name of the bound that was exceeded, "" if it was another rule
    """

    __slots__ = ("code", "text", "bound")

    def __init__(self, code: int, text: str, bound: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.bound = bound


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """A frame. number: of its stream, 0 for the connection. The payload is at most what the peer takes."""
    return HEAD.pack(len(payload) << 8 | kind, flags, number) + payload


def settings(pairs: list[tuple[int, int]]) -> bytes:
    """A SETTINGS frame with these (setting, value) pairs."""
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(setting, value) for setting, value in pairs]))


def window_update(number: int, octets: int) -> bytes:
    """A WINDOW_UPDATE frame: the peer may send so many more octets, 1 to 2^31-1."""
    return HEAD.pack(_FOUR | WINDOW_UPDATE, 0, number) + LONG.pack(octets)


def rst_stream(number: int, code: int) -> bytes:
    """An RST_STREAM frame."""
    return HEAD.pack(_FOUR | RST_STREAM, 0, number) + LONG.pack(code)


def goaway(last: int, code: int, text: bytes = b"") -> bytes:
    """A GOAWAY frame. last: the number of the last stream that was worked on. text: for the people at the peer's side."""
    return HEAD.pack(len(text) + 8 << 8 | GOAWAY, 0, 0) + LONG.pack(last) + LONG.pack(code) + text


def unpadded(payload: bytes) -> bytes:
    """The octets between the length of the padding and the padding: sections 6.1 and 6.2. Raises `ConnectionFault`."""
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a frame without the length of its padding")
    end = len(payload) - payload[0]
    if end < 1:
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than the frame has octets")
    return payload[1:end]
