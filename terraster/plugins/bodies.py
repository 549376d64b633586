"""The body of a response that goes through a plugin: it is gathered, up to a bound, and then given to the plugin as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import US, HttpError
from ..wire.edits import Edits
from ..wire.transform import Payload, Transform
from .views import body_of

__all__ = ["ShapedBody", "may_shape", "octets_of"]

_LOOKED_AT = frozenset((b"content-encoding", b"content-range"))
_PLAIN = (b"", b"identity")


def may_shape(edits: Edits, most: int) -> bool:
    """True if the body can be gathered: it is whole, not encoded, and not known to be too large."""
    if edits.body is not None or edits.status == 206 or edits.head is None or getattr(edits.head, "content_length", -1) > most:
        return False
    found = edits.values(_LOOKED_AT)
    return b"content-range" not in found and found.get(b"content-encoding", b"").strip().lower() in _PLAIN


class ShapedBody:
    """The transform of one response (`terraster.wire.transform.Transform`). first: a transform of an earlier plugin, whose result this one
    gets."""

    __slots__ = ("_about", "_first", "_held", "_make", "_most", "_size")

    def __init__(self, first: Transform | None, most: int, make: Callable[[bytes, Any], bytes], about: Any) -> None:
        """make: called with the whole body and ``about``; returns what is sent"""
        self._first = first
        self._most = most
        self._make = make
        self._about = about
        self._held: list[bytes] = []
        self._size = 0

    @property
    def piece(self) -> int:
        return 65536 if self._first is None else self._first.piece

    def feed(self, payload: Payload) -> bytes:
        self._hold(payload if self._first is None else self._first.feed(payload))
        return b""

    def flush(self) -> bytes:
        return b""

    def end(self, payload: Payload) -> bytes:
        self._hold(payload if self._first is None else self._first.end(payload))
        held, self._held = b"".join(self._held), []
        return self._make(held, self._about)

    def took(self, octets: int, seconds: float) -> None:
        """Nothing depends on it: the guard bounds the time."""

    def over(self) -> None:
        self._held = []
        self._about = None
        if self._first is not None:
            self._first.over()

    def _hold(self, payload: Payload) -> None:
        self._size += len(payload)
        if self._size > self._most:
            raise HttpError("the response is larger than a plugin takes", status=502, blame=US)
        self._held.append(bytes(payload))


def octets_of(made: Any) -> bytes:
    """The octets of a body that a hook made. Raises what `body_of` raises."""
    return body_of(made)[0]
