"""The file of the edits: ``edits.json`` in `state_dir`.

    {"version": 1, "next": NUMBER, "edits": [{"number": …, "kind": …, "service": …, "location": …, "url": …, "value": {…}, "by": …,
                                              "reason": …, "when": …, "until": …}, …]}

It is written whole, under another name, while the edit is prepared, so that a full disk refuses the edit; and renamed when it is committed. In
between flock(2) on ``edits.lock`` is held. A file that cannot be understood is set aside; one that cannot be read just now is left as it
is, and there are no edits until it can be. Master only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence

from terraster.config.edits import Edit, from_json, to_json
from terraster.errors import StartError
from terraster.logs.program import ProgramLog
from terraster.master.steps import Step, nothing

__all__ = ["MOST", "EditFile"]

MOST = 5000  # edits that are kept

_VERSION = 1
_LARGEST = 64 * 1024 * 1024  # octets of a file that is read at all


class EditFile:
    """The file in one state directory, which is made (0700) when something is to be kept there."""

    def __init__(self, directory: str, log: ProgramLog, step: Step = nothing) -> None:
        self.path = os.path.join(directory, "edits.json")
        self._directory = directory
        self._log = log
        self._step = step
        self._lock = -1
        self._unreadable = ""

    def read(self) -> tuple[tuple[Edit, ...], int]:
        """The edits, and the number of the next one. Never raises: a file that cannot be understood is set aside, and logged."""
        self._unreadable = ""
        try:
            with open(self.path, "rb") as stream:
                text = stream.read(_LARGEST + 1)
        except FileNotFoundError:
            return (), 1
        except OSError as error:
            self._unreadable = f"cannot read {self.path}: {error.strerror}; it is left as it is"
            self._log.error("%s, and no edit is in effect", self._unreadable)
            return (), 1
        try:
            return _parsed(text)
        except (ValueError, RecursionError) as error:
            self._set_aside(str(error))
            return (), 1

    def _set_aside(self, why: str) -> None:
        aside = f"{self.path}.broken-{time.strftime('%Y%m%dT%H%M%S')}"
        try:
            os.rename(self.path, aside)
            kept = f"it is kept as {aside}"
        except OSError as failure:
            kept = f"and it cannot be set aside: {failure.strerror}"
        self._log.error("%s cannot be used (%s); %s. Its edits are no longer in effect", self.path, why, kept)

    def write(self, edits: Sequence[Edit], following: int) -> None:
        """Write edits, so that `take` only has to rename. Then `take` or `drop` must follow. Raises StartError; nothing is left then."""
        if self._unreadable:
            raise StartError(self._unreadable)
        if len(edits) > MOST:
            raise StartError(f"there would be more than {MOST} edits: write some into the file (adopt), or drop them")
        content = json.dumps(
            {"version": _VERSION, "next": following, "edits": [to_json(edit) for edit in edits]}, indent=1
        ).encode()
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._take_lock()
            descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, 0o600)
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
        except OSError as error:
            self.drop()
            raise StartError(f"cannot write {self.path}: {error.strerror}") from error
        self._step("edits written")

    def take(self) -> None:
        """The edits that were written are the file from now on. Does not yield."""
        try:
            os.replace(self._temporary, self.path)
            self._step("edits renamed")
        except OSError as error:
            self._log.error("cannot write %s: %s; the edits are in effect until Terraster ends", self.path, error.strerror)
        self._release()

    def sync(self) -> None:
        """Have the new name outlive a loss of power."""
        try:
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._log.warning("%s is written, but may not outlive a loss of power: %s", self.path, error.strerror)

    def drop(self) -> None:
        """Forget the edits that were written. Safe to call if there are none."""
        if self._lock >= 0:
            try:
                os.unlink(self._temporary)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._log.warning("%s is left: %s", self._temporary, error.strerror)
        self._release()

    def abandon(self) -> None:
        """In a forked child: close its copy of the lock, which would hold it on if the master is killed."""
        if self._lock >= 0:
            os.close(self._lock)  # without LOCK_UN, which would take it from the master
            self._lock = -1

    @property
    def _temporary(self) -> str:
        return f"{self.path}.new"

    def _take_lock(self) -> None:
        path = os.path.join(self._directory, "edits.lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._release()
            raise StartError(f"cannot write {self.path}: another process holds {path}") from error

    def _release(self) -> None:
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # a worker that was forked meanwhile has the descriptor, too
            os.close(self._lock)
            self._lock = -1


def _parsed(text: bytes) -> tuple[tuple[Edit, ...], int]:
    if len(text) > _LARGEST:
        raise ValueError("it is too large")
    root = json.loads(text)
    if not isinstance(root, dict) or root.get("version") != _VERSION or not isinstance(root.get("edits"), list):
        raise ValueError(f"its format is not version {_VERSION}")
    edits = tuple(from_json(one) for one in root["edits"])
    following = root.get("next")
    if isinstance(following, bool) or not isinstance(following, int):
        raise ValueError("the number of the next edit is not a number")
    return edits, max([following, *(edit.number + 1 for edit in edits)])
