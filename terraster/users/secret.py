"""The secret that access tokens are signed with: the one of the configuration if it can be used, else one of this instance's own.

That one is 32 random octets in ``jwt.key`` in the state directory, with mode 0600. It is made when it is first needed and kept, so a restart
ends no session. `terraster.config.signing` says which secrets of a configuration can be used.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable

from terraster.config.signing import fault

from .faults import Unavailable

__all__ = ["FILE", "SigningKey"]

FILE = "jwt.key"
_SIZE = 32


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
        key = _read(path)
        if key is None:
            _make(state_dir, path)
            key = _read(path)
    except OSError as error:
        raise Unavailable(
            f"cannot read or make {path}, which sessions of the management API are signed with: {error.strerror}; give the user that "
            "Terraster runs as a `state_dir` of its own, or set `auth.jwt_secret`"
        ) from error
    if key is None or len(key) != _SIZE:
        raise Unavailable(
            f"{path} does not have {_SIZE} octets; remove it, and the next login makes a new one (sessions then begin anew)"
        )
    return key


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unavailable(f"{path} is not a regular file; remove it")
        return os.read(descriptor, _SIZE + 1)
    finally:
        os.close(descriptor)


def _make(directory: str, path: str) -> None:
    """Have a key under this name, ours or that of a process that was faster."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_SIZE))
            stream.flush()
            os.fsync(descriptor)
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)
