"""The secret that sticky cookies are signed with: ``cookie.key`` in the state directory. It is kept, so sessions outlive a restart, and
several hosts share sessions when they are given the same file."""

from __future__ import annotations

import os

from terraster.config.key_file import Unusable, kept_key
from terraster.errors import StartError

from .steps import Step, nothing

__all__ = ["cookie_key"]


def cookie_key(directory: str, step: Step = nothing) -> bytes:
    """The secret of a state directory; made if there is none. Raises StartError, which says what to do about it.

    step: see `terraster.master.steps`
    """
    path = os.path.join(directory, "cookie.key")
    try:
        return kept_key(path, step)
    except Unusable as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(
            f"cannot read or make {path}, which sticky sessions are signed with: {error.strerror}; "
            f"give the user that Terraster runs as a state_dir of its own"
        ) from error
