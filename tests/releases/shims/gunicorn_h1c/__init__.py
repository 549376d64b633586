"""What release 96a8a12 imports from the C scanner gunicorn_h1c, for its tests here: well-formed heads only.

That package is no dependency any more, and its build needs a compiler. How a head is scanned is not what an upgrade tests.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._parser import IncompleteError as IncompleteResponse
from ._parser import ParseError
from ._parser_fast import IncompleteError as IncompleteRequest

__all__ = ["InvalidHTTPVersion", "LimitRequestHeaders", "LimitRequestLine", "ParseError", "parse_request_fast", "parse_response"]

Fields = list[tuple[bytes, bytes]]


class InvalidHTTPVersion(ParseError):
    """Never raised here."""


class LimitRequestHeaders(ParseError):
    """Never raised here."""


class LimitRequestLine(ParseError):
    """Never raised here."""


class Scan(NamedTuple):
    """A request head. consumed: its octets."""

    method: bytes
    path: bytes
    minor_version: int
    headers: Fields
    consumed: int


def parse_request_fast(data: bytes, seen: int, line_size: int, header_count: int, header_size: int) -> Scan:
    """The request head at the start of ``data``. The limits are not looked at."""
    line, fields, size = _split(data, IncompleteRequest)
    method, target, version = line.split(b" ")
    return Scan(method, target, int(version.removeprefix(b"HTTP/1.")), fields, size)


def parse_response(data: bytes, seen: int) -> dict[str, Any]:
    """The response head at the start of ``data``."""
    line, fields, size = _split(data, IncompleteResponse)
    version, status, *_reason = line.split(b" ", 2)
    return {"minor_version": int(version.removeprefix(b"HTTP/1.")), "status": int(status), "headers": fields, "consumed": size}


def _split(data: bytes, incomplete: type[Exception]) -> tuple[bytes, Fields, int]:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise incomplete
    line, *rest = data[:end].split(b"\r\n")
    fields = [(name, value.strip(b" \t")) for name, _, value in (one.partition(b":") for one in rest)]
    return line, fields, end + 4
