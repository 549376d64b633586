"""An answer that a filter gives in place of a backend."""

from __future__ import annotations

__all__ = ["Answer"]


class Answer:
    """status: 200..599. headers: (name, value) pairs, without framing fields and Date. body: octets, may be empty."""

    __slots__ = ("status", "headers", "body")

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.headers!r}, {self.body!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Answer):
            return NotImplemented
        return (self.status, self.headers, self.body) == (other.status, other.headers, other.body)

    __hash__ = None  # type: ignore[assignment]
