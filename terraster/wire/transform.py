"""The contract of a transform: it changes the payload of a response on its way from the backend to the client.

A hook of `on_response` sets one on the edits of the head. `terraster.net.transformed` applies it.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Payload", "Transform"]

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
