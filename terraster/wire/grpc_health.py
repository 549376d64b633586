"""The two messages of grpc.health.v1 (https://github.com/grpc/grpc/blob/master/doc/health-checking.md), and the frame of a gRPC message.

They are so small that they are written and read by hand: a request has one text, a response one number.
"""

from __future__ import annotations

from terraster.errors import BadResponse

__all__ = ["CHECK", "SERVING", "SERVING_STATUSES", "check_request", "serving_status", "unframed"]

CHECK = b"/grpc.health.v1.Health/Check"

SERVING_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
SERVING = 1

_SERVICE = b"\x0a"  # field 1, wire type 2
_STATUS = 8  # field 1, wire type 0
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10


def check_request(service: str) -> bytes:
    """The framed HealthCheckRequest. service: "" asks for the server as a whole."""
    name = service.encode("utf-8")
    message = _SERVICE + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unframed(body: bytes) -> bytes:
    """The only message of a response body. Raises `BadResponse`."""
    if len(body) < 5:
        raise BadResponse("no message" if not body else "a message that is cut off")
    if body[0]:
        raise BadResponse("a compressed message")
    size = int.from_bytes(body[1:5], "big")
    if len(body) != 5 + size:
        raise BadResponse("a message that is cut off" if len(body) < 5 + size else "more than one message")
    return body[5:]


def serving_status(message: bytes) -> int:
    """The status in a HealthCheckResponse; unknown fields are skipped, and the last status counts. Raises `BadResponse`."""
    status = at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            if key == _STATUS:
                status = value
        elif kind == _LENGTH:
            size, at = _read_varint(message, at)
            at += size
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        else:
            raise BadResponse("a malformed message")
    if at > len(message):
        raise BadResponse("a malformed message")
    return status


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value >= 128:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, the place behind it). Raises `BadResponse`."""
    value = 0
    for count in range(_LONGEST_VARINT):
        if at + count >= len(data):
            break
        octet = data[at + count]
        value |= (octet & 127) << 7 * count
        if octet < 128:
            return value, at + count + 1
    raise BadResponse("a malformed message")
