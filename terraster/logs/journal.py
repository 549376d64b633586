"""systemd's journal as the reader of standard output and standard error: systemd.exec(5) on ``JOURNAL_STREAM``, sd-daemon(3) on prefixes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

__all__ = ["behind", "prioritized"]


def behind(descriptor: int, environ: Mapping[str, str]) -> bool:
    """True if systemd connected this descriptor to the journal.

    ``JOURNAL_STREAM`` has device and inode of the journal's socket. A process that was started with another standard error inherits the
    variable all the same, so both are compared.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def prioritized(text: str, level: int) -> str:
    """A text whose lines each begin with their priority, as the journal reads it. level: as in `logging`"""
    prefix = f"<{_priority(level)}>"
    return "\n".join(prefix + line for line in text.split("\n"))


def _priority(level: int) -> int:
    """syslog's number of a level of `logging`."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7
