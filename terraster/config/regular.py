"""Files that operators name are opened here: a pipe among them would wait for its writer for ever, a device might never end."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["regular"]

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def regular(path: str, flags: int) -> int:
    """An opener for `open`, which waits for nobody. Raises OSError, with the reason in ``strerror``, for all that is neither a file nor a
    directory, which `open` itself refuses, nor /dev/null, which is an empty file."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket cannot be opened
            raise _refusal(path, os.stat(path).st_mode, errno.ENXIO) from error
        raise
    status = os.fstat(descriptor)
    mode = status.st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (stat.S_ISCHR(mode) and status.st_rdev == os.stat(os.devnull).st_rdev):
        return descriptor
    os.close(descriptor)
    raise _refusal(path, mode, errno.EINVAL)


def _refusal(path: str, mode: int, number: int) -> OSError:
    kind = next((words for has, words in _KINDS if has(mode)), "something else")
    return OSError(number, f"it is {kind}, not a file", path)
