"""Files that were read and checked, kept until they change; a set that is at fault does not replace one that was good."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Generic, TypeVar

from terraster.certs.certificate import CertificateError
from terraster.certs.files import Files, Signature, signature
from terraster.logs.program import ProgramLog

__all__ = ["KeptFiles"]

Made = TypeVar("Made")


class KeptFiles(Generic[Made]):
    """The values that were read last, by the files' names.

    read: makes a value of files; raises `CertificateError`, with words that name the file
    log:  a line for each set of files that changed, or that cannot be used any more
    """

    __slots__ = ("_broken", "_known", "_log", "_read")

    def __init__(self, read: Callable[[Files], Made], log: ProgramLog) -> None:
        self._read = read
        self._log = log
        self._known: dict[Files, tuple[Signature, Made]] = {}
        self._broken: dict[Files, str] = {}  # why, as it was said last

    def get(self, files: Files) -> tuple[Made | None, bool]:
        """The value of these files, read again if they changed; that from before if they are at fault; None if there was none. And True if it
        is another one than before."""
        before = self._known.get(files)
        try:
            now = signature(files)
            if before is not None and before[0] == now:
                self._broken.pop(files, None)
                return before[1], False
            found = self._read(files)
            if signature(files) != now:
                raise CertificateError(f"{' or '.join(files)} is being written")
        except OSError as error:
            return self._fault(files, f"cannot read {error.filename}: {error.strerror}")
        except CertificateError as error:
            return self._fault(files, str(error))
        self._broken.pop(files, None)
        self._known[files] = now, found
        if before is not None and before[1] != found:
            self._log.info("%s: changed; new connections to backends use it", files[0])
        return found, before is None or before[1] != found

    def problem(self, files: Files) -> str:
        """Why the files cannot be used now; "" if they can."""
        return self._broken.get(files, "")

    def forget(self, used: Container[Files]) -> None:
        """Keep only these."""
        self._known = {files: found for files, found in self._known.items() if files in used}
        self._broken = {files: why for files, why in self._broken.items() if files in used}

    def _fault(self, files: Files, why: str) -> tuple[Made | None, bool]:
        before = self._known.get(files)
        if before is not None and self._broken.get(files) != why:
            self._log.warning("%s; what was read before stays in use", why)
        self._broken[files] = why
        return None if before is None else before[1], False
