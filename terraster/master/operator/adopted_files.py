"""Files of the configuration that are written together: after a kill at any moment, all say what they said, or all say the new.

    each file written beside, as PATH.terraster-new ─▶ journal ─▶ each renamed, in order ─▶ the journal removed

Everything is on the disk before the journal is, and a start that finds a journal ends what it says before it reads a file. The journal is
beside the main file, as `state_dir` is only known from that: ``MAIN.terraster-adopting``, {"version": 1, "files": [[PATH, HASH, HASH], …]}
with the hashes (SHA-256) of the old text and of the new. A file that says neither was changed by another hand meanwhile, and stays as it
is. One file alone needs no journal. Master only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress

from terraster.config.regular import regular
from terraster.master.steps import Step, nothing

__all__ = ["finish", "write"]

_LARGEST = 1024 * 1024  # octets of a journal that is read at all


def write(main: str, changed: Mapping[str, bytes], now: Mapping[str, bytes], step: Step = nothing) -> None:
    """Write files, all or none. main: the main file; changed: the new texts, by file; now: the texts that they still must have. Raises OSError:
    no file was changed then."""
    paths = {file: os.path.realpath(file) for file in changed}
    journal = _journal(main)
    renamed: list[str] = []
    try:
        for file, octets in changed.items():
            _prepare(file, paths[file], octets, now[file])
            step("file prepared")
        if len(changed) > 1:
            rows = [[paths[file], _hash(now[file]), _hash(octets)] for file, octets in changed.items()]
            _replace(journal, json.dumps({"version": 1, "files": rows}).encode())
            step("journal written")
        for file, path in paths.items():
            os.replace(_beside(path), path)
            renamed.append(file)
            step("file renamed")
    except OSError:
        for file in renamed:
            _restore(paths[file], now[file])
        for path in (*map(_beside, paths.values()), journal):
            with suppress(OSError):
                os.unlink(path)
        raise
    for folder in {os.path.dirname(path) for path in paths.values()}:
        _sync(folder)
    if len(changed) > 1:
        os.unlink(journal)
        step("journal removed")


def finish(main: str) -> list[str]:
    """End what a killed master had begun, so that the files are of one time. Returns lines for the operator. Raises OSError or ValueError if it
    cannot be ended."""
    journal = _journal(main)
    try:
        with open(journal, "rb", opener=regular) as stream:
            root = json.loads(stream.read(_LARGEST))
    except FileNotFoundError:
        return []
    if not isinstance(root, dict) or root.get("version") != 1:
        raise ValueError(f"{journal} is not a journal of version 1")
    lines = []
    for path, old, new in root["files"]:
        with open(path, "rb") as stream:
            found = _hash(stream.read())
        if found == old:
            with open(_beside(path), "rb") as stream:
                if _hash(stream.read()) != new:
                    raise ValueError(f"{_beside(path)} is damaged")
            os.replace(_beside(path), path)
            _sync(os.path.dirname(path))
            lines.append(
                f"{path}: edits were being written into several files when Terraster was killed; this one has them now, too"
            )
        elif found != new:
            with suppress(FileNotFoundError):
                os.unlink(_beside(path))
            lines.append(f"{path}: was changed after Terraster was killed while it wrote edits into it; it stays as it is")
    os.unlink(journal)
    _sync(os.path.dirname(journal))
    return lines


def _prepare(file: str, path: str, octets: bytes, now: bytes) -> None:
    """Write a text beside its file, with owner and mode of the file. Raises OSError, also if the file does not say what it said."""
    status = os.stat(path)
    with open(path, "r+b") as stream:  # as the rename would need no right to write it
        if stream.read() != now:
            raise OSError(0, "it was changed meanwhile", file)
    with suppress(FileNotFoundError):
        os.unlink(_beside(path))  # of a master that was killed here
    descriptor = os.open(_beside(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(octets)
        stream.flush()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        os.fchmod(stream.fileno(), status.st_mode & 0o7777)
        os.fsync(stream.fileno())


def _restore(path: str, octets: bytes) -> None:
    """Have a file that was renamed say again what it said. Raises OSError."""
    status = os.stat(path)
    _replace(path, octets)
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, status.st_mode & 0o7777)


def _replace(path: str, octets: bytes) -> None:
    draft = f"{path}.terraster-draft"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except OSError:
        with suppress(OSError):
            os.unlink(draft)
        raise
    _sync(os.path.dirname(path))


def _journal(main: str) -> str:
    return f"{os.path.realpath(main)}.terraster-adopting"


def _beside(path: str) -> str:
    return f"{path}.terraster-new"


def _hash(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
