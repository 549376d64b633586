"""Cookies of a request (RFC 6265, section 4.2; several Cookie fields: RFC 9113, section 8.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["cookie_values"]


def cookie_values(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values that the cookies of this name have, in order; without the quotes that some clients put."""
    values = []
    for spelling, field in fields:
        if len(spelling) == 6 and spelling.lower() == b"cookie" and name in field:
            for pair in bytes(field).split(b";"):
                found, equals, value = pair.partition(b"=")
                if equals and found.strip() == name:
                    value = value.strip()
                    values.append(value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value)
    return values
