"""The backups of rotated logs: compressed, and removed when there are too many or they are too old. Done by the admin worker alone.

A backup is compressed once no process has it open (`terraster.logs.rotating`), into a file of another name that gets its name when it is
complete. So a process that is killed in the middle leaves the backup, and what it had made is begun anew. Compressing takes a core for
some seconds (200 MiB: 4 s); a thread of a low priority does it, one file at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import zlib
from datetime import UTC, datetime
from typing import NamedTuple

from ..config.loggers import AccessLog, ProgramLogger, Rotation
from ..config.snapshot import Snapshot

__all__ = ["Backup", "backups", "compress", "expired", "rotations", "tidy"]

_NAME = re.compile(r"-(\d{8}T\d{6}\.\d{3})Z(\.gz)?")
_PIECE = 256 << 10
_PARTLY = ".gz.part"


class Backup(NamedTuple):
    """A file. moment: when it was renamed, seconds since 1970. packed: True if it is compressed"""

    path: str
    moment: float
    packed: bool


def rotations(snapshot: Snapshot) -> dict[str, Rotation]:
    """The files of a configuration that are rotated, with their rules."""
    logs: list[AccessLog | ProgramLogger] = [snapshot.program_log, snapshot.access_log]
    for service in snapshot.services:
        logs += [service.access_log, *(one.access_log for one in service.locations if one.access_log is not None)]
    found: dict[str, Rotation] = {}
    for log in logs:
        if log.rotation is not None:
            for path in log.files():
                found.setdefault(path, log.rotation)
    return found


def backups(path: str) -> list[Backup]:
    """The backups of a file, the newest first; none if the directory cannot be read. One of which the compressed form is complete counts as
    compressed, although it may be there uncompressed too."""
    folder, name = os.path.split(os.path.realpath(path))
    found: dict[str, Backup] = {}
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            match = _NAME.fullmatch(entry, len(name)) if entry.startswith(name) else None
            if match is not None:
                moment = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC).timestamp()
                one = Backup(os.path.join(folder, entry), moment, match[2] is not None)
                if match[1] not in found or one.packed:
                    found[match[1]] = one
    return sorted(found.values(), key=lambda one: one.moment, reverse=True)


def expired(found: list[Backup], rule: Rotation, now: float) -> list[Backup]:
    """Of backups, the newest first, those that are not kept. now: seconds since 1970"""
    kept = found[: rule.backups] if rule.backups else found
    return [one for one in found if one not in kept or (rule.age and now - one.moment > rule.age)]


def tidy(path: str, rule: Rotation, now: float) -> list[str]:
    """Remove the backups of a file that are not kept, and compress one of the others if that is wanted. Takes long. Returns what failed."""
    failed: list[str] = []
    found = backups(path)
    gone = expired(found, rule, now)
    for one in gone:
        plain = one.path.removesuffix(".gz")
        for name in (plain, f"{plain}.gz", plain + _PARTLY):
            try:
                _unlink(name)
            except OSError as error:
                failed.append(f"{name} cannot be removed: {error.strerror or error}")
    for one in reversed(found) if rule.compress else ():
        if one in gone:
            continue
        try:
            if one.packed:
                _unlink(one.path.removesuffix(".gz"))  # left by who was killed at the last step
            else:
                compress(one.path)
        except OSError as error:
            failed.append(f"{one.path} cannot be compressed: {error.strerror or error}")
            break
    return failed


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def compress(path: str) -> bool:
    """Replace a backup by the same, compressed. False: a process still writes to it, or another one compresses it. Raises OSError."""
    with open(path, "rb") as source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        status = os.fstat(source.fileno())
        if not status.st_nlink:
            return False
        partly = path + _PARTLY
        made = os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(made, "wb") as target:
                packer = zlib.compressobj(6, zlib.DEFLATED, 31)
                while piece := source.read(_PIECE):
                    target.write(packer.compress(piece))
                target.write(packer.flush())
                target.flush()
                os.fchmod(made, status.st_mode & 0o777)
                with contextlib.suppress(PermissionError):  # the group may be one that this user is not in
                    os.fchown(made, -1, status.st_gid)
                os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(made)
            os.rename(partly, f"{path}.gz")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partly)
            raise
        os.unlink(path)
    return True
