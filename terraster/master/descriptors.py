"""The limit of file descriptors: raised once, at the start of the master. All children inherit it, and so does a new master (USR2)."""

from __future__ import annotations

import resource
from typing import Any

from terraster.policy.descriptors import aim

__all__ = ["raise_limit"]


def raise_limit(log: Any) -> None:
    """Raise the soft limit of this process as far as the hard limit and `terraster.policy.descriptors.MOST` allow. One line in the log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = aim(soft, hard)
    if wanted == soft:
        log.info("file descriptors: limit %d for each process", soft)
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("file descriptors: limit %d for each process; it cannot be raised to %d: %s", soft, wanted, error)
        return
    log.info("file descriptors: limit raised from %d to %d for each process", soft, wanted)
