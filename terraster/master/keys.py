"""The secret that sticky cookies are signed with: 32 random octets in ``cookie.key`` in the state directory.

Made once, by the first start that needs it, and kept: sessions outlive a restart, and several hosts share sessions when they
are given the same file. It is written under another name and then linked, so that of two masters that begin at once both have
the one that was first. A process that is killed meanwhile leaves the file with the other name behind, which nobody reads.
"""

from __future__ import annotations

import os
import secrets
import stat

from terraster.errors import StartError

from .steps import Step, nothing

__all__ = ["SIZE", "cookie_key"]

SIZE = 32  # octets


def cookie_key(directory: str, step: Step = nothing) -> bytes:
    """The secret of a state directory; made if there is none. Raises StartError, which says what to do about it.

    step: see `terraster.master.steps`
    """
    path = os.path.join(directory, "cookie.key")
    try:
        key = _read(path)
        if key is None:
            _make(directory, path, step)
            key = _read(path)
    except OSError as error:
        raise StartError(
            f"cannot read or make {path}, which sticky sessions are signed with: {error.strerror}; "
            f"give the user that Terraster runs as a state_dir of its own"
        ) from error
    if key is None:
        raise StartError(f"{path} went away while it was read; another program removes the files that Terraster keeps there")
    if len(key) != SIZE:
        raise StartError(
            f"{path} does not have {SIZE} octets; remove it, and the next start makes a new one (sessions then begin anew)"
        )
    return key


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StartError(f"{path} is not a regular file; remove it")
        return os.read(descriptor, SIZE + 1)
    finally:
        os.close(descriptor)


def _make(directory: str, path: str, step: Step) -> None:
    """Have a key under this name, ours or that of a process that was faster."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(SIZE))
            stream.flush()
            os.fsync(descriptor)
        step("cookie key written")
        os.link(temporary, path)
        step("cookie key linked")
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)
