"""The runtime of filters: the process that runs them does for them the things that take time.

A filter opens no socket, starts no thread and keeps no greenlet waiting by means of its own. Where a hook must wait, it asks its `Runtime`
(`Place.runtime`), which the worker fills in (`terraster.phases.data_plane`). The hook stays straight code, and a test gives it a runtime
that answers at once.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Passwords", "Runtime"]


class Passwords(Protocol):
    """Compares passwords with their hashes."""

    def verify(self, client: str, user: bytes, password: bytes, hashed: bytes) -> bool:
        """True if the password has this hash (`terraster.policy.htpasswd`). Waits. Raises `HttpError` if too many are being compared.

        client: its IP address; clients take turns. user: the name that the client gave."""


class Runtime:
    """The means of one process. One object for all filters of a plan and of the plans that follow it; it is made before the process is.

    passwords: set by a worker before its first request
    """

    __slots__ = ("passwords",)

    passwords: Passwords
