"""The contract of a transform: it changes the payload of a response on its way from the backend to the client.

A hook of `on_response` sets one on the edits of the head. `terraster.net.transformed` applies it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Payload", "Transform", "Watch", "Watcher", "resizes"]

Payload = bytes | memoryview


class Transform(Protocol):
    """One for each response. Calls in this order: any number of `feed` and `flush`, then `end` if the whole payload has arrived, then `over`.
    Each call returns the octets for the client that are ready, perhaps none. A call must not keep ``payload``, whose memory is used again.

    piece: how many octets of payload a call should get at most, so that no call holds the loop for long; it may change after each call
    """

    @property
    def piece(self) -> int: ...

    def feed(self, payload: Payload) -> bytes:
        """Take payload."""

    def flush(self) -> bytes:
        """Return what is held back, because the backend pauses."""

    def end(self, payload: Payload) -> bytes:
        """Take the last payload, which may be empty, and return all that is left."""

    def took(self, octets: int, seconds: float) -> None:
        """Learn how long a call took that got so many octets."""

    def over(self) -> None:
        """Note that the response is over, whether or not it was complete."""


class Watcher(Protocol):
    """Looks at payload. piece: how many octets a call should get at most. more: True once further payload is of no interest"""

    @property
    def piece(self) -> int: ...

    @property
    def more(self) -> bool: ...

    def feed(self, payload: Payload) -> None:
        """Look at the next payload, without keeping it."""


class Watch:
    """A transform that shows the payload to a watcher and leaves it as it is, or to another transform. ended: True if all of it has passed"""

    __slots__ = ("ended", "inner", "_watcher")

    def __init__(self, watcher: Watcher, inner: Transform | None) -> None:
        self.ended = False
        self.inner = inner
        self._watcher = watcher

    @property
    def piece(self) -> int:
        own = _LARGE if self._watcher.more else self._watcher.piece
        return own if self.inner is None else min(own, self.inner.piece)

    def feed(self, payload: Payload) -> bytes:
        self._watcher.feed(payload)
        return bytes(payload) if self.inner is None else self.inner.feed(payload)

    def flush(self) -> bytes:
        return b"" if self.inner is None else self.inner.flush()

    def end(self, payload: Payload) -> bytes:
        self._watcher.feed(payload)
        self.ended = True
        return bytes(payload) if self.inner is None else self.inner.end(payload)

    def took(self, octets: int, seconds: float) -> None:
        if self.inner is not None:
            self.inner.took(octets, seconds)

    def over(self) -> None:
        if self.inner is not None:
            self.inner.over()


_LARGE = 1 << 18


def resizes(transform: Transform) -> bool:
    """True if a transform may change the length of a body."""
    if not isinstance(transform, Watch):
        return True
    return transform.inner is not None and resizes(transform.inner)
