"""Files that take part in a configuration: looked at again from time to time, so that new ones need no reload; read and checked, and kept
until they change. A set that is at fault does not replace one that was good."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Generic, TypeVar

import gevent

from terraster.certs.certificate import CertificateError
from terraster.certs.files import Files, Signature, signature
from terraster.logs.program import ProgramLog

from .agenda import Agenda, Entry
from .participant import Participant, Proposal

__all__ = ["KeptFiles", "WatchedFiles"]

Made = TypeVar("Made")

_STAYS = "what was read before stays in use"


class WatchedFiles(Participant):
    """The files of a participant, looked at every `cert_manager.check_interval`.

    changed: puts what is new into effect; may wait
    is_looking: True while files are looked at
    """

    def __init__(self, agenda: Agenda, changed: Callable[[], bool]) -> None:
        self._agenda = agenda
        self._changed = changed
        self.is_looking = False
        self._interval = 0.0
        self._next: Entry | None = None  # the next look
        self._pending = False  # news that did not come into effect

    def has_files(self) -> bool:
        """True if there is something to look at."""
        raise NotImplementedError

    def has_news(self) -> bool:
        """Read the files that changed. True if there are any. May yield."""
        raise NotImplementedError

    def rollback(self) -> None:
        self._pending = True  # what was read now is not in effect: the next look brings it there

    def commit(self, new: Proposal) -> None:
        if self._interval != new.snapshot.certificate_check:
            self._interval = new.snapshot.certificate_check
            self._stop_waiting()
        self._plan()

    def look(self) -> None:
        """Look for changed files now. Yields."""
        while self.is_looking:
            gevent.sleep(0.01)
        self._stop_waiting()
        self._look()

    def _stop_waiting(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _plan(self) -> None:
        if self.has_files() and self._next is None and not self.is_looking:
            self._next = self._agenda.after(self._interval, gevent.spawn, self._look)

    def _look(self) -> None:
        """Have changed files read, if there are any, and look again later. In a greenlet of its own."""
        self._next, self.is_looking = None, True
        try:
            if self.has_news() or self._pending:
                self._pending = not self._changed()
        finally:
            self.is_looking = False
            self._plan()


class KeptFiles(Generic[Made]):
    """The values that were read last, by the files' names.

    read:   makes a value of files; raises `CertificateError`, with words that name the file
    log:    a line for each set of files that changed, or that cannot be used any more
    effect: what a change does, in the words of that line
    what:   the files' use, where their names do not tell it
    """

    __slots__ = ("_broken", "_effect", "_known", "_log", "_read", "_what")

    def __init__(self, read: Callable[[Files], Made], log: ProgramLog, effect: str, what: str = "") -> None:
        self._read = read
        self._log = log
        self._effect = effect
        self._what = what
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
                raise CertificateError(f"{self._name(files)}: being written")
        except OSError as error:
            return self._fault(files, f"{self._what and self._what + ': '}cannot read {error.filename}: {error.strerror}")
        except CertificateError as error:
            return self._fault(files, str(error))
        self._broken.pop(files, None)
        self._known[files] = now, found
        if before is not None and before[1] != found:
            self._log.info("%s: changed; %s", self._name(files), self._effect)
        return found, before is None or before[1] != found

    def value(self, files: Files) -> Made:
        """What `get` gave last. Raises KeyError if that was None."""
        return self._known[files][1]

    def known(self, files: Files) -> Made | None:
        """What `get` gave last; None if it has given nothing."""
        return self._known[files][1] if files in self._known else None

    def problem(self, files: Files) -> str:
        """Why the files cannot be used now; "" if they can."""
        return self._broken.get(files, "")

    def kept(self, files: Files) -> str:
        """The sentence for files of which an earlier value is used because they are at fault; "" for others."""
        why = self.problem(files)
        return f"{why}; {_STAYS}" if why and files in self._known else ""

    def forget(self, used: Container[Files]) -> None:
        """Keep only these."""
        self._known = {files: found for files, found in self._known.items() if files in used}
        self._broken = {files: why for files, why in self._broken.items() if files in used}

    def _name(self, files: Files) -> str:
        return f"{self._what and self._what + ', '}{' with '.join(files)}"

    def _fault(self, files: Files, why: str) -> tuple[Made | None, bool]:
        before = self._known.get(files)
        if before is not None and self._broken.get(files) != why:
            self._log.warning("%s; %s", why, _STAYS)
        self._broken[files] = why
        return None if before is None else before[1], False
