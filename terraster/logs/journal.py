"""systemd's journal as the reader of standard output and standard error: systemd.exec(5) on ``JOURNAL_STREAM``, sd-daemon(3) on prefixes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..config import descriptors

if TYPE_CHECKING:
    from ..config.snapshot import Snapshot

__all__ = ["as_error", "behind", "prioritized", "priority", "takes_access_lines"]


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


def takes_access_lines(snapshot: Snapshot, environ: Mapping[str, str]) -> bool:
    """True if an access log of this configuration goes to the journal."""
    logs = {snapshot.access_log, *(service.access_log for service in snapshot.services)}
    logs |= {place.access_log for service in snapshot.services for place in service.locations if place.access_log is not None}
    paths = {path for log in logs if log.path for path in (log.path, *log.others, *log.errors)}
    numbers = {number for path in paths if (number := descriptors.behind(path)) is not None}
    return any(behind(number, environ) for number in numbers)


def as_error(text: str) -> str:
    """A text for standard error that says why something failed: with the priority of an error if the journal reads it."""
    return prioritized(text, logging.ERROR) if behind(2, os.environ) else text


def prioritized(text: str, level: int) -> str:
    """A text whose lines each begin with their priority, as the journal reads it. level: as in `logging`"""
    prefix = f"<{priority(level)}>"
    return "\n".join(prefix + line for line in text.split("\n"))


def priority(level: int) -> int:
    """syslog's number of a level of `logging`."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7
