"""The secret that access tokens are signed with: the one of the configuration if it can be used, else one of this instance's own.

That one is ``jwt.key`` in the state directory (`terraster.config.key_file`). It is kept, so a restart ends no session.
`terraster.config.signing` says which secrets of a configuration can be used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from terraster.config.key_file import Unusable, kept_key
from terraster.config.signing import fault

from .faults import Unavailable

__all__ = ["FILE", "SigningKey"]

FILE = "jwt.key"


class SigningKey:
    """The key of the configuration in effect. configured: its secret, "" for none, and its state directory"""

    __slots__ = ("_configured", "_key", "_of")

    def __init__(self, configured: Callable[[], tuple[str, str]]) -> None:
        self._configured = configured
        self._of: tuple[str, str] | None = None
        self._key = b""

    def __call__(self) -> bytes:
        """The key. Raises Unavailable. The first call reads a file, and may make it."""
        now = self._configured()
        if now != self._of:
            self._key = _signing_key(*now)
            self._of = now
        return self._key


def _signing_key(written: str, state_dir: str) -> bytes:
    if written and not fault(written):
        return hashlib.sha256(b"terraster access tokens\0" + written.encode()).digest()
    path = os.path.join(state_dir, FILE)
    try:
        return kept_key(path)
    except Unusable as error:
        raise Unavailable(str(error)) from error
    except OSError as error:
        raise Unavailable(
            f"cannot read or make {path}, which sessions of the management API are signed with: {error.strerror}; give the user that "
            "Terraster runs as a `state_dir` of its own, or set `auth.jwt_secret`"
        ) from error
