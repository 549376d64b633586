"""A key of 32 octets that this host makes for itself and keeps in the state directory, with mode 0600.

Made once, by the first process that needs it. It is written under another name and then linked, so that of two processes that begin at once
both have the one that was first. A process that is killed meanwhile leaves the file with the other name behind, which nobody reads.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable

__all__ = ["SIZE", "Unusable", "kept_key"]

SIZE = 32  # octets


class Unusable(Exception):
    """The file cannot be the key. The text says why, and what to do."""


def _nothing(name: str) -> None:
    """A step in production."""


def kept_key(path: str, step: Callable[[str], None] = _nothing) -> bytes:
    """The key in a file; made if there is none. Raises OSError and Unusable.

    step: called with the name of each step at which the process may die (`terraster.master.steps`)
    """
    key = _read(path)
    if key is None:
        _make(path, step)
        key = _read(path)
    if key is None:
        raise Unusable(f"{path} went away while it was read; another program removes the files that Terraster keeps there")
    if len(key) != SIZE:
        raise Unusable(f"{path} does not have {SIZE} octets; remove it, and a new one is made (sessions then begin anew)")
    return key


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unusable(f"{path} is not a regular file; remove it")
        return os.read(descriptor, SIZE + 1)
    finally:
        os.close(descriptor)


def _make(path: str, step: Callable[[str], None]) -> None:
    """Have a key under this name, ours or that of a process that was faster."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(SIZE))
            stream.flush()
            os.fsync(descriptor)
        step("key written")
        os.link(temporary, path)
        step("key linked")
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)
