"""Files and directories that the user of Terraster may not use, and disks without room.

Permissions are judged by owner and mode, for any user: `access(2)` answers for the caller only, who may be root. An ACL or a security
module may forbid more.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .finding import Finding

__all__ = ["READ", "Use", "User", "WRITE", "disks", "keys", "permissions"]

READ, WRITE, SEARCH = 4, 2, 1

_LITTLE, _NEARLY_NONE = 0.05, 0.01
_MANY, _FEW = 1 << 30, 64 << 20  # octets: so many are never little, so few always nearly none


class User(NamedTuple):
    """A user by its numbers. name: for people"""

    uid: int
    groups: frozenset[int]
    name: str


class Use(NamedTuple):
    """A file or directory that Terraster needs. made: True if Terraster makes it where it is not there. what: its use, such as
    "the access log" """

    path: str
    what: str
    need: int
    made: bool = False
    is_directory: bool = False


def permissions(uses: Iterable[Use], user: User) -> Iterator[Finding]:
    """Files and directories that the user may not use."""
    for use in uses:
        if why := _refused(use, user):
            verb = "write to" if use.need & WRITE else "read"
            yield Finding(
                "permissions",
                "problem",
                f"User {user.name} may not {verb} {use.path} ({use.what}): {why}.",
                "Terraster runs as this user. It does not start or reload with it, or loses what it should keep there.",
                f"chown or chmod it, so that {user.name} may {verb} it; or name another place in the configuration.",
            )


def keys(paths: Iterable[str]) -> Iterator[Finding]:
    """Private keys that every user may read."""
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if mode & stat.S_IROTH:
            yield Finding(
                "permissions",
                "warning",
                f"Every user of this host may read the private key {path}.",
                "A thief of the key can pose as this server.",
                f"chmod o-rwx {path}",
            )


def disks(paths: Iterable[tuple[str, str]], statvfs: Callable[[str], os.statvfs_result] = os.statvfs) -> Iterator[Finding]:
    """Disks that are nearly full. paths: of directories, each with its use"""
    seen: set[int] = set()
    for path, what in paths:
        there = _nearest(path)
        try:
            device, found = os.stat(there).st_dev, statvfs(there)
        except OSError:
            continue
        if device in seen or not found.f_blocks:
            continue
        seen.add(device)
        free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        if free < _FEW or (free < _LITTLE * size and free < _MANY):
            yield Finding(
                "disk",
                "problem" if free < _FEW or free < _NEARLY_NONE * size else "warning",
                f"{free >> 20} MiB are free on the disk of {path} ({what}).",
                "On a full disk log lines are lost, changes are refused, and the history has gaps. Traffic goes on.",
                "Remove old files, rotate logs (docs/logging.md), or make the disk larger.",
            )
        if found.f_files and found.f_favail < _NEARLY_NONE * found.f_files:
            yield Finding(
                "disk",
                "warning",
                f"The disk of {path} ({what}) has room for {found.f_favail} more files of {found.f_files}.",
                "Without a free inode no file can be made, however much room there is.",
                "Find the directory with very many files, and remove them.",
            )


def _refused(use: Use, user: User) -> str:
    """Why the user may not; "" if it may."""
    path = use.path
    folder, _ = os.path.split(path)
    if not os.path.lexists(path):
        if not use.made:
            return "it is not there"
        there = _nearest(path)
        return _closed(there, user) or ("" if _may(there, user, WRITE | SEARCH) else f"it cannot be made in {there}")
    if why := _closed(folder, user):
        return why
    need = use.need | SEARCH if use.is_directory else use.need
    if not _may(path, user, need):
        found = os.stat(path)
        return f"it belongs to user {found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}"
    return ""


def _closed(folder: str, user: User) -> str:
    """The directory on the way that the user may not pass, in words; "" if there is none."""
    way = folder
    while way and way != "/":
        if not _may(way, user, SEARCH):
            return f"{user.name} may not pass {way}"
        way = os.path.dirname(way)
    return ""


def _nearest(path: str) -> str:
    """The path, or the directory above it that is there."""
    while not os.path.exists(path) and path not in ("", "/"):
        path = os.path.dirname(path)
    return path or "."


def _may(path: str, user: User, need: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    if user.uid == 0:
        return True
    shift = 6 if found.st_uid == user.uid else 3 if found.st_gid in user.groups else 0
    return (found.st_mode >> shift) & need == need
